"""Does a model split over two devices compute what one device computes?"""

import workload  # first: it says so where there is no PyTorch
import ranks
from tensor_parallel import TensorParallel


class MultiGpuValidation(TensorParallel):
    def sizes(self, small):
        return (2, 40) if small else (8, 1024)


ranks.main(MultiGpuValidation)

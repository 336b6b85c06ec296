"""Decode steps of a large batch: one device, or two with tensor parallelism."""

import workload  # first: it says so where there is no PyTorch
import decoder
import ranks
from tensor_parallel import TensorParallel


class ServingMultiGpu(TensorParallel):
    usual = decoder.Size(layers=8, hidden=8192, heads=64, kv_heads=8, inner=28672, vocab=4096)

    def sizes(self, small):
        return (4, 64) if small else (64, 2048)


ranks.main(ServingMultiGpu)

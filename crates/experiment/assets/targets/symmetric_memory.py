"""Sums over two GPUs as a decode step sends them, and copies of cache pages: NCCL, against direct access over NVLink.

Both sides are captured as CUDA graphs, as engines do for decode steps, so that the fabric and the kernels are measured
and not the host. What is summed goes on into the next sum, and pages go to the other GPU and are read there, so that a
byte that was changed on the way shows in the output.
"""

import workload  # first: it says so where there is no PyTorch
import torch
import torch.distributed as dist
import ranks

PAGES, PAGE = 64, 16 * 8 * 128  # pages of 16 tokens, 8 heads, 128 numbers
ROUNDS = 16
ROWS = (1, 8, 64)


class SymmetricMemory:
    modes = ("nccl", "symmetric")

    def set_up(self, device, mode, small):
        workload.needs_cuda(device)
        self.device, self.mode = device, mode
        self.hidden = 512 if small else 8192
        self.ranks = ranks.Ranks(self, device, mode, small)
        self.facts = {"dtype": "bf16"}
        buffer = lambda n: torch.zeros(n, dtype=torch.bfloat16, device=device)
        self.count, copied = max(ROWS) * self.hidden, PAGES * PAGE
        if mode == "symmetric":
            import torch.distributed._symmetric_memory as symmetric

            # One piece of memory that both GPUs see: sums first, then pages.
            self.memory = symmetric.empty(self.count + copied, dtype=torch.bfloat16, device=device)
            self.name = dist.group.WORLD.group_name
            self.handle = symmetric.rendezvous(self.memory, dist.group.WORLD)
            other = 1 - self.ranks.rank
            self.theirs = self.handle.get_buffer(other, (copied,), torch.bfloat16, self.count)
        else:
            self.memory = buffer(self.count + copied)
        self.pages = self.memory[self.count :]
        self.part, self.copy, self.got = buffer(self.count), buffer(copied), buffer(copied)
        works = [lambda rows=rows: self.sum_rows(rows) for rows in ROWS] + [self.copy_pages]
        self.graphs = [self.captured(work) for work in works]
        self.marks = [torch.cuda.Event(enable_timing=True) for _ in range(len(works) + 1)]

    def captured(self, work):
        for _ in range(3):
            work()
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        # Other threads of the process group ask for events meanwhile.
        with torch.cuda.graph(graph, capture_error_mode="thread_local"):
            for _ in range(ROUNDS):
                work()
        return graph

    def sum_rows(self, rows):
        """`memory` becomes half of the sum over both ranks."""
        n = rows * self.hidden
        mine = self.memory[:n]
        if self.mode == "nccl":
            dist.all_reduce(mine)
            mine.mul_(0.5)
        else:
            torch.mul(torch.ops.symm_mem.one_shot_all_reduce(mine, "sum", self.name), 0.5, out=mine)

    def copy_pages(self):
        """Each rank's pages go to the other, which reads them."""
        if self.mode == "nccl":
            other = 1 - self.ranks.rank
            ask = [dist.P2POp(dist.isend, self.copy, other), dist.P2POp(dist.irecv, self.pages, other)]
            for request in dist.batch_isend_irecv(ask):
                request.wait()
            self.got.copy_(self.pages)
        else:
            self.theirs.copy_(self.copy)
            self.handle.barrier()
            self.got.copy_(self.pages)
            # Nobody writes the next round over what is still being read.
            self.handle.barrier()

    def shape(self):
        return f"{ROUNDS} x (sums of {ROWS} x {self.hidden}, {PAGES} pages of {PAGE})"

    def draw(self, generator):
        if self.ranks.rank == 0:
            self.ranks.lead(generator)
        draw = lambda n: torch.randn(n, generator=generator, device=self.device).bfloat16()
        parts = [draw(self.count) for _ in range(ranks.RANKS)]
        copies = [draw(PAGES * PAGE) for _ in range(ranks.RANKS)]
        self.part.copy_(parts[self.ranks.rank])
        self.copy.copy_(copies[self.ranks.rank])
        self.got.zero_()
        self.ranks.ready()

    def work(self):
        # Everyone begins together, within the time.
        self.ranks.sum(torch.ones(1, device=self.device))
        self.marks[0].record()
        made = []
        for i, graph in enumerate(self.graphs):
            self.memory[: self.count].copy_(self.part)
            graph.replay()
            self.marks[i + 1].record()
            made.append(self.memory[: self.count].clone())
        return torch.cat([*made, self.got])

    def metrics(self):
        took = [a.elapsed_time(b) * 1e-3 / ROUNDS for a, b in zip(self.marks, self.marks[1:])]
        told = {f"sum_{rows * self.hidden * 2 // 1024}k_us": s * 1e6 for rows, s in zip(ROWS, took)}
        return told | {"pages_gb_per_s": PAGES * PAGE * 2 * 1e-9 / took[-1]}


ranks.main(SymmetricMemory)

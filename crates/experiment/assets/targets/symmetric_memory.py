"""Sums over two GPUs of what a decode step sends, and copies of cache pages: NCCL, against direct access over NVLink.

Each iteration does a sum of every size and copies a replica of pages to the other GPU, which reads them back, so that a
byte that was changed on the way would show.
"""

import workload  # first: it says so where there is no PyTorch
import torch
import torch.distributed as dist
import ranks

PAGES, PAGE = 64, 16 * 8 * 128  # pages of 16 tokens, 8 heads, 128 numbers


class SymmetricMemory:
    modes = ("nccl", "symmetric")

    def set_up(self, device, mode, small):
        workload.needs_cuda(device)
        self.device, self.mode, self.rows = device, mode, (1, 8, 64)
        self.hidden = 256 if small else 8192
        self.ranks = ranks.Ranks(self, device, mode, small)
        self.facts = {"dtype": "bf16"}
        count = max(self.rows) * self.hidden
        if mode == "symmetric":
            import torch.distributed._symmetric_memory as symmetric

            self.memory = symmetric.empty(count, dtype=torch.bfloat16, device=device)
            self.pages = symmetric.empty(PAGES * PAGE, dtype=torch.bfloat16, device=device)
            group = dist.group.WORLD
            self.name = group.group_name
            symmetric.rendezvous(self.memory, group)
            self.handle = symmetric.rendezvous(self.pages, group)
            other = 1 - self.ranks.rank
            self.theirs = self.handle.get_buffer(other, (PAGES * PAGE,), torch.bfloat16)
        else:
            self.memory = torch.empty(count, dtype=torch.bfloat16, device=device)
            self.pages = torch.empty(PAGES * PAGE, dtype=torch.bfloat16, device=device)

    def shape(self):
        return f"sums of {self.rows} x {self.hidden}, {PAGES} pages of {PAGE}"

    def draw(self, generator):
        if self.ranks.rank == 0:
            self.ranks.lead(generator)
        draw = lambda n: torch.randn(n, generator=generator, device=self.device).bfloat16()
        parts = [draw(max(self.rows) * self.hidden) for _ in range(ranks.RANKS)]
        copies = [draw(PAGES * PAGE) for _ in range(ranks.RANKS)]
        self.part, self.copy = parts[self.ranks.rank], copies[self.ranks.rank]

    def work(self):
        self.ranks.sum(torch.ones(1, device=self.device))
        made = []
        for rows in self.rows:
            n = rows * self.hidden
            self.memory[:n].copy_(self.part[:n])
            if self.mode == "nccl":
                dist.all_reduce(self.memory[:n])
                made.append(self.memory[:n].clone())
            else:
                made.append(torch.ops.symm_mem.one_shot_all_reduce(self.memory[:n], "sum", self.name))
        # Each rank's pages go to the other.
        got = torch.empty_like(self.copy)
        if self.mode == "nccl":
            other = 1 - self.ranks.rank
            ask = [dist.P2POp(dist.isend, self.copy, other), dist.P2POp(dist.irecv, got, other)]
            for request in dist.batch_isend_irecv(ask):
                request.wait()
        else:
            self.theirs.copy_(self.copy)
            self.handle.barrier()
            got.copy_(self.pages)
            self.handle.barrier()
        return torch.cat(made + [got])


ranks.main(SymmetricMemory)

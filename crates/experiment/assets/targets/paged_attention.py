"""Decode steps whose keys and values are re-allocated as they grow, against blocks from a pool with a block table."""

import workload  # first: it says so where there is no PyTorch
import torch
import blocks


class PagedAttention:
    modes = ("baseline", "optimised")

    def set_up(self, device, mode, small):
        self.batch, self.context, self.steps = (2, 40, 20) if small else (16, 6144, 16)
        self.heads, self.kv_heads, self.dim = (4, 2, 32) if small else (32, 8, 128)
        self.device, self.mode, self.tokens = device, mode, self.batch * self.steps
        self.dtype = torch.bfloat16 if device.startswith("cuda") else torch.float32
        if device.startswith("cuda") and blocks.triton is None:
            raise workload.Lacks("Triton is not installed for this Python")
        # Sequences of different lengths, from half of the longest on.
        self.lengths = [self.context - b * self.context // (2 * self.batch) for b in range(self.batch)]
        self.scales = [torch.ones(self.kv_heads, device=device) for _ in range(2)]
        self.facts = {"dtype": str(self.dtype)}
        self.pool = None
        if mode == "optimised":
            most = self.context + self.steps
            count = sum(-(-(n + self.steps) // blocks.BLOCK) for n in self.lengths)
            self.pool = blocks.Pool(count, self.batch, most, self.kv_heads, self.dim, device, self.dtype)

    def shape(self):
        return (
            f"batch={self.batch} context<={self.context} steps={self.steps} heads={self.heads}/{self.kv_heads} "
            f"head_dim={self.dim} block={blocks.BLOCK}"
        )

    def draw(self, generator):
        draw = lambda *shape: torch.randn(shape, generator=generator, device=self.device).to(self.dtype)
        self.q = draw(self.steps, self.batch, self.heads, self.dim)
        self.k, self.v = (draw(self.steps, self.batch, self.kv_heads, self.dim) for _ in range(2))
        k, v = (draw(self.batch, self.kv_heads, self.context, self.dim) for _ in range(2))
        self.at = torch.tensor(self.lengths, device=self.device)
        if self.pool:
            self.pool.release()
            self.taken = self.pool.cover(self.lengths)
            self.pool.fill(0, k, v, self.lengths)
        else:
            self.piece = blocks.Piece(k, v)

    def work(self):
        out, copied, allocated = torch.empty_like(self.q), 0, 0
        for step in range(self.steps):
            k, v, at = self.k[step], self.v[step], self.at + step
            if self.pool:
                allocated += self.pool.cover([n + step + 1 for n in self.lengths])
                self.pool.store(0, self.pool.slots(at), k, v)
                keys, values, table, stride = self.pool.k[0], self.pool.v[0], self.pool.table, self.pool.head_stride
            else:
                copied += self.piece.grow(k, v, at)
                allocated += 2
                keys, values, table, stride = self.piece.k, self.piece.v, self.piece.table(), self.piece.k.shape[2]
            out[step] = blocks.attend(
                self.q[step], keys, values, self.scales, table, at + 1, stride, self.kv_heads
            )
        self.copied, self.allocated = copied, allocated
        return out

    def metrics(self):
        used = 2 * sum(n + self.steps for n in self.lengths) * self.kv_heads * self.dim * self.q.element_size()
        if self.pool:
            held = sum(len(h) for h in self.pool.held)
            reserved = 2 * held * self.pool.k[0][0].numel() * self.q.element_size()
        else:
            # While it grows, the old and the new piece are both there.
            reserved = 4 * self.piece.k.numel() * self.q.element_size()
        return {
            "allocations": self.allocated,
            "copied_bytes": self.copied,
            "kv_allocated_bytes": reserved,
            "kv_used_share": used / reserved,
        }


workload.main(PagedAttention)

"""Decode attention over a cache of bf16, against e4m3 with a scale for each key/value head."""

import workload  # first: it says so where there is no PyTorch
import torch
import blocks

MOST = 448.0  # largest e4m3 number


class Fp8Kv:
    modes = ("baseline", "optimised")

    def set_up(self, device, mode, small):
        workload.needs_cuda(device)
        if blocks.triton is None:
            raise workload.Lacks("Triton is not installed for this Python")
        if torch.cuda.get_device_capability(device) < (8, 9):
            raise workload.Lacks("the GPU has no e4m3 numbers (compute capability below 8.9)")
        self.batch, self.context = (2, 64) if small else (32, 4096)
        self.heads, self.kv_heads, self.dim = (4, 2, 32) if small else (32, 8, 128)
        self.device, self.mode, self.tokens = device, mode, self.batch
        cached = torch.bfloat16 if mode == "baseline" else torch.float8_e4m3fn
        count = self.batch * self.context // blocks.BLOCK
        self.pool = blocks.Pool(count, self.batch, self.context, self.kv_heads, self.dim, device, cached)
        self.pool.cover([self.context] * self.batch)
        self.length = torch.full((self.batch,), self.context, device=device)
        self.facts = {"dtype": "bf16" if mode == "baseline" else "e4m3 cache, a scale a head"}

    def shape(self):
        return f"batch={self.batch} context={self.context} heads={self.heads}/{self.kv_heads} head_dim={self.dim}"

    def draw(self, generator):
        draw = lambda *shape: torch.randn(shape, generator=generator, device=self.device).bfloat16()
        self.q = draw(self.batch, self.heads, self.dim)
        k, v = (draw(self.batch, self.kv_heads, self.context, self.dim) for _ in range(2))
        self.scales = [torch.ones(self.kv_heads, device=self.device) for _ in range(2)]
        if self.mode == "optimised":
            # Caches are written once and read in every later step: quantising is no part of reading.
            self.scales = [t.abs().amax((0, 2, 3)).float() / MOST for t in (k, v)]
            k, v = (t / s[:, None, None] for t, s in zip((k, v), self.scales))
        self.pool.fill(0, k, v, [self.context] * self.batch)

    def work(self):
        pool = self.pool
        return blocks.attend(
            self.q, pool.k[0], pool.v[0], self.scales, pool.table, self.length, pool.head_stride, self.kv_heads
        )

    def metrics(self):
        return {"cache_bytes": 2 * self.pool.k[0].numel() * self.pool.k[0].element_size()}


workload.main(Fp8Kv)

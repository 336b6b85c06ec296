"""Causal attention: scores written out as a matrix, against a fused kernel."""

import workload  # first: it says so where there is no PyTorch
import torch


class FlashSdp:
    modes = ("baseline", "optimised")

    def set_up(self, device, mode, small):
        self.size = (1, 2, 128, 32) if small else (4, 32, 2048, 128)
        self.device, self.mode = device, mode
        self.dtype = torch.bfloat16 if device.startswith("cuda") else torch.float32
        tokens = self.size[2]
        self.tokens = self.size[0] * tokens
        self.hidden = torch.full((tokens, tokens), float("-inf"), device=device, dtype=self.dtype).triu(1)
        self.facts = {"dtype": str(self.dtype)}

    def shape(self):
        return "batch={} heads={} tokens={} head_dim={}".format(*self.size)

    def draw(self, generator):
        draw = lambda: torch.randn(self.size, generator=generator, device=self.device).to(self.dtype)
        self.q, self.k, self.v = draw(), draw(), draw()

    def work(self):
        if self.mode == "baseline":
            scores = self.q @ self.k.transpose(-2, -1) * self.size[3] ** -0.5
            return torch.softmax(scores + self.hidden, dim=-1) @ self.v
        from torch.nn.attention import SDPBackend, sdpa_kernel

        backend = SDPBackend.FLASH_ATTENTION
        with sdpa_kernel([backend]):
            return torch.nn.functional.scaled_dot_product_attention(self.q, self.k, self.v, is_causal=True)


workload.main(FlashSdp)

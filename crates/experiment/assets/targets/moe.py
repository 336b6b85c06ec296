"""Routed experts in a loop over experts, against grouped products."""

import workload  # first: it says so where there is no PyTorch
import torch
import torch.nn.functional as F


class Moe:
    modes = ("baseline", "optimised")

    def set_up(self, device, mode, small):
        workload.needs_cuda(device)
        if not hasattr(torch, "_grouped_mm"):
            raise workload.Lacks("this PyTorch has no grouped products")
        if torch.cuda.get_device_capability(device) < (9, 0):
            raise workload.Lacks("grouped products need compute capability 9.0")
        self.rows, self.experts, self.top = (64, 8, 2) if small else (2048, 64, 4)
        self.hidden, self.inner = (128, 128) if small else (2048, 1024)
        self.tokens, self.device, self.mode = self.rows, device, mode
        generator = workload.weights(device)
        draw = lambda n, k: (torch.randn(self.experts, n, k, generator=generator, device=device) * k**-0.5).bfloat16()
        self.gate_up, self.down = draw(2 * self.inner, self.hidden), draw(self.hidden, self.inner)
        self.facts = {"dtype": "bf16"}

    def shape(self):
        return f"tokens={self.rows} experts={self.experts} top={self.top} hidden={self.hidden} inner={self.inner}"

    def draw(self, generator):
        self.x = torch.randn(self.rows, self.hidden, generator=generator, device=self.device).bfloat16()
        # Skewed: expert e is liked as 1 / (e + 1).
        liked = -torch.log(torch.arange(1, self.experts + 1, device=self.device).float())
        noise = torch.rand(self.rows, self.experts, generator=generator, device=self.device)
        gumbel = -torch.log(-torch.log(noise.clamp(1e-9, 1 - 1e-7)))
        self.route = (liked + gumbel).topk(self.top, dim=-1).indices

    def sorted(self):
        """Tokens in the order of their experts, and how many each expert has."""
        experts, order = self.route.flatten().sort(stable=True)
        counts = torch.bincount(experts, minlength=self.experts)
        return order // self.top, counts

    def work(self):
        rows, counts = self.sorted()
        x = self.x[rows]
        if self.mode == "baseline":
            made, at = torch.empty_like(x), 0
            for expert, count in enumerate(counts.tolist()):
                if count:
                    gate, up = F.linear(x[at : at + count], self.gate_up[expert]).chunk(2, -1)
                    made[at : at + count] = F.linear(F.silu(gate) * up, self.down[expert])
                at += count
        else:
            ends = counts.cumsum(0).to(torch.int32)
            gate, up = torch._grouped_mm(x, self.gate_up.transpose(-2, -1), offs=ends).chunk(2, -1)
            made = torch._grouped_mm(F.silu(gate) * up, self.down.transpose(-2, -1), offs=ends)
        out = torch.zeros(self.rows, self.hidden, device=self.device)
        return out.index_add_(0, rows, made.float() / self.top)

    def metrics(self):
        counts = self.sorted()[1]
        return {"largest_expert_share": counts.max() / counts.sum(), "empty_experts": (counts == 0).sum()}


workload.main(Moe)

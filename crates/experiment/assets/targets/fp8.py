"""A gated feed-forward layer in bf16, against scaled e4m3 with a scale a row."""

import workload  # first: it says so where there is no PyTorch
import torch
import torch.nn.functional as F

try:
    import triton
    import triton.language as tl
except ImportError:
    triton = None

MOST = 448.0  # largest e4m3 number

if triton is not None:

    @triton.jit
    def _quantise(x, made, scales, COLS: tl.constexpr, WIDTH: tl.constexpr, MOST: tl.constexpr):
        """One program a row: it is read once."""
        row, col = tl.program_id(0), tl.arange(0, WIDTH)
        value = tl.load(x + row * COLS + col, mask=col < COLS, other=0.0).to(tl.float32)
        scale = tl.maximum(tl.max(tl.abs(value), 0), 1e-12) / MOST
        tl.store(scales + row, scale)
        tl.store(made + row * COLS + col, (value / scale).to(made.dtype.element_ty), mask=col < COLS)


def quantised(x):
    """`x` of `[rows, cols]` as e4m3 with a scale for each row."""
    if triton is not None:
        rows, cols = x.shape
        made = torch.empty_like(x, dtype=torch.float8_e4m3fn)
        scales = torch.empty(rows, 1, device=x.device)
        _quantise[(rows,)](x.contiguous(), made, scales, cols, triton.next_power_of_2(cols), MOST, num_warps=8)
        return made, scales
    scale = x.abs().amax(-1, keepdim=True).float().clamp(min=1e-12) / MOST
    return (x.float() / scale).to(torch.float8_e4m3fn), scale


class Fp8:
    modes = ("baseline", "optimised")

    def set_up(self, device, mode, small):
        workload.needs_cuda(device)
        if torch.cuda.get_device_capability(device) < (8, 9):
            raise workload.Lacks("the GPU has no e4m3 products (compute capability below 8.9)")
        self.rows, self.hidden, self.inner = (64, 256, 512) if small else (2048, 4096, 14336)
        self.tokens, self.device, self.mode = self.rows, device, mode
        generator = workload.weights(device)
        draw = lambda n, k: (torch.randn(n, k, generator=generator, device=device) * k**-0.5).bfloat16()
        self.gate_up, self.down = draw(2 * self.inner, self.hidden), draw(self.hidden, self.inner)
        self.facts = {"dtype": "bf16" if mode == "baseline" else "e4m3, scales by row"}
        if mode == "optimised":
            self.q_gate_up, self.q_down = quantised(self.gate_up), quantised(self.down)

    def shape(self):
        return f"rows={self.rows} hidden={self.hidden} inner={self.inner}"

    def draw(self, generator):
        self.x = torch.randn(self.rows, self.hidden, generator=generator, device=self.device).bfloat16()

    def product(self, x, weight):
        (a, scale_a), (b, scale_b) = quantised(x), weight
        return torch._scaled_mm(a, b.t(), scale_a=scale_a, scale_b=scale_b.t(), out_dtype=torch.bfloat16)

    def work(self):
        if self.mode == "baseline":
            gate, up = F.linear(self.x, self.gate_up).chunk(2, -1)
            return F.linear(F.silu(gate) * up, self.down)
        gate, up = self.product(self.x, self.q_gate_up).chunk(2, -1)
        self.made = self.product(F.silu(gate) * up, self.q_down)
        return self.made

    def metrics(self):
        if self.mode == "baseline":
            return {}
        # Against single precision, on the first rows.
        x = self.x[:32].float()
        gate, up = F.linear(x, self.gate_up.float()).chunk(2, -1)
        exact = F.linear(F.silu(gate) * up, self.down.float())
        return {"relative_error": (self.made[:32].float() - exact).norm() / exact.norm()}


workload.main(Fp8)

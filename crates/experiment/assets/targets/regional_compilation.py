"""Decoder blocks run eagerly, against the same block compiled once and used for every layer."""

import os
import tempfile
import time

# What earlier runs compiled would hide what compiling costs. The folder is gone at the end.
CACHE = tempfile.TemporaryDirectory(prefix="inductor-")
os.environ["TORCHINDUCTOR_CACHE_DIR"] = CACHE.name
os.environ.setdefault("TORCHINDUCTOR_FORCE_DISABLE_CACHES", "1")

import workload  # first: it says so where there is no PyTorch
import torch
import torch.nn.functional as F
import decoder


class RegionalCompilation:
    modes = ("baseline", "optimised")

    def set_up(self, device, mode, small):
        cuda = device.startswith("cuda")
        self.size = decoder.SMALL if small else decoder.USUAL
        self.rows = self.tokens = 16 if small else 512
        self.device, self.dtype = device, torch.bfloat16 if cuda else torch.float32
        self.layers, _ = decoder.layers(self.size, device, self.dtype)
        self.turn = decoder.angles(self.size, torch.arange(self.rows, device=device))
        self.facts = {"dtype": str(self.dtype)}
        self.block, self.compile_s = block, 0.0
        if mode == "optimised":
            began = time.monotonic()
            try:
                self.block = torch.compile(block, fullgraph=True, dynamic=False)
                x = torch.zeros(self.rows, self.size.hidden, device=device, dtype=self.dtype)
                layer = self.layers[0]
                self.block(x, self.turn, layer.qkv, layer.out, layer.gate_up, layer.down, self.size.heads, self.size.kv_heads)
            except RuntimeError as error:
                if "compiler" in str(error).lower():
                    raise workload.Lacks("torch.compile finds no compiler") from error
                raise
            if cuda:
                torch.cuda.synchronize()
            self.compile_s = time.monotonic() - began

    def shape(self):
        return f"tokens={self.rows} {self.size}"

    def draw(self, generator):
        shape = (self.rows, self.size.hidden)
        self.x = torch.randn(shape, generator=generator, device=self.device).to(self.dtype)

    def work(self):
        x = self.x
        for layer in self.layers:
            x = self.block(
                x, self.turn, layer.qkv, layer.out, layer.gate_up, layer.down, self.size.heads, self.size.kv_heads
            )
        return x

    def metrics(self):
        return {"compile_s": self.compile_s} if self.compile_s else {}


def block(x, turn, qkv, out, gate_up, down, heads, kv_heads):
    """A prompt of one sequence through one block: `x` of `[tokens, hidden]`."""
    head_dim = out.shape[1] // heads
    made = F.linear(decoder.norm(x), qkv).view(x.shape[0], -1, head_dim).transpose(0, 1)
    q, k, v = made.split((heads, kv_heads, kv_heads), 0)
    q, k = decoder.rotate(q, turn), decoder.rotate(k, turn)
    k, v = (t.repeat_interleave(heads // kv_heads, 0) for t in (k, v))
    attended = F.scaled_dot_product_attention(q[None], k[None], v[None], is_causal=True)[0]
    x = x + F.linear(attended.transpose(0, 1).flatten(1), out)
    gate, up = F.linear(decoder.norm(x), gate_up).chunk(2, -1)
    return x + F.linear(F.silu(gate) * up, down)


workload.main(RegionalCompilation)

"""Decoder layers on one device, or split over two: each rank has half of the heads and of the inner width."""

import workload  # first: it says so where there is no PyTorch
import torch
import torch.nn.functional as F
import decoder
import ranks


class TensorParallel:
    modes = ("single", "tensor_parallel")
    usual = decoder.USUAL

    def sizes(self, small):
        """Sequences, and tokens that each has in the cache."""
        raise NotImplementedError

    def set_up(self, device, mode, small):
        self.device, self.mode = device, mode
        self.size = self.whole = decoder.SMALL if small else self.usual
        self.batch, self.context = self.sizes(small)
        self.tokens = self.batch
        self.dtype = torch.bfloat16 if device.startswith("cuda") else torch.float32
        self.layers, self.head = decoder.layers(self.size, device, self.dtype)
        self.turn = decoder.angles(self.size, torch.tensor([self.context], device=device))
        self.facts = {"dtype": str(self.dtype)}
        self.ranks = None
        self.heads = slice(0, self.size.kv_heads)
        if mode == "tensor_parallel":
            self.ranks = ranks.Ranks(self, device, mode, small)
            self.layers = [self.part(layer) for layer in self.layers]
            half = self.size.kv_heads // 2
            self.heads = slice(self.ranks.rank * half, (self.ranks.rank + 1) * half)
            whole = self.whole
            self.size = decoder.Size(
                whole.layers, whole.hidden, whole.heads // 2, half, whole.inner // 2, whole.vocab
            )
            self.size.head_dim = whole.head_dim

    def part(self, layer):
        """This rank's half of a layer."""
        rank, size = self.ranks.rank, self.size
        halves = lambda w, dim: w.chunk(2, dim)[rank].contiguous()
        q, k, v = layer.qkv.split([n * size.head_dim for n in (size.heads, size.kv_heads, size.kv_heads)], 0)
        gate, up = layer.gate_up.chunk(2, 0)
        layer.qkv = torch.cat([halves(w, 0) for w in (q, k, v)])
        layer.gate_up = torch.cat([halves(w, 0) for w in (gate, up)])
        layer.out, layer.down = halves(layer.out, 1), halves(layer.down, 1)
        return layer

    def shape(self):
        return f"batch={self.batch} context={self.context} {self.whole}"

    def draw(self, generator):
        if self.ranks and self.ranks.rank == 0:
            self.ranks.lead(generator)
        draw = lambda *shape: torch.randn(shape, generator=generator, device=self.device).to(self.dtype)
        self.x = draw(self.batch, self.size.hidden)
        # The last place is for the token of this step.
        shape = (self.batch, self.whole.kv_heads, self.context + 1, self.size.head_dim)
        part = lambda: draw(*shape)[:, self.heads].contiguous()
        self.cache = [(part(), part()) for _ in self.layers]
        if self.ranks:
            self.ranks.ready()

    def sum(self, x):
        return self.ranks.sum(x) if self.ranks else x

    def work(self):
        if self.ranks:
            # Everyone begins together, within the time.
            self.ranks.sum(torch.ones(1, device=self.device))
        x = self.x
        for layer, (keys, values) in zip(self.layers, self.cache):
            q, k, v = decoder.before_attention(self.size, layer, x, self.turn)
            keys[:, :, -1:], values[:, :, -1:] = k, v
            attended = decoder.attention(self.size, q, keys, values)
            x = x + self.sum(F.linear(attended, layer.out))
            gate, up = F.linear(decoder.norm(x), layer.gate_up).chunk(2, -1)
            x = x + self.sum(F.linear(F.silu(gate) * up, layer.down))
        return x

    def metrics(self):
        return {"ranks": ranks.RANKS if self.ranks else 1}

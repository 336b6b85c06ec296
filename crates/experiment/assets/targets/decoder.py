"""A small Llama-architecture decoder whose parts pairs exchange one by one.

Weights are random and the same on both sides. Keys and values lie in one piece for each layer: `[batch, kv_heads, room,
head_dim]`.
"""

import workload  # first: it says so where there is no PyTorch
import torch
import torch.nn.functional as F


class Size:
    def __init__(self, layers, hidden, heads, kv_heads, inner, vocab):
        self.layers, self.hidden, self.heads, self.kv_heads = layers, hidden, heads, kv_heads
        self.inner, self.vocab, self.head_dim = inner, vocab, hidden // heads

    def __str__(self):
        return f"layers={self.layers} hidden={self.hidden} heads={self.heads}/{self.kv_heads} inner={self.inner}"


SMALL = Size(layers=2, hidden=64, heads=4, kv_heads=2, inner=96, vocab=128)
USUAL = Size(layers=8, hidden=2048, heads=16, kv_heads=4, inner=5632, vocab=4096)


def norm(x):
    return x * torch.rsqrt(x.float().square().mean(-1, keepdim=True) + 1e-5).to(x.dtype)


def rotate(x, angles):
    """`x` of `[..., head_dim]`, angles of `[..., head_dim / 2]` that broadcast to it."""
    a, b = x.float().chunk(2, -1)
    cos, sin = angles.cos(), angles.sin()
    return torch.cat((a * cos - b * sin, b * cos + a * sin), -1).to(x.dtype)


class Layer:
    def __init__(self, size, draw):
        width = (size.heads + 2 * size.kv_heads) * size.head_dim
        scale = (2 * size.layers) ** -0.5
        self.qkv = draw(width, size.hidden, 1.0)
        self.out = draw(size.hidden, size.heads * size.head_dim, scale)
        self.gate_up = draw(2 * size.inner, size.hidden, 1.0)
        self.down = draw(size.hidden, size.inner, scale)

    def bytes(self):
        return sum(w.numel() * w.element_size() for w in (self.qkv, self.out, self.gate_up, self.down))


def layers(size, device, dtype):
    """The layers and the head of a decoder."""
    generator = workload.weights(device)

    def draw(rows, cols, scale):
        w = torch.randn(rows, cols, generator=generator, device=device) * (scale * cols**-0.5)
        return w.to(dtype)

    made = [Layer(size, draw) for _ in range(size.layers)]
    return made, draw(size.vocab, size.hidden, 2.5)


def angles(size, positions):
    """Of `[len(positions), head_dim / 2]`."""
    steps = torch.arange(0, size.head_dim, 2, device=positions.device).float() / size.head_dim
    return positions.float()[:, None] * 500_000.0**-steps


def before_attention(size, layer, x, turn):
    """`x` of `[batch, hidden]` to query `[batch, heads, 1, head_dim]`, key and value `[batch, kv_heads, 1, head_dim]`."""
    qkv = F.linear(norm(x), layer.qkv).view(x.shape[0], -1, 1, size.head_dim)
    q, k, v = qkv.split((size.heads, size.kv_heads, size.kv_heads), 1)
    return rotate(q, turn), rotate(k, turn), v


def attention(size, q, k, v):
    """One query a sequence over keys and values `[batch, kv_heads, tokens, head_dim]`."""
    return F.scaled_dot_product_attention(q, k, v, enable_gqa=True).flatten(1)


def after_attention(layer, x, attended):
    x = x + F.linear(attended, layer.out)
    gate, up = F.linear(norm(x), layer.gate_up).chunk(2, -1)
    return x + F.linear(F.silu(gate) * up, layer.down)

"""Keys and values where a table says, read by one kernel: in blocks from a pool, or in one piece.

A cache holds rows of `head_dim` numbers. `table[b, i]` is the row where tokens `16 i …` of sequence `b` begin for head 0;
head `h` begins `h * head_stride` rows later. So one kernel reads blocks anywhere and a piece in order.
"""

import workload  # first: it says so where there is no PyTorch
import torch

try:
    import triton
    import triton.language as tl
except ImportError:
    triton = None

BLOCK = 16
# Tokens that the kernel reads at a time.
AT_A_TIME = 64

if triton is not None:

    @triton.jit
    def _attend(
        q, k, v, k_scale, v_scale, table, lengths, out, scale, head_stride, table_stride,
        HEADS: tl.constexpr, KV_HEADS: tl.constexpr, DIM: tl.constexpr, ROWS: tl.constexpr,
        BLOCK: tl.constexpr, TOKENS: tl.constexpr,
    ):
        """One program a sequence and key/value head: online softmax over TOKENS tokens at a time."""
        b, h = tl.program_id(0), tl.program_id(1)
        n = tl.load(lengths + b)
        group: tl.constexpr = HEADS // KV_HEADS
        r, d, t = tl.arange(0, ROWS), tl.arange(0, DIM), tl.arange(0, TOKENS)
        at = (b * HEADS + h * group + r)[:, None] * DIM + d[None, :]
        query = tl.load(q + at, mask=(r < group)[:, None], other=0.0)
        scale_k, scale_v = tl.load(k_scale + h), tl.load(v_scale + h)
        most = tl.full([ROWS], float("-inf"), tl.float32)
        total = tl.zeros([ROWS], tl.float32)
        made = tl.zeros([ROWS, DIM], tl.float32)
        for i in range(0, tl.cdiv(n, TOKENS)):
            token = i * TOKENS + t
            known = token < n
            row = tl.load(table + b * table_stride + token // BLOCK, mask=known, other=0)
            place = (row + token % BLOCK + h * head_stride)[:, None] * DIM + d[None, :]
            keys = tl.load(k + place, mask=known[:, None], other=0.0).to(query.dtype)
            scores = tl.dot(query, tl.trans(keys)) * (scale * scale_k)
            scores = tl.where(known[None, :], scores, float("-inf"))
            new = tl.maximum(most, tl.max(scores, 1))
            weight = tl.exp(scores - new[:, None])
            kept = tl.exp(most - new)
            values = tl.load(v + place, mask=known[:, None], other=0.0).to(query.dtype)
            total = total * kept + tl.sum(weight, 1)
            made = made * kept[:, None] + tl.dot(weight.to(query.dtype), values)
            most = new
        made = made * (scale_v / total)[:, None]
        tl.store(out + at, made.to(out.dtype.element_ty), mask=(r < group)[:, None])


def attend(q, k, v, scales, table, lengths, head_stride, kv_heads):
    """`q` of `[batch, heads, head_dim]`; `k`, `v` caches of any shape, read as rows; `scales` two of `[kv_heads]`."""
    batch, heads, dim = q.shape
    out = torch.empty_like(q)
    if triton is None or not q.is_cuda:
        return _plain(q, k, v, scales, table, lengths, head_stride, kv_heads, out)
    _attend[(batch, kv_heads)](
        q, k, v, *scales, table, lengths, out, dim**-0.5, head_stride, table.stride(0),
        heads, kv_heads, dim, max(16, heads // kv_heads), BLOCK, AT_A_TIME,
    )
    return out


def _plain(q, k, v, scales, table, lengths, head_stride, kv_heads, out):
    """The same without a kernel, for looking at it on a CPU."""
    batch, heads, dim = q.shape
    k, v, group = k.reshape(-1, dim), v.reshape(-1, dim), heads // kv_heads
    for b in range(batch):
        n = int(lengths[b])
        tokens = torch.arange(n, device=q.device)
        for h in range(kv_heads):
            rows = table[b, tokens // BLOCK] + tokens % BLOCK + h * head_stride
            keys, values = k[rows].to(q.dtype) * scales[0][h], v[rows].to(q.dtype) * scales[1][h]
            heads_of = slice(h * group, (h + 1) * group)
            out[b, heads_of] = torch.softmax(q[b, heads_of] @ keys.T * dim**-0.5, -1) @ values
    return out


class Pool:
    """Blocks of `[kv_heads, 16, head_dim]` that are handed out and taken back, and the tables of sequences."""

    def __init__(self, blocks, batch, most_tokens, kv_heads, dim, device, dtype, caches=1):
        self.k = [torch.zeros(blocks, kv_heads, BLOCK, dim, device=device, dtype=dtype) for _ in range(caches)]
        self.v = [torch.zeros_like(k) for k in self.k]
        self.kv_heads, self.dim, self.head_stride = kv_heads, dim, BLOCK
        self.free = list(range(blocks - 1, -1, -1))
        self.held = [[] for _ in range(batch)]
        self.host = torch.zeros(batch, -(-most_tokens // BLOCK), dtype=torch.int64)
        self.table = self.host.to(device)
        self.batch = torch.arange(batch, device=device)

    def cover(self, lengths):
        """Room for so many tokens of each sequence; how many blocks were taken."""
        taken = 0
        for b, n in enumerate(lengths):
            while len(self.held[b]) * BLOCK < n:
                block = self.free.pop()
                self.host[b, len(self.held[b])] = block * self.kv_heads * BLOCK
                self.held[b].append(block)
                taken += 1
        if taken:
            self.table.copy_(self.host)
        return taken

    def slots(self, positions):
        """Block and place in it of a token of each sequence, on the device."""
        rows = self.table[self.batch, positions // BLOCK]
        return rows // (self.kv_heads * BLOCK), positions % BLOCK

    def store(self, cache, slots, k, v):
        """A token of each sequence: `[batch, kv_heads, head_dim]`."""
        block, place = slots
        self.k[cache][block, :, place] = k.to(self.k[cache].dtype)
        self.v[cache][block, :, place] = v.to(self.v[cache].dtype)

    def fill(self, cache, k, v, lengths):
        """What is there at the begin: `[batch, kv_heads, tokens, head_dim]`."""
        for b, n in enumerate(lengths):
            blocks = torch.tensor(self.held[b][: -(-n // BLOCK)], device=k.device)
            for to, rows in ((self.k[cache], k[b]), (self.v[cache], v[b])):
                whole = torch.zeros(rows.shape[0], len(blocks) * BLOCK, rows.shape[2], device=k.device, dtype=to.dtype)
                whole[:, :n] = rows[:, :n].to(to.dtype)
                to[blocks] = whole.view(rows.shape[0], len(blocks), BLOCK, -1).transpose(0, 1)

    def release(self):
        for held in self.held:
            self.free.extend(reversed(held))
            held.clear()


class Piece:
    """Keys and values of all sequences in one piece, allocated anew with every token, as long as the longest."""

    def __init__(self, k, v):
        self.k, self.v = k, v

    def grow(self, k, v, lengths):
        """A token of each sequence at `lengths[b]`: `[batch, kv_heads, head_dim]`; bytes that were copied."""
        copied = 2 * self.k.numel() * self.k.element_size()
        room = torch.empty_like(self.k[:, :, :1])
        self.k, self.v = torch.cat((self.k, room), 2), torch.cat((self.v, room), 2)
        batch = torch.arange(len(lengths), device=k.device)
        self.k[batch, :, lengths] = k
        self.v[batch, :, lengths] = v
        return copied

    def table(self):
        """Where the blocks of a piece begin."""
        batch, kv_heads, tokens, _ = self.k.shape
        device = self.k.device
        starts = torch.arange(0, tokens, BLOCK, device=device)
        return torch.arange(batch, device=device)[:, None] * (kv_heads * tokens) + starts

"""A decode loop, improved step by step; each mode adds one thing to the one before.

naive   keys and values in one piece that grows, scores as a matrix, a launch a kernel
fused   one kernel for attention
paged   blocks from a pool
graph   the step as a CUDA graph
fp8_kv  the cache in e4m3
"""

import workload  # first: it says so where there is no PyTorch
import torch
import torch.nn.functional as F
import blocks
import decoder

MODES = ("naive", "fused", "paged", "graph", "fp8_kv")
MOST = 448.0  # largest e4m3 number
LARGEST = 8.0  # numbers of keys and values are clipped to this by e4m3


class InferenceOptimizations:
    modes = MODES

    def set_up(self, device, mode, small):
        cuda = device.startswith("cuda")
        self.rank = MODES.index(mode)
        if self.rank >= MODES.index("graph"):
            workload.needs_cuda(device)
        if cuda and blocks.triton is None:
            raise workload.Lacks("Triton is not installed for this Python")
        if mode == "fp8_kv" and torch.cuda.get_device_capability(device) < (8, 9):
            raise workload.Lacks("the GPU has no e4m3 numbers (compute capability below 8.9)")
        self.size = decoder.SMALL if small else decoder.USUAL
        self.batch, self.context, self.steps = (2, 40, 4) if small else (8, 1024, 4)
        self.tokens = self.batch * self.steps
        self.device, self.dtype = device, torch.bfloat16 if cuda else torch.float32
        self.layers, self.head = decoder.layers(self.size, device, self.dtype)
        generator = workload.weights(device)
        self.embedding = torch.randn(self.size.vocab, self.size.hidden, generator=generator, device=device).to(self.dtype)
        self.facts = {"dtype": str(self.dtype)}
        kv_heads = self.size.kv_heads
        cached = torch.float8_e4m3fn if mode == "fp8_kv" else self.dtype
        scale = LARGEST / MOST if mode == "fp8_kv" else 1.0
        self.scale = scale
        self.scales = [torch.full((kv_heads,), scale, device=device) for _ in range(2)]
        self.pool = None
        if self.rank >= MODES.index("paged"):
            most = self.context + self.steps
            count = self.batch * -(-most // blocks.BLOCK)
            self.pool = blocks.Pool(
                count, self.batch, most, kv_heads, self.size.head_dim, device, cached, caches=len(self.layers)
            )
        # Places that a graph reads and writes.
        self.token = torch.zeros(self.batch, dtype=torch.int64, device=device)
        self.at = torch.zeros(self.batch, dtype=torch.int64, device=device)
        self.graph = None
        if self.rank >= MODES.index("graph"):
            self.pool.cover([self.context + self.steps] * self.batch)
            side = torch.cuda.Stream()
            side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(side):
                for _ in range(2):
                    self.step()
            torch.cuda.current_stream().wait_stream(side)
            self.graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self.graph):
                self.logits = self.step()

    def shape(self):
        return f"batch={self.batch} context={self.context} steps={self.steps} {self.size}"

    def draw(self, generator):
        size = self.size
        self.given = torch.randint(
            size.vocab, (self.steps + 1, self.batch), generator=generator, device=self.device
        )
        shape = (self.batch, size.kv_heads, self.context, size.head_dim)
        lengths = [self.context] * self.batch
        if self.pool:
            self.pool.release()
            self.pool.cover([self.context + (self.steps if self.graph else 0)] * self.batch)
        self.pieces = []
        for layer in range(size.layers):
            k, v = (torch.randn(shape, generator=generator, device=self.device).to(self.dtype) for _ in range(2))
            if self.pool:
                self.pool.fill(layer, self.narrow(k), self.narrow(v), lengths)
            else:
                self.pieces.append(blocks.Piece(k, v))

    def narrow(self, x):
        return (x / self.scale).clamp(-MOST, MOST) if self.scale != 1.0 else x

    def attention(self, number, q, k, v):
        """A query a sequence, `[batch, heads, head_dim]`, after its own key and value are in the cache."""
        size = self.size
        if self.pool:
            self.pool.store(number, self.pool.slots(self.at), self.narrow(k), self.narrow(v))
            keys, values, table = self.pool.k[number], self.pool.v[number], self.pool.table
            stride = self.pool.head_stride
        else:
            piece = self.pieces[number]
            piece.grow(k, v, self.at)
            keys, values, stride = piece.k, piece.v, piece.k.shape[2]
            if self.rank == 0:
                keys, values = (t.repeat_interleave(size.heads // size.kv_heads, 1) for t in (keys, values))
                scores = q[:, :, None] @ keys.transpose(-2, -1) * size.head_dim**-0.5
                return (torch.softmax(scores, -1) @ values)[:, :, 0]
            table = piece.table()
        return blocks.attend(q, keys, values, self.scales, table, self.at + 1, stride, size.kv_heads)

    def step(self):
        size, x = self.size, self.embedding[self.token]
        turn = decoder.angles(size, self.at)[:, None, None]
        for number, layer in enumerate(self.layers):
            q, k, v = decoder.before_attention(size, layer, x, turn)
            made = self.attention(number, q[:, :, 0].contiguous(), k[:, :, 0], v[:, :, 0])
            x = decoder.after_attention(layer, x, made.flatten(1))
        return F.linear(decoder.norm(x), self.head)

    def work(self):
        out = []
        for step in range(self.steps):
            self.token.copy_(self.given[step])
            self.at.fill_(self.context + step)
            if self.graph:
                self.graph.replay()
                out.append(self.logits.clone())
            else:
                if self.pool:
                    self.pool.cover([self.context + step + 1] * self.batch)
                out.append(self.step())
        self.made = torch.stack(out)
        return self.made

    def metrics(self):
        loss = F.cross_entropy(self.made.float().flatten(0, 1), self.given[1:].flatten())
        if self.pool:
            held = sum(len(h) for h in self.pool.held)
            cache = self.pool.k[0]
            cached = 2 * len(self.layers) * held * cache[0].numel() * cache.element_size()
        else:
            cached = sum(2 * p.k.numel() * p.k.element_size() for p in self.pieces)
        return {"perplexity": loss.exp(), "cache_bytes": cached}


workload.main(InferenceOptimizations)

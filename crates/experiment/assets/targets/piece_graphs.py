"""A decode step launched kernel by kernel, against CUDA graphs of its pieces with attention between them."""

import time

import workload  # first: it says so where there is no PyTorch
import torch
import torch.nn.functional as F
import decoder

CONTEXT = 512


class PieceGraphs:
    modes = ("baseline", "optimised")

    def set_up(self, device, mode, small):
        workload.needs_cuda(device)
        self.size = decoder.SMALL if small else decoder.USUAL
        self.batch = self.tokens = 2
        self.mode = mode
        self.dtype = torch.bfloat16
        self.layers, self.head = decoder.layers(self.size, device, self.dtype)
        shape = (self.batch, self.size.kv_heads, CONTEXT + 1, self.size.head_dim)
        self.keys = [torch.zeros(shape, device=device, dtype=self.dtype) for _ in self.layers]
        self.values = [torch.zeros(shape, device=device, dtype=self.dtype) for _ in self.layers]
        self.x = torch.zeros(self.batch, self.size.hidden, device=device, dtype=self.dtype)
        self.turn = decoder.angles(self.size, torch.tensor([CONTEXT], device=device))
        self.facts = {"dtype": str(self.dtype)}
        self.pieces, self.capture_s = [], 0.0
        if mode == "optimised":
            self.capture()

    def capture(self):
        """A graph for what lies between two attentions; its inputs and outputs have fixed places."""
        self.attended = torch.zeros(
            self.batch, self.size.heads * self.size.head_dim, device=self.x.device, dtype=self.dtype
        )
        began = time.monotonic()
        for number in range(len(self.layers) + 1):
            side = torch.cuda.Stream()
            side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(side):
                for _ in range(2):
                    self.piece(number, self.x if number == 0 else self.between[number - 1])
            torch.cuda.current_stream().wait_stream(side)
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                made = self.piece(number, self.x if number == 0 else self.between[number - 1])
            self.pieces.append((graph, made))
        torch.cuda.synchronize()
        self.capture_s = time.monotonic() - began

    @property
    def between(self):
        """What each piece hands to the next one beside attention: the residual stream."""
        return [made[0] for _, made in self.pieces]

    def piece(self, number, x):
        """From the end of an attention to the begin of the next: `(x, q)`, or the logits after the last."""
        if number > 0:
            x = decoder.after_attention(self.layers[number - 1], x, self.attended)
        if number == len(self.layers):
            return x, F.linear(decoder.norm(x), self.head)
        q, k, v = decoder.before_attention(self.size, self.layers[number], x, self.turn)
        self.keys[number][:, :, CONTEXT:] = k
        self.values[number][:, :, CONTEXT:] = v
        return x, q

    def shape(self):
        return f"batch={self.batch} context={CONTEXT} {self.size}"

    def draw(self, generator):
        draw = lambda t: t.copy_(torch.randn(t.shape, generator=generator, device=t.device))
        draw(self.x)
        for keys, values in zip(self.keys, self.values):
            draw(keys[:, :, :CONTEXT])
            draw(values[:, :, :CONTEXT])

    def work(self):
        x = self.x
        for number in range(len(self.layers) + 1):
            if self.mode == "optimised":
                graph, (x, made) = self.pieces[number]
                graph.replay()
            else:
                x, made = self.piece(number, x)
            if number == len(self.layers):
                return made.clone()
            attended = decoder.attention(self.size, made, self.keys[number], self.values[number])
            if self.mode == "optimised":
                self.attended.copy_(attended)
            else:
                self.attended = attended

    def metrics(self):
        return {"capture_s": self.capture_s, "pieces": len(self.pieces)} if self.pieces else {}


workload.main(PieceGraphs)

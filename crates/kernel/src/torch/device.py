"""Operators through PyTorch, driven over JSON lines: one question a line in, one answer a line out.

{"prepare": {"op": …, "launch": …, "cache": …}} → {"ok": true} or an error
{"check": seed}                                 → {"deviation": …}
{"sample": calls}                               → {"seconds": …}
{"drop": true}                                  → {"ok": true}
"""

import json
import math
import os
import sys

# Whatever libraries print must not get between the answers.
answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)


def answer(content):
    answers.write(json.dumps(content) + "\n")
    answers.flush()


try:
    import torch
    import torch.nn.functional as F

    index = int(sys.argv[1])
    if not torch.cuda.is_available():
        raise RuntimeError("PyTorch sees no CUDA device")
    torch.cuda.set_device(index)
    device = torch.device("cuda", index)
    properties = torch.cuda.get_device_properties(device)
    answer({
        "torch": torch.__version__,
        "cuda": str(torch.version.cuda),
        "cudnn": str(torch.backends.cudnn.version()),
        "name": properties.name,
        "units": properties.multi_processor_count,
        "capability": [properties.major, properties.minor],
    })
except Exception as reason:
    answer({"error": "failed", "reason": f"{type(reason).__name__}: {reason}"})
    sys.exit(1)

L2_BYTES = properties.L2_cache_size
DTYPES = {"f32": torch.float32, "tf32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16,
          "f8_e4m3": torch.float8_e4m3fn, "i8": torch.int8}
ROUNDING = {torch.float32: 2.0**-24, torch.float16: 2.0**-11, torch.bfloat16: 2.0**-8, torch.int32: 0.0}


class Unsupported(Exception):
    pass


def random(shape, dtype, generator):
    if dtype == torch.int8:
        return torch.randint(-127, 128, shape, dtype=dtype, device=device, generator=generator)
    wide = torch.rand(shape, device=device, generator=generator) * 2 - 1
    return wide.to(dtype)


def some(length, count, generator):
    """Positions to check, the first and the last among them."""
    if length <= count:
        return torch.arange(length, device=device)
    inner = torch.randint(0, length, (count - 2,), device=device, generator=generator)
    return torch.cat([torch.tensor([0, length - 1], device=device), inner])


def worst(found, value, tolerance):
    """Largest deviation in multiples of what is allowed; what is not a number deviates infinitely."""
    off = (found.double() - value).abs()
    off = torch.where(off == 0, off, off / tolerance)
    return math.inf if bool(torch.isnan(off).any()) else float(off.max())


class Operator:
    """Operands of one set, the call, and whether its result is right."""

    def __init__(self, op):
        self.op = op
        self.shape = op["shape"]
        names = op["dtypes"]
        for name in names.values():
            if name not in DTYPES:
                raise Unsupported(f"{name} in PyTorch")
        self.tf32 = names["input"] == "tf32"
        self.input, self.weight, self.output = (DTYPES[names[n]] for n in ("input", "weight", "output"))

    def tolerance(self, value, scale=1.0):
        """Of operators on rows: one rounding, and single precision on the way."""
        return ROUNDING[self.output] * value.abs() + 2.0**-18 * scale + 1e-30


class Linear(Operator):
    def operands(self, g):
        m, n, k = (self.shape[x] for x in "mnk")
        if self.input != self.weight:
            raise Unsupported("operands of different formats")
        if self.input == torch.int8:
            # PyTorch's product gives the 32-bit sums.
            if self.op["dtypes"]["output"] != "f32":
                raise Unsupported("a product of 8-bit integers into another format than their sums")
            self.output = torch.int32
        out = torch.empty((m, n), dtype=self.output, device=device)
        return {"x": random((m, k), self.input, g), "w": random((n, k), self.weight, g), "out": out}

    def prepare(self):
        self.one = torch.ones((), device=device)

    def call(self, s):
        if self.input == torch.float8_e4m3fn:
            return torch._scaled_mm(s["x"], s["w"].t(), self.one, self.one, out_dtype=self.output,
                                    use_fast_accum=True)
        if self.input == torch.int8:
            return torch._int_mm(s["x"], s["w"].t(), out=s["out"])
        return torch.mm(s["x"], s["w"].t(), out=s["out"])

    def deviation(self, s, found, g):
        m, n, k = (self.shape[x] for x in "mnk")
        rows, columns = some(m, 16, g), some(n, 16, g)
        # Rows of 8-bit floats cannot be indexed in every version.
        wide = lambda t, at: t.view(torch.int8)[at].view(t.dtype).double() if t.element_size() == 1 else t[at].double()
        x, w = wide(s["x"], rows), wide(s["w"], columns)
        value = x @ w.T
        spread = ((x * x) @ (w * w).T).sqrt()
        cut = 2.0**-10 if self.tf32 else 0.0
        addition, additions = {
            torch.float8_e4m3fn: (2.0**-12, k / 32), torch.int8: (0.0, 0),
            torch.float32: (2.0**-22 if self.tf32 else 2.0**-24, k),
        }.get(self.input, (2.0**-22, k / 8))
        unit = ROUNDING[self.output]
        total = 2 * cut * value.abs() + 6 * cut * spread + (additions + 4) * addition * spread
        split = 4 * unit * spread if self.output in (torch.float16, torch.bfloat16) else 0.0
        return worst(found[rows][:, columns], value, unit * (value.abs() + total) + total + split)


class Rows(Operator):
    """Operators on rows, checked on some of them."""

    def operands(self, g):
        rows, cols = self.shape["rows"], self.shape["cols"]
        wide = 2 * cols if self.op["kind"] == "silu_mul" else cols
        s = {"x": random((rows, wide), self.input, g)}
        if self.op["kind"] in ("layer_norm", "rms_norm", "add_rms_norm"):
            s["w"] = random((cols,), self.weight, g)
        if self.op["kind"] == "layer_norm":
            s["b"] = random((cols,), self.weight, g)
        if self.op["kind"] == "add_rms_norm":
            s["r"] = random((rows, cols), self.input, g)
        return s

    def prepare(self):
        pass

    def compute(self, x, w=None, b=None, r=None):
        kind, cols = self.op["kind"], self.shape["cols"]
        if kind == "layer_norm":
            return F.layer_norm(x, (cols,), w, b, 1e-5)
        if kind == "rms_norm":
            return F.rms_norm(x, (cols,), w, 1e-6)
        if kind == "add_rms_norm":
            return F.rms_norm(x + r, (cols,), w, 1e-6)
        if kind == "gelu":
            return F.gelu(x)
        if kind == "silu_mul":
            return F.silu(x[:, :cols]) * x[:, cols:]
        if kind == "softmax":
            return torch.softmax(x, -1)
        return torch.argmax(x, -1)

    def call(self, s):
        return self.compute(**s)

    def deviation(self, s, found, g):
        rows = some(self.shape["rows"], 64, g)
        part = {name: t[rows].double() if t.dim() == 2 else t.double() for name, t in s.items()}
        value = self.compute(**part)
        if self.op["kind"] == "argmax":
            # Among equals any may be named.
            named = part["x"].gather(1, found[rows].unsqueeze(1)).squeeze(1)
            return 0.0 if bool((named == part["x"].amax(-1)).all()) else math.inf
        # The sum and the first half of the product are rounded to the format before they are used.
        extra = 4 * ROUNDING[self.output] if self.op["kind"] in ("add_rms_norm", "silu_mul") else 0.0
        scale = float(value.abs().max())
        return worst(found[rows], value, self.tolerance(value, scale) + extra * scale)


class Embedding(Operator):
    def operands(self, g):
        tokens, vocab, hidden = (self.shape[x] for x in ("tokens", "vocab", "hidden"))
        ids = torch.randint(0, vocab, (tokens,), device=device, generator=g)
        return {"ids": ids, "table": random((vocab, hidden), self.weight, g)}

    def prepare(self):
        pass

    def call(self, s):
        return F.embedding(s["ids"], s["table"])

    def deviation(self, s, found, g):
        return 0.0 if bool((found == s["table"][s["ids"]]).all()) else math.inf


class Attention(Operator):
    def operands(self, g):
        b, new, cached, heads, kv, d = (
            self.shape[x] for x in ("sequences", "new_tokens", "cached", "heads", "kv_heads", "head_dim"))
        if self.op["kind"] == "attention_prefill" and cached:
            raise Unsupported("causal attention of new tokens behind cached ones")
        return {"q": random((b, heads, new, d), self.input, g),
                "k": random((b, kv, cached + new, d), self.weight, g),
                "v": random((b, kv, cached + new, d), self.weight, g)}

    def prepare(self):
        self.causal = self.op["kind"] == "attention_prefill"
        self.grouped = self.shape["heads"] != self.shape["kv_heads"]

    def call(self, s):
        return F.scaled_dot_product_attention(s["q"], s["k"], s["v"], is_causal=self.causal,
                                              enable_gqa=self.grouped)

    def deviation(self, s, found, g):
        group = self.shape["heads"] // self.shape["kv_heads"]
        most = 0.0
        for at in some(self.shape["sequences"] * self.shape["heads"] * self.shape["new_tokens"], 64, g).tolist():
            row, rest = at % self.shape["new_tokens"], at // self.shape["new_tokens"]
            head, b = rest % self.shape["heads"], rest // self.shape["heads"]
            seen = row + 1 if self.causal else self.shape["cached"] + self.shape["new_tokens"]
            k, v = (s[x][b, head // group, :seen].double() for x in ("k", "v"))
            weights = torch.softmax(k @ s["q"][b, head, row].double() / math.sqrt(self.shape["head_dim"]), 0)
            value = weights @ v
            # Weights are rounded to the format before they multiply.
            spread = (weights * weights).sum().sqrt()
            tolerance = self.tolerance(value, 1.0) + 4 * ROUNDING[self.output] * spread
            most = max(most, worst(found[b, head, row], value, tolerance))
        return most


class Convolution(Operator):
    def operands(self, g):
        s = self.shape
        last = torch.channels_last
        x = random((s["batch"], s["channels"], s["height"], s["width"]), self.input, g)
        w = random((s["filters"], s["channels"], s["kernel"], s["kernel"]), self.weight, g)
        return {"x": x.contiguous(memory_format=last), "w": w.contiguous(memory_format=last)}

    def prepare(self):
        pass

    def call(self, s):
        return F.conv2d(s["x"], s["w"], stride=self.shape["stride"], padding=self.shape["padding"])

    def deviation(self, s, found, g):
        image = s["x"][:1].double()
        filters = some(self.shape["filters"], 8, g)
        of = lambda x, w: F.conv2d(x, w, stride=self.shape["stride"], padding=self.shape["padding"])
        w = s["w"][filters].double()
        value, spread = of(image, w), of(image * image, w * w).sqrt()
        cut = 2.0**-10 if self.tf32 else 0.0
        terms = self.shape["channels"] * self.shape["kernel"] ** 2
        tolerance = self.tolerance(value) + (8 * cut + 16 * ROUNDING[self.output] + terms * 2.0**-22) * spread
        return worst(found[:1, filters], value, tolerance)


class Recurrent(Operator):
    def operands(self, g):
        s = self.shape
        kind = torch.nn.LSTM if self.op["kind"] == "lstm" else torch.nn.GRU
        layers = kind(s["input"], s["hidden"], s["layers"], device=device, dtype=self.weight).eval()
        layers.requires_grad_(False)
        return {"x": random((s["steps"], s["batch"], s["input"]), self.input, g), "layers": layers}

    def prepare(self):
        pass

    def call(self, s):
        return s["layers"](s["x"])[0]

    def deviation(self, s, found, g):
        one = s["x"][:4, :1].double()
        with torch.backends.cudnn.flags(enabled=False):
            wide = type(s["layers"])(self.shape["input"], self.shape["hidden"], self.shape["layers"],
                                     device=device, dtype=torch.float64)
            wide.load_state_dict({k: v.double() for k, v in s["layers"].state_dict().items()})
            value = wide(one)[0].detach()
        error = ROUNDING[self.output] + (2.0**-10 if self.tf32 else 0.0) + 2.0**-17
        return worst(found[:4, :1], value, 8 * error * (1 + self.shape["layers"]))


KINDS = {"linear": Linear, "embedding": Embedding, "conv2d": Convolution, "lstm": Recurrent, "gru": Recurrent,
         "attention_prefill": Attention, "attention_decode": Attention,
         **{name: Rows for name in ("layer_norm", "rms_norm", "add_rms_norm", "gelu", "silu_mul", "softmax",
                                    "argmax")}}


def size(operands):
    total = 0
    for thing in operands.values():
        tensors = thing.parameters() if isinstance(thing, torch.nn.Module) else [thing]
        total += sum(t.numel() * t.element_size() for t in tensors)
    return total


class Case:
    MOST_SETS, QUEUE, GRAPH = 256, 256, 256

    def __init__(self, op, launch, cache):
        if op["kind"] not in KINDS:
            raise Unsupported(f"{op['kind']} has no counterpart in PyTorch")
        self.operator, self.launch, self.cold = KINDS[op["kind"]](op), launch, cache == "cold"
        torch.backends.cuda.matmul.allow_tf32 = self.operator.tf32
        torch.backends.cudnn.allow_tf32 = self.operator.tf32
        g = torch.Generator(device=device).manual_seed(1)
        self.sets = [self.operator.operands(g)]
        self.operator.prepare()
        self.set_bytes = max(1, size(self.sets[0]))
        count = 1
        if self.cold and self.set_bytes < 8 * L2_BYTES:
            count = min(self.MOST_SETS, -(-2 * L2_BYTES // self.set_bytes) + 1)
        self.sets += [self.operator.operands(g) for _ in range(count - 1)]
        self.flush = None
        if self.cold and count * self.set_bytes < 2 * L2_BYTES:
            self.flush = torch.zeros(2 * L2_BYTES // 4, device=device)
        self.graphs, self.next, self.host_s = {}, 0, 20e-6
        self.start, self.end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        for _ in range(3):
            self.operator.call(self.sets[0])
        torch.cuda.synchronize()

    def check(self, seed):
        g = torch.Generator(device=device).manual_seed(seed % 2**63)
        fresh = self.operator.operands(g)
        for thing in [fresh["out"]] if "out" in fresh else []:
            thing.view(torch.int8).fill_(-1)
        found = self.operator.call(fresh)
        torch.cuda.synchronize()
        return self.operator.deviation(fresh, found, g)

    def graph(self, copies):
        if copies not in self.graphs:
            if len(self.graphs) >= 4:
                self.graphs.clear()
            made = torch.cuda.CUDAGraph()
            with torch.cuda.graph(made):
                for i in range(copies):
                    self.operator.call(self.sets[i % len(self.sets)])
            made.replay()
            torch.cuda.synchronize()
            self.graphs[copies] = made
        return self.graphs[copies]

    def batch(self, calls):
        """Seconds of a batch; the device sleeps until the host has queued it."""
        replay = self.graph(calls) if self.launch == "graph" else None
        if self.flush is not None:
            self.flush.sum()
        torch.cuda._sleep(int(2e9 * (50e-6 + (0 if replay else calls * self.host_s))))
        self.start.record()
        if replay:
            replay.replay()
        else:
            for i in range(calls):
                self.operator.call(self.sets[(self.next + i) % len(self.sets)])
            self.next += calls
        self.end.record()
        self.end.synchronize()
        return self.start.elapsed_time(self.end) / 1e3

    def sample(self, calls):
        most = self.GRAPH if self.launch == "graph" else self.QUEUE
        if self.flush is not None:
            most = min(most, len(self.sets))
        total, left = 0.0, calls
        while left > 0:
            now = min(left, most)
            total += self.batch(now)
            left -= now
        return total


case = None
for line in sys.stdin:
    try:
        question = json.loads(line)
        if "prepare" in question:
            case = None
            torch.cuda.empty_cache()
            p = question["prepare"]
            with torch.no_grad():
                case = Case(p["op"], p["launch"], p["cache"])
            answer({"ok": True})
        elif "check" in question:
            with torch.no_grad():
                answer({"deviation": min(case.check(question["check"]), 1e300)})
        elif "sample" in question:
            with torch.no_grad():
                answer({"seconds": case.sample(question["sample"])})
        else:
            case = None
            answer({"ok": True})
    except Unsupported as reason:
        answer({"error": "unsupported", "reason": str(reason)})
    except torch.cuda.OutOfMemoryError:
        case = None
        torch.cuda.empty_cache()
        answer({"error": "out_of_memory", "reason": "torch.cuda.OutOfMemoryError"})
    except Exception as reason:
        text = f"{type(reason).__name__}: {reason}"[:400]
        lost = "illegal memory access" in text or "unspecified launch failure" in text
        answer({"error": "lost" if lost else "failed", "reason": text})

"""One side of a workload pair as a program: the protocol, the clock and the inputs, shared by all pairs.

A pair is a class with

    modes                       names of its two sides
    set_up(device, mode, small) weights, buffers, captured graphs; knows no input
    draw(generator)             makes the input of one iteration, outside the time
    work() -> Tensor            does the work once; this is what is timed
    shape() -> str              its sizes, for people
    metrics() -> dict           numbers of the last iteration, optional
    tokens                      tokens of an iteration, optional
    facts                       further facts, optional

and ends with `workload.main(Pair)`. Standard input and output speak JSON lines, one object each; everything else that is
printed goes to standard error. What a machine lacks is told with `raise workload.Lacks("why")` in set_up.
"""

import argparse
import gc
import hashlib
import json
import os
import sys
import time

# The protocol keeps standard output for itself, whatever libraries print there.
SPOKEN = os.fdopen(os.dup(1), "w", buffering=1)
os.dup2(2, 1)


def say(message: dict) -> None:
    SPOKEN.write(json.dumps(message) + "\n")
    SPOKEN.flush()


class Lacks(Exception):
    """This machine lacks what the pair needs."""


try:
    import torch
except ImportError:
    # Pairs import this module first: without PyTorch nothing of them is run.
    sys.stdin.readline()
    say({"skip": "PyTorch is not installed for this Python"})
    sys.exit(0)

# Weights are no input: the same on both sides, and nothing that is drawn later.
WEIGHTS_SEED = 20_240_229
# More than the second-level cache of any GPU.
FLUSH_BYTES = 256 << 20


def weights(device: str) -> torch.Generator:
    """A generator of weights, the same for both sides."""
    return torch.Generator(device=device).manual_seed(WEIGHTS_SEED)


def needs_cuda(device: str) -> None:
    if not device.startswith("cuda"):
        raise Lacks("it needs an NVIDIA GPU")


class Side:
    """A pair's side between `prepare` and the end."""

    def __init__(self, pair, device: str, small: bool):
        self.pair, self.device, self.small = pair, device, small
        self.cuda = device.startswith("cuda")
        self.seed = self.trial = 0
        self.last = None
        self.flush = None

    def prepare(self, ask: dict) -> dict:
        if self.cuda and not torch.cuda.is_available():
            raise Lacks("PyTorch sees no GPU")
        if self.cuda:
            torch.cuda.set_device(self.device)
            self.flush = torch.empty(FLUSH_BYTES, dtype=torch.uint8, device=self.device)
        self.seed, self.trial = ask["seed"], ask["trial"] or 0
        mode = ask["mode"]
        if mode not in self.pair.modes:
            raise SystemExit(f"mode {mode!r} is none of {self.pair.modes}")
        began = time.monotonic()
        with torch.no_grad():
            self.pair.set_up(self.device, mode, self.small)
        self.wait()
        facts = {
            "variant": mode,
            "device": torch.cuda.get_device_name(self.device) if self.cuda else "cpu",
            "torch": torch.__version__,
            "cuda": torch.version.cuda or "none",
            "shape": self.pair.shape(),
            "matmul_precision": torch.get_float32_matmul_precision(),
            "allow_tf32": torch.backends.cuda.matmul.allow_tf32,
            "inputs": "fresh in every iteration; second-level cache flushed" if self.cuda else "fresh in every iteration",
            "set_up_s": round(time.monotonic() - began, 3),
        }
        return facts | getattr(self.pair, "facts", {})

    def wait(self) -> None:
        """Until the whole device is done: work on any stream counts."""
        if self.cuda:
            torch.cuda.synchronize()

    def draw(self, *key: int) -> None:
        """The input of one iteration, the same on both sides."""
        digest = hashlib.sha256(repr(key).encode()).digest()
        generator = torch.Generator(device=self.device)
        generator.manual_seed(int.from_bytes(digest[:7], "little"))
        self.pair.draw(generator)

    def once(self) -> tuple[int, int]:
        """Does the work once; when it began and ended, by CLOCK_MONOTONIC."""
        if self.flush is not None:
            self.flush.zero_()
        if self.cuda:
            torch.cuda.reset_peak_memory_stats()
        self.last = None
        self.wait()
        self.mark("cudaProfilerStart")
        start = time.monotonic_ns()
        self.last = self.pair.work()
        self.wait()
        end = time.monotonic_ns()
        self.mark("cudaProfilerStop")
        return start, end

    def mark(self, call: str) -> None:
        """Tells a profiler, if there is one, where the work begins and ends."""
        if self.cuda:
            getattr(torch.cuda.cudart(), call)()

    def iterate(self, n: int) -> None:
        gc.collect()
        gc.disable()
        for i in range(n):
            self.draw(self.seed, self.trial, i)
            resting = torch.cuda.memory_allocated() if self.cuda else 0
            start, end = self.once()
            metrics = {}
            if self.cuda:
                metrics["peak_memory_bytes"] = float(torch.cuda.max_memory_allocated())
                metrics["working_memory_bytes"] = float(torch.cuda.max_memory_allocated() - resting)
            if hasattr(self.pair, "metrics"):
                metrics |= {name: float(value) for name, value in self.pair.metrics().items()}
            iteration = {"start_ns": start, "end_ns": end, "metrics": metrics}
            tokens = getattr(self.pair, "tokens", None)
            if tokens:
                iteration["tokens"] = int(tokens)
            say({"iteration": iteration})
        gc.enable()
        say({"done": n})

    def numbers(self) -> bytes:
        """The last output as little-endian 32-bit numbers."""
        return self.last.detach().float().cpu().contiguous().numpy().astype("<f4").tobytes()

    def answer(self, ask: dict) -> None:
        if ask["do"] == "prepare":
            say({"ready": self.prepare(ask)})
        elif ask["do"] == "iterate":
            self.iterate(ask["n"])
        elif ask["do"] == "verify":
            self.draw(ask["seed"], -1, 0)
            self.once()
            with open(ask["file"], "wb") as file:
                file.write(self.numbers())
            say({"verified": {"values": self.last.numel()}})
        elif ask["do"] == "outputs":
            data = self.numbers()
            if "file" in ask:
                with open(ask["file"], "wb") as file:
                    file.write(data)
            say({"outputs": {"sha256": hashlib.sha256(data).hexdigest()}})


def main(pair_class) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--device", default="cuda:0")
    parser.add_argument("--small", action="store_true")
    args = parser.parse_args()
    side = Side(pair_class(), args.device, args.small)
    for line in sys.stdin:
        ask = json.loads(line)
        if ask["do"] == "end":
            return
        try:
            with torch.no_grad():
                side.answer(ask)
        except Lacks as lacks:
            say({"skip": str(lacks)})
            return

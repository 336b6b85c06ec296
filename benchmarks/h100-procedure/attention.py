"""A JSON-lines target for `stopwatt run`: attention of one decoder layer on a GPU, in PyTorch.

mode `linear` computes softmax(QK')V step by step, mode `fused` with the fused kernel; both from the same inputs.
"""
import hashlib
import json
import os
import sys
import time

import torch


def say(**line):
    print(json.dumps(line), flush=True)


def main():
    fused, steps = False, 8
    q = k = v = out = None
    for line in sys.stdin:
        ask = json.loads(line)
        if ask["do"] == "prepare":
            torch.manual_seed(ask["seed"])
            fused = ask.get("mode") == "fused"
            shape = (8, 32, 2048, 128)
            q, k, v = (torch.randn(shape, device="cuda", dtype=torch.bfloat16) for _ in range(3))
            torch.cuda.synchronize()
            say(ready={"name": "attention", "torch": torch.__version__, "kernel": "fused" if fused else "steps"})
        elif ask["do"] == "iterate":
            for _ in range(ask["n"]):
                start = time.monotonic_ns()
                for _ in range(steps):
                    if fused:
                        out = torch.nn.functional.scaled_dot_product_attention(q, k, v)
                    else:
                        out = torch.softmax(q @ k.transpose(-1, -2) * 128**-0.5, dim=-1) @ v
                torch.cuda.synchronize()
                say(iteration={"start_ns": start, "end_ns": time.monotonic_ns(), "tokens": 8 * 2048 * steps})
            say(done=ask["n"])
        elif ask["do"] == "outputs":
            rounded = (out.float() * 16).round().to(torch.int8).cpu().numpy().tobytes()
            say(outputs={"sha256": hashlib.sha256(rounded).hexdigest()})
        elif ask["do"] == "end":
            return


main()

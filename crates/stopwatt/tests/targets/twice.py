"""A workload pair whose times are known: `slow` takes twice as long as `fast`, and both make the same numbers.

twice.py [fault]: the fault is that of the fast side.
"""

import hashlib
import json
import random
import struct
import sys
import time

FAULT = sys.argv[1] if len(sys.argv) > 1 else ""
NUMBERS = 64


def say(message):
    print(json.dumps(message), flush=True)


def work(*seed):
    """The numbers that come from a seed, and what the fault makes of them."""
    draws = random.Random(repr(seed))
    numbers = [draws.uniform(-1, 1) for _ in range(NUMBERS)]
    if mode == "fast" and FAULT == "differs":
        numbers[7] += 0.5
    if mode == "fast" and FAULT == "nan":
        numbers[3] = float("nan")
    if mode == "fast" and FAULT == "short":
        numbers.pop()
    if FAULT == "constant":
        numbers = [1.0] * NUMBERS
    return numbers


def write(path, numbers):
    data = struct.pack(f"<{len(numbers)}f", *numbers)
    with open(path, "wb") as file:
        file.write(data)
    return hashlib.sha256(data).hexdigest()


mode, trial, timed = "", 0, []
for line in sys.stdin:
    ask = json.loads(line)
    if ask["do"] == "prepare":
        mode, trial = ask["mode"], ask["trial"] or 0
        if FAULT == "lacks":
            say({"skip": "this machine has no\nflux capacitor"})
            break
        say({"ready": {"shape": "64", "torch": mode if FAULT == "versions" else "none"}})
    elif ask["do"] == "verify":
        if mode == "fast" and FAULT == "garbage":
            print("loading shard 3 of 7", flush=True)
        if mode == "fast" and FAULT == "dies":
            sys.exit(7)
        numbers = work("verify", ask["seed"])
        write(ask["file"], numbers)
        say({"verified": {"values": NUMBERS if FAULT == "short" else len(numbers)}})
    elif ask["do"] == "iterate":
        noise = random.Random(f"{trial} {mode}")
        for i in range(ask["n"]):
            time.sleep(2.2e-3)
            timed = work(trial, i)
            if mode == "fast" and FAULT == "cheats":
                timed = [0.5] * NUMBERS  # right when it is verified, wrong when it is timed
            seconds = (2e-3 if mode == "slow" else 1e-3) * (1 + noise.uniform(-0.01, 0.01))
            metrics = {"peak_memory_bytes": 2048 if mode == "slow" else 1024}
            if mode == "fast":
                metrics["compile_s"] = 0.5
            say({"iteration": {"seconds": seconds, "tokens": 4, "metrics": metrics}})
        say({"done": ask["n"]})
    elif ask["do"] == "outputs":
        say({"outputs": {"sha256": write(ask["file"], timed)}})
    elif ask["do"] == "end":
        break

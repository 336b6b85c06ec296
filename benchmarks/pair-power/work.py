#!/usr/bin/env python3
"""A CPU-bound target whose work is a number: rounds of PBKDF2, computed in C. `work.py ROUNDS`."""

import hashlib
import json
import sys
import time

rounds = int(sys.argv[1])
for line in sys.stdin:
    ask = json.loads(line)
    if ask["do"] == "prepare":
        print(json.dumps({"ready": {"rounds": rounds}}), flush=True)
    elif ask["do"] == "iterate":
        for _ in range(ask["n"]):
            start_ns = time.monotonic_ns()
            made = hashlib.pbkdf2_hmac("sha256", b"pair", b"power", rounds)
            end_ns = time.monotonic_ns()
            print(json.dumps({"iteration": {"start_ns": start_ns, "end_ns": end_ns}}), flush=True)
        print(json.dumps({"done": ask["n"]}), flush=True)
    elif ask["do"] == "outputs":
        print(json.dumps({"outputs": {"sha256": hashlib.sha256(made).hexdigest()}}), flush=True)
    elif ask["do"] == "end":
        break

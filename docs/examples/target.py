#!/usr/bin/env python3
"""A target for `stopwatt run`: speaks JSON lines, needs nothing but Python.

The "work" is a chain of hashes: four tokens an iteration, each a few hundred rounds.
In mode `iterative` a token takes three quarters of the rounds.
"""

import hashlib
import json
import sys
import time

TOKENS = 4


def say(message):
    # One line a message, and at once: Stopwatt waits for it.
    print(json.dumps(message), flush=True)


def main():
    state, rounds, made = b"", 0, b""
    for line in sys.stdin:  # ends when Stopwatt closes the pipe, however it ends
        ask = json.loads(line)
        if ask["do"] == "prepare":
            # Load everything here. Anything plain that describes the target may be told.
            state = str(ask["seed"]).encode()
            rounds = 300 if ask["mode"] == "iterative" else 400
            say({"ready": {"rounds": rounds, "python": sys.version.split()[0]}})
        elif ask["do"] == "iterate":
            for _ in range(ask["n"]):
                token_ns, made = [], state
                start_ns = time.monotonic_ns()
                for _ in range(TOKENS):
                    for _ in range(rounds):
                        made = hashlib.sha256(made).digest()
                    token_ns.append(time.monotonic_ns())
                end_ns = time.monotonic_ns()
                # Writing is not part of what is timed.
                say(
                    {
                        "iteration": {
                            "start_ns": start_ns,
                            "end_ns": end_ns,
                            "tokens": TOKENS,
                            "token_ns": token_ns,
                            "metrics": {"rounds_per_s": TOKENS * rounds / (end_ns - start_ns) * 1e9},
                        }
                    }
                )
            say({"done": ask["n"]})
        elif ask["do"] == "outputs":
            # A hash of what was made, never the content.
            say({"outputs": {"sha256": hashlib.sha256(made).hexdigest()}})
        elif ask["do"] == "end":
            return


if __name__ == "__main__":
    main()

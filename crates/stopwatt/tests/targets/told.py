"""A target whose times are known: it tells durations that are fixed by its arguments, in less time than really passes.

told.py MILLISECONDS [fault]
"""

import json
import random
import sys
import time

BASE_S = float(sys.argv[1]) * 1e-3
FAULT = sys.argv[2] if len(sys.argv) > 2 else ""


def say(message):
    print(json.dumps(message), flush=True)


noise, done = random.Random(0), 0
for line in sys.stdin:
    ask = json.loads(line)
    if ask["do"] == "prepare":
        if FAULT == "hangs":
            time.sleep(60)
        # The same noise for the same trial of the same program: a comparison comes out the same every time.
        noise = random.Random(f"{ask['trial']} {BASE_S}")
        say({"ready": {"base_s": BASE_S}})
    elif ask["do"] == "iterate":
        for _ in range(ask["n"]):
            time.sleep(1.1e-3)
            done += 1
            if FAULT == "dies" and done == 25:
                print("secret words on the way out", file=sys.stderr)
                sys.exit(7)
            if FAULT == "garbage" and done == 25:
                print("loading shard secret 3 of 7", flush=True)
            if FAULT == "slow" and done == 25:
                time.sleep(60)
            seconds = BASE_S * (1 + noise.uniform(-0.01, 0.01))
            say({"iteration": {"seconds": seconds, "tokens": 8, "metrics": {"loss": 2.0 - BASE_S}}})
        say({"done": ask["n"]})
    elif ask["do"] == "outputs":
        say({"outputs": {"sha256": "00" * 32}})
    elif ask["do"] == "end":
        break

#!/usr/bin/env python3
"""Makes quants.json: blocks of every quantised type and the numbers that the `gguf` package expands them to.

    pip install gguf numpy
    make_quants.py > crates/model/tests/golden/quants.json
"""
import json
import sys

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType
from gguf.quants import dequantize

rng = np.random.default_rng(1)
# Where each type keeps half-precision scales; other bytes may hold anything.
HALVES = {"Q4_0": [0], "Q4_1": [0, 2], "Q8_0": [0], "Q4_K": [0, 2], "Q6_K": [208]}
cases = []
for name, halves in HALVES.items():
    kind = GGMLQuantizationType[name]
    size = GGML_QUANT_SIZES[kind][1]
    blocks = rng.integers(0, 256, (2, size), dtype=np.uint8)
    for at in halves:
        blocks[:, at:at + 2] = rng.normal(0, 0.05, (2, 1)).astype(np.float16).view(np.uint8)
    numbers = dequantize(blocks.reshape(-1), kind).reshape(-1)
    cases.append({"code": int(kind), "name": name, "bytes": blocks.reshape(-1).tolist(),
                  "numbers": [float(v) for v in numbers]})
json.dump(cases, sys.stdout)

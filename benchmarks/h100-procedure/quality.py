"""Scores of the outputs of attention.py: 1 for a query whose result is the double-precision one to 1 %, else 0.

usage: quality.py MODE SEED; one JSON line a query, the same queries in both modes.
"""
import json
import sys

import torch

fused, seed = sys.argv[1] == "fused", int(sys.argv[2])
torch.manual_seed(seed)
q, k, v = (torch.randn((1, 4, 1024, 128), device="cuda", dtype=torch.bfloat16) for _ in range(3))
if fused:
    out = torch.nn.functional.scaled_dot_product_attention(q, k, v)
else:
    out = torch.softmax(q @ k.transpose(-1, -2) / 128**0.5, dim=-1) @ v
q, k, v, out = (x.double() for x in (q, k, v, out))
truth = torch.softmax(q @ k.transpose(-1, -2) / 128**0.5, dim=-1) @ v
error = (out - truth).norm(dim=-1) / truth.norm(dim=-1)
for good in (error < 0.01).flatten().tolist():
    print(json.dumps({"score": int(good)}))

#!/usr/bin/env python3
"""The same loads by AIConfigurator: writes data/aiconfigurator.csv.

    pip install aiconfigurator==0.12.0 && python3 baseline.py

Its mode `agg` with `--backend vllm` and its newest tables of that engine. It knows closed loops of equal lengths: loads of
several lengths are given by their means, arrivals at a rate not at all. Measured values are those of data/*-cross.csv.
"""

import csv
import json
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

from aiconfigurator.cli.api import cli_estimate

data = Path(__file__).parent / "data"
SHAPES = {
    "8b": dict(hidden_size=4096, intermediate_size=14336, num_hidden_layers=32, num_attention_heads=32, head_dim=128),
    "3b": dict(hidden_size=3072, intermediate_size=8192, num_hidden_layers=28, num_attention_heads=24, head_dim=128),
}
COMMON = dict(
    architectures=["LlamaForCausalLM"], model_type="llama", num_key_value_heads=8, vocab_size=128256, torch_dtype="bfloat16",
    max_position_embeddings=131072, rms_norm_eps=1e-5, rope_theta=500000.0, hidden_act="silu", tie_word_embeddings=False,
)
rows = []
for shape, sizes in SHAPES.items():
    with tempfile.TemporaryDirectory() as folder, (data / f"{shape}-cross.csv").open() as file:
        (Path(folder) / "config.json").write_text(json.dumps(COMMON | sizes))
        said = {}
        for row in csv.DictReader(file):
            if row["metric"] == "e2e":
                continue
            predicted = error = ""
            if row["concurrency"]:
                load = (round(float(row["input"])), round(float(row["output"])), int(row["concurrency"]))
                if load not in said:
                    said[load] = cli_estimate(
                        folder, "h100_sxm", backend_name="vllm", isl=load[0], osl=load[1], batch_size=load[2]
                    )
                of = said[load]
                predicted = {
                    "ttft": of.ttft / 1e3, "tpot": of.tpot / 1e3, "output_throughput": 1e3 * load[2] * load[1]
                    / (of.ttft + of.tpot * (load[1] - 1)),
                }[row["metric"]]
                error = predicted / float(row["measured"]) - 1
            rows.append([row[k] for k in ["model", "load", "metric", "measured"]] + [predicted, error, row["refused"]])
with (data / "aiconfigurator.csv").open("w", newline="") as file:
    out = csv.writer(file, lineterminator="\n")
    out.writerow(["model", "load", "metric", "measured", "predicted", "error", "refused"])
    out.writerows(rows)
print(f"aiconfigurator {version('aiconfigurator')}: {len(rows)} rows", file=sys.stderr)

#!/usr/bin/env python3
"""config.py NAME OUT: config.json of a model that Stopwatt knows by name, for an engine that fills in random weights.

A tokenizer must lie in OUT already, or the engine be told to do without.
"""

import json
import pathlib
import sys

ARCHITECTURES = {"llama": "LlamaForCausalLM", "qwen2": "Qwen2ForCausalLM", "qwen3": "Qwen3ForCausalLM"}

name, out = sys.argv[1], pathlib.Path(sys.argv[2])
models = pathlib.Path(__file__).with_name("models.json")
if not models.exists():
    models = pathlib.Path(__file__).parents[2] / "crates/predict/data/models.json"
model = json.loads(models.read_text())[name]
theta = 500000.0 if model["model_type"] == "llama" else 1000000.0
config = {
    "architectures": [ARCHITECTURES[model["model_type"]]],
    "hidden_act": "silu",
    "rms_norm_eps": 1e-6,
    "rope_theta": theta,
    "rope_parameters": {"rope_type": "default", "rope_theta": theta},
    "attention_bias": False,
    "initializer_range": 0.02,
    "bos_token_id": 0,
    "eos_token_id": 1,
    **model,
}
out.mkdir(parents=True, exist_ok=True)
(out / "config.json").write_text(json.dumps(config, indent=1))
(out / "generation_config.json").write_text(json.dumps({"bos_token_id": 0, "eos_token_id": 1, "do_sample": False}))

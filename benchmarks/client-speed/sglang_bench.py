"""Runs SGLang's Rust client from its wheel alone: sglang_bench.py EXTENSION.so FLAGS..."""

import importlib.util
import sys

spec = importlib.util.spec_from_file_location("_bench", sys.argv[1])
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
module.run_argv(["sglang-bench", *sys.argv[2:]])

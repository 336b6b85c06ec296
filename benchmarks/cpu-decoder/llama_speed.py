#!/usr/bin/env python3
"""Measures prefill and decode speed of llama.cpp, through the server in the Python package xllamacpp.

    llama_speed.py MODEL.gguf PRECISION THREADS PROMPT OUTPUT REPEATS

Same protocol and the same CSV columns as the example `decoder_speed`: each repeat computes a prompt of PROMPT token
ids that is not cached, then OUTPUT decode steps. CPU seconds are the process's own, so they hold on a busy machine too.
"""
import http.client
import json
import os
import resource
import sys

import xllamacpp as x

model, precision = sys.argv[1:3]
threads, prompt, output, repeats = map(int, sys.argv[3:7])

p = x.CommonParams()
p.model.path = model
p.hostnames = ["127.0.0.1"]
p.port = int(os.environ.get("PORT", "8217"))
p.n_ctx = prompt + output + 64
p.n_parallel = 1
p.n_batch = 512
p.n_ubatch = 512
p.cpuparams.n_threads = threads
p.cpuparams_batch.n_threads = threads
p.cpuparams.poll = 0  # no busy waiting: CPU time is work
p.cpuparams_batch.poll = 0
p.ui = False
p.offline = True
server = x.Server(p)


def cpu():
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def complete(n_predict):
    connection = http.client.HTTPConnection("127.0.0.1", p.port, timeout=600)
    tokens = [(i * 31 + 7) % 256 + 300 for i in range(prompt)]
    body = {"prompt": tokens, "n_predict": n_predict, "cache_prompt": False, "ignore_eos": True, "temperature": 0}
    before = cpu()
    connection.request("POST", "/completion", json.dumps(body), {"Content-Type": "application/json"})
    answer = json.loads(connection.getresponse().read())
    timings = answer["timings"]
    assert timings["prompt_n"] == prompt and timings["predicted_n"] == n_predict, timings
    return cpu() - before, timings


complete(1)  # warm: pages of the file, buffers
print("isa,threads,precision,prompt,batch,prefill_tokens_per_s,prefill_tokens_per_cpu_s,decode_tokens_per_s,"
      "decode_tokens_per_cpu_s")
for _ in range(repeats):
    prefill_cpu, first = complete(1)
    both_cpu, both = complete(output + 1)
    print(f"llama.cpp,{threads},{precision},{prompt},1,{first['prompt_per_second']:.1f},{prompt / prefill_cpu:.1f},"
          f"{both['predicted_per_second']:.2f},{output / max(both_cpu - prefill_cpu, 1e-9):.2f}", flush=True)
os._exit(0)

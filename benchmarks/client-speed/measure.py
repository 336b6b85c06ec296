"""What streaming load clients cost, side by side against one exact engine. Standard library only; Linux.

For every load and client: a fresh engine with a truth log, the client as a child, CPU time of its whole process tree
sampled from /proc. The stream phase lasts from the first arrival of the load at the engine to the last byte it wrote,
by the engine's own log; all stamps are CLOCK_MONOTONIC. Prints a Markdown table, writes data.json.
"""

import argparse
import json
import os
import shlex
import subprocess
import sys
import tempfile
import time

# name: (flags of the engine, streams, requests, requests for clients in Python, which need more time)
LOADS = {
    "paced": (["--ttft", "50ms", "--itl", "10ms"], 256, 1024, 768),
    "flood": (["--ttft", "0ms", "--itl", "0ms"], 64, 4096, 1024),
    "coalesced": (["--ttft", "0ms", "--itl", "0ms", "--coalesce", "16"], 256, 8192, 1024),
}
TOKENS = 128
TICK = os.sysconf("SC_CLK_TCK")


def tree_cpu(root):
    """CPU seconds of a process and all below it, those that ended and were waited for included."""
    total, waiting = 0, [root]
    while waiting:
        pid = waiting.pop()
        try:
            with open(f"/proc/{pid}/stat") as f:
                fields = f.read().rsplit(")", 1)[1].split()
            total += sum(int(x) for x in fields[11:15])
            for task in os.listdir(f"/proc/{pid}/task"):
                with open(f"/proc/{pid}/task/{task}/children") as f:
                    waiting += f.read().split()
        except (FileNotFoundError, ProcessLookupError):
            continue
    return total / TICK


def at(samples, t):
    """CPU at a time, between two samples."""
    before = max((s for s in samples if s[0] <= t), default=samples[0])
    after = min((s for s in samples if s[0] >= t), default=samples[-1])
    if after[0] == before[0]:
        return before[1]
    return before[1] + (after[1] - before[1]) * (t - before[0]) / (after[0] - before[0])


class Engine:
    def __init__(self, binary, flags, priority):
        self.log = tempfile.NamedTemporaryFile(suffix=".jsonl", delete=False).name
        command = [binary, "serve", "--kind", "exact", "--port", "0", "--exit-with-parent", "--truth-log", self.log]
        self.child = subprocess.Popen(priority + command + flags, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.url = json.loads(self.child.stdout.readline())["url"]

    def truth(self):
        self.child.stdin.close()
        self.child.wait()
        with open(self.log) as f:
            lines = [json.loads(line) for line in f]
        os.unlink(self.log)
        return lines


def run(command, engine, timeout):
    begin = time.monotonic_ns()
    out = tempfile.TemporaryFile()
    child = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT)
    samples, timed_out = [(begin, 0.0)], False
    while child.poll() is None:
        samples.append((time.monotonic_ns(), tree_cpu(child.pid)))
        if time.monotonic_ns() - begin > timeout * 1e9:
            timed_out = True
            child.kill()
        time.sleep(0.02)
    out.seek(0)
    text = out.read().decode(errors="replace")
    return {"begin": begin, "end": time.monotonic_ns(), "samples": samples, "code": child.returncode,
            "timed_out": timed_out, "tail": text[-2000:]}


def summary(got, truth):
    full = sorted((t for t in truth if t["output_tokens"] >= TOKENS), key=lambda t: t["received_ns"])
    if len(full) < 2:
        return {"error": f"{len(full)} answers of full length; exit {got['code']}", "tail": got["tail"]}
    # A lone request before the load is a client's own probe or warm-up.
    first = next((i for i in range(len(full) - 1) if full[i + 1]["received_ns"] - full[i]["received_ns"] < 20_000_000), 0)
    full = full[first:]
    start, end = full[0]["received_ns"], max(t["flush_ns"][-1] for t in full)
    tokens = sum(t["output_tokens"] for t in full)
    cpu = at(got["samples"], end) - at(got["samples"], start)
    ttft = sorted(t["flush_ns"][0] - t["received_ns"] for t in full)
    return {
        "requests": len(full), "tokens": tokens, "seconds": (end - start) / 1e9,
        "tokens_per_s": tokens * 1e9 / (end - start), "stream_cpu_s": cpu, "cpu_s_per_million": cpu * 1e6 / tokens,
        "whole_cpu_s": got["samples"][-1][1], "whole_cpu_s_per_million": got["samples"][-1][1] * 1e6 / tokens,
        "to_first_request_s": (truth[0]["received_ns"] and min(t["received_ns"] for t in truth) - got["begin"]) / 1e9,
        "after_last_byte_s": (got["end"] - end) / 1e9, "engine_first_write_p99_ms": ttft[int(len(ttft) * 0.99)] / 1e6,
        "exit": got["code"], "timed_out": got["timed_out"],
    }


def clients(a):
    here = os.path.dirname(os.path.abspath(__file__))
    found = {
        "floor": lambda u, n, r, d: [a.floor, u, "--streams", n, "--requests", r, "--tokens", TOKENS],
        "stopwatt": lambda u, n, r, d: [a.stopwatt, "bench", "--quiet", "--url", u, "--concurrency", n, "--requests", r,
                                        "--repeats", 1, "--warmup", 0, "--input", 32, "--output", TOKENS, "--out", d + "/run",
                                        "--format", "json"],
    }
    if a.sglang:
        found["sglang-bench"] = lambda u, n, r, d: [
            sys.executable, here + "/sglang_bench.py", a.sglang, "--backend", "vllm", "--base-url", u, "--model",
            "stopwatt-exact", "--tokenizer", a.tokenizer, "--dataset-name", "random-ids", "--random-input-len", 32,
            "--random-output-len", TOKENS, "--random-range-ratio", 1, "--num-prompts", r, "--max-concurrency", n,
            "--warmup-requests", 0, "--disable-tqdm", "--disable-retokenize", "--output-file", d + "/sglang.jsonl"]
    if a.vllm:
        found["vllm bench serve"] = lambda u, n, r, d: shlex.split(a.vllm) + [
            "bench", "serve", "--backend", "openai", "--base-url", u, "--model", "stopwatt-exact", "--tokenizer", a.tokenizer,
            "--dataset-name", "random", "--random-input-len", 32, "--random-output-len", TOKENS, "--ignore-eos",
            "--num-prompts", r, "--max-concurrency", n, "--disable-tqdm"]
    if a.aiperf:
        # Offline, AIPerf asks the hub's cache even for a folder.
        found["aiperf"] = lambda u, n, r, d: ["env", "-u", "HF_HUB_OFFLINE"] + shlex.split(a.aiperf) + [
            "profile", "--model", "stopwatt-exact", "--url", u, "--endpoint-type", "completions", "--streaming",
            "--tokenizer", a.tokenizer, "--concurrency", n, "--request-count", r, "--synthetic-input-tokens-mean", 32,
            "--output-tokens-mean", TOKENS, "--extra-inputs", "ignore_eos:true", "--artifact-dir", d + "/aiperf", "--ui", "none"]
    return found


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--stopwatt", required=True)
    p.add_argument("--floor", required=True)
    p.add_argument("--sglang", help="the wheel's _bench extension")
    p.add_argument("--vllm", help="command of vllm")
    p.add_argument("--aiperf", help="command of aiperf")
    p.add_argument("--tokenizer", help="folder with tokenizer files, for the peers that insist on one")
    p.add_argument("--fifo", type=int, default=0, help="run engine and clients at this SCHED_FIFO priority")
    p.add_argument("--load", action="append", choices=LOADS, help="default: all")
    p.add_argument("--client", action="append", help="default: all that are there")
    p.add_argument("--timeout", type=float, default=60)
    p.add_argument("--out", required=True)
    a = p.parse_args()
    priority = ["chrt", "-f", str(a.fifo)] if a.fifo else []
    everyone = clients(a)
    rows = []
    for load in a.load or LOADS:
        flags, streams, requests, few = LOADS[load]
        for name in a.client or everyone:
            python = name in ("vllm bench serve", "aiperf")
            engine = Engine(a.stopwatt, flags, priority)
            with tempfile.TemporaryDirectory() as folder:
                command = [str(x) for x in everyone[name](engine.url, streams, few if python else requests, folder)]
                load_before = os.getloadavg()[0]
                got = run(priority + command, engine, a.timeout)
                row = {"load": load, "client": name, "streams": streams, "load_average": load_before,
                       "command": [os.path.basename(c) if os.path.isabs(c) else c for c in command]}
            row.update(summary(got, engine.truth()))
            rows.append(row)
            print(f"{load:10} {name:18} {row.get('cpu_s_per_million', row.get('error'))}", file=sys.stderr)
    os.makedirs(a.out, exist_ok=True)
    with open(a.out + "/data.json", "w") as f:
        json.dump(rows, f, indent=1)
    print("| load | client | tokens/s | CPU s/1M tokens, streaming | × floor | × Stopwatt | whole process s/1M | to first request s | after last byte s |")
    print("|---|---|---|---|---|---|---|---|---|")
    for row in rows:
        if "error" in row:
            print(f"| {row['load']} | {row['client']} | {row['error']} |")
            continue
        by = {r["client"]: r.get("cpu_s_per_million") for r in rows if r["load"] == row["load"]}
        ratio = lambda other: f"{row['cpu_s_per_million'] / by[other]:.2f}" if by.get(other) else "–"
        print(f"| {row['load']}, {row['streams']} streams | {row['client']}{' (cut off)' if row['timed_out'] else ''} | {row['tokens_per_s']:,.0f} | "
              f"{row['cpu_s_per_million']:.2f} | {ratio('floor')} | {ratio('stopwatt')} | {row['whole_cpu_s_per_million']:.2f} | "
              f"{row['to_first_request_s']:.3f} | {row['after_last_byte_s']:.2f} |")


main()

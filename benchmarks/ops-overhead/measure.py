#!/usr/bin/env python3
"""What a proxy adds to a stream: direct and through each proxy in turns, one JSON line a measurement.

  STOPWATT=… measure.py OUT [ROUNDS]

The engine is the exact kind (TTFT 50 ms, a token each 20 ms), so that whatever is above is the proxy's. Proxies whose
programs are not there are left out. CPU time is that of the proxy's process with all below it.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request

STOPWATT = os.environ.get("STOPWATT", "stopwatt")
WATCH = os.environ.get("WATCH", "")  # another command for `stopwatt watch`, with {engine} and {port}
MODEL = "unknown"  # the name under which sglang-router lists whatever stands behind it
LOADS = [(1, 40, 5), (256, 512, 100)]  # streams, requests, tokens


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait(url):
    for _ in range(600):
        try:
            urllib.request.urlopen(url + "/v1/models", timeout=2).read()
            return
        except OSError:
            time.sleep(0.1)
    sys.exit(f"{url} does not answer")


def cpu(pid):
    """CPU seconds of a process and its children."""
    total, todo = 0, [pid]
    while todo:
        p = todo.pop()
        try:
            fields = open(f"/proc/{p}/stat").read().rsplit(")", 1)[1].split()
            total += int(fields[11]) + int(fields[12])
            for task in os.listdir(f"/proc/{p}/task"):
                todo += [int(c) for c in open(f"/proc/{p}/task/{task}/children").read().split()]
        except OSError:
            pass
    return total / os.sysconf("SC_CLK_TCK")


def bench(url, streams, requests, tokens, scratch):
    out = os.path.join(scratch, f"run-{time.monotonic_ns()}")
    command = [STOPWATT, "bench", "--url", url, "--concurrency", str(streams), "--requests", str(requests),
               "--input", "16", "--output", str(tokens), "--repeats", "1", "--warmup", str(2 * streams),
               "--model", MODEL, "--format", "json", "--out", out]
    done = subprocess.run(command, capture_output=True, text=True)
    shutil.rmtree(out, ignore_errors=True)
    if not done.stdout:
        print(f"{url}: {done.stderr.strip()}", file=sys.stderr)
        return None
    return json.loads(done.stdout)


def main():
    out, rounds = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 5
    quiet = {"stdin": subprocess.PIPE, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    port = free_port()
    engine = f"http://127.0.0.1:{port}"
    started = [subprocess.Popen([STOPWATT, "serve", "--kind", "exact", "--port", str(port), "--ttft", "50ms",
                                 "--itl", "20ms", "--model-name", MODEL, "--exit-with-parent"], **quiet)]
    targets = {"direct": (engine, None)}
    own = WATCH or STOPWATT + " watch --upstream {engine} --listen 127.0.0.1:{port}"
    commands = {"stopwatt": own}
    for name in ("vllm-router", "sglang-router"):
        program = shutil.which(name)
        if program:
            launch = " launch" if name == "sglang-router" else ""
            commands[name] = program + launch + " --worker-urls {engine} --host 127.0.0.1 --port {port}"
    try:
        wait(engine)
        for name, command in commands.items():
            port = free_port()
            line = command.format(engine=engine, port=port).split()
            more = ["--prometheus-port", str(free_port())] if "router" in name else []
            started.append(subprocess.Popen(line + more, **quiet))
            targets[name] = (f"http://127.0.0.1:{port}", started[-1].pid)
            wait(targets[name][0])
        with open(out, "a") as file:
            for n in range(rounds):
                order = list(targets) if n % 2 == 0 else list(targets)[::-1]
                for streams, requests, tokens in LOADS:
                    for name in order:
                        url, pid = targets[name]
                        before = cpu(pid) if pid else None
                        doc = bench(url, streams, requests, tokens, os.path.dirname(os.path.abspath(out)))
                        if doc is None:
                            continue
                        used = cpu(pid) - before if pid else None
                        metrics = doc["metrics"]
                        value = lambda metric, q: metrics[metric][q]["value"]
                        file.write(json.dumps({
                            "round": n, "target": name, "streams": streams, "tokens": requests * tokens,
                            "ttft_p50_s": value("ttft", "p50"), "ttft_p99_s": value("ttft", "p99"),
                            "itl_p50_s": value("itl", "p50"), "itl_p99_s": value("itl", "p99"),
                            "proxy_cpu_s": used, "load": os.getloadavg()[0],
                        }) + "\n")
                        file.flush()
    finally:
        for process in started:
            process.terminate()


main()

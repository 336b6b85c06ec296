#!/usr/bin/env python3
"""One set of rules in two hands: Prometheus with Alertmanager, and `stopwatt watch rules --follow`.

    benchmarks/ops-alerts/run.py STOPWATT [SECONDS]

A metrics page plays a story: calm, then a third of the requests fails and a GPU reports an Xid and an upstream is out,
then calm again. Both sides scrape it each second; both tell a webhook. What they told is compared: which alerts with
which labels and fingerprints fired and ended, and how many seconds apart they said so. Exit code 1 where they differ.

Needs prometheus and prometheus-alertmanager of Debian 12 (2.42, 0.25), installed by the package manager: Alertmanager
needs its template. Listens on free loopback ports; writes into a temporary folder."""
import http.server, json, os, shutil, signal, socket, subprocess, sys, tempfile, threading, time
import urllib.parse, urllib.request

stopwatt = os.path.abspath(sys.argv[1])
total_s = float(sys.argv[2]) if len(sys.argv) > 2 else 100.0
BEGIN, END = 20.0, 45.0
zero = time.time()
told = {"prometheus": [], "stopwatt": []}


def port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def page():
    t = time.time() - zero
    bad = 10 * (min(max(t, BEGIN), END) - BEGIN)
    good = 20 * t
    sick = BEGIN <= t < END
    lines = [
        f'stopwatt_requests_total{{upstream="a",variant="",end="answered"}} {int(good)}',
        f'stopwatt_requests_total{{upstream="a",variant="",end="truncated"}} {int(bad)}',
        f'stopwatt_upstream_admitted{{upstream="a",variant=""}} 1',
        f'stopwatt_upstream_admitted{{upstream="b",variant=""}} {0 if sick else 1}',
        f'DCGM_FI_DEV_XID_ERRORS{{gpu="0",UUID="GPU-0"}} {79 if sick else 0}',
        f'DCGM_FI_DEV_GPU_TEMP{{gpu="0",UUID="GPU-0"}} 60',
    ]
    return "\n".join(lines) + "\n"


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = page().encode()
        self.send_response(200)
        self.send_header("content-type", "text/plain; version=0.0.4")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        told[self.path.strip("/")].append((time.time() - zero, body))
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
here = f"127.0.0.1:{server.server_port}"
threading.Thread(target=server.serve_forever, daemon=True).start()
place = tempfile.mkdtemp(prefix="ops-alerts-")
children = []
try:
    with open(f"{place}/objectives.toml", "w") as f:
        f.write('min_events = 20\nobjectives = [{ name = "availability", target = 0.995, kind = "availability" }]\n[upstreams]\nout_s = 5\n')
    subprocess.run([stopwatt, "watch", "rules", f"{place}/objectives.toml", "--out", f"{place}/rules.yml"], check=True)
    text = open(f"{place}/rules.yml").read().replace("interval: 30s", "interval: 1s")
    open(f"{place}/rules.yml", "w").write(text)
    prometheus, alertmanager = port(), port()
    open(f"{place}/prometheus.yml", "w").write(f"""
global: {{scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}}
rule_files: [rules.yml]
alerting: {{alertmanagers: [{{static_configs: [{{targets: ['127.0.0.1:{alertmanager}']}}]}}]}}
scrape_configs: [{{job_name: page, static_configs: [{{targets: ['{here}']}}]}}]
""")
    open(f"{place}/alertmanager.yml", "w").write(f"""
route: {{receiver: hook, group_by: [alertname], group_wait: 0s, group_interval: 1s, repeat_interval: 4h}}
receivers: [{{name: hook, webhook_configs: [{{url: 'http://{here}/prometheus', send_resolved: true}}]}}]
""")
    quiet = {"stdout": open(f"{place}/log", "w"), "stderr": subprocess.STDOUT}
    children.append(subprocess.Popen(["prometheus-alertmanager", f"--config.file={place}/alertmanager.yml",
        f"--storage.path={place}/am", f"--web.listen-address=127.0.0.1:{alertmanager}", "--cluster.listen-address="], **quiet))
    children.append(subprocess.Popen(["prometheus", f"--config.file={place}/prometheus.yml", f"--storage.tsdb.path={place}/tsdb",
        f"--web.listen-address=127.0.0.1:{prometheus}", "--rules.alert.resend-delay=1s"], **quiet))
    children.append(subprocess.Popen([stopwatt, "watch", "rules", f"{place}/objectives.toml", "--follow", f"http://{here}/metrics",
        "--webhook", f"http://{here}/stopwatt", "--every", "1s"], stdout=subprocess.DEVNULL))
    time.sleep(total_s)
    # Every expression of the dashboard, asked of the real server; those of metrics that the page has must answer.
    panels = json.loads(subprocess.run([stopwatt, "watch", "dashboard"], check=True, capture_output=True).stdout)["panels"]
    expressions = [t["expr"] for p in panels for t in p.get("targets", [])]
    answered = 0
    for expression in expressions:
        for name in ("$instance", "$variant", "$gpu"):
            expression = expression.replace(name, ".*")
        query = urllib.parse.urlencode({"query": expression.replace("$__rate_interval", "1m")})
        answer = json.load(urllib.request.urlopen(f"http://127.0.0.1:{prometheus}/api/v1/query?{query}"))
        assert answer["status"] == "success", (expression, answer)
        answered += bool(answer["data"]["result"])
    print(f"dashboard: {len(expressions)} expressions evaluated, {answered} with data of this page")
    assert answered >= 6, answered
finally:
    for child in children:
        child.send_signal(signal.SIGTERM)
    for child in children:
        child.wait(timeout=10)

# Job is what Prometheus' configuration calls the target; the evaluator has no such name.
first = {}
for side, bodies in told.items():
    for at, body in bodies:
        assert body["version"] == "4", body
        for alert in body["alerts"]:
            labels = tuple(sorted((k, v) for k, v in alert["labels"].items() if k != "job"))
            first.setdefault((labels, alert["status"]), {}).setdefault(side, at)
same = True
print("alert | status | Prometheus, s | Stopwatt, s")
for (labels, status), at in sorted(first.items(), key=lambda item: min(item[1].values())):
    show = [f"{at[side]:.1f}" if side in at else "-" for side in ("prometheus", "stopwatt")]
    names = ", ".join(v for k, v in labels if k in ("alertname", "window", "upstream", "gpu", "slo"))
    print(f"{names} | {status} | {show[0]} | {show[1]}")
    same &= len(at) == 2 and abs(at["prometheus"] - at["stopwatt"]) < 8
fingerprints = {side: {a["fingerprint"] for _, b in bodies for a in b["alerts"] if "job" not in a["labels"]} for side, bodies in told.items()}
if fingerprints["prometheus"]:
    print("fingerprints of alerts without `job`:", "the same" if fingerprints["prometheus"] <= fingerprints["stopwatt"] else "differ")
    same &= fingerprints["prometheus"] <= fingerprints["stopwatt"]
keys = {side: {b["groupKey"] for _, b in bodies} for side, bodies in told.items()}
shape = {side: {tuple(sorted(b)) for _, b in bodies} for side, bodies in told.items()}
print("group keys:", "the same" if keys["prometheus"] == keys["stopwatt"] else keys)
print("fields of the body:", "the same" if shape["prometheus"] == shape["stopwatt"] else shape)
same &= keys["prometheus"] == keys["stopwatt"] and shape["prometheus"] == shape["stopwatt"]
if same and first:
    shutil.rmtree(place)
    sys.exit(0)
print(f"they differ; logs in {place}")
sys.exit(1)

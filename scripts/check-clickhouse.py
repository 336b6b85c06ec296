#!/usr/bin/env python3
"""Runs every statement of docs/sql/clickhouse.sql over a store and holds the figures to `stopwatt watch query`.

    python3 -m venv V && V/bin/pip install chdb && V/bin/python scripts/check-clickhouse.py STOPWATT DIR

chdb is ClickHouse in the process. STOPWATT is the program, DIR a store with requests of two segments or more.
"""

import json
import pathlib
import subprocess
import sys
import tempfile

from chdb import session

program, store = sys.argv[1], pathlib.Path(sys.argv[2]).resolve()
text = (pathlib.Path(__file__).parent.parent / "docs/sql/clickhouse.sql").read_text()
text = "\n".join(line for line in text.splitlines() if not line.startswith("--"))
statements = [s.strip() for s in text.replace("{DIR}", str(store)).split(";") if s.strip()]
inserts = [s for s in statements if s.startswith("INSERT")]
assert len(statements) == 7 and len(inserts) == 2, "the file has another shape"

with tempfile.TemporaryDirectory() as folder:
    server = session.Session(folder)
    server.query("CREATE DATABASE IF NOT EXISTS d ENGINE = Atomic")
    server.query("USE d")
    answers = {}
    for statement in statements:
        answers[statement] = str(server.query(statement, "JSON"))
    for insert in inserts:
        server.query(insert)  # twice is harmless
    by_upstream = next(s for s in statements if "AS availability" in s)
    twice = json.loads(str(server.query(by_upstream, "JSON")))["data"]
    once = json.loads(answers[by_upstream])["data"]
    assert once == twice, "loading twice changed the figures"
    command = [program, "watch", "query", "--store", str(store), "--since", "366d", "--by", "upstream", "--format", "json"]
    ours = {p["key"]: p["summary"] for p in json.loads(subprocess.check_output(command))["parts"]}
    assert len(once) == len(ours) > 0, (once, ours)
    near = lambda a, b: (a is None) == (b is None) and (a is None or abs(float(a) - b) <= 1e-9 * max(1.0, abs(b)))
    for row in once:
        own = ours[row["upstream"] or "none"]
        assert int(row["requests"]) == own["requests"] and int(row["tokens"]) == own["tokens"], (row, own)
        ttft, e2e = own["ttft_s"] or {}, own["e2e_s"] or {}
        assert near(row["availability"], own["availability"]), (row, own)
        assert near(row["ttft_p50_s"], ttft.get("p50")) and near(row["e2e_p50_s"], e2e.get("p50")), (row, own)
        assert ttft.get("p95") is None or near(row["ttft_p95_s"], ttft["p95"]), (row, own)
        assert near(row["cost_dollars"], own["cost_dollars"]), (row, own)
    for statement, answer in answers.items():
        if statement.startswith("SELECT"):
            assert json.loads(answer)["rows"] > 0, statement
print(f"{len(statements)} statements run; {len(once)} upstreams agree with `stopwatt watch query`")

#!/usr/bin/env python3
"""`stopwatt export --to trace` by the rules of Chrome's trace events, which Perfetto reads too: slices of one thread nest, counters are numbers, times are in order of what they mean."""

import collections
import json
import sys


def main(path):
    with open(path, encoding="utf-8") as file:
        trace = json.load(file)
    kinds = collections.Counter()
    lanes = collections.defaultdict(list)
    for event in trace["traceEvents"]:
        kinds[event["ph"]] += 1
        assert isinstance(event["pid"], int) and isinstance(event["name"], str)
        if event["ph"] == "X":
            assert event["dur"] >= 0
            lanes[event["pid"], event["tid"]].append((event["ts"], event["ts"] + event["dur"], event["name"]))
        elif event["ph"] == "C":
            assert all(isinstance(v, (int, float)) for v in event["args"].values())
    for lane, slices in lanes.items():
        slices.sort(key=lambda s: (s[0], -s[1]))
        open_until = []
        for begin, end, name in slices:
            while open_until and open_until[-1] <= begin + 1e-3:
                open_until.pop()
            assert not open_until or end <= open_until[-1] + 1e-3, f"{name} of {lane} crosses another slice"
            open_until.append(end)
    processes = {e["args"]["name"] for e in trace["traceEvents"] if e["name"] == "process_name"}
    counters = sorted({e["name"] for e in trace["traceEvents"] if e["ph"] == "C"})
    print(f"{kinds['X']} slices in {len(lanes)} lanes, {kinds['C']} readings of {', '.join(counters) or 'nothing'}")
    assert {"requests", "engine", "machine", "run"} <= processes and kinds["X"] > 0


main(*sys.argv[1:])

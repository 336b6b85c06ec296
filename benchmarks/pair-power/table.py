#!/usr/bin/env python3
"""Blocks of n neighbouring trials of one long pair are what `pair --trials n` measures: each is judged by `stopwatt compare`.

`table.py STOPWATT FOLDER` reads compare-0.json (nothing changed) and compare-2.json (2 % more work), writes trials.csv and
prints the shares of each verdict, beside the power of a paired t test simulated at the spread that was seen.
"""

import json
import random
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

CRITICAL = {3: 4.302653, 5: 2.776445, 10: 2.262157, 30: 2.045230, 60: 2.000995}  # Student t at 0.975 with n - 1 degrees of freedom
VERDICTS = ["regressed", "improved", "equivalent", "inconclusive"]
stopwatt, folder = sys.argv[1], Path(sys.argv[2])


def trials(more):
    doc = json.loads((folder / f"compare-{more}.json").read_text())
    row = next(c for c in doc["comparisons"] if c["metric"] == "e2e" and c["statistic"] == "mean")
    return list(zip(*row["values"]))


def verdict(pairs):
    with tempfile.TemporaryDirectory() as scratch:
        files = [Path(scratch) / name for name in ("a.csv", "b.csv")]
        for file, side in zip(files, zip(*pairs)):
            file.write_text("run,value\n" + "".join(f"{i},{v!r}\n" for i, v in enumerate(side)))
        said = subprocess.run([stopwatt, "compare", *files, "--paired", "--format", "json"], capture_output=True, check=True)
    return json.loads(said.stdout)["comparisons"][0]["verdict"]


def simulated(n, change, sd, times=20_000):
    chance = random.Random(n)
    found = 0
    for _ in range(times):
        d = [chance.gauss(change, sd) for _ in range(n)]
        found += abs(statistics.fmean(d)) > CRITICAL[n] * statistics.stdev(d) / n**0.5
    return found / times


with (folder / "trials.csv").open("w") as out:
    out.write("work,trial,baseline_s,candidate_s\n")
    for more in (0, 2):
        for i, (a, b) in enumerate(trials(more)):
            out.write(f"+{more} %,{i},{a!r},{b!r}\n")

print("| work | trials a side | pairs | " + " | ".join(VERDICTS) + " | changed, simulated | SD of a pair |")
print("|---|---|---|" + "---|" * (len(VERDICTS) + 2))
for more in (0, 2):
    pairs = trials(more)
    # Each pair's own difference; the spread within neighbours, so that drift over minutes does not count.
    d = [b / a - 1 for a, b in pairs]
    sd = (statistics.fmean((x - y) ** 2 for x, y in zip(d, d[1:])) / 2) ** 0.5
    for n in CRITICAL:
        blocks = [pairs[i : i + n] for i in range(0, len(pairs) - n + 1, n)]
        found = [verdict(block) for block in blocks]
        shares = " | ".join(f"{100 * found.count(v) / len(found):.0f} %" for v in VERDICTS)
        power = 100 * simulated(n, more / 100, sd)
        print(f"| +{more} % | {n} | {len(found)} | {shares} | {power:.0f} % | {100 * sd:.2f} % |")

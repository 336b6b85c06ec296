#!/usr/bin/env python3
"""Writes the tables of README.md from data/*.csv: between the marks `<!-- tables -->` and `<!-- end -->`."""

import csv
import statistics
from pathlib import Path

here = Path(__file__).parent
METRICS = {"ttft": "TTFT mean", "tpot": "TPOT mean", "e2e": "E2E mean", "output_throughput": "output tokens/s"}
HEAD = "| | | n | MAPE | bias | median | in 5 % | in 10 % | in the 90 % interval |\n|---|---|---|---|---|---|---|---|---|\n"


def rows(how, *shapes):
    found = []
    for shape in shapes:
        with (here / "data" / f"{shape}-{how}.csv").open() as file:
            found += list(csv.DictReader(file))
    return found


def line(title, metric, found):
    """One row; loads that judge nothing are left out."""
    found = [r for r in found if r["metric"] == metric and not r["refused"] and r["error"]]
    if not found:
        return ""
    errors = [float(r["error"]) for r in found]
    size = [abs(e) for e in errors]
    share = lambda is_so: f"{100 * sum(is_so) / len(found):.0f} %"
    inside = [float(r["lo90"]) <= float(r["measured"]) <= float(r["hi90"]) for r in found]
    cells = [
        title, METRICS[metric], str(len(found)), f"{100 * statistics.fmean(size):.1f} %", f"{100 * statistics.fmean(errors):+.1f} %",
        f"{100 * statistics.median(size):.1f} %", share([e <= 0.05 for e in size]), share([e <= 0.1 for e in size]), share(inside),
    ]
    return "| " + " | ".join(cells) + " |\n"


def table(groups, metrics=METRICS):
    return HEAD + "".join(line(title, m, found) for title, found in groups for m in metrics)


def of(set_, found):
    return [r for r in found if r["set"] == set_]


both = rows("calibrated", "8b", "3b")
held, fitted = of("held_out", both), of("fitted", both)
refused = {(r["model"], r["run"], r["load"]) for r in held if r["refused"]}
shape = lambda found, name: [r for r in found if r["model"].endswith(name)]
text = f"Held out, calibrated on four loads of the 8B shape ({len(refused)} loads with unsteady repeats judge nothing):\n\n"
text += table([("8B, other loads", shape(held, "8b")), ("3B, never fitted", shape(held, "3b")), ("both", held)])
text += "\nThe four fitted loads, which say nothing of new ones:\n\n" + table([("8B", fitted)])
text += "\nWithout any calibration, both shapes:\n\n"
text += table([("measured kernels", rows("kernels", "8b", "3b")), ("the data sheet alone", rows("datasheet", "8b", "3b"))])
# Of these E2E and tokens alone are truth: that tokens had no text is no reason to refuse them.
e2e = [{**r, "refused": "" if "without text" in r["refused"] else r["refused"]} for r in rows("e2e", "8b", "3b")]
text += (
    "\nLoads of another start of the same server, calibrated as above. Its requests had tokens without text, so that E2E and "
    "output tokens alone are truth; the settings of the fitted loads are among them:\n\n"
)
text += table([("8B", shape(e2e, "8b")), ("3B", shape(e2e, "3b"))], ["e2e", "output_throughput"])
page = here / "README.md"
before, rest = page.read_text().split("<!-- tables -->\n")
page.write_text(before + "<!-- tables -->\n" + text + "<!-- end -->" + rest.split("<!-- end -->")[1])

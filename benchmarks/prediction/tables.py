#!/usr/bin/env python3
"""Writes the tables of README.md from data/*.csv: between the marks `<!-- tables -->` and `<!-- end -->`."""

import csv
import math
import statistics
from pathlib import Path

here = Path(__file__).parent
METRICS = {"ttft": "TTFT mean", "tpot": "TPOT mean", "e2e": "E2E mean", "output_throughput": "output tokens/s"}
HEAD = (
    "| | | n | MAPE | bias | median | in 5 % | in 10 % | in the 90 % interval |\n"
    "|---|---|---|---|---|---|---|---|---|\n"
)


def rows(name):
    path = here / "data" / f"{name}.csv"
    if not path.exists():
        return []
    with path.open() as file:
        return list(csv.DictReader(file))


def every(pattern):
    """Rows of all files of this form, by their names."""
    return {path.stem: rows(path.stem) for path in sorted((here / "data").glob(f"{pattern}.csv"))}


def wilson(hits, n, z=1.96):
    """The 95 % interval of a share."""
    p = hits / n
    middle = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return max(0.0, middle - half), min(1.0, middle + half)


def judging(found, metric=None):
    """Rows of loads that judge."""
    return [r for r in found if metric in (None, r["metric"]) and not r["refused"] and r["error"]]


def covered(found):
    """Share inside the interval, and the interval of the share."""
    if "lo90" not in found[0]:
        return "–"
    hits = sum(float(r["lo90"]) <= float(r["measured"]) <= float(r["hi90"]) for r in found)
    lo, hi = wilson(hits, len(found))
    return f"{100 * hits / len(found):.0f} % [{100 * lo:.0f}, {100 * hi:.0f}]"


def line(title, metric, found):
    found = judging(found, metric)
    if not found:
        return ""
    errors = [float(r["error"]) for r in found]
    size = [abs(e) for e in errors]
    share = lambda is_so: f"{100 * sum(is_so) / len(found):.0f} %"
    cells = [
        title, METRICS[metric], str(len(found)), f"{100 * statistics.fmean(size):.1f} %",
        f"{100 * statistics.fmean(errors):+.1f} %", f"{100 * statistics.median(size):.1f} %",
        share([e <= 0.05 for e in size]), share([e <= 0.1 for e in size]), covered(found),
    ]
    return "| " + " | ".join(cells) + " |\n"


def table(groups, metrics=METRICS):
    return HEAD + "".join(line(title, m, found) for title, found in groups for m in metrics)


def together(groups):
    return [r for found in groups.values() for r in found]


def of(set_, found):
    return [r for r in found if r["set"] == set_]


def group(row):
    """What the clients do: the groups of the table by load."""
    if not row["concurrency"]:
        return "arrivals at a rate"
    return "one client" if row["concurrency"] == "1" else "4 to 48 clients" if int(row["concurrency"]) < 64 else "64 and more"


cross = every("*-cross")
by = every("*-by-others")
unseen = every("1b-unseen-by-*")
refused = {(r["model"], r["run"], r["load"]) for r in together(cross) if r["refused"]}
name = lambda stem: stem.split("-")[0].upper()
text = (
    f"**Each load left out once**, the others of its shape fitted ({len(refused)} loads with unsteady repeats judge "
    "nothing; in brackets the 95 % interval of a share):\n\n"
)
text += table([(name(stem), found) for stem, found in cross.items()] + [("all", together(cross))])
text += "\nThe same by load, TTFT:\n\n" + HEAD
for kind in ["one client", "4 to 48 clients", "64 and more", "arrivals at a rate"]:
    text += line(kind, "ttft", [r for r in together(cross) if group(r) == kind])
text += "\n**Each shape left out once**, all loads of the four others fitted together:\n\n"
text += table([(f"{name(stem)}, fitted to the others", found) for stem, found in by.items()] + [("all", together(by))])
text += "\n**Unseen**: the 1B shape as it was predicted before it was measured:\n\n"
text += table([(f"by the fit to {stem.split('-')[3].upper()}", found) for stem, found in sorted(unseen.items())])
second = {stem: rows(stem) for stem in ["14b-unseen", "1.7b-unseen"] if rows(stem)}
text += "\n**Unseen, the second time**: two further shapes as they were predicted before they were measured:\n\n"
text += table([(name(stem), found) for stem, found in second.items()] + [("both", together(second))])
held = of("held_out", together(every("*-calibrated")))
text += "\nFour loads of the 8B shape fitted, all other loads of all shapes predicted (the rule of the first version):\n\n"
text += table([("held out", held)])
text += "\nWithout any calibration:\n\n"
text += table([("measured kernels", together(every("*-kernels"))), ("the data sheet alone", together(every("*-datasheet"))), ("AIConfigurator's kernels alone", together(every("*-imported")))])
baseline = rows("aiconfigurator")
same = {(r["model"], r["load"]) for r in baseline if r["predicted"]}
ours = [r for r in together(by) if (r["model"], r["load"]) in same]
text += (
    "\nAIConfigurator 0.12.0 (`agg`, vLLM 0.24 tables of the H100, nothing calibrated) on the closed loops, those of several "
    "lengths by their means; it knows no arrivals at a rate:\n\n" + HEAD
)
for title, found in [("AIConfigurator", baseline), ("here, the other shapes fitted", ours), ("here, not calibrated", [r for r in together(every("*-kernels")) if (r["model"], r["load"]) in same]), ("here, with their kernels alone, not calibrated", [r for r in together(every("*-imported")) if (r["model"], r["load"]) in same])]:
    for metric in ["ttft", "tpot", "output_throughput"]:
        text += line(title, metric, found)
# Of these E2E and tokens alone are truth: that tokens had no text is no reason to refuse them.
e2e = [{**r, "refused": "" if "without text" in r["refused"] else r["refused"]} for r in together(every("*-e2e"))]
text += (
    "\nLoads of another start of the same server, by the four fitted loads. Its requests had tokens without text, so that "
    "E2E and output tokens alone are truth; the settings of the fitted loads are among them:\n\n"
)
shape = lambda found, end: [r for r in found if r["model"].endswith(end)]
text += table([("8B", shape(e2e, "8b")), ("3B", shape(e2e, "3b"))], ["e2e", "output_throughput"])
page = here / "README.md"
before, rest = page.read_text().split("<!-- tables -->\n")
page.write_text(before + "<!-- tables -->\n" + text + "<!-- end -->" + rest.split("<!-- end -->")[1])

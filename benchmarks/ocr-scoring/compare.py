#!/usr/bin/env python3
"""Holds the edit distance of Stopwatt beside RapidFuzz and jiwer: equal on random pairs, and how long a page takes.

Needs `pip install jiwer rapidfuzz` and, in the root of the repository,
`cargo build --release -p stopwatt-quality --example edit_pairs`.
Usage: compare.py [path of edit_pairs]
"""
import json
import random
import subprocess
import sys
import time

import jiwer
from rapidfuzz.distance import Levenshtein

program = sys.argv[1] if len(sys.argv) > 1 else "target/release/examples/edit_pairs"
random.seed(7)
LETTERS = "가나다라마바사아자차카타파하각간갈감강정점mgLμ0123456789.,/~ "


def text(n):
    return "".join(random.choice(LETTERS) for _ in range(n))


def damaged(t, share):
    out = []
    for c in t:
        r = random.random()
        if r < share / 3:
            continue
        out.append(random.choice(LETTERS) if r < 2 * share / 3 else c)
        if r > 1 - share / 3:
            out.append(random.choice(LETTERS))
    return "".join(out)


def ours(pairs, *args):
    lines = "\n".join(json.dumps(p, ensure_ascii=False) for p in pairs)
    return subprocess.run([program, *args], input=lines, capture_output=True, text=True, check=True).stdout.split("\n")


pairs = []
for _ in range(10_000):
    a = text(random.randint(1, 300))
    pairs.append([a, damaged(a, random.random()) if random.random() < 0.7 else text(random.randint(0, 300))])
same = counts = 0
for (a, b), line in zip(pairs, ours(pairs)):
    d, s, dl, i = map(int, line.split())
    ops = Levenshtein.editops(a, b)
    kinds = [sum(o.tag == k for o in ops) for k in ("replace", "delete", "insert")]
    same += d == Levenshtein.distance(a, b) == s + dl + i
    # jiwer drops white space at both ends first, so it is asked only where there is none.
    if a.strip() == a and b.strip() == b:
        assert round(jiwer.cer(a, b) * len(a)) == d, (a, b)
    counts += [s, dl, i] == kinds
print(f"pairs {len(pairs)}  equal distances {same}  equal S/D/I {counts}")


def best(work, rounds):
    times = []
    for _ in range(rounds):
        begin = time.perf_counter()
        work()
        times.append((time.perf_counter() - begin) * 1e3)
    return min(times)


print("8,000 characters, best of 20, ms: errors | ours distance, ours S/D/I | rapidfuzz distance, editops | jiwer.cer")
for share in (0.01, 0.1, 0.6):
    a = text(8000).strip()
    b = damaged(a, share).strip()
    mine = {k: float(v) for k, v in (line.split() for line in ours([[a, b]], "--time", "20") if line)}
    theirs = [best(lambda f=f: f(a, b), 20) for f in (Levenshtein.distance, Levenshtein.editops, jiwer.cer)]
    print(f"{share:.0%} | {mine['distance']:.2f}, {mine['counts']:.2f} | {theirs[0]:.2f}, {theirs[1]:.2f} | {theirs[2]:.2f}")

#!/usr/bin/env python3
"""Counts dependencies: crates behind each crate of ours, and what each direct dependency alone brings.

    count-dependencies.py [CARGO-TREE-ARGUMENTS…]      for instance --features object-store

Prints the tables of docs/dependencies.md. Lines are those of Rust, C and assembly in the crates' sources, without
tests, benchmarks and examples.
"""

import collections
import json
import os
import re
import subprocess
import sys

TARGET = "x86_64-unknown-linux-gnu"


def tree(package, *arguments):
    """Edges of the graph, and its root: what is built and linked on Linux."""
    command = ["cargo", "tree", "--locked", "-p", package, "-e", "normal,build", "--prefix", "depth", "--no-dedupe"]
    text = subprocess.run([*command, "--target", TARGET, *arguments], check=True, capture_output=True, text=True).stdout
    edges, stack = collections.defaultdict(set), []
    for line in text.splitlines():
        depth, name, version = re.match(r"(\d+)(\S+) v(\S+)", line).groups()
        stack = [*stack[: int(depth)], f"{name} {version}"]
        if len(stack) > 1:
            edges[stack[-2]].add(stack[-1])
    return edges, stack[0]


def reached(edges, root, without=None):
    seen, todo = {root}, [root]
    while todo:
        for name in edges[todo.pop()] - seen - {without}:
            seen.add(name)
            todo.append(name)
    return seen


def ours(name):
    return name.startswith("stopwatt")


def sources():
    text = subprocess.run(["cargo", "metadata", "--locked", "--format-version", "1"], check=True, capture_output=True).stdout
    return {f"{p['name']} {p['version']}": os.path.dirname(p["manifest_path"]) for p in json.loads(text)["packages"]}


def lines(folder):
    count = 0
    for where, below, files in os.walk(folder):
        below[:] = [b for b in below if b not in ("tests", "benches", "examples")]
        for file in files:
            if file.endswith((".rs", ".c", ".h", ".S", ".asm")):
                with open(os.path.join(where, file), "rb") as content:
                    count += content.read().count(b"\n")
    return count


def main():
    edges, root = tree("stopwatt", *sys.argv[1:])
    all_of_them = reached(edges, root)
    where = sources()
    size = {name: lines(where[name]) for name in all_of_them if not ours(name)}
    print(f"{len(size)} crates of others, {sum(size.values())} lines\n")
    print("| crate | crates of others behind it |\n|---|---:|")
    for name in sorted(n for n in all_of_them if ours(n)):
        print(f"| {name.split()[0]} | {sum(not ours(n) for n in reached(edges, name))} |")
    print("\n| dependency | brings alone | lines | used by |\n|---|---:|---:|---|")
    direct = {d for name in edges if ours(name) for d in edges[name] if not ours(d)}
    rows = []
    for name in direct:
        alone = all_of_them - reached(edges, root, name)
        users = sorted(n.split()[0].removeprefix("stopwatt-") for n in edges if ours(n) and name in edges[n])
        rows.append((sum(size[n] for n in alone), len(alone), name, users))
    for count, crates, name, users in sorted(rows, reverse=True)[:10]:
        print(f"| {name} | {crates} | {count} | {', '.join(users)} |")


main()

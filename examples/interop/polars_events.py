#!/usr/bin/env python3
"""events.parquet in Polars: gaps between tokens of each request from the lists of stamps, and their mean beside that of metrics.json."""

import json
import pathlib
import sys

import polars as pl


def main(folder):
    run = pathlib.Path(folder)
    summary = json.loads((run / "metrics.json").read_text())
    point = summary["headline_point"]
    tokens = ["content", "reasoning", "tool"]
    gaps = (
        pl.scan_parquet(run / "events.parquet")
        .filter((pl.col("phase") == "measure") & (pl.col("end") == "ok") & (pl.col("point") == point))
        .select("trial", "id", "chunk_t_ns", "chunk_kind")
        .explode("chunk_t_ns", "chunk_kind")
        .filter(pl.col("chunk_kind").cast(pl.String).is_in(tokens))
        .with_columns(((pl.col("chunk_t_ns").diff().over("trial", "id")) / 1e9).alias("gap_s"))
        .drop_nulls("gap_s")
        .collect()
    )
    ours = summary["points"][point]["metrics"]["chunk_gap"]["mean"]
    mean = gaps["gap_s"].mean()
    print(f"Polars {pl.__version__}: {gaps.height} gaps, mean {mean * 1e3:.4f} ms; "
          f"metrics.json: n {ours['n']}, {ours['value'] * 1e3:.4f} ms")
    assert gaps.height == ours["n"], "another number of gaps"
    # The mean of metrics.json is the mean of the trials' means, where they weigh alike the same.
    by_trial = gaps.group_by("trial").agg(pl.col("gap_s").mean())["gap_s"].mean()
    near = min(abs(mean - ours["value"]), abs(by_trial - ours["value"]))
    assert near <= 1e-9 + 1e-6 * ours["value"], "another mean"


main(*sys.argv[1:])

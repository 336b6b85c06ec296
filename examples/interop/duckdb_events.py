#!/usr/bin/env python3
"""events.parquet in DuckDB: time to first token of each request, and its median beside that of metrics.json."""

import json
import pathlib
import sys

import duckdb


def main(folder):
    run = pathlib.Path(folder)
    summary = json.loads((run / "metrics.json").read_text())
    point = summary["headline_point"]
    n, median, chunks = duckdb.execute(
        """
        with requests as (
            select (first_token_ns - coalesce(connected_ns, dispatched_ns)) / 1e9 as ttft_s, len(chunk_t_ns) as chunks
            from read_parquet($events) where phase = 'measure' and "end" = 'ok' and point = $point
        )
        select count(*), median(ttft_s), sum(chunks) from requests where ttft_s is not null
        """,
        {"events": str(run / "events.parquet"), "point": point},
    ).fetchone()
    ours = summary["points"][point]["metrics"]["ttft"]["p50"]
    print(f"DuckDB {duckdb.__version__}: {n} requests, {chunks} chunks, TTFT p50 {median * 1e3:.3f} ms; "
          f"metrics.json: n {ours['n']}, {ours['value'] * 1e3:.3f} ms")
    assert n == ours["n"], "another number of requests"
    assert abs(median - ours["value"]) <= 1e-9 + 0.01 * ours["value"], "another median"


main(*sys.argv[1:])

#!/usr/bin/env python3
"""`stopwatt export --to vllm` as a reader of vLLM's files finds it.

Computes vLLM's statistics from the arrays by its formulas (`vllm bench serve`, 0.33) and holds the file's own to them;
then takes the requests apart as vLLM's timeline plot does.
"""

import json
import statistics
import sys

# What a file of `--save-result --save-detailed` has and its readers (`vllm bench sweep plot`, the timeline) look up.
FIELDS = """date backend endpoint_type label model_id tokenizer_id num_prompts request_rate burstiness max_concurrency
duration completed failed total_input_tokens total_output_tokens request_throughput output_throughput
total_token_throughput input_lens output_lens ttfts itls start_times generated_texts errors
mean_ttft_ms median_ttft_ms std_ttft_ms p99_ttft_ms mean_tpot_ms median_tpot_ms std_tpot_ms p99_tpot_ms
mean_itl_ms median_itl_ms std_itl_ms p99_itl_ms""".split()


def close(name, ours, theirs, tolerance=1e-6):
    print(f"  {name:24} {ours:14.4f} {theirs:14.4f}")
    assert abs(ours - theirs) <= tolerance * max(1.0, abs(theirs)), name


def main(path):
    with open(path, encoding="utf-8") as file:
        result = json.load(file)
    missing = [name for name in FIELDS if name not in result]
    assert not missing, f"the file lacks {missing}"
    arrays = ["input_lens", "output_lens", "ttfts", "itls", "start_times", "generated_texts", "errors"]
    lengths = {name: len(result[name]) for name in arrays}
    assert len(set(lengths.values())) == 1, lengths
    good = [i for i, error in enumerate(result["errors"]) if not error]
    assert len(good) == result["completed"]

    print(f"  {'':24} {'in the file':>14} {'computed':>14}")
    close("mean_ttft_ms", result["mean_ttft_ms"], 1e3 * statistics.fmean(result["ttfts"][i] for i in good))
    close("median_ttft_ms", result["median_ttft_ms"], 1e3 * statistics.median(result["ttfts"][i] for i in good))
    gaps = [gap for i in good for gap in result["itls"][i]]
    close("mean_itl_ms", result["mean_itl_ms"], 1e3 * statistics.fmean(gaps))
    output = sum(result["output_lens"][i] for i in good)
    close("output_throughput", result["output_throughput"], output / result["duration"], 1e-3)
    close("request_throughput", result["request_throughput"], len(good) / result["duration"], 1e-3)

    # The timeline: a segment for the first token and one for each gap, none of negative length.
    zero = min(result["start_times"])
    segments = 0
    for i in good:
        at = result["start_times"][i] - zero
        assert at >= 0
        for length in [result["ttfts"][i], *result["itls"][i]]:
            assert length >= 0
            at += length
            segments += 1
    print(f"  {result['completed']} requests, {segments} segments of a timeline")


main(*sys.argv[1:])

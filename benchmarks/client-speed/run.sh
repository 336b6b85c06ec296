#!/usr/bin/env bash
# What Stopwatt's load client costs beside others, in one run against one exact engine.
#   benchmarks/client-speed/run.sh [OUTDIR] [FLAGS of measure.py]
# Peers are taken where they are given:
#   SGLANG_WHEEL=sglang-….whl   its Rust client alone is unpacked (pip download --no-deps sglang)
#   VLLM=/venv/bin/vllm AIPERF=/venv/bin/aiperf TOKENIZER=/folder/with/tokenizer.json
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
out=${1:-$(mktemp -d)}; mkdir -p "$out"; shift || true
cargo build --release --quiet --locked -p stopwatt --bin stopwatt
cargo build --release --quiet --locked -p stopwatt-load --example floor
target=${CARGO_TARGET_DIR:-target}/release
flags=(--stopwatt "$target/stopwatt" --floor "$target/examples/floor" --out "$out")
if [ -n "${SGLANG_WHEEL:-}" ]; then
  python3 -m zipfile -e "$SGLANG_WHEEL" "$out/sglang-wheel"
  flags+=(--sglang "$(ls "$out"/sglang-wheel/sglang/srt/rust_extensions/_bench*.so)")
fi
[ -n "${VLLM:-}" ] && flags+=(--vllm "$VLLM")
[ -n "${AIPERF:-}" ] && flags+=(--aiperf "$AIPERF")
[ -n "${TOKENIZER:-}" ] && flags+=(--tokenizer "$TOKENIZER")
export HF_HUB_OFFLINE=1 XDG_CACHE_HOME="$out/cache"
# Known beforehand, so that no run has to find it out.
"$target/stopwatt" bench --calibrate --quiet | tee "$out/calibration.txt"
python3 benchmarks/client-speed/measure.py "${flags[@]}" "$@" | tee "$out/table.md"
rm -rf "$out/sglang-wheel" "$out/cache"

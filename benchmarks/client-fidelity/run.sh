#!/usr/bin/env bash
# The client's error against the exact engine's own log, at 1, 64, 256 and 512 streams.
#   [STAMPS=off] [PRIORITY='chrt -f 20'] benchmarks/client-fidelity/run.sh [OUTDIR]
# TTFT 50 ms, ITL 10 ms, 128 tokens a request, 4 requests a stream (at least 20), closed loop; client and engine share the
# machine. STAMPS=off leaves the stamps to the client, PRIORITY is put before engine and client. Leaves the runs and the truth logs in OUTDIR (default: a temporary folder) and prints the table.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
cargo build --release --quiet -p stopwatt --bin stopwatt --example fidelity
out=${1:-$(mktemp -d)}; mkdir -p "$out"
bin=${CARGO_TARGET_DIR:-target}/release/stopwatt
for streams in ${STREAMS:-1 64 256 512}; do
  requests=$((streams * 4)); [ "$requests" -lt 20 ] && requests=20
  truth=$out/truth-$streams.jsonl
  mkfifo "$out/ready" "$out/hold"
  ${PRIORITY:-} "$bin" serve --kind exact --port 0 --exit-with-parent --ttft 50ms --itl 10ms --truth-log "$truth" <"$out/hold" >"$out/ready" &
  exec 9>"$out/hold"
  read -r line <"$out/ready"
  url=$(sed 's/.*"url":"\([^"]*\)".*/\1/' <<<"$line")
  ${PRIORITY:-} "$bin" bench --quiet --url "$url" --scenario batch --concurrency "$streams" --requests "$requests" --repeats 2 \
    --input 32 --output 128 --warmup "$streams" --override load.kernel_stamps="${STAMPS:-auto}" --out "$out/run-$streams" --format json >"$out/metrics-$streams.json"
  exec 9>&-
  wait
  rm "$out/ready" "$out/hold"
  echo "### $streams streams"
  "${CARGO_TARGET_DIR:-target}/release/examples/fidelity" "$out/run-$streams" "$truth"
done

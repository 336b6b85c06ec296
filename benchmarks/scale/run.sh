#!/usr/bin/env bash
# Memory and time in run length: record, report, bench, start-up.
#   benchmarks/scale/run.sh [OUTDIR]
# Needs strace and GNU time; about 4 GB of disk. Leaves its figures in OUTDIR (default: a temporary folder); the runs
# themselves are removed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
cargo build --release --quiet -p stopwatt --bin stopwatt
cargo build --release --quiet -p stopwatt-record --example events_speed
out=${1:-$(mktemp -d)}; mkdir -p "$out"
bin=$(realpath "${CARGO_TARGET_DIR:-target}/release/stopwatt")
speed=$(realpath "${CARGO_TARGET_DIR:-target}/release/examples/events_speed")
runs=$(mktemp -d); trap 'rm -rf "$runs"' EXIT
export STOPWATT_RUNS=$runs/catalogue
timed() { /usr/bin/time -f '%e s wall, %U s user, %M KiB peak' -o "$1" "${@:2}"; }

# Runs of 128 chunks a request, written by the recorder alone, and their reports.
for rows in 10000 100000 1000000; do
  "$speed" "$rows" 128 "$runs/made" >"$out/record-$rows.txt"
  run=$(echo "$runs"/made/*-speed-*)
  timed "$out/report-$rows.txt" "$bin" report "$run" --format json >/dev/null
  [ "$rows" = 100000 ] && { rm "$run/streams.parquet"; timed "$out/report-$rows-rebuilt.txt" "$bin" report "$run" --format json >/dev/null; }
  rm -rf "$runs/made"
done

# The whole client against the exact engine in another process.
engine() {
  mkfifo "$runs/ready" "$runs/hold"
  "$bin" serve --kind exact --port 0 --exit-with-parent "$@" <"$runs/hold" >"$runs/ready" &
  exec 9>"$runs/hold"
  read -r line <"$runs/ready"
  url=$(sed 's/.*"url":"\([^"]*\)".*/\1/' <<<"$line")
}
stop() { exec 9>&-; wait; rm "$runs/ready" "$runs/hold"; }
bench() { timed "$out/bench-$1.txt" "$bin" bench --quiet --url "$url" --out "$runs/bench-$1" --format json "${@:2}" >"$out/metrics-$1.json"; ls -l "$runs/bench-$1" | awk '{print $5, $9}' >>"$out/bench-$1.txt"; rm -rf "$runs/bench-$1"; }

engine --ttft 50ms --itl 10ms
bench 512-streams --scenario batch --concurrency 512 --requests 3125 --repeats 5 --input 32 --output 128 --warmup 512
stop
engine --ttft 0ms --itl 0ms
for requests in 2000 20000 200000; do
  bench "$((requests * 5))-requests" --scenario batch --concurrency 64 --requests "$requests" --repeats 5 --input 8 --output 8 --warmup 64
done
# From exec to the first byte of a request, under strace and so an upper bound.
for i in 1 2 3 4 5; do
  strace -f -ttt -e trace=execve,write,writev,sendto,sendmsg -s 24 -o "$runs/trace" "$bin" bench --quiet --url "$url" \
    --out "$runs/start-$i" --requests 2 --repeats 1 --input 8 --output 2 --warmup 0 >/dev/null
  awk '/execve/ && !t {t = $2} /"GET |"POST / && !g {g = $2} /"POST / {n++; if (!p && /completions/) p = $2} END {printf "first probe %.1f ms, first completion %.1f ms\n", (g - t) * 1e3, (p - t) * 1e3}' "$runs/trace" >>"$out/start.txt"
done
stop
head "$out"/*.txt

#!/bin/sh
# How often does `pair` find a real change of exactly 2 %, and none where there is none?
# Usage: run.sh STOPWATT OUT [TRIALS] [ROUNDS]   (about 5 minutes with 300 trials of 5 ms iterations on an idle machine)
set -eu
stopwatt=$(realpath "$1"); out=$2; trials=${3:-300}; rounds=${4:-20000}
here=$(dirname "$(realpath "$0")")
mkdir -p "$out"
{ date -u +%FT%TZ; "$stopwatt" --version; uname -sr; grep -m1 'model name' /proc/cpuinfo; nproc; cat /proc/loadavg; } > "$out/machine.txt"
for more in 0 2; do
  # Work is a count: 2 % more of it is 2 % more time, and nothing else differs.
  other=$((rounds * (100 + more) / 100))
  "$stopwatt" pair --quiet --command "python3 $here/work.py $rounds" --candidate "target.command=python3 $here/work.py $other" \
    --trials "$trials" --repeats $((trials * 20)) --warmup 5 --primary e2e --out "$out/pair-$more" --format json \
    --override pipeline.warmup_max_s=0.05 --override measure.power_enable=false --override measure.cpu_counters=false \
    --override gates.latency=null --override gates.l2_hit=null --override gates.ept=null --override gates.quality=null \
    > /dev/null
  cp "$out/pair-$more/compare.json" "$out/compare-$more.json"
  rm -r "$out/pair-$more"
done
cat /proc/loadavg >> "$out/machine.txt"
python3 "$here/table.py" "$stopwatt" "$out"

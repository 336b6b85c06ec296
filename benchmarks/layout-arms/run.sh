#!/usr/bin/env bash
# Five arms of each case, then `once` against `iterative` in turns. Needs the binary, scripts/fetch-smollm2.sh and these docs.
#   benchmarks/layout-arms/run.sh OUT [CASE …]     CASE: neurons-units neurons-blocks neurons-int4 tokens control
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
stopwatt=${STOPWATT:-target/release/stopwatt}
out=$1
shift
model=$(scripts/fetch-smollm2.sh)
mkdir -p "$out"
cat docs/run.md docs/bench.md >"$out/trace.txt"
cat docs/validity.md docs/sensors.md docs/workloads.md >"$out/quality.txt"
common=(-q --format json --repeats "${REPEATS:-600}" --trials 5 --warmup 30
  --override target.kind=layout --override "target.layout.model=$model" --override "target.layout.text=$out/trace.txt"
  --override solver.time_budget_s=60 --override measure.power_enable=false --override pipeline.warmup_max_s=20
  --override 'gates.latency=e2e mean <= 0%' --override gates.l2_hit=null --override gates.ept=null
  --override gates.quality=null)
text=(--override "quality.text=$out/quality.txt")
cases=("$@")
[ $# -gt 0 ] || cases=(neurons-units neurons-blocks neurons-int4 tokens control)
for case in "${cases[@]}"; do
  case $case in
    neurons-units) of=(--override 'transform.sparsity={by: units, energy: 0.9}' "${text[@]}") ;;
    neurons-blocks) of=(--override 'transform.sparsity={by: blocks, energy: 0.9}' "${text[@]}") ;;
    neurons-int4) of=(--override 'transform.sparsity={by: blocks, energy: 0.9}' --override 'transform.quant={format: int4, group: 32}' "${text[@]}") ;;
    tokens) of=(--override target.layout.carrier=kv-tokens --override target.layout.context=2048 --override 'transform.kv={drop: 0.75}') ;;
    control) of=(--override target.layout.carrier=dense) ;;
  esac
  for mode in identity random linear once iterative; do
    "$stopwatt" run "${common[@]}" "${of[@]}" --override "pipeline.mode=$mode" --out "$out/$case/$mode" >/dev/null || echo "$case $mode: exit $?"
  done
  runs=("$out/$case/random" "$out/$case/linear" "$out/$case/once" "$out/$case/iterative")
  "$stopwatt" compare "$out/$case/identity" "${runs[@]}" --format csv >"$out/$case.csv" || true
  "$stopwatt" pair "${common[@]}" "${of[@]}" --override pipeline.mode=once --candidate pipeline.mode=iterative --out "$out/$case/pair" >"$out/$case.pair.json" || echo "$case pair: exit $?"
done

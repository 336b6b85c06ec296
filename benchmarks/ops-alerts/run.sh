#!/bin/bash
# Alerts by real Prometheus and Alertmanager beside `stopwatt watch rules --follow`: benchmarks/ops-alerts/run.sh
set -euo pipefail
cd "$(dirname "$0")/../.."
for tool in prometheus prometheus-alertmanager promtool; do
    command -v "$tool" >/dev/null || { echo "$tool is missing: apt-get install prometheus prometheus-alertmanager" >&2; exit 3; }
done
cargo build -q -p stopwatt
"${CARGO_TARGET_DIR:-target}/debug/stopwatt" watch rules --out "${TMPDIR:-/tmp}/stopwatt.rules.yml"
promtool check rules "${TMPDIR:-/tmp}/stopwatt.rules.yml"
exec benchmarks/ops-alerts/run.py "${CARGO_TARGET_DIR:-target}/debug/stopwatt" "$@"

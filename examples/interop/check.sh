#!/usr/bin/env bash
# Runs every example of this folder on a run: one that is named, or one of the built-in engine that is made here.
#   check.sh [RUN]
#   STOPWATT=program   its path, if it is not on the PATH
# DuckDB and Polars are installed into a virtual environment below target/ unless PYTHON names one that has them.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
stopwatt=${STOPWATT:-stopwatt}
if [ -z "${PYTHON:-}" ]; then
  venv=$here/../../target/interop
  [ -x "$venv/bin/python" ] || python3 -m venv "$venv"
  "$venv/bin/python" -c 'import duckdb, polars, pyarrow' 2>/dev/null \
    || "$venv/bin/pip" install --quiet --disable-pip-version-check duckdb==2.0.0 polars==2.1.0 pyarrow
  PYTHON=$venv/bin/python
fi
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
run=${1:-}
if [ -z "$run" ]; then
  run=$scratch/run
  "$stopwatt" bench --quiet --concurrency 4 --requests 24 --repeats 3 --input 32 --output 32 --out "$run" > /dev/null
fi
"$PYTHON" "$here/duckdb_events.py" "$run"
"$PYTHON" "$here/polars_events.py" "$run"
"$stopwatt" export "$run" --to vllm --out "$scratch/vllm.json"
"$PYTHON" "$here/vllm_json.py" "$scratch/vllm.json"
"$stopwatt" export "$run" --to trace --out "$scratch/trace.json"
"$PYTHON" "$here/trace_events.py" "$scratch/trace.json"

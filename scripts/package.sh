#!/usr/bin/env bash
# Builds a wheel, installs it into a fresh virtual environment, and tries the program there.
#   package.sh           for glibc 2.28 and newer: C code is compiled and everything linked by zig
#   package.sh native    for the glibc of this machine and newer
#   package.sh try FILE  only installs and tries a wheel that is there
# Needs Rust and python3; maturin and zig come as Python packages. OUT (target/wheels) is where wheels go.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
out=${OUT:-target/wheels}
tools=${TOOLS:-target/packaging}
step() { printf '\n== %s (%ss)\n' "$1" "$SECONDS"; }

if [ "${1:-}" = try ]; then
  wheel=$2
else
  step "tools"
  [ -x "$tools/bin/python" ] || python3 -m venv "$tools"
  "$tools/bin/pip" install --quiet --disable-pip-version-check 'maturin==1.16.0' 'ziglang==0.15.2'
  # maturin finds zig through the Python of its environment.
  PATH=$(cd "$tools/bin" && pwd):$PATH
  step "build"
  if [ "${1:-}" = native ]; then
    maturin build --release --locked --out "$out"
  else
    maturin build --release --locked --zig --compatibility manylinux_2_28 --out "$out"
  fi
  wheel=$(ls -t "$out"/stopwatt-*.whl | head -1)
fi

step "what is in it"
ls -l "$wheel"
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
python3 -m zipfile -l "$wheel"

step "fresh environment"
python3 -m venv "$scratch/venv"
"$scratch/venv/bin/pip" install --quiet --disable-pip-version-check --no-index "$wheel"
program=$scratch/venv/bin/stopwatt
ls -l "$program"
if command -v objdump >/dev/null; then
  printf 'newest glibc symbol: '
  objdump -T "$program" | grep -oE 'GLIBC_[0-9.]+' | sort -Vu | tail -1
  printf 'libraries: '
  objdump -p "$program" | awk '/NEEDED/ {printf "%s ", $2}'
  echo
fi

step "does it run"
cd "$scratch"
# Nothing of this machine's settings, and a home of its own.
env -i PATH=/usr/bin:/bin HOME="$scratch" "$program" --version
env -i PATH=/usr/bin:/bin HOME="$scratch" "$program" doctor
env -i PATH=/usr/bin:/bin HOME="$scratch" "$program" bench --quiet --repeats 2 --requests 4 --concurrency 1 --input 32 --output 16 --out run
test -s run/report.html -a -s run/metrics.json -a -s run/events.parquet
env -i PATH=/usr/bin:/bin HOME="$scratch" "$program" report run >/dev/null
step "done"

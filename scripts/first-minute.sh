#!/usr/bin/env bash
# Plays a newcomer: a clean clone, the README's two commands, a report in a browser; with times and sizes.
#   first-minute.sh [REPOSITORY] [FOLDER]     this one, a new folder below TMPDIR
# Needs git, a Rust toolchain and a C compiler, as the README says; Chromium for the look at the report.
#   CHROMIUM=program   its path (chromium)
#   SKIP_TESTS=1       leaves the second command out
set -euo pipefail
repository=${1:-$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)}
folder=${2:-$(mktemp -d)}
mkdir -p "$folder"
export CARGO_HOME=$folder/cargo HOME=$folder/home
# Toolchains stay where they are: a newcomer has one.
export RUSTUP_HOME=${RUSTUP_HOME:-$(eval echo ~"$(id -un)")/.rustup}
unset CARGO_TARGET_DIR STOPWATT_RUNS XDG_CACHE_HOME RUSTFLAGS
mkdir -p "$HOME" "$CARGO_HOME"
[ ! -e "$(eval echo ~"$(id -un)")/.cargo/config.toml" ] || cp "$(eval echo ~"$(id -un)")/.cargo/config.toml" "$CARGO_HOME/"
size() { du -sm "$1" 2>/dev/null | cut -f1; }
took() { printf '%-34s %5d s   %s\n' "$1" "$(($(date +%s) - began))" "${2:-}"; }
echo "$(nproc) CPUs, $(rustc --version), load $(cut -d' ' -f1 /proc/loadavg), $(date -u +%F)"

began=$(date +%s)
git clone --quiet "$repository" "$folder/stopwatt"
cd "$folder/stopwatt"
took "git clone" "$(size .) MB, of it $(size .git) MB history"

began=$(date +%s)
cargo fetch --locked --quiet
took "crates fetched" "$(size "$CARGO_HOME/registry/cache") MB"

began=$(date +%s)
cargo build --release --quiet --locked
took "first build (cargo build --release)" "target $(size target) MB, program $(($(stat -c %s target/release/stopwatt) / 1000000)) MB"

began=$(date +%s)
cargo run --release --quiet -- bench > "$folder/bench.txt"
took "cargo run --release -- bench" "$(sed -n '/run$\|Valid\|valid/p' "$folder/bench.txt" | head -1)"
run=$(ls -d stopwatt-runs/*-bench-* | head -1)
took "its run" "$(du -sk "$run" | cut -f1) kB, report.html $(du -k "$run/report.html" | cut -f1) kB"

chromium=${CHROMIUM:-chromium}
if command -v "$chromium" >/dev/null; then
  began=$(date +%s)
  timeout 120 "$chromium" --headless --no-sandbox --disable-gpu --hide-scrollbars --window-size=1200,2400 \
    --screenshot="$folder/report.png" "file://$PWD/$run/report.html" >"$folder/chromium.log" 2>&1
  test -s "$folder/report.png"
  took "report.html in Chromium" "$folder/report.png"
else
  echo "no Chromium: the report was not opened"
fi

if [ -z "${SKIP_TESTS:-}" ]; then
  began=$(date +%s)
  cargo test --workspace --locked --quiet > "$folder/tests.txt" 2>&1 || { tail -40 "$folder/tests.txt"; exit 1; }
  took "cargo test --workspace" "$(grep -c '^test result: ok' "$folder/tests.txt") test programs, target $(size target) MB"
fi

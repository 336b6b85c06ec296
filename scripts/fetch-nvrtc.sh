#!/bin/sh
# Fetches the CUDA runtime compilers (NVRTC) of CUDA 12 and 13 for the tests that compile every kernel, and prints the
# two folders with their libraries, separated by a colon. No GPU and no CUDA toolkit is needed.
#
#   scripts/fetch-nvrtc.sh [FOLDER]      FOLDER defaults to ~/.cache/stopwatt
#
# They are the Python packages `nvidia-cuda-nvrtc` and `nvidia-cuda-nvrtc-cu12` (NVIDIA's licence), installed into
# folders of their own. Needs python3 with pip. Fetches nothing when they are there already.
set -eu

folder=${1:-"${XDG_CACHE_HOME:-$HOME/.cache}/stopwatt"}/nvrtc
python=${PYTHON:-python3}
mkdir -p "$folder"

fetch() {
    if [ ! -d "$folder/$2" ]; then
        fresh=$(mktemp -d "$folder/fetch.XXXXXX")
        "$python" -m pip install --quiet --disable-pip-version-check --no-deps --only-binary=:all: \
            --target "$fresh" "$1==$2" >&2
        mv "$fresh" "$folder/$2"
    fi
    find "$folder/$2" -name 'libnvrtc.so.*' -exec dirname {} \;
}

older=$(fetch nvidia-cuda-nvrtc-cu12 12.8.93)
newer=$(fetch nvidia-cuda-nvrtc 13.0.88)
printf '%s:%s\n' "$older" "$newer"

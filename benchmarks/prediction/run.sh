#!/bin/sh
# Fits to four loads, predicts all others, and writes data/*.csv.
#
#   run.sh STOPWATT [TRUTH E2E]  the program, the folder of the measured runs (8b-c1, …, 3b-rate), and that of runs of
#                                another start whose tokens have no text: E2E and output tokens alone. Without
#                                folders, the runs of data/runs.tar.xz.
#
# The loads of the fit were chosen before any error was looked at: the model of 8 B with 4 and with 64 clients.
set -eu
stopwatt=$1
runs=$(mktemp -d)
trap 'rm -r "$runs"' EXIT
[ $# -gt 1 ] || tar -xJf "$(dirname "$0")/data/runs.tar.xz" -C "$runs"
truth=${2:-$runs/truth}
e2e=${3:-$runs/e2e}
data=$(dirname "$0")/data
mkdir -p "$data"
engine="--gpu h100-sxm --engine-arg gpu_memory_utilization=0.85 --engine-arg max_model_len=8192"

runs() { for run in "$1"-c1 "$1"-c4 "$1"-c16 "$1"-c64 "$1"-c128 "$1"-mix16 "$1"-mix48 "$1"-rate; do echo "$truth/$run"; done; }

"$stopwatt" predict --model llama-3.1-8b $engine --save "$data/calibration.json" \
    --calibrate "$truth/8b-c4" "$truth/8b-c64" > "$data/calibration.txt"
for pair in 8b:llama-3.1-8b 3b:llama-3.2-3b; do
    shape=${pair%%:*} model=${pair#*:}
    for how in calibrated kernels datasheet; do
        case $how in
            calibrated) with="--calibration $data/calibration.json" ;;
            kernels) with= ;;
            datasheet) with=--no-table ;;
        esac
        "$stopwatt" predict --model "$model" $engine $with --format csv --validate $(runs "$shape") \
            > "$data/$shape-$how.csv"
        "$stopwatt" predict --model "$model" $engine $with --validate $(runs "$shape") > "$data/$shape-$how.txt"
    done
    "$stopwatt" predict --model "$model" $engine --calibration "$data/calibration.json" --format csv \
        --validate $(for run in c1 c4 c16 c64 c128 longout mix16 mix48 rate; do echo "$e2e/$shape-$run"; done) \
        > "$data/$shape-e2e.csv"
done
python3 "$(dirname "$0")/tables.py"

#!/bin/sh
# Fits and predicts every load of the measured runs, and writes data/*.csv and the tables of README.md.
#
#   run.sh STOPWATT [TRUTH E2E]  the program, the folder of the measured runs (SHAPE-NAME, such as 8b-c1), and that of runs
#                                of another start whose tokens have no text: E2E and output tokens alone. Without
#                                folders, the runs of data/runs.tar.xz.
#
# More runs of a shape are taken as they are found; a new shape is a line in `shapes`.
set -eu
stopwatt=$1
shapes="8b:llama-3.1-8b 3b:llama-3.2-3b 1b:llama-3.2-1b 14b:qwen2.5-14b 1.7b:qwen3-1.7b"
runs=$(mktemp -d)
trap 'rm -r "$runs"' EXIT
[ $# -gt 1 ] || tar -xJf "$(dirname "$0")/data/runs.tar.xz" -C "$runs"
truth=${2:-$runs/truth}
e2e=${3:-$runs/e2e}
data=$(dirname "$0")/data
mkdir -p "$data"
engine="--gpu h100-sxm --engine-arg gpu_memory_utilization=0.85 --engine-arg max_model_len=8192"

# The rule that was set before any error was seen: four loads of the 8B shape, those with 4 and with 64 clients.
"$stopwatt" predict --model llama-3.1-8b $engine --save "$data/calibration.json" \
    --calibrate "$truth/8b-c4" "$truth/8b-c64" > "$data/calibration.txt"
for pair in $shapes; do
    shape=${pair%%:*} model=${pair#*:}
    ls -d "$truth/$shape"-* > /dev/null 2>&1 || continue
    predict() { "$stopwatt" predict --model "$model" $engine "$@"; }
    # Every load left out once, the others of the shape fitted.
    predict --format csv --cross-validate --calibrate "$truth/$shape"-* > "$data/$shape-cross.csv"
    # All loads of the shape fitted: for the other shapes.
    predict --save "$data/calibration-$shape.json" --calibrate "$truth/$shape"-* > "$data/calibration-$shape.txt"
    # With AIC set to a copy of AIConfigurator: its kernels of the H100 and none of ours.
    if [ -n "${AIC:-}" ]; then
        predict --no-calibration --no-table --table "aic:$AIC" --format csv --validate "$truth/$shape"-* > "$data/$shape-imported.csv"
    fi
    for how in calibrated kernels datasheet; do
        case $how in
            calibrated) with="--calibration $data/calibration.json" ;;
            kernels) with=--no-calibration ;;
            datasheet) with="--no-calibration --no-table" ;;
        esac
        predict $with --format csv --validate "$truth/$shape"-* > "$data/$shape-$how.csv"
        predict $with --validate "$truth/$shape"-* > "$data/$shape-$how.txt"
    done
    ! ls -d "$e2e/$shape"-* > /dev/null 2>&1 ||
        predict --calibration "$data/calibration.json" --format csv --validate "$e2e/$shape"-* > "$data/$shape-e2e.csv"
done
# The third shape when it was unseen: the fits and the model of that time, in which a step of decoding cost the host nothing.
for other in 3b 8b; do
    "$stopwatt" predict --model llama-3.2-1b $engine --calibration "$data/calibration-$other-before.json" --format csv \
        --validate "$truth"/1b-* > "$data/1b-unseen-by-$other.csv"
done
# The fourth and the fifth, by the calibration that came with Stopwatt then: three shapes, launches without their layers.
for pair in 14b:qwen2.5-14b 1.7b:qwen3-1.7b; do
    shape=${pair%%:*} model=${pair#*:}
    "$stopwatt" predict --model "$model" $engine --calibration "$data/calibration-shipped-before.json" --format csv \
        --validate "$truth/$shape"-* > "$data/$shape-unseen.csv"
done
# Runs of a shape, or of all but one, as `--calibrate` takes them.
of() {
    model=$(echo "$shapes" | tr ' ' '\n' | grep "^$1:" | cut -d: -f2)
    for run in "$truth/$1"-*; do [ ! -d "$run" ] || echo "$model=$run"; done
}
but() {
    for pair in $shapes; do [ "${pair%%:*}" = "$1" ] || of "${pair%%:*}"; done
}
# Every shape left out once, the others fitted together; and all fitted, which is what comes with Stopwatt.
for pair in $shapes; do
    shape=${pair%%:*} model=${pair#*:}
    ls -d "$truth/$shape"-* > /dev/null 2>&1 || continue
    "$stopwatt" predict --model "$model" $engine --calibrate $(but "$shape") --save "$runs/others.json" > /dev/null
    "$stopwatt" predict --model "$model" $engine --calibration "$runs/others.json" --format csv \
        --validate "$truth/$shape"-* > "$data/$shape-by-others.csv"
done
"$stopwatt" predict --model llama-3.1-8b $engine --calibrate $(but none) --save "$data/../../../hardware/vllm-0.26.json" \
    > "$data/calibration-all.txt"
python3 "$(dirname "$0")/tables.py"

#!/bin/bash
# Four load machines as one Slurm array: each task sends its share of one arrival process.
#
#   URL=http://engine:8000 OUT=/shared/runs/load sbatch deploy/slurm.sh
#
# Slurm may start the tasks of an array one after the other: they agree on a start time through a file on the shared
# folder, and the last one joins the runs.
#SBATCH --job-name=stopwatt-load
#SBATCH --array=0-3
#SBATCH --nodes=1
#SBATCH --exclusive
#SBATCH --cpus-per-task=2
#SBATCH --mem=1G
#SBATCH --time=00:30:00
#SBATCH --output=stopwatt-%A-%a.log

set -euo pipefail

: "${URL:?set URL to the address of the engine}"
: "${OUT:?set OUT to a folder that all machines share}"
: "${SLURM_ARRAY_TASK_ID:?run this with sbatch}"
shards=${SLURM_ARRAY_TASK_COUNT:-4}
wait_s=${WAIT_S:-180}

mkdir -p "$OUT"
# The first task fixes the start; a hard link appears whole or not at all, and only once.
start_file="$OUT/start-${SLURM_ARRAY_JOB_ID:-0}"
mine=$(mktemp "$OUT/.start.XXXXXX")
echo "$(($(date +%s) + wait_s))" >"$mine"
ln "$mine" "$start_file" 2>/dev/null || true
rm -f "$mine"
start_at=$(cat "$start_file")

stopwatt bench \
    --url "$URL" \
    --rate "${RATE:-40}" --duration "${DURATION:-120s}" --repeats "${REPEATS:-5}" --seed "${SEED:-1}" \
    --shard "$SLURM_ARRAY_TASK_ID/$shards" \
    --start-at "$start_at" \
    --out "$OUT/shard-$SLURM_ARRAY_TASK_ID" \
    --quiet

# Whoever finds all shares ended joins them, once.
ended=0
for run in "$OUT"/shard-*/run.log; do
    if grep -q '"event":"run_ended"' "$run"; then ended=$((ended + 1)); fi
done
if [ "$ended" -eq "$shards" ] && mkdir "$OUT/.joining" 2>/dev/null; then
    stopwatt merge "$OUT"/shard-* --out "$OUT/joined"
fi

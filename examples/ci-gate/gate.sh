#!/bin/sh
# A gate for a pipeline: measure, compare with what this hardware has shown before, exit 0, 10 or 11.
#
#   gate.sh [BENCH-ARGUMENTS…]            for instance: gate.sh --url http://127.0.0.1:8000 -c bench.yaml
#
#   EXPECTATIONS=folder  what is expected, under version control (expectations)
#   UPDATE=1             store this run as what is expected from now on, instead of judging it
#   MARGIN=5%            how much worse does not matter
#   TARGET=name          name of what is measured (scenario and model)
#   PRIMARY='a;b'        metrics that are judged (ttft p50; tpot mean; e2e p95; output_throughput)
#   OUT=folder           where the run goes (stopwatt-gate)
#   COMMENT=file         the result as Markdown, for a comment (stopwatt-gate.md)
#   STOPWATT=program     its path, if it is not on the PATH
#
# Exit codes: 0 as good as expected · 10 something got worse · 11 it cannot be told, or nothing is expected on this
# hardware yet · others: the measurement failed (`stopwatt help` lists them).
set -u
stopwatt=${STOPWATT:-stopwatt}
expectations=${EXPECTATIONS:-expectations}
out=${OUT:-stopwatt-gate}
comment=${COMMENT:-stopwatt-gate.md}

# A run folder is never written over.
if [ -e "$out" ]; then
  echo "gate.sh: $out is there already; remove it, or name another one with OUT" >&2
  exit 1
fi
"$stopwatt" bench --quiet --out "$out" "$@" || exit $?

set -- "$out" --file-dir "$expectations"
[ -z "${TARGET:-}" ] || set -- "$@" --target "$TARGET"
if [ "${UPDATE:-}" = 1 ]; then
  "$stopwatt" expect "$@" --update-expectations
  exit $?
fi
[ -z "${MARGIN:-}" ] || set -- "$@" --margin "$MARGIN"
if [ -n "${PRIMARY:-}" ]; then
  rest=$PRIMARY
  while [ -n "$rest" ]; do
    case $rest in
      *";"*) one=${rest%%;*} rest=${rest#*;} ;;
      *) one=$rest rest= ;;
    esac
    set -- "$@" --primary "$(printf '%s' "$one" | sed 's/^ *//; s/ *$//')"
  done
fi

table=$("$stopwatt" expect "$@")
code=$?
printf '%s\n' "$table"
case $code in
  0) verdict="passed: as good as expected" ;;
  10) verdict="**failed: something got worse**" ;;
  11) verdict="inconclusive: too little to tell, or nothing is expected on this hardware yet" ;;
  *) exit $code ;;
esac
{
  printf '### Stopwatt: %s\n\n' "$verdict"
  # A fence longer than any in the table would do too; the table has none.
  printf '```text\n%s\n```\n' "$table"
} > "$comment"
exit $code

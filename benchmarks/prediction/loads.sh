#!/bin/bash
# loads.sh SHAPE URL OUT: the loads of a shape that nothing was fitted to, each set a run directory OUT/SHAPE-NAME.
#   STOPWATT=program   its path, if it is not on the PATH
#
# Written before any of them was measured, with the rule by which they are judged (README.md, "Unseen").
set -u
shape=$1 url=$2 out=$3
stopwatt=${STOPWATT:-stopwatt}
mkdir -p "$out"
load() {
    name=$1
    shift
    "$stopwatt" bench --url "$url" --quiet --format json --warmup 4 --override measure.warmup_max_s=3 \
        --override workload.prefix_share=0 --ignore-eos yes "$@" --out "$out/$shape-$name" \
        > /dev/null 2> "$out/$shape-$name.err" || echo "$name: exit $?"
}
load c8 --repeats 3 --scenario sweep --concurrency 8 --input 512,2048 --output 64 --requests 32
load c32 --repeats 3 --concurrency 32 --input 512 --output 128 --requests 96
load c1 --repeats 3 --scenario sweep --concurrency 1 --input 256,2048 --output 64 --requests 5
load poisson --repeats 2 --rate 8,24 --arrival poisson --input 768 --output 96 --duration 6s
load mix24 --repeats 3 --concurrency 24 --input 64:2048 --output 16:192 --requests 96
load c96 --repeats 3 --concurrency 96 --input 256 --output 96 --requests 288
load constant --repeats 2 --rate 4,16 --arrival constant --input 768 --output 96 --duration 5s
load c2 --repeats 3 --concurrency 2 --input 1024 --output 128 --requests 8
load mix8 --repeats 3 --concurrency 8 --input 64:2048 --output 16:192 --requests 40

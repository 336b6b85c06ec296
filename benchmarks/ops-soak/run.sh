#!/bin/bash
# run.sh OUT: 25 minutes of load through the proxy with store and quality, one of two engines stopped for 20 s on the way.
#   STOPWATT=program
set -u
sw=${STOPWATT:-target/release/stopwatt}
mkdir -p "$1"
cd "$1" || exit 1
$sw serve --kind exact --port 9101 --ttft 50ms --itl 10ms > /dev/null 2>&1 & a=$!
$sw serve --kind exact --port 9102 --ttft 50ms --itl 10ms > /dev/null 2>&1 & b=$!
sleep 2
$sw watch --upstream http://127.0.0.1:9101,name=a --upstream http://127.0.0.1:9102,name=b --listen 127.0.0.1:9100 \
    --store store --quality > watch.log 2>&1 & w=$!
sleep 2
(
    echo "t_s,proxy_rss_kib,proxy_threads,proxy_fds,proxy_cpu_ticks"
    t0=$(date +%s)
    while kill -0 $w 2>/dev/null; do
        echo "$(($(date +%s) - t0)),$(awk '/VmRSS/{print $2}' /proc/$w/status),$(awk '/Threads/{print $2}' /proc/$w/status),$(ls /proc/$w/fd | wc -l),$(awk '{print $14+$15}' /proc/$w/stat)"
        sleep 15
    done
) > proxy.csv &
(sleep 720; date -u +%T; kill -STOP $a; sleep 20; kill -CONT $a; date -u +%T) > fault.txt &
$sw bench --url http://127.0.0.1:9100 --rate 8 --arrival poisson --input 64 --output 64 --duration 1500s --repeats 1 \
    --warmup 4 --override measure.warmup_max_s=5 --no-chunks --quiet --out run > bench.txt 2>&1
$sw watch query --store store --since 1h --by upstream > query.txt
kill -TERM $w
sleep 3
kill $a $b

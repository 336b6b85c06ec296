#!/bin/sh
# Runs every program in turns, so that a busy neighbour hits all of them alike, and writes decoder.csv and linear.csv.
#
#   GGUF=folder/smollm2 LLAMA_NATIVE=./llama_speed LLAMA_PYTHON=venv/bin/python LINEAR=./linear-speed ./run.sh
#
# GGUF-F32.gguf, GGUF-BF16.gguf and GGUF-F16.gguf are made by to_float_gguf.py. See README.md for the builds.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
speed=${DECODER_SPEED:-$here/../../target/release/examples/decoder_speed}
rounds=${ROUNDS:-5}
{
    echo "round,isa,threads,precision,prompt,batch,prefill_tokens_per_s,prefill_tokens_per_cpu_s,decode_tokens_per_s,decode_tokens_per_cpu_s"
    for round in $(seq "$rounds"); do
        for precision in F32 BF16 F16; do
            name=$(echo "$precision" | tr A-Z a-z)
            {
                "$speed" "$GGUF-$precision.gguf" "$name" 1 512 64 1 1
                LLAMA_BUILD=llama.cpp-avx512 "$LLAMA_NATIVE" "$GGUF-$precision.gguf" "$name" 1 512 64 1 2>/dev/null
                "$speed" "$GGUF-$precision.gguf" "$name" 1 512 64 1 1 avx2
                "$LLAMA_PYTHON" "$here/llama_speed.py" "$GGUF-$precision.gguf" "$name" 1 512 64 1 2>/dev/null |
                    sed 's/^llama.cpp,/llama.cpp-avx2,/'
            } | grep -v '^isa,' | sed "s/^/$round,/"
        done
        for batch in 1 4; do
            "$speed" small f32 1 512 200 "$batch" 1 | grep -v '^isa,' | sed "s/^/$round,/; s/,f32,/,f32 small random,/"
        done
    done
} >"$here/decoder.csv"
"$LINEAR" >"$here/linear.csv"

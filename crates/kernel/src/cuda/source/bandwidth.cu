// Streams and gathers: how fast bytes move to and from main memory and the second-level cache.
//
//   READS, WRITES  accesses of 16 bytes that a thread makes each round, loads first
//   THREADS        threads of a block
//   GRANULE        neighbouring accesses of a gather
//   LEAVING        1: what a copy reads is the first to leave the second-level cache
//   STREAMING      1: what a copy writes will not be read soon
//   LEVEL          0: past the first-level cache (main memory), 2: second level
#define ROUND (READS > WRITES ? READS : WRITES)

DEVICE uint4 load_level(const uint4* from) {
#if LEVEL == 0
    return load_once(from);
#else
    return load_l2(from);
#endif
}

// Round t of a block reads the READS·THREADS accesses at t·READS·THREADS and writes as it reads. What is written is
// what was read first, changed by the number of the access; without reads, that number. A pass goes over all
// `rounds`; passes begin elsewhere, so that the first-level cache does not help.
extern "C" __global__ void __launch_bounds__(THREADS)
    stream(const uint4* __restrict__ input, uint4* __restrict__ output, u32* result, u32 rounds, u32 passes) {
    uint4 all = make_uint4(0, 0, 0, 0);
    for (u32 pass = 0; pass < passes; pass++) {
        for (u32 t = blockIdx.x; t < rounds; t += gridDim.x) {
            u32 round = t + pass * 977;
            if (pass > 0) round %= rounds;
            uint4 v[ROUND];
#pragma unroll
            for (int i = 0; i < READS; i++) v[i] = load_level(input + ((u64)round * READS + i) * THREADS + threadIdx.x);
#pragma unroll
            for (int i = 0; i < WRITES; i++) {
                const u32 word = READS > 0 ? (u32)i : (u32)((round * WRITES + i) * THREADS + threadIdx.x);
                const uint4 change = make_uint4(word, word, word, word);
                output[((u64)round * WRITES + i) * THREADS + threadIdx.x] = READS > 0 ? mixed(v[READS > 0 ? i % READS : 0], change) : change;
            }
            if (WRITES == 0 || READS > WRITES)
#pragma unroll
                for (int i = WRITES; i < READS; i++) all = mixed(all, v[i]);
        }
    }
    if (READS > WRITES) report(all, result);
}

// READS accesses a thread and round, from one place to another. Every `gridDim.x`-th round is a block's.
extern "C" __global__ void __launch_bounds__(THREADS)
    copy(const uint4* __restrict__ input, uint4* __restrict__ output, u32 rounds) {
    for (u32 t = blockIdx.x; t < rounds; t += gridDim.x) {
        const u64 at = (u64)t * READS * THREADS + threadIdx.x;
        uint4 v[READS + 1];
#pragma unroll
        for (int i = 0; i < READS; i++) v[i] = LEAVING ? load_leaving(input + at + i * THREADS) : load_once(input + at + i * THREADS);
#pragma unroll
        for (int i = 0; i < READS; i++) {
            if (STREAMING)
                store_streaming(output + at + i * THREADS, v[i]);
            else
                output[at + i * THREADS] = v[i];
        }
    }
}

// a = b + s·c, four single-precision numbers an access, UNROLL of them a thread.
#define UNROLL 4
extern "C" __global__ void __launch_bounds__(THREADS)
    triad(float4* __restrict__ a, const float4* __restrict__ b, const float4* __restrict__ c, float s, u32 rounds) {
    for (u32 t = blockIdx.x; t < rounds; t += gridDim.x) {
        const u64 at = (u64)t * UNROLL * THREADS + threadIdx.x;
        float4 p[UNROLL], q[UNROLL];
#pragma unroll
        for (int i = 0; i < UNROLL; i++) p[i] = b[at + i * THREADS];
#pragma unroll
        for (int i = 0; i < UNROLL; i++) q[i] = c[at + i * THREADS];
#pragma unroll
        for (int i = 0; i < UNROLL; i++)
            a[at + i * THREADS] = make_float4(fmaf(s, q[i].x, p[i].x), fmaf(s, q[i].y, p[i].y), fmaf(s, q[i].z, p[i].z), fmaf(s, q[i].w, p[i].w));
    }
}

// Each granule of GRANULE·16 bytes is read exactly once: at random (`stride` 0), or `stride` granules apart.
// `granules` is a power of two, `bits` its logarithm, and `stride` divides it.
extern "C" __global__ void __launch_bounds__(THREADS)
    gather(const uint4* __restrict__ input, u32* result, u32 bits, u32 stride) {
    const u32 granules = 1u << bits, mask = granules - 1;
    uint4 all = make_uint4(0, 0, 0, 0);
    const u32 step = gridDim.x * (THREADS / GRANULE);
    for (u32 first = (blockIdx.x * THREADS + threadIdx.x) / GRANULE; first < granules; first += 8 * step) {
        uint4 v[8];
#pragma unroll
        for (u32 i = 0; i < 8; i++) {
            u32 g = first + i * step;
            v[i] = make_uint4(0, 0, 0, 0);
            if (g >= granules) continue;
            if (stride == 0) {
                // Odd products and shifts are one to one modulo a power of two.
                g = (g * 0x9e3779b1u) & mask;
                g ^= g >> (bits + 1) / 2;
                g = (g * 0x85ebca6bu) & mask;
                g ^= g >> (bits + 1) / 2;
            } else {
                const u32 lap = granules / stride;
                g = g % lap * stride + g / lap;
            }
            v[i] = load_level(input + (u64)g * GRANULE + threadIdx.x % GRANULE);
        }
#pragma unroll
        for (int i = 0; i < 8; i++) all = mixed(all, v[i]);
    }
    report(all, result);
}

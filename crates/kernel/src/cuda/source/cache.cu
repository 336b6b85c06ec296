// How fast bytes come from the first-level cache and from shared memory.
//
//   READS    accesses of 16 bytes that a thread makes each pass
//   THREADS  threads of a block; READS·THREADS is a power of two
//
// Every pass a thread begins one warp further on: the assembler takes loads of the same places out of a loop, whatever
// the compiler was told.
#define PLACES (READS * THREADS)

// Each block reads its own READS·THREADS accesses again and again, from the first-level cache.
extern "C" __global__ void __launch_bounds__(THREADS) cached(const uint4* __restrict__ input, u32* result, u32 passes) {
    input += (u64)blockIdx.x * PLACES;
    uint4 all = make_uint4(0, 0, 0, 0);
    for (u32 pass = 0; pass < passes; pass++) {
        uint4 v[READS];
#pragma unroll
        for (int i = 0; i < READS; i++) v[i] = load_l1(input + (i * THREADS + threadIdx.x + pass * 32) % PLACES);
#pragma unroll
        for (int i = 0; i < READS; i++) all = mixed(all, v[i]);
    }
    report(all, result);
}

// The same from shared memory.
extern "C" __global__ void __launch_bounds__(THREADS) shared_memory(const uint4* __restrict__ input, u32* result, u32 passes) {
    __shared__ uint4 held[PLACES];
    for (int i = 0; i < READS; i++) held[i * THREADS + threadIdx.x] = input[((u64)blockIdx.x * READS + i) * THREADS + threadIdx.x];
    __syncthreads();
    uint4 all = make_uint4(0, 0, 0, 0);
    for (u32 pass = 0; pass < passes; pass++) {
        uint4 v[READS];
#pragma unroll
        for (int i = 0; i < READS; i++) v[i] = load_shared(held + (i * THREADS + threadIdx.x + pass * 32) % PLACES);
#pragma unroll
        for (int i = 0; i < READS; i++) all = mixed(all, v[i]);
    }
    report(all, result);
}

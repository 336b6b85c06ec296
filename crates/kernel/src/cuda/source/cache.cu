// How fast bytes come from the first-level cache and from shared memory.
//
//   READS    accesses of 16 bytes that a thread makes each pass
//   THREADS  threads of a block

// Each block reads its own READS·THREADS accesses again and again, from the first-level cache.
extern "C" __global__ void __launch_bounds__(THREADS) cached(const uint4* __restrict__ input, u32* result, u32 passes) {
    input += (u64)blockIdx.x * READS * THREADS + threadIdx.x;
    uint4 all = make_uint4(0, 0, 0, 0);
    for (u32 pass = 0; pass < passes; pass++) {
        uint4 v[READS];
#pragma unroll
        for (int i = 0; i < READS; i++) v[i] = load_l1(input + i * THREADS);
#pragma unroll
        for (int i = 0; i < READS; i++) all = mixed(all, v[i]);
    }
    report(all, result);
}

// The same from shared memory.
extern "C" __global__ void __launch_bounds__(THREADS) shared_memory(const uint4* __restrict__ input, u32* result, u32 passes) {
    __shared__ uint4 held[READS * THREADS];
    for (int i = 0; i < READS; i++) held[i * THREADS + threadIdx.x] = input[((u64)blockIdx.x * READS + i) * THREADS + threadIdx.x];
    __syncthreads();
    uint4 all = make_uint4(0, 0, 0, 0);
    for (u32 pass = 0; pass < passes; pass++) {
        uint4 v[READS];
#pragma unroll
        for (int i = 0; i < READS; i++) v[i] = load_shared(held + i * THREADS + threadIdx.x);
#pragma unroll
        for (int i = 0; i < READS; i++) all = mixed(all, v[i]);
    }
    report(all, result);
}

// A copy by the unit that moves whole pieces of memory (compute capability 9.0): a thread a block tells it what to do,
// and no register holds a byte.
//
//   CHUNK   bytes of a piece
//   STAGES  pieces that a block has room for

// Pieces that may still be on their way out when their room is looked for again.
#define LAG 2

extern "C" __global__ void __launch_bounds__(32)
    bulk_copy(const uint4* __restrict__ input, uint4* __restrict__ output, u32 chunks) {
    DYNAMIC_SHARED(room);
    __shared__ u64 arrived[STAGES];
    if (threadIdx.x > 0) return;
    for (int s = 0; s < STAGES; s++) barrier_init(&arrived[s]);
    barrier_fence();
    // The pieces of this block: every gridDim.x-th.
    const u32 mine = blockIdx.x < chunks ? (chunks - blockIdx.x + gridDim.x - 1) / gridDim.x : 0;
    auto place = [&](u32 k) { return ((u64)blockIdx.x + (u64)k * gridDim.x) * (CHUNK / 16); };
    auto fetch = [&](u32 k) {
        const u32 s = k % STAGES;
        bulk_load(room + s * CHUNK, input + place(k), CHUNK, &arrived[s]);
    };
    for (u32 k = 0; k < STAGES - LAG && k < mine; k++) fetch(k);
    for (u32 k = 0; k < mine; k++) {
        const u32 s = k % STAGES;
        barrier_wait(&arrived[s], k / STAGES & 1);
        bulk_store(output + place(k), room + s * CHUNK, CHUNK);
        if (k + STAGES - LAG < mine) {
            bulk_wait<LAG>();
            fetch(k + STAGES - LAG);
        }
    }
    bulk_wait<0>();
}

// How long single things take: dependent loads, empty kernels; and a kernel that waits for the host.
//
//   LEVEL   0: shared memory, 1: through the first-level cache, 2: past it

// Writes one cycle over all lines of `words` words: line i holds the position of its successor, a·i + c modulo the
// number of lines (a power of two; a % 4 = 1 and c odd give one full cycle).
extern "C" __global__ void chase_fill(u32* chain, u32 lines, u32 words, u32 a, u32 c) {
    for (u32 i = blockIdx.x * blockDim.x + threadIdx.x; i < lines; i += gridDim.x * blockDim.x)
        chain[(u64)i * words] = ((i * a + c) & (lines - 1)) * words;
}

DEVICE u32 next(const u32* chain, u32 at) {
#if LEVEL == 0
    return load_word_shared(chain + at);
#elif LEVEL == 1
    return load_word_l1(chain + at);
#else
    return load_word_l2(chain + at);
#endif
}

// One thread follows the chain, `warm` steps before and `steps` steps while the clocks run. `last` gets the final
// position, `times` the cycles and the nanoseconds of one step.
extern "C" __global__ void chase(const u32* chain, int* last, float* times, u32 length, u32 warm, u32 steps) {
#if LEVEL == 0
    DYNAMIC_SHARED(shared);
    u32* copy = (u32*)shared;
    for (u32 i = 0; i < length; i++) copy[i] = chain[i];
    chain = copy;
#endif
    u32 at = 0;
    for (u32 i = 0; i < warm; i++) at = next(chain, at);
    const u64 ns = nanoseconds(), begin = cycles();
#pragma unroll 16
    for (u32 i = 0; i < steps; i++) at = next(chain, at);
    // The last load must have come back before the clocks are read.
    last[0] = (int)at;
    __threadfence();
    const u64 end = cycles(), ns_end = nanoseconds();
    times[0] = (float)(end - begin) / (float)steps;
    times[1] = (float)(ns_end - ns) / (float)steps;
}

extern "C" __global__ void empty() {}

// Holds the stream until the host writes something else than zero to `flag`, or until `limit` milliseconds are over.
extern "C" __global__ void hold(const u32* flag, int* timed_out, u32 limit) {
    const u64 begin = nanoseconds();
    while (load_word_system(flag) == 0) {
        if (nanoseconds() - begin > (u64)limit * 1000000ull) {
            timed_out[0] = 1;
            return;
        }
    }
}

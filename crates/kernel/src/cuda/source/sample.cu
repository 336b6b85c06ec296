// Choice of a token from logits.
//
//   ELEMENT   F32, F16 or BF16
//   LANES     elements of one access
//   THREADS   threads of a block, whole warps
//   CAPACITY  candidates that fit in shared memory
typedef ELEMENT E;
typedef E::stored T;
typedef Chunk<E, LANES> Piece;

// Integers in the order of the numbers; both zeroes are one.
DEVICE u32 key_of(float v) {
    const u32 bits = float_to_bits(v + 0.0f);
    return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

DEVICE float value_of(u32 key) { return bits_to_float(key & 0x80000000u ? key & 0x7fffffffu : ~key); }

DEVICE u64 warp_max_u64(u64 v) {
#pragma unroll
    for (int step = 16; step > 0; step /= 2) {
        const u64 other = __shfl_xor_sync(0xffffffffu, v, step);
        v = other > v ? other : v;
    }
    return v;
}

// Largest over the block; all threads get it.
DEVICE u64 block_max(u64 v) {
    __shared__ u64 partial[THREADS / 32];
    v = warp_max_u64(v);
    __syncthreads();
    if (threadIdx.x % 32 == 0) partial[threadIdx.x / 32] = v;
    __syncthreads();
    return warp_max_u64(threadIdx.x % 32 < THREADS / 32 ? partial[threadIdx.x % 32] : 0);
}

// Larger numbers first, then smaller positions.
DEVICE u64 ranked(u32 key, u32 index) { return (u64)key << 32 | (0xffffffffu - index); }

// Blocks (split, row). `best` and `arrived` are zero before a call and after it.
extern "C" __global__ void __launch_bounds__(THREADS)
    argmax(const T* __restrict__ x, u64* best, u32* arrived, int* token, int vectors) {
    const u32 row = blockIdx.y;
    x += (u64)row * vectors * LANES;
    const int stride = gridDim.x * THREADS;
    u64 mine = 0;
    for (int v = blockIdx.x * THREADS + threadIdx.x; v < vectors; v += 4 * stride) {
        Piece pieces[4];
#pragma unroll
        for (int i = 0; i < 4; i++)
            if (v + i * stride < vectors) pieces[i].load(x + (u64)(v + i * stride) * LANES);
#pragma unroll
        for (int i = 0; i < 4; i++)
            if (v + i * stride < vectors)
                for (int j = 0; j < LANES; j++) {
                    const u64 rank = ranked(key_of(pieces[i].get(j)), (v + i * stride) * LANES + j);
                    mine = rank > mine ? rank : mine;
                }
    }
    mine = block_max(mine);
    if (threadIdx.x != 0) return;
    if (gridDim.x > 1) {
        atomicMax(&best[row], mine);
        __threadfence();
        if (atomicAdd(&arrived[row], 1u) + 1 < gridDim.x) return;
        __threadfence();
        mine = atomicExch(&best[row], 0ull);
        arrived[row] = 0;
    }
    token[row] = (int)(0xffffffffu - (u32)mine);
}

DEVICE u32 block_count(u32 v) {
    __shared__ u32 partial[THREADS / 32];
#pragma unroll
    for (int step = 16; step > 0; step /= 2) v += __shfl_xor_sync(0xffffffffu, v, step);
    __syncthreads();
    if (threadIdx.x % 32 == 0) partial[threadIdx.x / 32] = v;
    __syncthreads();
    v = threadIdx.x % 32 < THREADS / 32 ? partial[threadIdx.x % 32] : 0;
#pragma unroll
    for (int step = 16; step > 0; step /= 2) v += __shfl_xor_sync(0xffffffffu, v, step);
    return v;
}

DEVICE float block_sum(float v) {
    __shared__ float partial[THREADS / 32];
    v = warp_sum(v);
    __syncthreads();
    if (threadIdx.x % 32 == 0) partial[threadIdx.x / 32] = v;
    __syncthreads();
    return warp_sum(threadIdx.x % 32 < THREADS / 32 ? partial[threadIdx.x % 32] : 0.0f);
}

// Uniform in (0, 1), from a position alone.
DEVICE float noise(u32 seed, u32 row, u32 index) {
    u32 h = index * 0x9e3779b9u ^ (row * 0x85ebca6bu + seed);
    h = (h ^ h >> 16) * 0x85ebca6bu;
    h = (h ^ h >> 13) * 0xc2b2ae35u;
    h ^= h >> 16;
    return ((h >> 9) + 0.5f) * (1.0f / 8388608.0f);
}

#define BIN_BITS 13
#define BINS (1 << BIN_BITS)
#define REST (32 - BIN_BITS)

// A block a row. Keeps the numbers that are at least the k-th largest, then the largest of them whose probability
// together reaches `p`, and takes one at random in proportion to its probability: the largest e^x divided by an
// exponentially distributed number.
//
// Nothing is sorted. A histogram of the leading bits finds a bin whose lower edge at least k numbers reach; those
// numbers go to shared memory, and the two thresholds are found among them bit by bit. Where they are too many,
// the row is read again instead.
extern "C" __global__ void __launch_bounds__(THREADS, 1)
    top_k_top_p(const T* __restrict__ x, int* __restrict__ token, int vectors, int k, float p, u32 seed) {
    DYNAMIC_SHARED(shared);
    u32* histogram = (u32*)shared;
    u32* keys = histogram + BINS;
    u32* indices = keys + CAPACITY;
    __shared__ u32 edge, reach, appended;
    __shared__ u32 warp_totals[THREADS / 32];

    const u32 row = blockIdx.x, thread = threadIdx.x;
    x += (u64)row * vectors * LANES;
    for (u32 i = thread; i < BINS; i += THREADS) histogram[i] = 0;
    if (thread == 0) appended = 0;
    __syncthreads();

    u32 largest = 0;
    for (int v = thread; v < vectors; v += 4 * THREADS) {
        Piece pieces[4];
#pragma unroll
        for (int i = 0; i < 4; i++)
            if (v + i * THREADS < vectors) pieces[i].load(x + (u64)(v + i * THREADS) * LANES);
#pragma unroll
        for (int i = 0; i < 4; i++)
            if (v + i * THREADS < vectors)
                for (int j = 0; j < LANES; j++) {
                    const u32 key = key_of(pieces[i].get(j));
                    largest = key > largest ? key : largest;
                    atomicAdd(&histogram[key >> REST], 1u);
                }
    }
    const u32 top = (u32)block_max(largest);
    const float max = value_of(top);

    // Each thread sums neighbouring bins, thread 0 the topmost ones.
    constexpr u32 SHARE = BINS / THREADS;
    u32 mine = 0;
    for (u32 i = 0; i < SHARE; i++) mine += histogram[BINS - 1 - thread * SHARE - i];
    u32 upto = mine;
#pragma unroll
    for (int step = 1; step < 32; step *= 2) {
        const u32 before = __shfl_up_sync(0xffffffffu, upto, step);
        if (thread % 32 >= step) upto += before;
    }
    if (thread % 32 == 31) warp_totals[thread / 32] = upto;
    __syncthreads();
    for (u32 w = 0; w < thread / 32; w++) upto += warp_totals[w];
    if (upto >= (u32)k && upto - mine < (u32)k) {
        u32 count = upto - mine, bin = BINS - 1 - thread * SHARE;
        for (;; bin--) {
            count += histogram[bin];
            if (count >= (u32)k) break;
        }
        edge = bin << REST;
        reach = count;
    }
    __syncthreads();
    const u32 least = edge;
    const bool held = reach <= CAPACITY;
    if (held) {
        for (int v = thread; v < vectors; v += 4 * THREADS) {
            Piece pieces[4];
#pragma unroll
            for (int i = 0; i < 4; i++)
                if (v + i * THREADS < vectors) pieces[i].load(x + (u64)(v + i * THREADS) * LANES);
#pragma unroll
            for (int i = 0; i < 4; i++)
                if (v + i * THREADS < vectors)
                    for (int j = 0; j < LANES; j++) {
                        const u32 key = key_of(pieces[i].get(j));
                        if (key >= least) {
                            const u32 at = atomicAdd(&appended, 1u);
                            keys[at] = key;
                            indices[at] = (v + i * THREADS) * LANES + j;
                        }
                    }
        }
        __syncthreads();
    }
    const u32 candidates = held ? reach : (u32)vectors * LANES;
    auto key_at = [&](u32 i) { return held ? keys[i] : key_of(E::widen(x[i])); };

    // Largest key that at least k numbers reach.
    u32 kth = least;
    for (u32 bit = 1u << (REST - 1); bit > 0; bit >>= 1) {
        u32 count = 0;
        for (u32 i = thread; i < candidates; i += THREADS) count += key_at(i) >= (kth | bit);
        if (block_count(count) >= (u32)k) kth |= bit;
    }

    auto mass_from = [&](u32 threshold) {
        float mass = 0.0f;
        for (u32 i = thread; i < candidates; i += THREADS) {
            const u32 key = key_at(i);
            if (key >= threshold) mass += exp2_fast((value_of(key) - max) * LOG2_E);
        }
        return block_sum(mass);
    };
    // Largest key from which the probabilities reach p; the bits above the first difference are common to all.
    const float needed = p * mass_from(kth);
    u32 threshold = kth;
    if (top > kth) {
        u32 low = kth, high = top;
        while (low < high) {
            const u32 middle = low + (high - low) / 2 + (high - low) % 2;
            if (mass_from(middle) >= needed)
                low = middle;
            else
                high = middle - 1;
        }
        threshold = low;
    }

    u64 best = 0;
    for (u32 i = thread; i < candidates; i += THREADS) {
        const u32 key = key_at(i);
        if (key < threshold) continue;
        const u32 index = held ? indices[i] : i;
        const float score = exp2_fast((value_of(key) - max) * LOG2_E) / -logf(noise(seed, row, index));
        const u64 rank = ranked(float_to_bits(score), index);
        best = rank > best ? rank : best;
    }
    best = block_max(best);
    if (thread == 0) token[row] = (int)(0xffffffffu - (u32)best);
}

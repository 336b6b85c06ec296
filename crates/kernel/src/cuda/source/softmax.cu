// Softmax over the last axis, a block a row.
//
//   ELEMENT   F32, F16 or BF16
//   LANES     elements of one access
//   THREADS   threads of a row, whole warps
//   VECTORS   accesses of a thread that stay in registers; 0: the row is read twice
typedef ELEMENT E;
typedef E::stored T;
typedef Chunk<E, LANES> Piece;

struct Sum {
    float max, sum;
};

// Sum of e^(x − max) over two parts. An empty part has the maximum −∞ and the sum 0.
DEVICE Sum merged(Sum a, Sum b) {
    const float max = fmaxf(a.max, b.max);
    if (max == MINUS_INFINITY) return a;
    return Sum{max, a.sum * exp2_fast((a.max - max) * LOG2_E) + b.sum * exp2_fast((b.max - max) * LOG2_E)};
}

DEVICE Sum warp_merged(Sum s) {
#pragma unroll
    for (int step = 16; step > 0; step /= 2) {
        Sum other = {__shfl_xor_sync(0xffffffffu, s.max, step), __shfl_xor_sync(0xffffffffu, s.sum, step)};
        s = merged(s, other);
    }
    return s;
}

DEVICE Sum row_merged(Sum s) {
    s = warp_merged(s);
    if (THREADS == 32) return s;
    __shared__ float maxima[THREADS / 32], sums[THREADS / 32];
    if (threadIdx.x % 32 == 0) {
        maxima[threadIdx.x / 32] = s.max;
        sums[threadIdx.x / 32] = s.sum;
    }
    __syncthreads();
    const int lane = threadIdx.x % 32;
    if (lane < THREADS / 32) {
        s.max = maxima[lane];
        s.sum = sums[lane];
    } else {
        s.max = MINUS_INFINITY;
        s.sum = 0.0f;
    }
    return warp_merged(s);
}

// The sum so far with one access more.
DEVICE Sum with(Sum s, const Piece& piece) {
    float max = s.max;
    for (int j = 0; j < LANES; j++) max = fmaxf(max, piece.get(j));
    if (max == MINUS_INFINITY) return s;
    float sum = s.sum * exp2_fast((s.max - max) * LOG2_E);
    for (int j = 0; j < LANES; j++) sum += exp2_fast((piece.get(j) - max) * LOG2_E);
    return Sum{max, sum};
}

DEVICE void store_scaled(Piece& piece, Sum s, T* to) {
    const float scale = 1.0f / s.sum;
    for (int j = 0; j < LANES; j++) piece.set(j, exp2_fast((piece.get(j) - s.max) * LOG2_E) * scale);
    piece.store(to);
}

extern "C" __global__ void __launch_bounds__(THREADS) softmax(const T* __restrict__ x, T* __restrict__ y, int vectors) {
    x += (u64)blockIdx.x * vectors * LANES;
    y += (u64)blockIdx.x * vectors * LANES;
    Sum s = {MINUS_INFINITY, 0.0f};
#if VECTORS > 0
    Piece held[VECTORS];
#pragma unroll
    for (int i = 0; i < VECTORS; i++) {
        int v = threadIdx.x + i * THREADS;
        if (v < vectors) held[i].load(x + v * LANES);
    }
#pragma unroll
    for (int i = 0; i < VECTORS; i++)
        if (threadIdx.x + i * THREADS < vectors) s = with(s, held[i]);
    s = row_merged(s);
#pragma unroll
    for (int i = 0; i < VECTORS; i++) {
        int v = threadIdx.x + i * THREADS;
        if (v < vectors) store_scaled(held[i], s, y + v * LANES);
    }
#else
    // Four accesses are under way at a time.
    for (int v = threadIdx.x; v < vectors; v += 4 * THREADS) {
        Piece pieces[4];
#pragma unroll
        for (int i = 0; i < 4; i++)
            if (v + i * THREADS < vectors) pieces[i].load(x + (u64)(v + i * THREADS) * LANES);
#pragma unroll
        for (int i = 0; i < 4; i++)
            if (v + i * THREADS < vectors) s = with(s, pieces[i]);
    }
    s = row_merged(s);
    for (int v = threadIdx.x; v < vectors; v += 4 * THREADS) {
        Piece pieces[4];
#pragma unroll
        for (int i = 0; i < 4; i++)
            if (v + i * THREADS < vectors) pieces[i].load(x + (u64)(v + i * THREADS) * LANES);
#pragma unroll
        for (int i = 0; i < 4; i++)
            if (v + i * THREADS < vectors) store_scaled(pieces[i], s, y + (u64)(v + i * THREADS) * LANES);
    }
#endif
}

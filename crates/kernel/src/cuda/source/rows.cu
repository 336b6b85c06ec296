// Rotary position embedding and gather of embedding rows.
//
//   ELEMENT   F32, F16 or BF16
//   LANES     elements of one access
typedef ELEMENT E;
typedef E::stored T;
typedef Chunk<E, LANES> Piece;

// Rotates `heads` heads of each token in place, halves of a head being the pairs. A row of the table holds the
// cosines and then the sines of one position. `half` counts accesses of half a head.
extern "C" __global__ void rope(T* __restrict__ x, const int* __restrict__ positions, const float* __restrict__ angles, u32 vectors, u32 heads, u32 half) {
    const u32 v = blockIdx.x * blockDim.x + threadIdx.x;
    if (v >= vectors) return;
    const u32 head = v / half, i = v % half;
    const float* row = angles + (u64)positions[head / heads] * half * 2 * LANES + i * LANES;
    T* low = x + ((u64)head * 2 * half + i) * LANES;
    T* high = low + half * LANES;
    Piece a, b;
    a.load(low);
    b.load(high);
    constexpr int STEP = LANES < 4 ? LANES : 4;
#pragma unroll
    for (int j = 0; j < LANES; j += STEP) {
        Chunk<F32, STEP> cosines, sines;
        cosines.load(row + j);
        sines.load(row + half * LANES + j);
#pragma unroll
        for (int k = 0; k < STEP; k++) {
            const float p = a.get(j + k), q = b.get(j + k);
            a.set(j + k, p * cosines.get(k) - q * sines.get(k));
            b.set(j + k, q * cosines.get(k) + p * sines.get(k));
        }
    }
    a.store(low);
    b.store(high);
}

// `width` counts accesses of a row.
extern "C" __global__ void embedding(const int* __restrict__ tokens, const T* __restrict__ table, T* __restrict__ y, u32 vectors, u32 width) {
    const u32 v = blockIdx.x * blockDim.x + threadIdx.x;
    if (v >= vectors) return;
    Piece piece;
    piece.load(table + ((u64)tokens[v / width] * width + v % width) * LANES);
    piece.store(y + (u64)v * LANES);
}

// Normalisation of rows that stay in registers.
//
//   ELEMENT   F32, F16 or BF16
//   LANES     elements of one access
//   VECTORS   accesses of a thread in a row
//   THREADS   threads of a row, whole warps
//   ROWS      rows of a block; more than 1 only when a row is one warp
typedef ELEMENT E;
typedef E::stored T;
typedef Chunk<E, LANES> Piece;

// Sum over the threads of a row. Calls need different slots.
template <int SLOT>
DEVICE float row_sum(float v) {
    v = warp_sum(v);
    if (THREADS == 32) return v;
    __shared__ float partial[THREADS / 32];
    if (threadIdx.x % 32 == 0) partial[threadIdx.x / 32] = v;
    __syncthreads();
    v = threadIdx.x % 32 < THREADS / 32 ? partial[threadIdx.x % 32] : 0.0f;
    return warp_sum(v);
}

struct Place {
    int row, thread;
    __device__ __forceinline__ Place() : row(blockIdx.x * ROWS + threadIdx.x / THREADS), thread(threadIdx.x % THREADS) {}
};

extern "C" __global__ void __launch_bounds__(THREADS* ROWS)
    rms_norm(const T* __restrict__ x, const T* __restrict__ weight, T* __restrict__ y, int rows, int vectors, float eps) {
    Place at;
    if (at.row >= rows) return;
    const int cols = vectors * LANES;
    x += (long long)at.row * cols;
    y += (long long)at.row * cols;
    Piece held[VECTORS];
    float squares = 0.0f;
#pragma unroll
    for (int i = 0; i < VECTORS; i++) {
        int v = at.thread + i * THREADS;
        if (v < vectors) held[i].load(x + v * LANES);
    }
#pragma unroll
    for (int i = 0; i < VECTORS; i++) {
        if (at.thread + i * THREADS < vectors)
            for (int j = 0; j < LANES; j++) squares += held[i].get(j) * held[i].get(j);
    }
    const float scale = rsqrtf(row_sum<0>(squares) / cols + eps);
#pragma unroll
    for (int i = 0; i < VECTORS; i++) {
        int v = at.thread + i * THREADS;
        if (v >= vectors) break;
        Piece w;
        w.load(weight + v * LANES);
        for (int j = 0; j < LANES; j++) held[i].set(j, held[i].get(j) * scale * w.get(j));
        held[i].store(y + v * LANES);
    }
}

// residual += x, rounded to the format; y = normalised residual.
extern "C" __global__ void __launch_bounds__(THREADS* ROWS)
    add_rms_norm(const T* __restrict__ x, T* __restrict__ residual, const T* __restrict__ weight, T* __restrict__ y, int rows, int vectors, float eps) {
    Place at;
    if (at.row >= rows) return;
    const int cols = vectors * LANES;
    x += (long long)at.row * cols;
    residual += (long long)at.row * cols;
    y += (long long)at.row * cols;
    Piece added[VECTORS], held[VECTORS];
    float squares = 0.0f;
#pragma unroll
    for (int i = 0; i < VECTORS; i++) {
        int v = at.thread + i * THREADS;
        if (v < vectors) {
            added[i].load(x + v * LANES);
            held[i].load(residual + v * LANES);
        }
    }
#pragma unroll
    for (int i = 0; i < VECTORS; i++) {
        int v = at.thread + i * THREADS;
        if (v < vectors) {
            for (int j = 0; j < LANES; j++) {
                held[i].set(j, held[i].get(j) + added[i].get(j));
                squares += held[i].get(j) * held[i].get(j);
            }
            held[i].store(residual + v * LANES);
        }
    }
    const float scale = rsqrtf(row_sum<0>(squares) / cols + eps);
#pragma unroll
    for (int i = 0; i < VECTORS; i++) {
        int v = at.thread + i * THREADS;
        if (v >= vectors) break;
        Piece w;
        w.load(weight + v * LANES);
        for (int j = 0; j < LANES; j++) held[i].set(j, held[i].get(j) * scale * w.get(j));
        held[i].store(y + v * LANES);
    }
}

extern "C" __global__ void __launch_bounds__(THREADS* ROWS)
    layer_norm(const T* __restrict__ x, const T* __restrict__ weight, const T* __restrict__ bias, T* __restrict__ y, int rows, int vectors, float eps) {
    Place at;
    if (at.row >= rows) return;
    const int cols = vectors * LANES;
    x += (long long)at.row * cols;
    y += (long long)at.row * cols;
    Piece held[VECTORS];
    float sum = 0.0f;
#pragma unroll
    for (int i = 0; i < VECTORS; i++) {
        int v = at.thread + i * THREADS;
        if (v < vectors) held[i].load(x + v * LANES);
    }
#pragma unroll
    for (int i = 0; i < VECTORS; i++) {
        if (at.thread + i * THREADS < vectors)
            for (int j = 0; j < LANES; j++) sum += held[i].get(j);
    }
    const float mean = row_sum<0>(sum) / cols;
    float squares = 0.0f;
#pragma unroll
    for (int i = 0; i < VECTORS; i++) {
        if (at.thread + i * THREADS < vectors)
            for (int j = 0; j < LANES; j++) squares += (held[i].get(j) - mean) * (held[i].get(j) - mean);
    }
    const float scale = rsqrtf(row_sum<1>(squares) / cols + eps);
#pragma unroll
    for (int i = 0; i < VECTORS; i++) {
        int v = at.thread + i * THREADS;
        if (v >= vectors) break;
        Piece w, b;
        w.load(weight + v * LANES);
        b.load(bias + v * LANES);
        for (int j = 0; j < LANES; j++) held[i].set(j, (held[i].get(j) - mean) * scale * w.get(j) + b.get(j));
        held[i].store(y + v * LANES);
    }
}

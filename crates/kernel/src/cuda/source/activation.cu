// Activations, element by element.
//
//   ELEMENT   F32, F16 or BF16
//   LANES     elements of one access
//   UNROLL    accesses of a thread, a block apart
typedef ELEMENT E;
typedef E::stored T;
typedef Chunk<E, LANES> Piece;

// x · Φ(x).
DEVICE float gelu_of(float x) {
    if (sizeof(T) == 4) return 0.5f * x * (1.0f + erff(x * 0.70710678118654752f));
    // Abramowitz and Stegun 7.1.26: erfc(z) to 1.5e-7 for z ≥ 0, in a third of the instructions.
    const float z = fabsf(x) * 0.70710678118654752f;
    const float t = reciprocal_fast(1.0f + 0.3275911f * z);
    float erfc = t * (0.254829592f + t * (-0.284496736f + t * (1.421413741f + t * (-1.453152027f + t * 1.061405429f))));
    erfc *= exp2_fast(-LOG2_E * z * z);
    return 0.5f * x * (x < 0.0f ? erfc : 2.0f - erfc);
}

extern "C" __global__ void gelu(const T* __restrict__ x, T* __restrict__ y, u32 vectors) {
    const u32 first = blockIdx.x * blockDim.x * UNROLL + threadIdx.x;
    Piece held[UNROLL];
#pragma unroll
    for (int i = 0; i < UNROLL; i++) {
        u32 v = first + i * blockDim.x;
        if (v < vectors) held[i].load(x + (u64)v * LANES);
    }
#pragma unroll
    for (int i = 0; i < UNROLL; i++) {
        u32 v = first + i * blockDim.x;
        if (v >= vectors) break;
        for (int j = 0; j < LANES; j++) held[i].set(j, gelu_of(held[i].get(j)));
        held[i].store(y + (u64)v * LANES);
    }
}

// Each row of the input holds the gate and then the other factor; `width` accesses each.
extern "C" __global__ void silu_mul(const T* __restrict__ gate_up, T* __restrict__ y, u32 vectors, u32 width) {
    const u32 first = blockIdx.x * blockDim.x * UNROLL + threadIdx.x;
    Piece gate[UNROLL], up[UNROLL];
#pragma unroll
    for (int i = 0; i < UNROLL; i++) {
        u32 v = first + i * blockDim.x;
        if (v < vectors) {
            const T* from = gate_up + ((u64)v + (u64)(v / width) * width) * LANES;
            gate[i].load(from);
            up[i].load(from + (u64)width * LANES);
        }
    }
#pragma unroll
    for (int i = 0; i < UNROLL; i++) {
        u32 v = first + i * blockDim.x;
        if (v >= vectors) break;
        for (int j = 0; j < LANES; j++) {
            const float g = gate[i].get(j);
            gate[i].set(j, g * reciprocal_fast(1.0f + exp2_fast(-LOG2_E * g)) * up[i].get(j));
        }
        gate[i].store(y + (u64)v * LANES);
    }
}

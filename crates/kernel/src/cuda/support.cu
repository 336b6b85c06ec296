// Kernels that measuring itself needs: filling operands, holding a stream, emptying the cache, doing nothing.

#ifndef SLOTS
#define SLOTS 256
#endif

typedef unsigned int u32;
typedef unsigned long long u64;

// A well-mixed 64-bit value of a counter (the finaliser of splitmix64).
__device__ u64 mixed(u64 x) {
    x += 0x9e3779b97f4a7c15ull;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
    return x ^ (x >> 31);
}

// Round to nearest, ties to even.
__device__ unsigned short bf16_of(float value) {
    u32 bits = __float_as_uint(value);
    return (unsigned short)((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

__device__ unsigned short f16_of(float value) {
    unsigned short half;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(half) : "f"(value));
    return half;
}

// 1 sign, 4 exponent (bias 7) and 3 mantissa bits; values beyond 448 saturate.
__device__ unsigned char e4m3_of(float value) {
    unsigned char sign = value < 0.0f ? 0x80 : 0;
    float magnitude = fminf(fabsf(value), 448.0f);
    // Below the smallest normal number, 2^-6, steps are 2^-9.
    if (magnitude < 0.015625f) return sign | (unsigned char)rintf(magnitude * 512.0f);
    u32 bits = __float_as_uint(magnitude);
    bits += 0x7ffffu + ((bits >> 20) & 1u);
    u32 exponent = (bits >> 23) - 127u + 7u;
    return sign | (unsigned char)(exponent << 3) | (unsigned char)((bits >> 20) & 7u);
}

// Uniform in [-scale, scale]; element: 0 f32, 1 f16, 2 bf16, 3 e4m3, 4 i8, 5 i32.
extern "C" __global__ void fill_uniform(void* out, u64 count, u64 seed, float scale, int element) {
    u64 step = (u64)gridDim.x * blockDim.x;
    for (u64 i = (u64)blockIdx.x * blockDim.x + threadIdx.x; i < count; i += step) {
        u64 random = mixed(seed + i);
        float unit = (float)(random >> 40) * (2.0f / 16777215.0f) - 1.0f;
        float value = unit * scale;
        switch (element) {
            case 0: ((float*)out)[i] = value; break;
            case 1: ((unsigned short*)out)[i] = f16_of(value); break;
            case 2: ((unsigned short*)out)[i] = bf16_of(value); break;
            case 3: ((unsigned char*)out)[i] = e4m3_of(value); break;
            case 4: ((signed char*)out)[i] = (signed char)rintf(value); break;
            default: ((int*)out)[i] = (int)rintf(value); break;
        }
    }
}

// Uniform integers in 0 .. limit.
extern "C" __global__ void fill_below(int* out, u64 count, u64 seed, u32 limit) {
    u64 step = (u64)gridDim.x * blockDim.x;
    for (u64 i = (u64)blockIdx.x * blockDim.x + threadIdx.x; i < count; i += step)
        out[i] = (int)(((mixed(seed + i) >> 32) * limit) >> 32);
}

// Keeps the stream waiting until the host sets flag[0]; gives up after limit_ns and says so in flag[1].
extern "C" __global__ void hold(volatile u32* flag, u64 limit_ns) {
    u64 start, now;
    asm volatile("mov.u64 %0, %globaltimer;" : "=l"(start));
    while (flag[0] == 0u) {
        asm volatile("mov.u64 %0, %globaltimer;" : "=l"(now));
        if (now - start > limit_ns) {
            flag[1] = 1u;
            __threadfence_system();
            return;
        }
    }
}

// Reads a buffer, so that the last-level cache holds it and nothing else; leaves no dirty lines.
extern "C" __global__ void read_all(const uint4* data, u64 count, u32* sink) {
    u64 step = (u64)gridDim.x * blockDim.x;
    u32 sum = 0;
    for (u64 i = (u64)blockIdx.x * blockDim.x + threadIdx.x; i < count; i += step) {
        uint4 v = data[i];
        sum += v.x ^ v.y ^ v.z ^ v.w;
    }
    if (sum == 0x5eed5eedu) sink[0] = sum;
}

extern "C" __global__ void nothing() {}

// out[i] = factor * in[table[i]] + shift, by way of shared memory: exercises everything that a plan can ask for.
extern "C" __global__ void gather(
    const unsigned short* in, const int* table, float* out, float factor, int shift, int count) {
    extern __shared__ float row[];
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < count) row[SLOTS - blockDim.x + threadIdx.x] = __uint_as_float((u32)in[table[i]] << 16);
    __syncthreads();
    if (i < count) out[i] = factor * row[SLOTS - blockDim.x + threadIdx.x] + (float)shift;
}

// out[row, column] = bf16(sums[row, column] * row_scale * column_scales[column])
extern "C" __global__ void scale_sums(
    const int* sums, const float* column_scales, float row_scale, unsigned short* out, u64 count, u32 columns) {
    u64 step = (u64)gridDim.x * blockDim.x;
    for (u64 i = (u64)blockIdx.x * blockDim.x + threadIdx.x; i < count; i += step)
        out[i] = bf16_of((float)sums[i] * row_scale * column_scales[i % columns]);
}

// Number formats, accesses of several elements at once, and sums over warps.

#define MINUS_INFINITY bits_to_float(0xff800000u)

// 1 / ln 2.
#define LOG2_E 1.4426950408889634f

struct F32 {
    typedef float stored;
    DEVICE float widen(float v) { return v; }
    DEVICE float narrow(float v) { return v; }
};

struct F16 {
    typedef u16 stored;
    DEVICE float widen(u16 v) { return f16_to_float(v); }
    DEVICE u16 narrow(float v) { return (u16)floats_to_f16x2(v, 0.0f); }
    DEVICE u32 narrow_two(float low, float high) { return floats_to_f16x2(low, high); }
    DEVICE void multiply(float (&c)[4], const u32 (&a)[4], u32 b0, u32 b1) { multiply_f16(c, a, b0, b1); }
};

struct BF16 {
    typedef u16 stored;
    DEVICE float widen(u16 v) { return bits_to_float((u32)v << 16); }
    DEVICE u16 narrow(float v) { return (u16)floats_to_bf16x2(v, 0.0f); }
    DEVICE u32 narrow_two(float low, float high) { return floats_to_bf16x2(low, high); }
    DEVICE void multiply(float (&c)[4], const u32 (&a)[4], u32 b0, u32 b1) { multiply_bf16(c, a, b0, b1); }
};

// 4 exponent and 3 fraction bits; NaN is not told from 480. Only read.
struct E4M3 {
    typedef u8 stored;
    // The bits of a number 2^120 times smaller, subnormal ones too.
    DEVICE float widen(u8 v) { return bits_to_float((v & 0x80u) << 24 | (v & 0x7fu) << 20) * 1.329227995784916e36f; }
};

template <int BYTES>
struct Bits;
template <>
struct Bits<2> {
    typedef u16 type;
};
template <>
struct Bits<4> {
    typedef u32 type;
};
template <>
struct Bits<8> {
    typedef uint2 type;
};
template <>
struct Bits<16> {
    typedef uint4 type;
};

// `N` neighbouring elements of format `E`, moved by one access; their address is a multiple of their size.
template <class E, int N>
struct Chunk {
    typedef typename E::stored stored;
    typedef typename Bits<N * sizeof(stored)>::type bits_type;
    union {
        bits_type bits;
        stored elements[N];
    };

    __device__ __forceinline__ Chunk() {}
    __device__ __forceinline__ void load(const stored* from) { bits = *(const bits_type*)from; }
    __device__ __forceinline__ void store(stored* to) const { *(bits_type*)to = bits; }
    __device__ __forceinline__ float get(int i) const { return E::widen(elements[i]); }
    __device__ __forceinline__ void set(int i, float v) { elements[i] = E::narrow(v); }
};

DEVICE float warp_sum(float v) {
#pragma unroll
    for (int step = 16; step > 0; step /= 2) v += __shfl_xor_sync(0xffffffffu, v, step);
    return v;
}

DEVICE float warp_max(float v) {
#pragma unroll
    for (int step = 16; step > 0; step /= 2) v = fmaxf(v, __shfl_xor_sync(0xffffffffu, v, step));
    return v;
}

DEVICE u32 warp_xor(u32 v) {
#pragma unroll
    for (int step = 16; step > 0; step /= 2) v ^= __shfl_xor_sync(0xffffffffu, v, step);
    return v;
}

DEVICE uint4 mixed(uint4 a, uint4 b) { return make_uint4(a.x ^ b.x, a.y ^ b.y, a.z ^ b.z, a.w ^ b.w); }

// The exclusive or of everything that a block has read goes into one word.
DEVICE void report(uint4 v, u32* result) {
    const u32 word = warp_xor(v.x ^ v.y ^ v.z ^ v.w);
    if (threadIdx.x % 32 == 0) atomicXor(result, word);
}

// How fast arithmetic goes: independent chains of one instruction, everything in registers.
//
//   KIND      of `peak_fma`: 0 single precision, 1 two half, 2 two bfloat16; of `peak_mma`: 0 F16, 1 BF16, 2 TF32, 3 I8, 4 E4M3
//   THREADS   threads of a block, whole warps
#define CHAINS 8

// x = x / 2 + b, again and again, from start[0] of each thread with b = start[1]: x comes close to 2·b.
extern "C" __global__ void __launch_bounds__(THREADS) peak_fma(const float* __restrict__ start, float* __restrict__ out, int iterations, float half) {
    const float b = start[2 * threadIdx.x + 1];
#if KIND == 0
    float x[CHAINS];
#pragma unroll
    for (int c = 0; c < CHAINS; c++) x[c] = start[2 * threadIdx.x] + c;
#pragma unroll 4
    for (int i = 0; i < iterations; i++)
#pragma unroll
        for (int c = 0; c < CHAINS; c++) x[c] = fmaf(x[c], half, b);
    float sum = 0.0f;
#pragma unroll
    for (int c = 0; c < CHAINS; c++) sum += x[c];
#else
    u32 x[CHAINS];
#if KIND == 1
    typedef F16 E;
#define FMA fma_f16x2
#else
    typedef BF16 E;
#define FMA fma_bf16x2
#endif
    const u32 halves = E::narrow_two(half, half), bs = E::narrow_two(b, b);
#pragma unroll
    for (int c = 0; c < CHAINS; c++) x[c] = E::narrow_two(start[2 * threadIdx.x] + c, start[2 * threadIdx.x] - c);
#pragma unroll 4
    for (int i = 0; i < iterations; i++)
#pragma unroll
        for (int c = 0; c < CHAINS; c++) x[c] = FMA(x[c], halves, bs);
    float sum = 0.0f;
#pragma unroll
    for (int c = 0; c < CHAINS; c++) sum += (E::widen((u16)x[c]) + E::widen((u16)(x[c] >> 16))) * 0.5f;
#endif
    out[blockIdx.x * THREADS + threadIdx.x] = sum;
}

// x = x·a + b modulo 2^32.
extern "C" __global__ void __launch_bounds__(THREADS) peak_mad(const int* __restrict__ start, int* __restrict__ out, int iterations, int a, int b) {
    u32 x[CHAINS];
#pragma unroll
    for (int c = 0; c < CHAINS; c++) x[c] = (u32)start[threadIdx.x] + c;
#pragma unroll 4
    for (int i = 0; i < iterations; i++)
#pragma unroll
        for (int c = 0; c < CHAINS; c++) x[c] = x[c] * (u32)a + (u32)b;
    u32 all = 0;
#pragma unroll
    for (int c = 0; c < CHAINS; c++) all ^= x[c];
    out[blockIdx.x * THREADS + threadIdx.x] = (int)all;
}

#if KIND == 3
typedef int Accumulator;
#define MULTIPLY multiply_i8
#else
typedef float Accumulator;
#if KIND == 0
#define MULTIPLY multiply_f16
#elif KIND == 1
#define MULTIPLY multiply_bf16
#elif KIND == 2
#define MULTIPLY multiply_tf32
#else
#define MULTIPLY multiply_e4m3
#endif
#endif

// Each warp multiplies two left by four right operands, eight sums in all, again and again. `words` holds for each
// lane the two left fragments (4 words each) and the four right ones (2 words each); `out` gets, for each thread, the
// four numbers of its fragment, summed over the eight.
extern "C" __global__ void __launch_bounds__(THREADS) peak_mma(const uint4* __restrict__ words, float4* __restrict__ out, int iterations) {
#if KIND < 4 || !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 890
    const uint4* own = words + threadIdx.x % 32 * 4;
    u32 a[2][4], b[4][2];
#pragma unroll
    for (int i = 0; i < 2; i++) {
        const uint4 left = own[i], right = own[2 + i];
        a[i][0] = left.x, a[i][1] = left.y, a[i][2] = left.z, a[i][3] = left.w;
        b[2 * i][0] = right.x, b[2 * i][1] = right.y, b[2 * i + 1][0] = right.z, b[2 * i + 1][1] = right.w;
    }
    Accumulator c[CHAINS][4];
#pragma unroll
    for (int j = 0; j < CHAINS; j++)
#pragma unroll
        for (int i = 0; i < 4; i++) c[j][i] = 0;
#pragma unroll 4
    for (int i = 0; i < iterations; i++)
#pragma unroll
        for (int j = 0; j < CHAINS; j++) MULTIPLY(c[j], a[j % 2], b[j / 2][0], b[j / 2][1]);
    float sum[4];
#pragma unroll
    for (int i = 0; i < 4; i++) {
        sum[i] = 0.0f;
#pragma unroll
        for (int j = 0; j < CHAINS; j++) sum[i] += (float)c[j][i];
    }
    out[blockIdx.x * THREADS + threadIdx.x] = make_float4(sum[0], sum[1], sum[2], sum[3]);
#endif
}

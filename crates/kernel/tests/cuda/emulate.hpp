// Runs CUDA kernels on the CPU, thread by thread.
//
// Each thread of a block is a fiber. Barriers and warp instructions switch to the next fiber until all have arrived,
// so a kernel runs deterministically, and the order in which fibers run (`ORDER` in the environment: 0 ascending,
// 1 descending, 2 odd strides) can be changed: a missing barrier then shows as a different result. Asynchronous
// copies arrive as late as they may, at the wait; until then their destination holds NaN.
//
// Matrix instructions follow the fragment layouts of the PTX manual ("Matrix Fragments for mma.m16n8k16",
// "ldmatrix").
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#include <functional>
#include <vector>

#define EMULATED
#define __global__
#define __device__
#define __forceinline__ inline
#define __restrict__ __restrict
#define __launch_bounds__(...)
#define __shared__ static
#define __align__(n) alignas(n)
#define DEVICE [[maybe_unused]] static inline
#define DYNAMIC_SHARED(name) unsigned char* name = emulated::shared.data()

struct alignas(8) uint2 {
    unsigned x, y;
};
struct alignas(16) uint4 {
    unsigned x, y, z, w;
};
struct alignas(16) float4 {
    float x, y, z, w;
};
static inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }
static inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
struct dim3 {
    unsigned x, y, z;
};

namespace emulated {
struct Copy {
    void* to;
    const void* from;
    bool present;
};

struct Fiber {
    ucontext_t context;
    std::vector<char> stack;
    dim3 index;
    unsigned number;
    bool done;
    unsigned long long barriers, exchanges;
    std::vector<std::vector<Copy>> groups;
    std::vector<Copy> open;
};

struct Warp {
    // Two generations: a lane can be one exchange ahead of the others.
    uint64_t slots[2][32][8];
    unsigned long long posted;
};

static std::vector<Fiber> fibers;
static std::vector<Warp> warps;
static std::vector<unsigned> order;
static Fiber* current;
static unsigned place;
static ucontext_t home;
static std::vector<unsigned char> shared;
static unsigned long long arrived, progress, idle;
static dim3 grid, block, at;
static std::function<void()> body;

static void fail(const char* what) {
    fprintf(stderr, "emulation: %s\n", what);
    exit(3);
}

static void next() {
    Fiber* from = current;
    for (unsigned tries = 0; tries < order.size(); tries++) {
        place = (place + 1) % order.size();
        Fiber* to = &fibers[order[place]];
        if (to->done) continue;
        if (to == from) return;
        current = to;
        swapcontext(&from->context, &to->context);
        return;
    }
    current = nullptr;
    setcontext(&home);
}

static void entry() {
    body();
    // Copies that nobody waited for never arrive.
    current->done = true;
    progress++;
    next();
}

template <class Ready>
static void wait(Ready ready) {
    unsigned long long seen = progress, spins = 0;
    while (!ready()) {
        next();
        if (progress != seen) {
            seen = progress;
            spins = 0;
        } else if (++spins > 4 * fibers.size() + 64) {
            fail("deadlock: some threads wait for others that will not arrive");
        }
    }
}

// Gives each lane what all lanes of its warp have posted.
template <class Value>
static const uint64_t (*exchange(const Value& value))[8] {
    static_assert(sizeof(Value) <= 64, "a slot has 64 bytes");
    Warp& warp = warps[current->number / 32];
    const unsigned long long k = current->exchanges++;
    memcpy(warp.slots[k % 2][current->number % 32], &value, sizeof(Value));
    warp.posted++;
    progress++;
    wait([&] { return warp.posted >= 32 * (k + 1); });
    return warp.slots[k % 2];
}

template <class Value>
static Value from_lane(const uint64_t (*slots)[8], unsigned lane) {
    Value value;
    memcpy(&value, slots[lane], sizeof(Value));
    return value;
}

static void barrier() {
    const unsigned long long k = current->barriers++;
    arrived++;
    progress++;
    wait([&] { return arrived >= fibers.size() * (k + 1); });
}

static void launch(dim3 grid_, dim3 block_, unsigned shared_bytes, std::function<void()> kernel) {
    grid = grid_;
    block = block_;
    body = kernel;
    const unsigned threads = block.x * block.y * block.z;
    if (threads == 0 || threads > 1024) fail("a block has 1 to 1024 threads");
    fibers.resize(threads);
    const int mode = getenv("ORDER") ? atoi(getenv("ORDER")) : 0;
    order.resize(threads);
    for (unsigned i = 0; i < threads; i++)
        order[i] = mode == 1 ? threads - 1 - i : mode == 2 && threads % 7 != 0 ? i * 7 % threads : i;
    for (Fiber& fiber : fibers) fiber.stack.resize(64 << 10);
    const unsigned long long blocks = (unsigned long long)grid.x * grid.y * grid.z;
    for (unsigned long long i = 0; i < blocks; i++) {
        const unsigned long long b = mode == 1 ? blocks - 1 - i : i;
        at = {(unsigned)(b % grid.x), (unsigned)(b / grid.x % grid.y), (unsigned)(b / grid.x / grid.y)};
        shared.assign(shared_bytes + 128, 0xff);
        // What a block finds beyond its shared memory, it must not use.
        warps.assign((threads + 31) / 32, Warp());
        arrived = 0;
        for (unsigned n = 0; n < threads; n++) {
            Fiber& fiber = fibers[n];
            fiber.number = n;
            fiber.index = {n % block.x, n / block.x % block.y, n / block.x / block.y};
            fiber.done = false;
            fiber.barriers = fiber.exchanges = 0;
            fiber.groups.clear();
            fiber.open.clear();
            getcontext(&fiber.context);
            fiber.context.uc_stack.ss_sp = fiber.stack.data();
            fiber.context.uc_stack.ss_size = fiber.stack.size();
            fiber.context.uc_link = nullptr;
            makecontext(&fiber.context, entry, 0);
        }
        place = 0;
        current = &fibers[order[0]];
        volatile bool back = false;
        getcontext(&home);
        if (!back) {
            back = true;
            setcontext(&current->context);
        }
        for (unsigned k = 0; k < 128; k++)
            if (shared[shared_bytes + k] != 0xff) fail("a block wrote beyond its shared memory");
    }
}
}  // namespace emulated

#define threadIdx (emulated::current->index)
#define blockIdx (emulated::at)
#define blockDim (emulated::block)
#define gridDim (emulated::grid)

static inline void __syncthreads() { emulated::barrier(); }
static inline void __threadfence() {}

// A warp is wherever its lanes have posted: both kinds of barrier are one here.
static inline void __syncwarp() { emulated::exchange(0); }

template <class Value>
static Value __shfl_xor_sync(unsigned mask, Value value, int lanes) {
    if (mask != 0xffffffffu) emulated::fail("shuffles take whole warps");
    return emulated::from_lane<Value>(emulated::exchange(value), emulated::current->number % 32 ^ lanes);
}

template <class Value>
static Value __shfl_up_sync(unsigned mask, Value value, int lanes) {
    if (mask != 0xffffffffu) emulated::fail("shuffles take whole warps");
    const unsigned lane = emulated::current->number % 32;
    return emulated::from_lane<Value>(emulated::exchange(value), lane < (unsigned)lanes ? lane : lane - lanes);
}

template <class Value>
static Value __shfl_sync(unsigned mask, Value value, int lane) {
    if (mask != 0xffffffffu) emulated::fail("shuffles take whole warps");
    return emulated::from_lane<Value>(emulated::exchange(value), lane % 32);
}

template <class Word>
static Word atomicAdd(Word* at, Word value) {
    Word old = *at;
    *at += value;
    return old;
}
template <class Word>
static Word atomicXor(Word* at, Word value) {
    Word old = *at;
    *at ^= value;
    return old;
}
template <class Word>
static Word atomicMax(Word* at, Word value) {
    Word old = *at;
    if (value > old) *at = value;
    return old;
}
template <class Word>
static Word atomicExch(Word* at, Word value) {
    Word old = *at;
    *at = value;
    return old;
}

static inline float rsqrtf(float x) { return 1.0f / sqrtf(x); }

// What intrinsics.cu declares.
typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;

DEVICE float bits_to_float(u32 bits) {
    float value;
    memcpy(&value, &bits, 4);
    return value;
}
DEVICE u32 float_to_bits(float value) {
    u32 bits;
    memcpy(&bits, &value, 4);
    return bits;
}

DEVICE float f16_to_float(u16 bits) {
    const int exponent = bits >> 10 & 31, fraction = bits & 1023;
    float value;
    if (exponent == 31)
        value = fraction ? NAN : INFINITY;
    else if (exponent == 0)
        value = ldexpf((float)fraction, -24);
    else
        value = ldexpf((float)(1024 + fraction), exponent - 25);
    return bits & 0x8000 ? -value : value;
}

DEVICE u16 float_to_f16(float value) {
    const u16 sign = float_to_bits(value) >> 16 & 0x8000;
    const float size = fabsf(value);
    if (size != size) return 0x7fff;
    if (size == 0.0f) return sign;
    if (size >= 65520.0f) return sign | 0x7c00;
    int exponent = 0;
    frexpf(size, &exponent);
    const int quantum = exponent - 11 < -24 ? -24 : exponent - 11;
    // rintf rounds half to even; the sum carries into the exponent by itself.
    const u32 steps = (u32)rintf(ldexpf(size, -quantum));
    return sign | (u16)(quantum == -24 ? steps : ((u32)(quantum + 24) << 10) + steps);
}

DEVICE u16 float_to_bf16(float value) {
    u32 bits = float_to_bits(value);
    if (value != value) return 0x7fff;
    bits += 0x7fff + (bits >> 16 & 1);
    return (u16)(bits >> 16);
}

DEVICE u32 floats_to_f16x2(float low, float high) { return float_to_f16(low) | (u32)float_to_f16(high) << 16; }
DEVICE u32 floats_to_bf16x2(float low, float high) { return float_to_bf16(low) | (u32)float_to_bf16(high) << 16; }
DEVICE float exp2_fast(float x) { return exp2f(x); }
DEVICE float reciprocal_fast(float x) { return 1.0f / x; }
DEVICE uint4 load_once(const uint4* from) { return *from; }
DEVICE uint2 load_once(const uint2* from) { return *from; }
DEVICE uint4 load_leaving(const uint4* from) { return *from; }
DEVICE void store_streaming(uint4* to, uint4 v) { *to = v; }
DEVICE uint4 load_l2(const uint4* from) { return *from; }
DEVICE uint4 load_l1(const uint4* from) { return *from; }
DEVICE uint4 load_shared(const uint4* from) { return *from; }
DEVICE u32 load_word_l1(const u32* from) { return *from; }
DEVICE u32 load_word_l2(const u32* from) { return *from; }
DEVICE u32 load_word_shared(const u32* from) { return *from; }
DEVICE u32 load_word_system(const u32* from) { return *from; }

// Clocks tick by one a reading.
DEVICE u64 cycles() {
    static u64 ticks;
    return ticks++;
}
DEVICE u64 nanoseconds() {
    static u64 ticks;
    return ticks += 1000;
}

DEVICE void copy_async(void* to, const void* from, bool present) {
    if ((size_t)to % 16 || (present && (size_t)from % 16)) emulated::fail("an asynchronous copy is not aligned");
    memset(to, 0xff, 16);
    emulated::current->open.push_back({to, from, present});
}
DEVICE void copy_commit() {
    emulated::current->groups.push_back(emulated::current->open);
    emulated::current->open.clear();
}
template <int PENDING>
DEVICE void copy_wait() {
    auto& groups = emulated::current->groups;
    while (groups.size() > PENDING) {
        for (const emulated::Copy& copy : groups.front()) {
            if (copy.present)
                memcpy(copy.to, copy.from, 16);
            else
                memset(copy.to, 0, 16);
        }
        groups.erase(groups.begin());
    }
}

// Bulk copies happen at once; a barrier counts the phases that ended, so that waiting for one that did not is found.
DEVICE void barrier_init(u64* barrier) { *barrier = 0; }
DEVICE void barrier_fence() {}
DEVICE void barrier_wait(u64* barrier, u32 parity) {
    // A phase has ended when the barrier is in one of the other parity.
    if ((*barrier & 1) == parity) emulated::fail("a barrier waits for bytes that nobody asked for");
}
DEVICE void bulk_load(void* to, const void* from, u32 bytes, u64* barrier) {
    if ((size_t)to % 16 || (size_t)from % 16 || bytes % 16) emulated::fail("a bulk copy is not aligned");
    memcpy(to, from, bytes);
    *barrier += 1;
}
DEVICE void bulk_store(void* to, const void* from, u32 bytes) {
    if ((size_t)to % 16 || (size_t)from % 16 || bytes % 16) emulated::fail("a bulk copy is not aligned");
    memcpy(to, from, bytes);
}
template <int PENDING>
DEVICE void bulk_wait() {}

DEVICE void load_matrices(u32 (&to)[4], const void* row) {
    if ((size_t)row % 16) emulated::fail("a matrix row is not aligned");
    auto slots = emulated::exchange(row);
    const unsigned lane = emulated::current->number % 32;
    for (unsigned i = 0; i < 4; i++)
        memcpy(&to[i], emulated::from_lane<const u8*>(slots, 8 * i + lane / 4) + lane % 4 * 4, 4);
    // Nobody overwrites a row before all lanes have read it.
    emulated::exchange(0);
}

DEVICE void load_matrices_transposed(u32 (&to)[4], const void* row) {
    if ((size_t)row % 16) emulated::fail("a matrix row is not aligned");
    auto slots = emulated::exchange(row);
    const unsigned lane = emulated::current->number % 32;
    for (unsigned i = 0; i < 4; i++) {
        u16 two[2];
        for (unsigned k = 0; k < 2; k++)
            memcpy(&two[k], emulated::from_lane<const u8*>(slots, 8 * i + lane % 4 * 2 + k) + lane / 4 * 2, 2);
        to[i] = two[0] | (u32)two[1] << 16;
    }
    emulated::exchange(0);
}

namespace emulated {
struct Fragments {
    u32 a[4], b[2];
};

// Elements of `bits` bits: `per` in a word; the sum has 8·per terms.
template <int PER, class Number, class Widen>
static void multiply(Number (&c)[4], const u32 (&a)[4], u32 b0, u32 b1, Widen widen) {
    const Fragments mine = {{a[0], a[1], a[2], a[3]}, {b0, b1}};
    auto slots = exchange(mine);
    const unsigned lane = current->number % 32;
    for (unsigned i = 0; i < 4; i++) {
        const unsigned row = lane / 4 + 8 * (i / 2), column = lane % 4 * 2 + i % 2;
        Number sum = c[i];
        for (unsigned k = 0; k < 8 * PER; k++) {
            const unsigned half = k / (4 * PER), thread = k % (4 * PER) / PER, element = k % PER;
            const Fragments left = from_lane<Fragments>(slots, row % 8 * 4 + thread);
            const Fragments right = from_lane<Fragments>(slots, column * 4 + thread);
            sum += widen(left.a[2 * half + row / 8], element) * widen(right.b[half], element);
        }
        c[i] = sum;
    }
}
}  // namespace emulated

DEVICE void multiply_bf16(float (&c)[4], const u32 (&a)[4], u32 b0, u32 b1) {
    emulated::multiply<2>(c, a, b0, b1, [](u32 word, unsigned i) { return bits_to_float(word >> 16 * i << 16); });
}
DEVICE void multiply_f16(float (&c)[4], const u32 (&a)[4], u32 b0, u32 b1) {
    emulated::multiply<2>(c, a, b0, b1, [](u32 word, unsigned i) { return f16_to_float((u16)(word >> 16 * i)); });
}

DEVICE void multiply_tf32(float (&c)[4], const u32 (&a)[4], u32 b0, u32 b1) {
    emulated::multiply<1>(c, a, b0, b1, [](u32 word, unsigned) { return bits_to_float(word & 0xffffe000u); });
}
DEVICE void multiply_i8(int (&c)[4], const u32 (&a)[4], u32 b0, u32 b1) {
    emulated::multiply<4>(c, a, b0, b1, [](u32 word, unsigned i) { return (int)(signed char)(word >> 8 * i); });
}
DEVICE void multiply_e4m3(float (&c)[4], const u32 (&a)[4], u32 b0, u32 b1) {
    emulated::multiply<4>(c, a, b0, b1, [](u32 word, unsigned i) {
        const int bits = word >> 8 * i & 255, exponent = bits >> 3 & 15, fraction = bits & 7;
        const float size = exponent == 0 ? ldexpf((float)fraction, -9) : ldexpf((float)(8 + fraction), exponent - 10);
        return bits & 128 ? -size : size;
    });
}

namespace emulated {
template <class Widen, class Narrow>
static u32 fma_two(u32 a, u32 b, u32 c, Widen widen, Narrow narrow) {
    u32 d = 0;
    for (int i = 0; i < 32; i += 16) {
        // Products of two 11-bit numbers are exact in single precision; sums are rounded twice at most.
        const double exact = (double)widen((u16)(a >> i)) * widen((u16)(b >> i)) + widen((u16)(c >> i));
        d |= (u32)narrow((float)exact) << i;
    }
    return d;
}
}  // namespace emulated

DEVICE u32 fma_f16x2(u32 a, u32 b, u32 c) { return emulated::fma_two(a, b, c, f16_to_float, float_to_f16); }
DEVICE u32 fma_bf16x2(u32 a, u32 b, u32 c) {
    return emulated::fma_two(a, b, c, [](u16 bits) { return bits_to_float((u32)bits << 16); }, float_to_bf16);
}

namespace emulated {
// Operands are files of the working folder, read before and written after the launch. Each ends where its memory
// ends, so that an access beyond it stops the program.
struct Operands {
    struct Part {
        unsigned char* begin;
        size_t len;
    };
    std::vector<Part> parts;

    explicit Operands(int count) {
        const size_t page = sysconf(_SC_PAGESIZE);
        for (int i = 0; i < count; i++) {
            FILE* file = open(i, "rb");
            fseek(file, 0, SEEK_END);
            const size_t len = ftell(file);
            rewind(file);
            const size_t room = (len + 15) / 16 * 16, mapped = (room + page - 1) / page * page;
            unsigned char* memory = (unsigned char*)mmap(nullptr, mapped + page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
            if (memory == MAP_FAILED || mprotect(memory, mapped, PROT_READ | PROT_WRITE) != 0) fail("no memory");
            parts.push_back({memory + mapped - room, len});
            if (fread(parts[i].begin, 1, len, file) != len) fail("an operand cannot be read");
            fclose(file);
        }
    }

    void* at(int i) { return parts.at(i).begin; }

    void write() {
        for (size_t i = 0; i < parts.size(); i++) {
            FILE* file = open(i, "wb");
            if (fwrite(parts[i].begin, 1, parts[i].len, file) != parts[i].len) fail("an operand cannot be written");
            fclose(file);
        }
    }

    static FILE* open(int i, const char* mode) {
        char name[32];
        snprintf(name, sizeof name, "operand%d", i);
        FILE* file = fopen(name, mode);
        if (!file) fail("an operand cannot be opened");
        return file;
    }
};

// Becomes a pointer to whatever a kernel asks for.
struct Pointer {
    void* to;
    template <class Target>
    operator Target*() const {
        return (Target*)to;
    }
};

static dim3 three(char** words) { return {(unsigned)atoi(words[0]), (unsigned)atoi(words[1]), (unsigned)atoi(words[2])}; }
}  // namespace emulated

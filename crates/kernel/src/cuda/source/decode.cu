// Attention of one new token a sequence over a paged cache.
//
//   ELEMENT   F16 or BF16
//   CACHE     format of keys and values: ELEMENT or E4M3
//   HEAD_DIM  64, 128 or 256
//   GROUP     query heads of one block; they share keys and values
//   PAGE      tokens of a cache block
//   TOKENS    tokens that a team takes at a time
//   STAGES    0, or rounds of tokens that shared memory holds
//
//   keys, values   [cache block][PAGE][kv head][HEAD_DIM]
//   queries, out   [sequence][query head][HEAD_DIM]
//
// A team of lanes has one token, 8 numbers a lane, so that a warp reads whole rows. A team takes TOKENS tokens at a
// time: all their keys and values are under way before the first is used. With STAGES, those of the next rounds are
// under way, too, on their way to shared memory: a thread uses what it copied itself, so nobody waits for others. Blocks
// take a chunk of the tokens each; where a sequence has several chunks, `combine` merges them.
typedef ELEMENT E;
typedef E::stored T;
typedef CACHE C;
typedef C::stored S;

#define WARPS 4
#define TEAM (HEAD_DIM / 8)
#define TEAMS (WARPS * 32 / TEAM)

// Softmax over part of the tokens, in base 2: largest score, sum of weights, weighted sum of values (8 of its numbers).
struct Part {
    float max, sum, value[8];
};

DEVICE void merge(Part& into, float max, float sum, const float (&value)[8]) {
    const float top = fmaxf(into.max, max);
    // Parts without a token have the maximum −∞.
    const float a = into.max == MINUS_INFINITY ? 0.0f : exp2_fast(into.max - top);
    const float b = max == MINUS_INFINITY ? 0.0f : exp2_fast(max - top);
    into.max = top;
    into.sum = into.sum * a + sum * b;
#pragma unroll
    for (int i = 0; i < 8; i++) into.value[i] = into.value[i] * a + value[i] * b;
}

// Blocks (chunk, kv head × share of its group, sequence). With one chunk `out` gets the result; else `parts` gets, for
// each sequence, query head and chunk, HEAD_DIM weighted sums, the largest score and the sum of weights.
extern "C" __global__ void __launch_bounds__(WARPS * 32)
    decode(const T* __restrict__ queries, const S* __restrict__ keys, const S* __restrict__ values,
           const int* __restrict__ table, const int* __restrict__ lengths, float* __restrict__ parts, T* __restrict__ out,
           int heads, int kv_heads, int pages, int chunk, float scale) {
    const int shares = heads / kv_heads / GROUP;
    const int kv_head = blockIdx.y / shares, first_head = blockIdx.y * GROUP;
    const int sequence = blockIdx.z;
    const int team = threadIdx.x / TEAM, lane = threadIdx.x % TEAM;
    const int begin = blockIdx.x * chunk;
    const int length = lengths[sequence];
    const int end = begin + chunk < length ? begin + chunk : length;
    table += (u64)sequence * pages;

    float query[GROUP][8];
#pragma unroll
    for (int g = 0; g < GROUP; g++) {
        Chunk<E, 8> piece;
        piece.load(queries + ((u64)sequence * heads + first_head + g) * HEAD_DIM + lane * 8);
#pragma unroll
        for (int i = 0; i < 8; i++) query[g][i] = piece.get(i) * (scale * LOG2_E);
    }
    Part part[GROUP];
#pragma unroll
    for (int g = 0; g < GROUP; g++) {
        part[g].max = MINUS_INFINITY;
        part[g].sum = 0.0f;
#pragma unroll
        for (int i = 0; i < 8; i++) part[g].value[i] = 0.0f;
    }

    typedef Chunk<C, 8>::bits_type Bits;
    const Bits *const all_keys = (const Bits*)keys, *const all_values = (const Bits*)values;
    // Page of the t-th token that this team takes from `base` on.
    auto look_up = [&](int base, int t) {
        const int token = base + t * TEAMS + team;
        return token < end ? table[token / PAGE] : 0;
    };
    // Where its keys and values lie, in accesses of a lane.
    auto place = [&](int base, int t, int page) {
        return (((u64)page * PAGE + (base + t * TEAMS + team) % PAGE) * kv_heads + kv_head) * TEAM + lane;
    };
    auto present = [&](int base, int t) { return base + t * TEAMS + team < end; };

    // Pages are looked up one round ahead: what they point to can then be read at once.
    int page[TOKENS];
#if STAGES > 0
    DYNAMIC_SHARED(ring);
    // Key and value of each token, a thread's beside those of the next thread.
    Bits* const mine = (Bits*)ring + threadIdx.x;
    auto start = [&](int stage, int base) {
#pragma unroll
        for (int t = 0; t < TOKENS; t++) {
            const bool there = present(base, t);
            const u64 at = there ? place(base, t, page[t]) : 0;
            copy_async(mine + (stage * 2 + 0) * TOKENS * WARPS * 32 + t * WARPS * 32, all_keys + at, there);
            copy_async(mine + (stage * 2 + 1) * TOKENS * WARPS * 32 + t * WARPS * 32, all_values + at, there);
        }
    };
    {
        int first[STAGES][TOKENS];
#pragma unroll
        for (int s = 0; s < STAGES; s++)
#pragma unroll
            for (int t = 0; t < TOKENS; t++) first[s][t] = look_up(begin + s * TOKENS * TEAMS, t);
#pragma unroll
        for (int s = 0; s < STAGES; s++) {
#pragma unroll
            for (int t = 0; t < TOKENS; t++) page[t] = first[s][t];
            // The last of these is the first that the loop starts.
            if (s == STAGES - 1) break;
            start(s, begin + s * TOKENS * TEAMS);
            copy_commit();
        }
    }
    int stage = 0;
#else
#pragma unroll
    for (int t = 0; t < TOKENS; t++) page[t] = look_up(begin, t);
#endif
    // All threads go round equally often, for the shuffles.
    for (int base = begin; base < end; base += TOKENS * TEAMS) {
        Chunk<C, 8> key[TOKENS], value[TOKENS];
#if STAGES > 0
        // Of the rounds under way the oldest has arrived, and the place of the one before it is free.
        copy_wait<STAGES - 2>();
        start(stage == 0 ? STAGES - 1 : stage - 1, base + (STAGES - 1) * TOKENS * TEAMS);
        copy_commit();
#pragma unroll
        for (int t = 0; t < TOKENS; t++) page[t] = look_up(base + STAGES * TOKENS * TEAMS, t);
#pragma unroll
        for (int t = 0; t < TOKENS; t++) {
            key[t].bits = mine[(stage * 2 + 0) * TOKENS * WARPS * 32 + t * WARPS * 32];
            value[t].bits = mine[(stage * 2 + 1) * TOKENS * WARPS * 32 + t * WARPS * 32];
        }
        stage = stage == STAGES - 1 ? 0 : stage + 1;
#else
#pragma unroll
        for (int t = 0; t < TOKENS; t++) {
            key[t].bits = value[t].bits = Bits();
            if (present(base, t)) {
                const u64 at = place(base, t, page[t]);
                key[t].bits = load_once(all_keys + at);
                value[t].bits = load_once(all_values + at);
            }
        }
#pragma unroll
        for (int t = 0; t < TOKENS; t++) page[t] = look_up(base + TOKENS * TEAMS, t);
#endif
        float score[GROUP][TOKENS];
#pragma unroll
        for (int t = 0; t < TOKENS; t++) {
#pragma unroll
            for (int g = 0; g < GROUP; g++) score[g][t] = 0.0f;
#pragma unroll
            for (int i = 0; i < 8; i++) {
                const float k = key[t].get(i);
#pragma unroll
                for (int g = 0; g < GROUP; g++) score[g][t] = fmaf(query[g][i], k, score[g][t]);
            }
        }
#pragma unroll
        for (int g = 0; g < GROUP; g++) {
            float top = part[g].max;
#pragma unroll
            for (int t = 0; t < TOKENS; t++) {
#pragma unroll
                for (int step = TEAM / 2; step > 0; step /= 2)
                    score[g][t] += __shfl_xor_sync(0xffffffffu, score[g][t], step);
                if (base + t * TEAMS + team >= end) score[g][t] = MINUS_INFINITY;
                top = fmaxf(top, score[g][t]);
            }
            if (top == MINUS_INFINITY) {
#pragma unroll
                for (int t = 0; t < TOKENS; t++) score[g][t] = 0.0f;
                continue;
            }
            const float shrink = exp2_fast(part[g].max - top);
            part[g].max = top;
            part[g].sum *= shrink;
#pragma unroll
            for (int i = 0; i < 8; i++) part[g].value[i] *= shrink;
#pragma unroll
            for (int t = 0; t < TOKENS; t++) {
                score[g][t] = exp2_fast(score[g][t] - top);
                part[g].sum += score[g][t];
            }
        }
#pragma unroll
        for (int t = 0; t < TOKENS; t++)
#pragma unroll
            for (int i = 0; i < 8; i++) {
                const float v = value[t].get(i);
#pragma unroll
                for (int g = 0; g < GROUP; g++) part[g].value[i] = fmaf(score[g][t], v, part[g].value[i]);
            }
    }

    // Teams of a warp, then warps.
    __shared__ float sums[WARPS][GROUP][HEAD_DIM];
    __shared__ float ends[WARPS][GROUP][2];
    const int warp = threadIdx.x / 32;
#pragma unroll
    for (int g = 0; g < GROUP; g++) {
#pragma unroll
        for (int step = TEAM; step < 32; step *= 2) {
            float other[8];
            const float max = __shfl_xor_sync(0xffffffffu, part[g].max, step);
            const float sum = __shfl_xor_sync(0xffffffffu, part[g].sum, step);
#pragma unroll
            for (int i = 0; i < 8; i++) other[i] = __shfl_xor_sync(0xffffffffu, part[g].value[i], step);
            merge(part[g], max, sum, other);
        }
        if (threadIdx.x % 32 < TEAM) {
#pragma unroll
            for (int i = 0; i < 8; i++) sums[warp][g][lane * 8 + i] = part[g].value[i];
            if (lane == 0) {
                ends[warp][g][0] = part[g].max;
                ends[warp][g][1] = part[g].sum;
            }
        }
    }
    __syncthreads();
    for (int at = threadIdx.x; at < GROUP * HEAD_DIM; at += WARPS * 32) {
        const int g = at / HEAD_DIM, i = at % HEAD_DIM;
        float top = MINUS_INFINITY, weight = 0.0f, value = 0.0f;
#pragma unroll
        for (int w = 0; w < WARPS; w++) top = fmaxf(top, ends[w][g][0]);
#pragma unroll
        for (int w = 0; w < WARPS; w++) {
            const float share = ends[w][g][0] == MINUS_INFINITY ? 0.0f : exp2_fast(ends[w][g][0] - top);
            weight += ends[w][g][1] * share;
            value += sums[w][g][i] * share;
        }
        const u64 row = (u64)sequence * heads + first_head + g;
        if (gridDim.x == 1) {
            out[row * HEAD_DIM + i] = E::narrow(value / weight);
        } else {
            float* part = parts + (row * gridDim.x + blockIdx.x) * (HEAD_DIM + 2);
            part[i] = value;
            if (i == 0) {
                part[HEAD_DIM] = top;
                part[HEAD_DIM + 1] = weight;
            }
        }
    }
}

// Merges the chunks of one query head. A block a head, a thread a number.
extern "C" __global__ void __launch_bounds__(HEAD_DIM) combine(const float* __restrict__ parts, T* __restrict__ out, int chunks) {
    parts += (u64)blockIdx.x * chunks * (HEAD_DIM + 2);
    float top = MINUS_INFINITY;
    for (int c = 0; c < chunks; c++) top = fmaxf(top, parts[c * (HEAD_DIM + 2) + HEAD_DIM]);
    float weight = 0.0f, value = 0.0f;
    for (int c = 0; c < chunks; c++) {
        const float* part = parts + c * (HEAD_DIM + 2);
        const float share = exp2_fast(part[HEAD_DIM] - top);
        weight += part[HEAD_DIM + 1] * share;
        value += part[threadIdx.x] * share;
    }
    out[(u64)blockIdx.x * HEAD_DIM + threadIdx.x] = E::narrow(value / weight);
}

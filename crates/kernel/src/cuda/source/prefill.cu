// Causal attention of several new tokens a sequence over a paged cache that holds them and those before them.
//
//   ELEMENT   F16 or BF16
//   HEAD_DIM  64 or 128
//   TILES     tiles of 16 query rows of a warp
//   PAGE      tokens of a cache block
//
//   keys, values   [cache block][PAGE][kv head][HEAD_DIM]
//   queries, out   [sequence][new token][query head][HEAD_DIM]
//
// Flash attention (Dao 2023): a block has WARPS·TILES·16 query rows of one head and goes over the keys KEYS at a time;
// the next keys and values are copied while these are multiplied. Rows of 16-byte pieces lie in shared memory with
// piece c of row r at c ^ (r % 8), so that eight rows of one column are in different banks.
typedef ELEMENT E;
typedef E::stored T;

#define WARPS 4
#define KEYS 64
#define ROWS (WARPS * TILES * 16)
#define PIECES (HEAD_DIM / 8)
#define STEPS (HEAD_DIM / 16)

// Where piece `piece` of row `row` of a tile lies.
DEVICE T* place(T* tile, int row, int piece) { return tile + (row * PIECES + (piece ^ (row % 8))) * 8; }

// Blocks (tile of query rows, query head, sequence).
extern "C" __global__ void __launch_bounds__(WARPS * 32)
    prefill(const T* __restrict__ queries, const T* __restrict__ keys, const T* __restrict__ values,
            const int* __restrict__ table, T* __restrict__ out, int heads, int kv_heads, int pages, int fresh, int cached,
            float scale) {
    DYNAMIC_SHARED(shared);
    T* query_tile = (T*)shared;
    T* key_tiles = query_tile + ROWS * HEAD_DIM;
    T* value_tiles = key_tiles + 2 * KEYS * HEAD_DIM;

    // The last rows see most keys: they begin first.
    const int first_row = (gridDim.x - 1 - blockIdx.x) * ROWS;
    const int head = blockIdx.y, kv_head = head / (heads / kv_heads), sequence = blockIdx.z;
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    const int last_row = first_row + ROWS < fresh ? first_row + ROWS : fresh;
    const int seen = cached + last_row;
    const int rounds = (seen + KEYS - 1) / KEYS;
    table += (u64)sequence * pages;

    auto copy_keys = [&](int round) {
        T* key_tile = key_tiles + round % 2 * KEYS * HEAD_DIM;
        T* value_tile = value_tiles + round % 2 * KEYS * HEAD_DIM;
#pragma unroll
        for (int i = 0; i < KEYS * PIECES / (WARPS * 32); i++) {
            const int at = i * WARPS * 32 + threadIdx.x;
            const int row = at / PIECES, piece = at % PIECES, token = round * KEYS + row;
            const bool present = token < seen;
            const u64 slot = present ? (u64)table[token / PAGE] * PAGE + token % PAGE : 0;
            const u64 from = (slot * kv_heads + kv_head) * HEAD_DIM + piece * 8;
            copy_async(place(key_tile, row, piece), keys + from, present);
            copy_async(place(value_tile, row, piece), values + from, present);
        }
    };
    for (int at = threadIdx.x; at < ROWS * PIECES; at += WARPS * 32) {
        const int row = at / PIECES, piece = at % PIECES;
        const bool present = first_row + row < fresh;
        const u64 token = (u64)sequence * fresh + (present ? first_row + row : 0);
        copy_async(place(query_tile, row, piece), queries + (token * heads + head) * HEAD_DIM + piece * 8, present);
    }
    copy_keys(0);
    copy_commit();

    u32 query[TILES][STEPS][4];
    float sum[TILES][PIECES][4], max[TILES][2], weight[TILES][2];
#pragma unroll
    for (int m = 0; m < TILES; m++) {
#pragma unroll
        for (int n = 0; n < PIECES; n++)
#pragma unroll
            for (int i = 0; i < 4; i++) sum[m][n][i] = 0.0f;
        max[m][0] = max[m][1] = MINUS_INFINITY;
        weight[m][0] = weight[m][1] = 0.0f;
    }
    // Rows of the warp's tiles that this lane's accumulators belong to: this one and the eighth after it.
    const int own_row = first_row + warp * TILES * 16 + lane / 4;
    const float factor = scale * LOG2_E;

    for (int round = 0; round < rounds; round++) {
        if (round + 1 < rounds) copy_keys(round + 1);
        copy_commit();
        copy_wait<1>();
        __syncthreads();
        if (round == 0) {
#pragma unroll
            for (int m = 0; m < TILES; m++)
#pragma unroll
                for (int k = 0; k < STEPS; k++)
                    load_matrices(query[m][k], place(query_tile, (warp * TILES + m) * 16 + lane % 16, 2 * k + lane / 16));
        }
        T* key_tile = key_tiles + round % 2 * KEYS * HEAD_DIM;
        T* value_tile = value_tiles + round % 2 * KEYS * HEAD_DIM;

        float score[TILES][KEYS / 8][4];
#pragma unroll
        for (int m = 0; m < TILES; m++)
#pragma unroll
            for (int n = 0; n < KEYS / 8; n++)
#pragma unroll
                for (int i = 0; i < 4; i++) score[m][n][i] = 0.0f;
#pragma unroll
        for (int k = 0; k < STEPS; k++)
#pragma unroll
            for (int n = 0; n < KEYS / 8; n += 2) {
                // Keys 0–7 and 8–15 of 16, each the lower and the upper 8 numbers.
                u32 b[4];
                load_matrices(b, place(key_tile, n * 8 + lane / 16 * 8 + lane % 8, 2 * k + lane / 8 % 2));
#pragma unroll
                for (int m = 0; m < TILES; m++) {
                    E::multiply(score[m][n], query[m][k], b[0], b[1]);
                    E::multiply(score[m][n + 1], query[m][k], b[2], b[3]);
                }
            }

#pragma unroll
        for (int m = 0; m < TILES; m++) {
            // Only tiles at the diagonal and at the end hold keys that some row must not see.
            const int position = cached + own_row + m * 16;
            if ((round + 1) * KEYS > cached + first_row + (warp * TILES + m) * 16) {
#pragma unroll
                for (int n = 0; n < KEYS / 8; n++)
#pragma unroll
                    for (int i = 0; i < 4; i++) {
                        const int key = round * KEYS + n * 8 + lane % 4 * 2 + i % 2;
                        if (key > position + i / 2 * 8) score[m][n][i] = MINUS_INFINITY;
                    }
            }
#pragma unroll
            for (int half = 0; half < 2; half++) {
                float top = max[m][half];
#pragma unroll
                for (int n = 0; n < KEYS / 8; n++) top = fmaxf(top, fmaxf(score[m][n][2 * half], score[m][n][2 * half + 1]));
                top = fmaxf(top, __shfl_xor_sync(0xffffffffu, top, 1));
                top = fmaxf(top, __shfl_xor_sync(0xffffffffu, top, 2));
                // The first round holds key 0, which every row sees: from then on the maximum is finite.
                const float shrink = exp2_fast((max[m][half] - top) * factor);
                max[m][half] = top;
                weight[m][half] *= shrink;
#pragma unroll
                for (int n = 0; n < PIECES; n++) {
                    sum[m][n][2 * half] *= shrink;
                    sum[m][n][2 * half + 1] *= shrink;
                }
#pragma unroll
                for (int n = 0; n < KEYS / 8; n++)
#pragma unroll
                    for (int i = 2 * half; i < 2 * half + 2; i++) {
                        score[m][n][i] = exp2_fast(fmaf(score[m][n][i], factor, -top * factor));
                        weight[m][half] += score[m][n][i];
                    }
            }
        }

#pragma unroll
        for (int k = 0; k < KEYS / 16; k++) {
            // Accumulators of two neighbouring products are the left operand of the next.
            u32 a[TILES][4];
#pragma unroll
            for (int m = 0; m < TILES; m++)
#pragma unroll
                for (int i = 0; i < 4; i++)
                    a[m][i] = E::narrow_two(score[m][2 * k + i / 2][i % 2 * 2], score[m][2 * k + i / 2][i % 2 * 2 + 1]);
#pragma unroll
            for (int n = 0; n < PIECES; n += 2) {
                u32 b[4];
                load_matrices_transposed(b, place(value_tile, k * 16 + lane % 16, n + lane / 16));
#pragma unroll
                for (int m = 0; m < TILES; m++) {
                    E::multiply(sum[m][n], a[m], b[0], b[1]);
                    E::multiply(sum[m][n + 1], a[m], b[2], b[3]);
                }
            }
        }
        // The tile is free for the copies of the round after next.
        __syncthreads();
    }

#pragma unroll
    for (int m = 0; m < TILES; m++)
#pragma unroll
        for (int half = 0; half < 2; half++) {
            float all = weight[m][half];
            all += __shfl_xor_sync(0xffffffffu, all, 1);
            all += __shfl_xor_sync(0xffffffffu, all, 2);
            const int row = own_row + m * 16 + half * 8;
            if (row >= fresh) continue;
            const float share = 1.0f / all;
            T* to = out + (((u64)sequence * fresh + row) * heads + head) * HEAD_DIM + lane % 4 * 2;
#pragma unroll
            for (int n = 0; n < PIECES; n++)
                *(u32*)(to + n * 8) = E::narrow_two(sum[m][n][2 * half] * share, sum[m][n][2 * half + 1] * share);
        }
}

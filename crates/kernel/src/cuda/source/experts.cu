// Products of routed experts: each tile of rows belongs to one expert and meets its weights.
//
//   ELEMENT        F16 or BF16
//   TILE_ROWS      rows of a block: 16, 64 or 128
//   WARPS_M        warps over the rows; WARPS_N over the columns
//   STAGES         tiles of the sum that are under way or in use
//
// Columns come TILE_COLUMNS at a time, the sum DEPTH at a time. Rows of 16-byte pieces lie in shared memory with piece
// c of row r at c ^ (r % 8), so that eight rows of one column are in different banks.
typedef ELEMENT E;
typedef E::stored T;

#define TILE_COLUMNS 128
#define DEPTH 64
#define THREADS (WARPS_M * WARPS_N * 32)
#define TILES_M (TILE_ROWS / WARPS_M / 16)
#define TILES_N (TILE_COLUMNS / WARPS_N / 8)

DEVICE T* place(T* tile, int row, int piece) { return tile + (row * (DEPTH / 8) + (piece ^ (row % 8))) * 8; }

// out[slot, n] = input[source of the slot, k] · weights[expert, n, k]ᵀ. Blocks (tile of columns, tile of rows).
// `tiles` holds expert, first slot and number of slots of each tile of rows; `sources` the row of `input` of each slot.
extern "C" __global__ void __launch_bounds__(THREADS)
    grouped(const T* __restrict__ input, const T* __restrict__ weights, const int* __restrict__ tiles,
            const int* __restrict__ sources, T* __restrict__ out, int columns, int depth) {
    DYNAMIC_SHARED(shared);
    T* row_tiles = (T*)shared;
    T* column_tiles = row_tiles + STAGES * TILE_ROWS * DEPTH;
    const int expert = tiles[blockIdx.y * 3], first_slot = tiles[blockIdx.y * 3 + 1], slots = tiles[blockIdx.y * 3 + 2];
    const int first_column = blockIdx.x * TILE_COLUMNS;
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    const int warp_row = warp / WARPS_N * TILES_M * 16, warp_column = warp % WARPS_N * TILES_N * 8;
    weights += (u64)expert * columns * depth;

    // A thread copies the same piece of the same rows every time.
    constexpr int PIECES = DEPTH / 8, STEP = THREADS / PIECES;
    const int piece = threadIdx.x % PIECES, line = threadIdx.x / PIECES;
    constexpr int LINES = (TILE_ROWS + STEP - 1) / STEP;
    const T* from[LINES];
    bool present[LINES];
#pragma unroll
    for (int i = 0; i < LINES; i++) {
        const int row = line + i * STEP;
        present[i] = row < slots;
        from[i] = input + (u64)(present[i] ? sources[first_slot + row] : 0) * depth + piece * 8;
    }
    auto copy = [&](int round) {
        T* row_tile = row_tiles + round % STAGES * TILE_ROWS * DEPTH;
        T* column_tile = column_tiles + round % STAGES * TILE_COLUMNS * DEPTH;
#pragma unroll
        for (int i = 0; i < LINES; i++)
            if (line + i * STEP < TILE_ROWS) copy_async(place(row_tile, line + i * STEP, piece), from[i] + round * DEPTH, present[i]);
        for (int row = line; row < TILE_COLUMNS; row += STEP) {
            const bool inside = first_column + row < columns;
            copy_async(place(column_tile, row, piece), weights + (u64)(inside ? first_column + row : 0) * depth + round * DEPTH + piece * 8, inside);
        }
    };

    float sum[TILES_M][TILES_N][4];
#pragma unroll
    for (int m = 0; m < TILES_M; m++)
#pragma unroll
        for (int n = 0; n < TILES_N; n++)
#pragma unroll
            for (int i = 0; i < 4; i++) sum[m][n][i] = 0.0f;

    const int rounds = depth / DEPTH;
    for (int round = 0; round < STAGES - 1; round++) {
        if (round < rounds) copy(round);
        copy_commit();
    }
    for (int round = 0; round < rounds; round++) {
        copy_wait<STAGES - 2>();
        // Also: everybody is done with the tile that is overwritten next.
        __syncthreads();
        if (round + STAGES - 1 < rounds) copy(round + STAGES - 1);
        copy_commit();
        T* row_tile = row_tiles + round % STAGES * TILE_ROWS * DEPTH;
        T* column_tile = column_tiles + round % STAGES * TILE_COLUMNS * DEPTH;
#pragma unroll
        for (int k = 0; k < DEPTH / 16; k++) {
            u32 a[TILES_M][4];
#pragma unroll
            for (int m = 0; m < TILES_M; m++)
                load_matrices(a[m], place(row_tile, warp_row + m * 16 + lane % 16, 2 * k + lane / 16));
#pragma unroll
            for (int n = 0; n < TILES_N; n += 2) {
                u32 b[4];
                load_matrices(b, place(column_tile, warp_column + n * 8 + lane / 16 * 8 + lane % 8, 2 * k + lane / 8 % 2));
#pragma unroll
                for (int m = 0; m < TILES_M; m++) {
                    E::multiply(sum[m][n], a[m], b[0], b[1]);
                    E::multiply(sum[m][n + 1], a[m], b[2], b[3]);
                }
            }
        }
    }
#pragma unroll
    for (int m = 0; m < TILES_M; m++)
#pragma unroll
        for (int half = 0; half < 2; half++) {
            const int row = warp_row + m * 16 + half * 8 + lane / 4;
            if (row >= slots) continue;
            T* to = out + (u64)(first_slot + row) * columns;
#pragma unroll
            for (int n = 0; n < TILES_N; n++) {
                const int column = first_column + warp_column + n * 8 + lane % 4 * 2;
                if (column < columns) *(u32*)(to + column) = E::narrow_two(sum[m][n][2 * half], sum[m][n][2 * half + 1]);
            }
        }
}

// out[token] = Σ shares · rows of the token's slots; 8 elements a thread, `width` of them a row.
extern "C" __global__ void gather_sum(const T* __restrict__ rows, const int* __restrict__ slots, const float* __restrict__ shares, T* __restrict__ out, u32 vectors, u32 width, int top_k) {
    const u32 v = blockIdx.x * blockDim.x + threadIdx.x;
    if (v >= vectors) return;
    const u32 token = v / width, column = v % width;
    float sum[8] = {0, 0, 0, 0, 0, 0, 0, 0};
    for (int k = 0; k < top_k; k++) {
        Chunk<E, 8> piece;
        piece.load(rows + ((u64)slots[token * top_k + k] * width + column) * 8);
        const float share = shares[token * top_k + k];
#pragma unroll
        for (int i = 0; i < 8; i++) sum[i] = fmaf(share, piece.get(i), sum[i]);
    }
    Chunk<E, 8> piece;
#pragma unroll
    for (int i = 0; i < 8; i++) piece.set(i, sum[i]);
    piece.store(out + (u64)v * 8);
}

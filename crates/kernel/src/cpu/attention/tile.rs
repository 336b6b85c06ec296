//! One task of attention: a few rows of one span, with the query heads that share one key/value head.

#![expect(unsafe_code, reason = "disjoint output rows")]

use super::super::simd::{Kernel, Simd};
use super::super::softmax::{ExpSum, Largest};
use super::super::threads::Output;
use super::products::{scores, weigh};
use super::{KvLayer, Span};

/// Query vectors (rows × heads of a group) that share each load of the cache.
pub(super) const QUERIES: usize = 32;
/// Keys between two corrections of the online softmax.
const KEYS: usize = 128;

/// Rows `begin .. begin + rows` of a span, with the query heads of key/value head `head`.
#[derive(Clone, Copy)]
pub(super) struct Tile<'a> {
    pub(super) q: &'a [f32],
    pub(super) q_stride: usize,
    pub(super) heads: usize,
    pub(super) group: usize,
    pub(super) kv: KvLayer<'a>,
    pub(super) span: &'a Span<'a>,
    pub(super) begin: usize,
    pub(super) rows: usize,
    pub(super) head: usize,
    pub(super) scale: f32,
    pub(super) out: Output<f32>,
}

/// Buffers of one task, kept by its thread.
#[derive(Default)]
pub(super) struct Scratch {
    /// Queries, scaled: one of `head_dim` numbers each.
    q: Vec<f32>,
    /// Scores of the current tile of keys, then their exponentials: one row a query.
    p: Vec<f32>,
    /// Sums of values, weighted by the exponentials so far.
    acc: Vec<f32>,
    /// Largest score so far and sum of exponentials so far, a query each.
    state: Vec<(f32, f32)>,
}

/// Computes a tile.
pub(super) struct Attend<'a>(pub(super) Tile<'a>, pub(super) &'a mut Scratch);

impl Kernel for Attend<'_> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self(tile, Scratch { q, p, acc, state }) = self;
        let shape = tile.kv.shape;
        let (size, dim) = (shape.block_size, shape.head_dim);
        let queries = tile.rows * tile.group;
        let tile_blocks = (KEYS / size).max(1);
        let stride = tile_blocks * size;
        tile.gather(q);
        p.resize(queries * stride, 0.0);
        acc.clear();
        acc.resize(queries * dim, 0.0);
        state.clear();
        state.resize(queries, (f32::NEG_INFINITY, 0.0));

        let first = tile.span.position + tile.begin;
        let seen = first + tile.rows;
        let table = &tile.span.blocks[..seen.div_ceil(size)];
        for (index, blocks) in table.chunks(tile_blocks).enumerate() {
            let keys_before = index * stride;
            let keys = (seen - keys_before).min(stride);
            for (i, &block) in blocks.iter().enumerate() {
                let begin = shape.head_begin(block, tile.head);
                let k = &tile.kv.keys[begin..][..size * dim];
                // While this block is multiplied, its values and the next keys are on their way.
                let next =
                    table.get(index * tile_blocks + i + 1).map_or(begin, |&b| shape.head_begin(b, tile.head));
                let coming = [&tile.kv.keys[next..][..size * dim], &tile.kv.values[begin..][..size * dim]];
                scores(s, q, k, &mut p[i * size..], stride, (queries, dim, size), coming);
            }
            for query in 0..queries {
                let visible = (first + query / tile.group + 1).saturating_sub(keys_before).min(keys);
                let (p, hidden) = p[query * stride..][..keys].split_at_mut(visible);
                hidden.fill(0.0);
                if visible == 0 {
                    continue;
                }
                let (max, sum) = state[query];
                let new = max.max(Largest(p).run(s));
                let fade = (max - new).exp();
                state[query] = (new, sum * fade + ExpSum { x: p, max: new }.run(s));
                if fade != 1.0 {
                    acc[query * dim..][..dim].iter_mut().for_each(|v| *v *= fade);
                }
            }
            weigh(s, tile.kv, tile.head, p, blocks, acc, (queries, stride, keys));
        }
        tile.finish(acc, state);
    }
}

impl Tile<'_> {
    /// Copies the queries of the tile, scaled, to `q`: heads of the group fastest.
    fn gather(&self, q: &mut Vec<f32>) {
        let width = self.group * self.kv.shape.head_dim;
        q.clear();
        for r in 0..self.rows {
            let row = &self.q[(self.span.first_row + self.begin + r) * self.q_stride..];
            q.extend(row[self.head * width..][..width].iter().map(|v| v * self.scale));
        }
    }

    /// Writes the weighted means to the output.
    fn finish(&self, acc: &[f32], state: &[(f32, f32)]) {
        let dim = self.kv.shape.head_dim;
        for (query, (acc, (_, sum))) in acc.chunks_exact(dim).zip(state).enumerate() {
            let row = self.span.first_row + self.begin + query / self.group;
            let head = self.head * self.group + query % self.group;
            // SAFETY: this head of this row belongs to this task, and the caller checked that the output has the row.
            let out = unsafe {
                let begin = self.out.get().add((row * self.heads + head) * dim);
                std::slice::from_raw_parts_mut(begin, dim)
            };
            out.iter_mut().zip(acc).for_each(|(o, a)| *o = a / sum);
        }
    }
}

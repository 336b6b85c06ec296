//! One task of attention: a few rows of one span, with the query heads that share one key/value head.

#![expect(unsafe_code, reason = "vector loads from the cache, disjoint output rows")]

use std::cell::RefCell;

use super::super::simd::{Kernel, Simd};
use super::super::softmax::{ExpSum, Largest};
use super::super::threads::Output;
use super::{KvLayer, Span};

/// Query vectors (rows × heads of a group) that share each load of the cache.
pub(super) const QUERIES: usize = 32;
/// Keys between two corrections of the online softmax.
const KEYS: usize = 128;

/// Rows `begin .. begin + rows` of a span, with the query heads of key/value head `head`.
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
struct Scratch {
    /// Queries, scaled: one of `head_dim` numbers each.
    q: Vec<f32>,
    /// Scores of the current tile of keys, then their exponentials: one row a query.
    p: Vec<f32>,
    /// Sums of values, weighted by the exponentials so far.
    acc: Vec<f32>,
    /// Largest score so far and sum of exponentials so far, a query each.
    state: Vec<(f32, f32)>,
}

impl Kernel for Tile<'_> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        thread_local! {
            static SCRATCH: RefCell<Scratch> = RefCell::default();
        }
        SCRATCH.with_borrow_mut(|scratch| self.compute(s, scratch));
    }
}

impl Tile<'_> {
    #[inline(always)]
    fn compute<S: Simd>(&self, s: S, scratch: &mut Scratch) {
        let shape = self.kv.shape;
        let (size, dim) = (shape.block_size, shape.head_dim);
        let queries = self.rows * self.group;
        let tile_blocks = (KEYS / size).max(1);
        let stride = tile_blocks * size;
        scratch.q.clear();
        for r in 0..self.rows {
            let row = &self.q[(self.span.first_row + self.begin + r) * self.q_stride..];
            let heads = &row[self.head * self.group * dim..][..self.group * dim];
            scratch.q.extend(heads.iter().map(|v| v * self.scale));
        }
        scratch.p.resize(queries * stride, 0.0);
        scratch.acc.clear();
        scratch.acc.resize(queries * dim, 0.0);
        scratch.state.clear();
        scratch.state.resize(queries, (f32::NEG_INFINITY, 0.0));

        let first = self.span.position + self.begin;
        let seen = first + self.rows;
        for (tile, blocks) in self.span.blocks[..seen.div_ceil(size)].chunks(tile_blocks).enumerate() {
            let keys_before = tile * stride;
            let keys = (seen - keys_before).min(stride);
            for (i, &block) in blocks.iter().enumerate() {
                let k = &self.kv.keys[shape.head_begin(block, self.head)..][..size * dim];
                scores(s, &scratch.q, k, &mut scratch.p[i * size..], stride, (queries, dim, size));
            }
            for query in 0..queries {
                let visible = (first + query / self.group + 1).saturating_sub(keys_before).min(keys);
                let (p, hidden) = scratch.p[query * stride..][..keys].split_at_mut(visible);
                hidden.fill(0.0);
                if visible == 0 {
                    continue;
                }
                let (max, sum) = scratch.state[query];
                let new = max.max(Largest(p).run(s));
                let fade = (max - new).exp();
                scratch.state[query] = (new, sum * fade + ExpSum { x: p, max: new }.run(s));
                if fade != 1.0 {
                    scratch.acc[query * dim..][..dim].iter_mut().for_each(|v| *v *= fade);
                }
            }
            weigh(s, self, &scratch.p, blocks, &mut scratch.acc, (queries, stride, keys));
        }
        for query in 0..queries {
            let row = self.span.first_row + self.begin + query / self.group;
            let head = self.head * self.group + query % self.group;
            let scale = 1.0 / scratch.state[query].1;
            // SAFETY: this head of this row belongs to this task, and the caller checked that the output has the row.
            let out = unsafe {
                let begin = self.out.get().add((row * self.heads + head) * dim);
                std::slice::from_raw_parts_mut(begin, dim)
            };
            out.iter_mut().zip(&scratch.acc[query * dim..]).for_each(|(o, a)| *o = a * scale);
        }
    }
}

/// `p[query][key] = q[query] · k[key]` for the keys of one block, stored transposed in `k`.
#[inline(always)]
fn scores<S: Simd>(
    s: S,
    q: &[f32],
    k: &[f32],
    p: &mut [f32],
    stride: usize,
    (queries, dim, size): (usize, usize, usize),
) {
    assert!(q.len() >= queries * dim && k.len() >= dim * size && p.len() >= (queries - 1) * stride + size);
    let mut query = 0;
    while query < queries {
        let (q, p) = (&q[query * dim..], &mut p[query * stride..]);
        query += match queries - query {
            8.. => score_rows::<S, 8>(s, q, k, p, stride, dim, size),
            4.. => score_rows::<S, 4>(s, q, k, p, stride, dim, size),
            3 => score_rows::<S, 3>(s, q, k, p, stride, dim, size),
            2 => score_rows::<S, 2>(s, q, k, p, stride, dim, size),
            _ => score_rows::<S, 1>(s, q, k, p, stride, dim, size),
        };
    }
}

#[inline(always)]
fn score_rows<S: Simd, const Q: usize>(
    s: S,
    q: &[f32],
    k: &[f32],
    p: &mut [f32],
    stride: usize,
    dim: usize,
    size: usize,
) -> usize {
    let whole = size - size % S::LANES;
    for key in (0..whole).step_by(S::LANES) {
        let mut sums = [s.zero(); Q];
        for d in 0..dim {
            // SAFETY: key + LANES ≤ size, so the load stays in row d of the dim × size block; Q rows of q and p exist.
            unsafe {
                let kv = s.load(k.as_ptr().add(d * size + key));
                for (r, sum) in sums.iter_mut().enumerate() {
                    *sum = s.fma(s.splat(*q.get_unchecked(r * dim + d)), kv, *sum);
                }
            }
        }
        for (r, sum) in sums.into_iter().enumerate() {
            // SAFETY: as above.
            unsafe { s.store(p.as_mut_ptr().add(r * stride + key), sum) };
        }
    }
    for key in whole..size {
        for r in 0..Q {
            p[r * stride + key] = (0..dim).map(|d| q[r * dim + d] * k[d * size + key]).sum();
        }
    }
    Q
}

/// `acc[query] += Σ p[query][key] · v[key]` over the first `keys` keys of `blocks`.
#[inline(always)]
fn weigh<S: Simd>(
    s: S,
    tile: &Tile<'_>,
    p: &[f32],
    blocks: &[u32],
    acc: &mut [f32],
    (queries, stride, keys): (usize, usize, usize),
) {
    let dim = tile.kv.shape.head_dim;
    assert!(acc.len() >= queries * dim && p.len() >= queries * stride && keys <= stride);
    let mut query = 0;
    while query < queries {
        let (p, acc) = (&p[query * stride..], &mut acc[query * dim..]);
        query += match queries - query {
            4.. => weigh_rows::<S, 4>(s, tile, p, blocks, acc, stride, keys),
            3 => weigh_rows::<S, 3>(s, tile, p, blocks, acc, stride, keys),
            2 => weigh_rows::<S, 2>(s, tile, p, blocks, acc, stride, keys),
            _ => weigh_rows::<S, 1>(s, tile, p, blocks, acc, stride, keys),
        };
    }
}

#[inline(always)]
fn weigh_rows<S: Simd, const Q: usize>(
    s: S,
    tile: &Tile<'_>,
    p: &[f32],
    blocks: &[u32],
    acc: &mut [f32],
    stride: usize,
    keys: usize,
) -> usize {
    let dim = tile.kv.shape.head_dim;
    let mut d = 0;
    while d + 2 * S::LANES <= dim {
        weigh_columns::<S, Q, 2>(s, tile, p, blocks, acc, stride, keys, d);
        d += 2 * S::LANES;
    }
    while d + S::LANES <= dim {
        weigh_columns::<S, Q, 1>(s, tile, p, blocks, acc, stride, keys, d);
        d += S::LANES;
    }
    let shape = tile.kv.shape;
    for d in d..dim {
        for r in 0..Q {
            acc[r * dim + d] += (0..keys)
                .map(|key| {
                    let begin = shape.head_begin(blocks[key / shape.block_size], tile.head);
                    p[r * stride + key] * tile.kv.values[begin + key % shape.block_size * dim + d]
                })
                .sum::<f32>();
        }
    }
    Q
}

#[inline(always)]
fn weigh_columns<S: Simd, const Q: usize, const C: usize>(
    s: S,
    tile: &Tile<'_>,
    p: &[f32],
    blocks: &[u32],
    acc: &mut [f32],
    stride: usize,
    keys: usize,
    d: usize,
) {
    let shape = tile.kv.shape;
    let (size, dim) = (shape.block_size, shape.head_dim);
    // SAFETY: d + C × LANES ≤ dim; Q rows of p and acc exist; key < keys ≤ stride.
    unsafe {
        let at = |r: usize, c: usize| r * dim + d + c * S::LANES;
        let mut sums: [[S::V; C]; Q] =
            std::array::from_fn(|r| std::array::from_fn(|c| s.load(acc.as_ptr().add(at(r, c)))));
        for (i, &block) in blocks.iter().enumerate() {
            let slots = keys.saturating_sub(i * size).min(size);
            let v = &tile.kv.values[shape.head_begin(block, tile.head)..][..size * dim];
            for slot in 0..slots {
                let vv: [S::V; C] =
                    std::array::from_fn(|c| s.load(v.as_ptr().add(slot * dim + d + c * S::LANES)));
                for (r, sums) in sums.iter_mut().enumerate() {
                    let weight = s.splat(*p.get_unchecked(r * stride + i * size + slot));
                    for (sum, v) in sums.iter_mut().zip(vv) {
                        *sum = s.fma(weight, v, *sum);
                    }
                }
            }
        }
        for (r, sums) in sums.into_iter().enumerate() {
            for (c, sum) in sums.into_iter().enumerate() {
                s.store(acc.as_mut_ptr().add(at(r, c)), sum);
            }
        }
    }
}

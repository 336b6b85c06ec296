//! The two products of attention, over blocks of the cache: queries with keys, and weights with values.

#![expect(unsafe_code, reason = "vector loads from the cache")]

use super::super::simd::Simd;
use super::KvLayer;

/// `p[query][key] = q[query] · k[key]` for the keys of one block, stored transposed in `k`.
///
/// Asks for the cache lines of `coming`, as long as `k`, on the way.
#[inline(always)]
pub(super) fn scores<S: Simd>(
    s: S,
    q: &[f32],
    k: &[f32],
    p: &mut [f32],
    stride: usize,
    (queries, dim, size): (usize, usize, usize),
    coming: [&[f32]; 2],
) {
    for line in (0..dim * size).step_by(16) {
        for coming in coming {
            s.prefetch(coming.as_ptr().wrapping_add(line).cast());
        }
    }
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
            // SAFETY: key + LANES ≤ size, so the load stays in row d of the dim × size block; the caller checked that
            // Q rows of q exist.
            unsafe {
                let kv = s.load(k.as_ptr().add(d * size + key));
                for (r, sum) in sums.iter_mut().enumerate() {
                    *sum = s.fma(s.splat(*q.get_unchecked(r * dim + d)), kv, *sum);
                }
            }
        }
        for (r, sum) in sums.iter().enumerate() {
            // SAFETY: the caller checked that Q rows of p exist, the last of at least `size` numbers.
            unsafe { s.store(p.as_mut_ptr().add(r * stride + key), *sum) };
        }
    }
    for key in whole..size {
        for r in 0..Q {
            p[r * stride + key] = (0..dim).map(|d| q[r * dim + d] * k[d * size + key]).sum();
        }
    }
    Q
}

/// `acc[query] += Σ p[query][key] · v[key]` over the first `keys` keys of `blocks`, for key/value head `head`.
#[inline(always)]
pub(super) fn weigh<S: Simd>(
    s: S,
    kv: KvLayer<'_>,
    head: usize,
    p: &[f32],
    blocks: &[u32],
    acc: &mut [f32],
    (queries, stride, keys): (usize, usize, usize),
) {
    let dim = kv.shape.head_dim;
    assert!(acc.len() >= queries * dim && p.len() >= queries * stride && keys <= stride);
    let values = Values { kv, head, blocks, keys, stride };
    let mut query = 0;
    while query < queries {
        let (p, acc) = (&p[query * stride..], &mut acc[query * dim..]);
        query += match queries - query {
            4.. => values.weigh_rows::<S, 4>(s, p, acc),
            3 => values.weigh_rows::<S, 3>(s, p, acc),
            2 => values.weigh_rows::<S, 2>(s, p, acc),
            _ => values.weigh_rows::<S, 1>(s, p, acc),
        };
    }
}

/// The values of one head in a tile of keys.
#[derive(Clone, Copy)]
struct Values<'a> {
    kv: KvLayer<'a>,
    head: usize,
    blocks: &'a [u32],
    keys: usize,
    stride: usize,
}

impl Values<'_> {
    #[inline(always)]
    fn weigh_rows<S: Simd, const Q: usize>(self, s: S, p: &[f32], acc: &mut [f32]) -> usize {
        let dim = self.kv.shape.head_dim;
        let mut d = 0;
        while d + 2 * S::LANES <= dim {
            self.weigh_columns::<S, Q, 2>(s, p, acc, d);
            d += 2 * S::LANES;
        }
        while d + S::LANES <= dim {
            self.weigh_columns::<S, Q, 1>(s, p, acc, d);
            d += S::LANES;
        }
        for d in d..dim {
            for r in 0..Q {
                let p = &p[r * self.stride..][..self.keys];
                acc[r * dim + d] += p.iter().enumerate().map(|(key, p)| p * self.number(key, d)).sum::<f32>();
            }
        }
        Q
    }

    /// Number `d` of the value of a key.
    fn number(&self, key: usize, d: usize) -> f32 {
        let shape = self.kv.shape;
        let begin = shape.head_begin(self.blocks[key / shape.block_size], self.head);
        self.kv.values[begin + key % shape.block_size * shape.head_dim + d]
    }

    /// `C` vectors of columns from `d` on.
    #[inline(always)]
    fn weigh_columns<S: Simd, const Q: usize, const C: usize>(
        self,
        s: S,
        p: &[f32],
        acc: &mut [f32],
        d: usize,
    ) {
        let shape = self.kv.shape;
        let (size, dim) = (shape.block_size, shape.head_dim);
        let at = |r: usize, c: usize| r * dim + d + c * S::LANES;
        let mut sums = [[s.zero(); C]; Q];
        for (i, &block) in self.blocks.iter().enumerate() {
            let slots = self.keys.saturating_sub(i * size).min(size);
            let v = &self.kv.values[shape.head_begin(block, self.head)..][..size * dim];
            for slot in 0..slots {
                // SAFETY: slot < size and d + C × LANES ≤ dim, so the loads stay in the block; the caller checked that
                // Q rows of p exist, and i × size + slot < keys ≤ stride.
                unsafe {
                    let mut vv = [s.zero(); C];
                    for (c, vv) in vv.iter_mut().enumerate() {
                        *vv = s.load(v.as_ptr().add(at(slot, c)));
                    }
                    for (r, sums) in sums.iter_mut().enumerate() {
                        let weight = s.splat(*p.get_unchecked(r * self.stride + i * size + slot));
                        for (sum, v) in sums.iter_mut().zip(&vv) {
                            *sum = s.fma(weight, *v, *sum);
                        }
                    }
                }
            }
        }
        for (r, sums) in sums.iter().enumerate() {
            for (c, sum) in sums.iter().enumerate() {
                // SAFETY: the caller checked that Q rows of acc exist; d + C × LANES ≤ dim.
                unsafe {
                    let acc = acc.as_mut_ptr().add(at(r, c));
                    s.store(acc, s.add(s.load(acc), *sum));
                }
            }
        }
    }
}

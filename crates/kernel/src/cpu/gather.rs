//! Products that read only some blocks of a dense operand: what a step selects.
//!
//! Their time follows the blocks that are read, not the numbers that are wanted: a block with one wanted number costs as
//! much as a full one. So the order of the units decides what they cost.

#![expect(unsafe_code, reason = "vector loads from slices whose bounds are checked first")]

use super::simd::{Kernel, Simd, dispatch};
use super::threads::{Cpu, Output};

/// Widest vector of any instruction set: blocks are a multiple of it.
const WIDEST: usize = 16;
/// Rows that a task computes.
const ROWS: usize = 64;

/// `y = W · x` over some blocks of `size` columns. `w` holds `y.len()` rows of `x.len()` numbers; `x` is 0 at the columns of a
/// block that are not wanted.
///
/// # Panics
///
/// When the shapes differ, a block does not exist, or `size` is not a multiple of 16 that divides the columns.
pub fn gather_linear(cpu: &Cpu, x: &[f32], w: &[f32], blocks: &[u32], size: usize, y: &mut [f32]) {
    let cols = x.len();
    assert!(size > 0 && size.is_multiple_of(WIDEST) && cols.is_multiple_of(size), "gather_linear: blocks");
    assert_eq!(w.len(), y.len() * cols, "gather_linear: shapes differ");
    assert!(blocks.iter().all(|&b| (b as usize) < cols / size), "gather_linear: no such block");
    let (rows, out) = (y.len(), Output::new(y));
    cpu.each(rows.div_ceil(ROWS), |task| {
        let first = task * ROWS;
        let n = ROWS.min(rows - first);
        // SAFETY: rows of the output do not overlap, and each is visited by one task.
        let y = unsafe { std::slice::from_raw_parts_mut(out.get().add(first), n) };
        dispatch(cpu.isa(), Rows { x, w: &w[first * cols..(first + n) * cols], blocks, size, y });
    });
}

struct Rows<'a> {
    x: &'a [f32],
    w: &'a [f32],
    blocks: &'a [u32],
    size: usize,
    y: &'a mut [f32],
}

impl Kernel for Rows<'_> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let x = self.x.as_ptr();
        for (y, row) in self.y.iter_mut().zip(self.w.chunks_exact(self.x.len())) {
            let w = row.as_ptr();
            let mut sums = [s.zero(); 4];
            for four in self.blocks.chunks(4) {
                for (sum, &block) in sums.iter_mut().zip(four) {
                    let begin = block as usize * self.size;
                    for i in (begin..begin + self.size).step_by(S::LANES) {
                        // SAFETY: begin + size ≤ cols, the length of x and of a row; LANES divides size.
                        *sum = unsafe { s.fma(s.load(w.add(i)), s.load(x.add(i)), *sum) };
                    }
                }
            }
            *y = s.sum(s.add(s.add(sums[0], sums[1]), s.add(sums[2], sums[3])));
        }
    }
}

/// Keys and values of one head in pages of tokens.
#[derive(Debug, Clone, Copy)]
pub struct Pages<'a> {
    /// A row of `dim` numbers a place.
    pub keys: &'a [f32],
    /// The same.
    pub values: &'a [f32],
    /// Which places hold a token that counts.
    pub live: &'a [bool],
    /// Numbers of a row.
    pub dim: usize,
    /// Places of a page.
    pub page: usize,
}

/// Attention of one query over some pages, as decoding does: every place of a page is read, those that are not live
/// get no weight. `scores` is scratch. Without a live place the result is zeros.
///
/// # Panics
///
/// When the shapes differ, a page does not exist, or `dim` is not a multiple of 16.
pub fn page_attention(
    cpu: &Cpu,
    query: &[f32],
    cache: &Pages<'_>,
    pages: &[u32],
    scale: f32,
    scores: &mut Vec<f32>,
    y: &mut [f32],
) {
    let Pages { keys, values, live, dim, page } = *cache;
    assert!(dim > 0 && dim.is_multiple_of(WIDEST) && page > 0, "page_attention: shapes");
    assert!(query.len() == dim && y.len() == dim, "page_attention: shapes differ");
    assert!(keys.len() == live.len() * dim && values.len() == keys.len(), "page_attention: shapes differ");
    assert!(pages.iter().all(|&p| (p as usize + 1) * page <= live.len()), "page_attention: no such page");
    scores.clear();
    scores.resize(pages.len() * page, f32::NEG_INFINITY);
    dispatch(cpu.isa(), Scores { query, cache, pages, scale, scores });
    super::softmax::softmax(cpu, scores);
    dispatch(cpu.isa(), Weighted { cache, pages, weights: scores, y });
}

struct Scores<'a> {
    query: &'a [f32],
    cache: &'a Pages<'a>,
    pages: &'a [u32],
    scale: f32,
    scores: &'a mut [f32],
}

impl Kernel for Scores<'_> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Pages { keys, live, dim, page, .. } = *self.cache;
        for (scores, &number) in self.scores.chunks_exact_mut(page).zip(self.pages) {
            let first = number as usize * page;
            for (score, place) in scores.iter_mut().zip(first..) {
                let mut sum = s.zero();
                for i in (0..dim).step_by(S::LANES) {
                    // SAFETY: place is below the number of rows of dim numbers; LANES divides dim.
                    sum = unsafe {
                        s.fma(
                            s.load(keys.as_ptr().add(place * dim + i)),
                            s.load(self.query.as_ptr().add(i)),
                            sum,
                        )
                    };
                }
                // The product is made before it is asked for, as a kernel that masks does.
                let product = s.sum(sum) * self.scale;
                *score = if live[place] { product } else { f32::NEG_INFINITY };
            }
        }
    }
}

struct Weighted<'a> {
    cache: &'a Pages<'a>,
    pages: &'a [u32],
    weights: &'a [f32],
    y: &'a mut [f32],
}

impl Kernel for Weighted<'_> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Pages { values, dim, page, .. } = *self.cache;
        self.y.fill(0.0);
        let y = self.y.as_mut_ptr();
        for (weights, &number) in self.weights.chunks_exact(page).zip(self.pages) {
            let first = number as usize * page;
            for (&weight, place) in weights.iter().zip(first..) {
                let weight = s.splat(weight);
                for i in (0..dim).step_by(S::LANES) {
                    // SAFETY: as above; y holds dim numbers.
                    unsafe {
                        s.store(
                            y.add(i),
                            s.fma(weight, s.load(values.as_ptr().add(place * dim + i)), s.load(y.add(i))),
                        );
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::Isa;

    fn numbers(n: usize, seed: u32) -> Vec<f32> {
        (0..n as u32).map(|i| ((i.wrapping_mul(2_654_435_761) ^ seed) % 1000) as f32 / 500.0 - 1.0).collect()
    }

    #[test]
    fn some_blocks_give_the_product_over_them() {
        for (isa, threads) in Isa::available().into_iter().zip([1, 2, 3]) {
            let cpu = Cpu::with_isa(isa, threads);
            for (size, blocks) in [(16, vec![]), (16, vec![0, 3, 4, 5, 9]), (32, vec![4, 1])] {
                let (rows, cols) = (130, 160);
                let (w, x) = (numbers(rows * cols, 1), numbers(cols, 2));
                let mut y = vec![f32::NAN; rows];
                gather_linear(&cpu, &x, &w, &blocks, size, &mut y);
                for (r, y) in y.iter().enumerate() {
                    let wanted = |c: &usize| blocks.contains(&((c / size) as u32));
                    let exact: f64 =
                        (0..cols).filter(wanted).map(|c| f64::from(w[r * cols + c]) * f64::from(x[c])).sum();
                    assert!((f64::from(*y) - exact).abs() < 1e-4, "{}: {y} {exact}", isa.name());
                }
            }
        }
    }

    #[test]
    fn some_pages_give_attention_over_their_live_places() {
        for isa in Isa::available() {
            let cpu = Cpu::with_isa(isa, 1);
            let (dim, page, places) = (32, 4, 24);
            let (keys, values, query) = (numbers(places * dim, 1), numbers(places * dim, 2), numbers(dim, 3));
            let live: Vec<bool> = (0..places).map(|p| p % 3 != 0).collect();
            let cache = Pages { keys: &keys, values: &values, live: &live, dim, page };
            let (mut scores, mut y) = (Vec::new(), vec![f32::NAN; dim]);
            let pages = [5u32, 0, 2];
            page_attention(&cpu, &query, &cache, &pages, 0.2, &mut scores, &mut y);
            let read = |p: &usize| live[*p] && pages.contains(&((p / page) as u32));
            let score = |p: usize| {
                0.2 * (0..dim).map(|i| f64::from(keys[p * dim + i]) * f64::from(query[i])).sum::<f64>()
            };
            let exp: Vec<(usize, f64)> = (0..places).filter(read).map(|p| (p, score(p).exp())).collect();
            let sum: f64 = exp.iter().map(|e| e.1).sum();
            for (i, y) in y.iter().enumerate() {
                let exact: f64 = exp.iter().map(|(p, e)| e / sum * f64::from(values[p * dim + i])).sum();
                assert!((f64::from(*y) - exact).abs() < 1e-5, "{}: {y} {exact}", isa.name());
            }
            page_attention(
                &cpu,
                &query,
                &Pages { live: &[false; 24], ..cache },
                &pages,
                0.2,
                &mut scores,
                &mut y,
            );
            assert!(y.iter().all(|v| *v == 0.0));
        }
    }
}

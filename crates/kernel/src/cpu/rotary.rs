//! Rotary position embedding, in Hugging Face's half-split convention.
//!
//! Number `i` of a head pairs with number `i + d/2`; GGUF files interleave the pairs instead, which their loader
//! undoes.

#![expect(unsafe_code, reason = "vector loads from slices, disjoint rows")]

use super::simd::{Kernel, Simd, dispatch};
use super::threads::{Cpu, Output};

/// Rows that one task rotates.
const ROWS_A_TASK: usize = 16;

/// The angles of one step: cosine and sine for each row and pair.
#[derive(Debug, Clone, Default)]
pub struct Rotary {
    cos: Vec<f32>,
    sin: Vec<f32>,
    pairs: usize,
}

impl Rotary {
    /// Computes the angles `position × frequency` for each row.
    ///
    /// The product is rounded to `f32` before its cosine is taken, as PyTorch does, so that long contexts agree with
    /// the implementation that models are trained with.
    pub fn fill(&mut self, positions: &[usize], frequencies: &[f32]) {
        self.pairs = frequencies.len();
        self.cos.clear();
        self.sin.clear();
        for &position in positions {
            for &frequency in frequencies {
                let (sin, cos) = f64::from(position as f32 * frequency).sin_cos();
                self.cos.push(cos as f32);
                self.sin.push(sin as f32);
            }
        }
    }
}

/// Rotates `heads` heads at the begin of each row of `x`; rows begin `stride` numbers apart.
///
/// # Panics
///
/// When `x` does not hold the rows that `angles` was filled for.
pub fn rotate(cpu: &Cpu, angles: &Rotary, x: &mut [f32], stride: usize, heads: usize) {
    let pairs = angles.pairs;
    assert!(pairs > 0 && heads * 2 * pairs <= stride, "rotate: heads are longer than a row");
    let rows = angles.cos.len() / pairs;
    assert_eq!(x.len(), rows * stride, "rotate: rows differ");
    let out = Output::new(x);
    cpu.each(rows.div_ceil(ROWS_A_TASK), |task| {
        for row in task * ROWS_A_TASK..rows.min((task + 1) * ROWS_A_TASK) {
            // SAFETY: rows do not overlap, and each is visited by one task.
            let heads =
                unsafe { std::slice::from_raw_parts_mut(out.get().add(row * stride), heads * 2 * pairs) };
            let range = row * pairs..(row + 1) * pairs;
            dispatch(cpu.isa(), Row { heads, cos: &angles.cos[range.clone()], sin: &angles.sin[range] });
        }
    });
}

struct Row<'a> {
    heads: &'a mut [f32],
    cos: &'a [f32],
    sin: &'a [f32],
}

impl Kernel for Row<'_> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { heads, cos, sin } = self;
        let pairs = cos.len().min(sin.len());
        let whole = pairs - pairs % S::LANES;
        for head in heads.chunks_exact_mut(2 * pairs) {
            let (low, high) = head.split_at_mut(pairs);
            for i in (0..whole).step_by(S::LANES) {
                // SAFETY: i + LANES ≤ whole ≤ the length of all four slices.
                unsafe {
                    let (cos, sin) = (s.load(cos.as_ptr().add(i)), s.load(sin.as_ptr().add(i)));
                    let (a, b) = (s.load(low.as_ptr().add(i)), s.load(high.as_ptr().add(i)));
                    s.store(low.as_mut_ptr().add(i), s.sub(s.mul(a, cos), s.mul(b, sin)));
                    s.store(high.as_mut_ptr().add(i), s.add(s.mul(b, cos), s.mul(a, sin)));
                }
            }
            for i in whole..pairs {
                let (a, b) = (low[i], high[i]);
                low[i] = a * cos[i] - b * sin[i];
                high[i] = b * cos[i] + a * sin[i];
            }
        }
    }
}

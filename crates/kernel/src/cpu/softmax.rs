//! Softmax and argmax of one row.

#![expect(unsafe_code, reason = "vector loads from slices, disjoint output rows")]

use super::simd::{Kernel, Simd, dispatch};
use super::threads::{Cpu, Output};

/// Replaces `x` by `e^(x − max x) / Σ`. A row whose every number is −∞ becomes zeros.
pub fn softmax(cpu: &Cpu, x: &mut [f32]) {
    let max = dispatch(cpu.isa(), Largest(x));
    if max == f32::NEG_INFINITY {
        x.fill(0.0);
        return;
    }
    let sum = dispatch(cpu.isa(), ExpSum { x, max });
    let scale = 1.0 / sum;
    x.iter_mut().for_each(|v| *v *= scale);
}

/// [`softmax`] of each row of `width` numbers of `x`, written to `y`.
///
/// # Panics
///
/// When `x` and `y` are not the same whole number of rows.
pub fn softmax_rows(cpu: &Cpu, x: &[f32], width: usize, y: &mut [f32]) {
    assert!(width > 0 && x.len().is_multiple_of(width) && x.len() == y.len(), "softmax_rows: shapes differ");
    let out = Output::new(y);
    cpu.each(x.len() / width, |row| {
        // SAFETY: rows of the output do not overlap, and each is visited by one task.
        let y = unsafe { std::slice::from_raw_parts_mut(out.get().add(row * width), width) };
        y.copy_from_slice(&x[row * width..][..width]);
        softmax(cpu, y);
    });
}

/// Index of the largest number, the first of equals; NaN is never the largest. `None` when there is none.
pub fn argmax(cpu: &Cpu, x: &[f32]) -> Option<usize> {
    let max = dispatch(cpu.isa(), Largest(x));
    x.iter().position(|&v| v == max)
}

/// The largest number of a slice; −∞ when it is empty.
pub(crate) struct Largest<'a>(pub(crate) &'a [f32]);

impl Kernel for Largest<'_> {
    type Out = f32;

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> f32 {
        let x = self.0;
        let whole = x.len() - x.len() % S::LANES;
        let mut max = s.splat(f32::NEG_INFINITY);
        for i in (0..whole).step_by(S::LANES) {
            // SAFETY: i + LANES ≤ whole ≤ x.len(). The running maximum is the second operand, which `max` returns
            // when the first is NaN.
            max = unsafe { s.max(s.load(x.as_ptr().add(i)), max) };
        }
        x[whole..].iter().copied().fold(s.largest(max), f32::max)
    }
}

/// Replaces each number by `e^(x − max)` and returns their sum.
pub(crate) struct ExpSum<'a> {
    pub(crate) x: &'a mut [f32],
    pub(crate) max: f32,
}

impl Kernel for ExpSum<'_> {
    type Out = f32;

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> f32 {
        let Self { x, max } = self;
        let whole = x.len() - x.len() % S::LANES;
        let mut sum = s.zero();
        for i in (0..whole).step_by(S::LANES) {
            // SAFETY: i + LANES ≤ whole ≤ x.len().
            unsafe {
                let p = x.as_mut_ptr().add(i);
                let e = s.exp(s.sub(s.load(p), s.splat(max)));
                s.store(p, e);
                sum = s.add(sum, e);
            }
        }
        let mut total = s.sum(sum);
        for v in &mut x[whole..] {
            *v = (*v - max).exp();
            total += *v;
        }
        total
    }
}

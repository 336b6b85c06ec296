//! Root-mean-square and layer normalisation.

#![expect(unsafe_code, reason = "vector loads from slices, disjoint output rows")]

use super::simd::{Kernel, Simd, dispatch};
use super::threads::{Cpu, Output};

/// Rows that one task normalises.
const ROWS_A_TASK: usize = 16;

/// `y[r] = x[r] / sqrt(mean(x[r]²) + eps) × weight`, for each row of `weight.len()` numbers.
///
/// # Panics
///
/// When `x` and `y` are not the same whole number of rows.
pub fn rms_norm(cpu: &Cpu, x: &[f32], weight: &[f32], eps: f32, y: &mut [f32]) {
    let width = weight.len();
    assert!(width > 0 && x.len().is_multiple_of(width) && x.len() == y.len(), "rms_norm: shapes differ");
    let rows = x.len() / width;
    let out = Output::new(y);
    cpu.each(rows.div_ceil(ROWS_A_TASK), |task| {
        for row in task * ROWS_A_TASK..rows.min((task + 1) * ROWS_A_TASK) {
            let x = &x[row * width..][..width];
            // SAFETY: rows of the output do not overlap, and each is visited by one task.
            let y = unsafe { std::slice::from_raw_parts_mut(out.get().add(row * width), width) };
            dispatch(cpu.isa(), Row { x, weight, eps, y });
        }
    });
}

struct Row<'a> {
    x: &'a [f32],
    weight: &'a [f32],
    eps: f32,
    y: &'a mut [f32],
}

impl Kernel for Row<'_> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { x, weight, eps, y } = self;
        let width = x.len();
        let whole = width - width % S::LANES;
        let mut squares = s.zero();
        for i in (0..whole).step_by(S::LANES) {
            // SAFETY: i + LANES ≤ whole ≤ the length of all three slices, here and below.
            let v = unsafe { s.load(x.as_ptr().add(i)) };
            squares = s.fma(v, v, squares);
        }
        let tail: f32 = x[whole..].iter().map(|v| v * v).sum();
        let scale = 1.0 / ((s.sum(squares) + tail) / width as f32 + eps).sqrt();
        let scales = s.splat(scale);
        for i in (0..whole).step_by(S::LANES) {
            // SAFETY: as above.
            unsafe {
                let v = s.mul(s.load(x.as_ptr().add(i)), scales);
                s.store(y.as_mut_ptr().add(i), s.mul(v, s.load(weight.as_ptr().add(i))));
            }
        }
        for i in whole..width {
            y[i] = x[i] * scale * weight[i];
        }
    }
}

/// Adds `x` to `sum`, and sets `y` to `rms_norm` of the new sum, in one pass over each row.
///
/// # Panics
///
/// When `x`, `sum` and `y` are not the same whole number of rows.
pub fn add_rms_norm(cpu: &Cpu, x: &[f32], sum: &mut [f32], weight: &[f32], eps: f32, y: &mut [f32]) {
    let width = weight.len();
    assert!(width > 0 && x.len().is_multiple_of(width), "add_rms_norm: shapes differ");
    assert!(x.len() == y.len() && x.len() == sum.len(), "add_rms_norm: shapes differ");
    let rows = x.len() / width;
    let (sums, out) = (Output::new(sum), Output::new(y));
    cpu.each(rows.div_ceil(ROWS_A_TASK), |task| {
        for row in task * ROWS_A_TASK..rows.min((task + 1) * ROWS_A_TASK) {
            let x = &x[row * width..][..width];
            // SAFETY: rows of the outputs do not overlap, and each is visited by one task.
            let (sum, y) = unsafe {
                (
                    std::slice::from_raw_parts_mut(sums.get().add(row * width), width),
                    std::slice::from_raw_parts_mut(out.get().add(row * width), width),
                )
            };
            dispatch(cpu.isa(), Add { x, sum });
            dispatch(cpu.isa(), Row { x: sum, weight, eps, y });
        }
    });
}

struct Add<'a> {
    x: &'a [f32],
    sum: &'a mut [f32],
}

impl Kernel for Add<'_> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { x, sum } = self;
        let whole = x.len() - x.len() % S::LANES;
        for i in (0..whole).step_by(S::LANES) {
            // SAFETY: i + LANES ≤ whole ≤ the length of both slices.
            unsafe {
                let v = s.add(s.load(x.as_ptr().add(i)), s.load(sum.as_ptr().add(i)));
                s.store(sum.as_mut_ptr().add(i), v);
            }
        }
        for i in whole..x.len() {
            sum[i] += x[i];
        }
    }
}

/// `y[r] = (x[r] − mean) / sqrt(variance + eps) × weight + bias`, for each row of `weight.len()` numbers.
///
/// # Panics
///
/// When `x` and `y` are not the same whole number of rows, or `bias` is not as long as `weight`.
pub fn layer_norm(cpu: &Cpu, x: &[f32], weight: &[f32], bias: &[f32], eps: f32, y: &mut [f32]) {
    let width = weight.len();
    assert!(width > 0 && x.len().is_multiple_of(width) && x.len() == y.len(), "layer_norm: shapes differ");
    assert_eq!(width, bias.len(), "layer_norm: shapes differ");
    let rows = x.len() / width;
    let out = Output::new(y);
    cpu.each(rows.div_ceil(ROWS_A_TASK), |task| {
        for row in task * ROWS_A_TASK..rows.min((task + 1) * ROWS_A_TASK) {
            let x = &x[row * width..][..width];
            // SAFETY: rows of the output do not overlap, and each is visited by one task.
            let y = unsafe { std::slice::from_raw_parts_mut(out.get().add(row * width), width) };
            dispatch(cpu.isa(), Layer { x, weight, bias, eps, y });
        }
    });
}

struct Layer<'a> {
    x: &'a [f32],
    weight: &'a [f32],
    bias: &'a [f32],
    eps: f32,
    y: &'a mut [f32],
}

impl Kernel for Layer<'_> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { x, weight, bias, eps, y } = self;
        let width = x.len();
        let whole = width - width % S::LANES;
        let mut sum = s.zero();
        for i in (0..whole).step_by(S::LANES) {
            // SAFETY: i + LANES ≤ whole ≤ the length of all four slices, here and below.
            sum = s.add(sum, unsafe { s.load(x.as_ptr().add(i)) });
        }
        let mean = (s.sum(sum) + x[whole..].iter().sum::<f32>()) / width as f32;
        // Twice over the row: the difference of two large sums would lose the variance.
        let (means, mut squares) = (s.splat(mean), s.zero());
        for i in (0..whole).step_by(S::LANES) {
            // SAFETY: as above.
            let v = s.sub(unsafe { s.load(x.as_ptr().add(i)) }, means);
            squares = s.fma(v, v, squares);
        }
        let tail: f32 = x[whole..].iter().map(|v| (v - mean) * (v - mean)).sum();
        let scale = 1.0 / ((s.sum(squares) + tail) / width as f32 + eps).sqrt();
        let scales = s.splat(scale);
        for i in (0..whole).step_by(S::LANES) {
            // SAFETY: as above.
            unsafe {
                let v = s.mul(s.sub(s.load(x.as_ptr().add(i)), means), scales);
                let v = s.fma(v, s.load(weight.as_ptr().add(i)), s.load(bias.as_ptr().add(i)));
                s.store(y.as_mut_ptr().add(i), v);
            }
        }
        for i in whole..width {
            y[i] = (x[i] - mean) * scale * weight[i] + bias[i];
        }
    }
}

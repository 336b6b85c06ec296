//! `y = x · Wᵀ`: the operator that takes most of the time.

#![expect(unsafe_code, reason = "microkernels over pointers, disjoint output columns")]

mod tile;

use half::{bf16, f16};

use super::matrix::{Matrix, Precision};
use super::threads::Cpu;

/// `y = x · Wᵀ`. `x` holds rows of `w.cols()` numbers, `y` as many rows of `w.rows()`.
///
/// # Panics
///
/// When `x` and `y` do not hold the same whole number of rows.
pub fn linear(cpu: &Cpu, x: &[f32], w: &Matrix, y: &mut [f32]) {
    multiply(cpu, x, w, y, false);
}

/// `y += x · Wᵀ`, with the shapes of [`linear`].
///
/// # Panics
///
/// When `x` and `y` do not hold the same whole number of rows.
pub fn linear_add(cpu: &Cpu, x: &[f32], w: &Matrix, y: &mut [f32]) {
    multiply(cpu, x, w, y, true);
}

fn multiply(cpu: &Cpu, x: &[f32], w: &Matrix, y: &mut [f32], add: bool) {
    let (n, k) = (w.rows(), w.cols());
    assert!(n > 0 && k > 0, "linear: empty matrix");
    let rows = x.len() / k;
    assert!(x.len() == rows * k && y.len() == rows * n, "linear: shapes differ");
    match w.precision() {
        Precision::F32 => tile::multiply(cpu, x, w.typed::<f32>(), y, (rows, n, k), add),
        Precision::Bf16 => tile::multiply(cpu, x, w.typed::<bf16>(), y, (rows, n, k), add),
        Precision::F16 => tile::multiply(cpu, x, w.typed::<f16>(), y, (rows, n, k), add),
    }
}

//! Embedding gather.

use super::matrix::{Matrix, Precision};
use super::simd::Element;

/// Copies row `tokens[r]` of `table`, widened, to row `r` of `y`.
///
/// # Panics
///
/// When a token is not a row of the table, or `y` does not hold one row a token.
pub fn embed(table: &Matrix, tokens: &[u32], y: &mut [f32]) {
    assert_eq!(y.len(), tokens.len() * table.cols(), "embed: shapes differ");
    match table.precision() {
        Precision::F32 => gather::<f32>(table, tokens, y),
        Precision::Bf16 => gather::<half::bf16>(table, tokens, y),
        Precision::F16 => gather::<half::f16>(table, tokens, y),
    }
}

fn gather<T: Element>(table: &Matrix, tokens: &[u32], y: &mut [f32]) {
    let values = table.typed::<T>();
    let width = table.cols();
    for (y, &token) in y.chunks_exact_mut(width).zip(tokens) {
        let row = &values[token as usize * width..][..width];
        y.iter_mut().zip(row).for_each(|(y, v)| *y = v.widen());
    }
}

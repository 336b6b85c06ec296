//! What is done to numbers so that fewer bytes are read: S leaves weights out, Q rounds them, K leaves tokens out.
//!
//! All are pure functions of a matrix **as it lies**: groups and blocks are of consecutive columns, so the order of the
//! columns decides which share one. That is why a layout can change what a transform costs in accuracy, and the one
//! reason why solving a layout again after a transform can gain anything.

pub mod kv;
pub mod quant;
pub mod sparsity;

use crate::matrix::Dense;

/// Why a transform cannot be made.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum TransformError {
    /// Groups or blocks that do not fit.
    #[error("{what} of {size} do not divide {cols} columns")]
    Size {
        /// What does not fit.
        what: &'static str,
        /// Their size.
        size: usize,
        /// Columns of the matrix.
        cols: usize,
    },
    /// Rows of blocks that do not fit.
    #[error("blocks of {size} rows do not divide {rows} rows")]
    Rows {
        /// Rows of a block.
        size: usize,
        /// Rows of the matrix.
        rows: usize,
    },
    /// A share outside 0 to 1.
    #[error("a share of {rate} is not between 0 and 1")]
    Rate {
        /// What was asked for.
        rate: f64,
    },
    /// N of M that cannot be.
    #[error("{n} of {m} cannot be kept")]
    Kept {
        /// Numbers kept.
        n: usize,
        /// Numbers of a group.
        m: usize,
    },
    /// A scale of inputs for another number of columns.
    #[error("{found} input scales for {cols} columns")]
    Inputs {
        /// Scales given.
        found: usize,
        /// Columns of the matrix.
        cols: usize,
    },
    /// A number that is none.
    #[error("the matrix holds a number that is not finite, in row {row}, column {col}")]
    NotFinite {
        /// Its row.
        row: usize,
        /// Its column.
        col: usize,
    },
}

fn finite(w: &Dense) -> Result<(), TransformError> {
    match w.data.iter().position(|v| !v.is_finite()) {
        None => Ok(()),
        Some(at) => Err(TransformError::NotFinite { row: at / w.cols, col: at % w.cols }),
    }
}

fn divides(what: &'static str, size: usize, cols: usize) -> Result<(), TransformError> {
    match size > 0 && cols.is_multiple_of(size) {
        true => Ok(()),
        false => Err(TransformError::Size { what, size, cols }),
    }
}

/// Error of a transformed matrix, relative to the original's length. `inputs` weighs columns by how large their inputs
/// are, so that it estimates the error of the output; without it every column counts alike.
///
/// # Panics
/// When the shapes differ.
pub fn reconstruction_error(exact: &Dense, other: &Dense, inputs: Option<&[f64]>) -> f64 {
    assert_eq!((exact.rows, exact.cols), (other.rows, other.cols), "matrices of different shapes");
    assert!(inputs.is_none_or(|i| i.len() == exact.cols), "input scales of another width");
    let (mut difference, mut length) = (0.0, 0.0);
    for r in 0..exact.rows {
        for (c, (a, b)) in exact.row(r).iter().zip(other.row(r)).enumerate() {
            let scale = inputs.map_or(1.0, |i| i[c]).powi(2);
            difference += scale * (f64::from(*a) - f64::from(*b)).powi(2);
            length += scale * f64::from(*a).powi(2);
        }
    }
    if length > 0.0 { (difference / length).sqrt() } else { 0.0 }
}

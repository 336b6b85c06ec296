//! S: weights that are left out.
//!
//! What matters least is left out: by magnitude, or by magnitude times how large the input of the column is (Sun et al.,
//! "A simple and effective pruning approach for large language models", arXiv 2306.11695).

use crate::matrix::Dense;

use super::{TransformError, divides, finite};

/// Keeps the `n` weightiest of each `m` consecutive numbers of a row; 2 of 4 is what tensor cores take. `inputs` is how
/// large the input of each column is; without it magnitudes count. Ties go to the first.
///
/// # Errors
/// Groups that do not fit, `n > m`, or numbers that are none.
pub fn n_of_m(w: &Dense, n: usize, m: usize, inputs: Option<&[f64]>) -> Result<Dense, TransformError> {
    if n > m {
        return Err(TransformError::Kept { n, m });
    }
    divides("groups", m, w.cols)?;
    check(w, inputs)?;
    let mut pruned = w.clone();
    for row in pruned.data.chunks_exact_mut(w.cols) {
        for (group, numbers) in row.chunks_exact_mut(m).enumerate() {
            let mut order: Vec<usize> = (0..m).collect();
            let score = |i: usize| weight(numbers[i], inputs, group * m + i);
            order.sort_by(|&a, &b| score(b).total_cmp(&score(a)));
            for &i in &order[n..] {
                numbers[i] = 0.0;
            }
        }
    }
    Ok(pruned)
}

/// Leaves out the share `rate` of the blocks of `rows × cols` numbers, those of least weight. Ties keep the first.
///
/// # Errors
/// Blocks that do not fit, a share outside 0 to 1, or numbers that are none.
pub fn blocks(
    w: &Dense,
    rows: usize,
    cols: usize,
    rate: f64,
    inputs: Option<&[f64]>,
) -> Result<Dense, TransformError> {
    divides("blocks", cols, w.cols)?;
    if rows == 0 || !w.rows.is_multiple_of(rows) {
        return Err(TransformError::Rows { size: rows, rows: w.rows });
    }
    if !(0.0..=1.0).contains(&rate) {
        return Err(TransformError::Rate { rate });
    }
    check(w, inputs)?;
    let wide = w.cols / cols;
    let mut weights = vec![0.0; w.rows / rows * wide];
    for r in 0..w.rows {
        for (c, v) in w.row(r).iter().enumerate() {
            weights[r / rows * wide + c / cols] += weight(*v, inputs, c).powi(2);
        }
    }
    let mut order: Vec<usize> = (0..weights.len()).collect();
    order.sort_by(|&a, &b| weights[b].total_cmp(&weights[a]));
    let mut kept = vec![true; weights.len()];
    let out = (rate * weights.len() as f64).round() as usize;
    order[weights.len() - out..].iter().for_each(|&b| kept[b] = false);
    let mut pruned = w.clone();
    for (at, v) in pruned.data.iter_mut().enumerate() {
        let (r, c) = (at / w.cols, at % w.cols);
        if !kept[r / rows * wide + c / cols] {
            *v = 0.0;
        }
    }
    Ok(pruned)
}

/// Blocks of `rows × cols` numbers that hold any that is not zero: what a block-sparse kernel reads.
///
/// # Errors
/// Blocks that do not fit.
pub fn occupied_blocks(w: &Dense, rows: usize, cols: usize) -> Result<usize, TransformError> {
    divides("blocks", cols, w.cols)?;
    if rows == 0 || !w.rows.is_multiple_of(rows) {
        return Err(TransformError::Rows { size: rows, rows: w.rows });
    }
    let wide = w.cols / cols;
    let mut occupied = vec![false; w.rows / rows * wide];
    for (at, _) in w.data.iter().enumerate().filter(|(_, v)| **v != 0.0) {
        occupied[at / w.cols / rows * wide + at % w.cols / cols] = true;
    }
    Ok(occupied.into_iter().filter(|o| *o).count())
}

fn check(w: &Dense, inputs: Option<&[f64]>) -> Result<(), TransformError> {
    match inputs {
        Some(inputs) if inputs.len() != w.cols => {
            Err(TransformError::Inputs { found: inputs.len(), cols: w.cols })
        }
        _ => finite(w),
    }
}

fn weight(v: f32, inputs: Option<&[f64]>, col: usize) -> f64 {
    f64::from(v).abs() * inputs.map_or(1.0, |i| i[col])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::permutation::Permutation;
    use crate::transform::reconstruction_error;

    #[test]
    fn two_of_four_keeps_the_weightiest() {
        let w = Dense::new(1, 8, vec![1., -4., 3., 2., 0., 5., 5., 5.]);
        assert_eq!(n_of_m(&w, 2, 4, None).unwrap().data, [0., -4., 3., 0., 0., 5., 5., 0.]);
        // A column whose input is large counts for more.
        let inputs = [10., 1., 1., 1., 1., 1., 1., 1.];
        assert_eq!(n_of_m(&w, 2, 4, Some(&inputs)).unwrap().data[..4], [1., -4., 0., 0.]);
    }

    #[test]
    fn what_is_left_out_depends_on_the_order_of_the_columns() {
        let w = Dense::new(1, 4, vec![4., 3., 1., 1.]);
        let error = |order: &[u32]| {
            let w = w.with_columns(Permutation::from_order(order.to_vec()).unwrap().order());
            reconstruction_error(&w, &n_of_m(&w, 1, 2, None).unwrap(), None)
        };
        assert!((error(&[0, 1, 2, 3]) - (10f64 / 27.0).sqrt()).abs() < 1e-12);
        assert!((error(&[0, 2, 1, 3]) - (2f64 / 27.0).sqrt()).abs() < 1e-12);
    }

    #[test]
    fn the_lightest_blocks_go() {
        let w = Dense::new(2, 4, vec![1., 1., 9., 0., 1., 1., 0., 0.]);
        let pruned = blocks(&w, 2, 2, 0.5, None).unwrap();
        assert_eq!(pruned.data, [0., 0., 9., 0., 0., 0., 0., 0.]);
        assert_eq!(occupied_blocks(&pruned, 2, 2), Ok(1));
        assert_eq!(occupied_blocks(&w, 1, 2), Ok(3));
        assert_eq!(blocks(&w, 1, 1, 0.0, None).unwrap(), w);
        assert!(blocks(&w, 1, 1, 1.0, None).unwrap().data.iter().all(|v| *v == 0.0));
    }

    #[test]
    fn impossible_shapes_are_refused() {
        let w = Dense::new(2, 6, vec![1.0; 12]);
        assert_eq!(n_of_m(&w, 2, 4, None), Err(TransformError::Size { what: "groups", size: 4, cols: 6 }));
        assert_eq!(n_of_m(&w, 3, 2, None), Err(TransformError::Kept { n: 3, m: 2 }));
        assert_eq!(blocks(&w, 4, 2, 0.5, None), Err(TransformError::Rows { size: 4, rows: 2 }));
        assert!(matches!(blocks(&w, 1, 0, 0.5, None), Err(TransformError::Size { .. })));
        assert_eq!(blocks(&w, 1, 2, 1.5, None), Err(TransformError::Rate { rate: 1.5 }));
        assert!(blocks(&w, 1, 2, f64::NAN, None).is_err());
        assert_eq!(n_of_m(&w, 1, 2, Some(&[1.0])), Err(TransformError::Inputs { found: 1, cols: 6 }));
        let bad = Dense::new(1, 2, vec![0.0, f32::NAN]);
        assert_eq!(n_of_m(&bad, 1, 2, None), Err(TransformError::NotFinite { row: 0, col: 1 }));
    }
}

//! Least squares whose coefficients cannot be negative.
//!
//! Minimises ‖A·x − b‖ over x ≥ 0. The method is that of Lawson and Hanson, "Solving Least Squares Problems", 1974,
//! chapter 23: coefficients enter the free set where that lowers the error, and leave it where they would turn
//! negative. It is meant for a handful of columns: the free part is solved by normal equations, after the columns are
//! scaled to unit length.

use crate::{Unsupported, require};

/// Coefficients for columns `a[column][row]` and values `b[row]`. A column of zeroes, or one that others make up, gets 0.
pub fn nnls(a: &[Vec<f64>], b: &[f64]) -> Result<Vec<f64>, Unsupported> {
    require(b, a.len().max(1))?;
    for column in a {
        require(column, b.len())?;
    }
    let norms: Vec<f64> = a.iter().map(|column| dot(column, column).sqrt()).collect();
    let scaled: Vec<Vec<f64>> = a
        .iter()
        .zip(&norms)
        .map(|(column, norm)| column.iter().map(|v| if *norm > 0.0 { v / norm } else { 0.0 }).collect())
        .collect();
    let mut free = vec![false; a.len()];
    let mut x = vec![0.0; a.len()];
    // Each round frees one column; Lawson and Hanson prove that it ends, the bound only guards against rounding.
    for _ in 0..3 * a.len() + 3 {
        let rest: Vec<f64> = (0..b.len())
            .map(|row| b[row] - (0..a.len()).map(|c| scaled[c][row] * x[c]).sum::<f64>())
            .collect();
        let tolerance = 1e-12 * dot(b, b).sqrt().max(f64::MIN_POSITIVE);
        let gain = |c: &usize| dot(&scaled[*c], &rest);
        let candidate = (0..a.len())
            .filter(|&c| !free[c] && norms[c] > 0.0 && gain(&c) > tolerance)
            .max_by(|l, r| gain(l).total_cmp(&gain(r)));
        let Some(candidate) = candidate else { break };
        free[candidate] = true;
        loop {
            let Some(solution) = solve(&scaled, b, &free) else {
                // The new column is made up by the others.
                free[candidate] = false;
                x[candidate] = 0.0;
                break;
            };
            if (0..a.len()).all(|c| !free[c] || solution[c] > 0.0) {
                x = solution;
                break;
            }
            // Go as far towards the solution as no coefficient turns negative.
            let step = (0..a.len())
                .filter(|&c| free[c] && solution[c] <= 0.0)
                .map(|c| x[c] / (x[c] - solution[c]))
                .fold(1.0, f64::min);
            for c in 0..a.len() {
                if free[c] {
                    x[c] += step * (solution[c] - x[c]);
                    if x[c] <= 1e-14 {
                        (x[c], free[c]) = (0.0, false);
                    }
                }
            }
            if !free.iter().any(|f| *f) {
                break;
            }
        }
    }
    Ok(x.iter().zip(&norms).map(|(v, norm)| if *norm > 0.0 { v / norm } else { 0.0 }).collect())
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

/// Least squares over the free columns, others 0; `None` when the columns depend on each other.
fn solve(a: &[Vec<f64>], b: &[f64], free: &[bool]) -> Option<Vec<f64>> {
    let columns: Vec<usize> = (0..a.len()).filter(|&c| free[c]).collect();
    let n = columns.len();
    let mut m: Vec<Vec<f64>> = columns
        .iter()
        .map(|&i| columns.iter().map(|&j| dot(&a[i], &a[j])).chain([dot(&a[i], b)]).collect())
        .collect();
    for pivot in 0..n {
        let best = (pivot..n).max_by(|&l, &r| m[l][pivot].abs().total_cmp(&m[r][pivot].abs()))?;
        m.swap(pivot, best);
        // Columns have unit length, so this is an angle between them.
        if m[pivot][pivot].abs() < 1e-11 {
            return None;
        }
        let above = m[pivot].clone();
        for (_, values) in m.iter_mut().enumerate().filter(|(row, _)| *row != pivot) {
            let factor = values[pivot] / above[pivot];
            values.iter_mut().zip(&above).for_each(|(value, above)| *value -= factor * above);
        }
    }
    let mut x = vec![0.0; a.len()];
    for (i, &c) in columns.iter().enumerate() {
        x[c] = m[i][n] / m[i][i];
    }
    Some(x)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(a: &[&[f64]], b: &[f64], expected: &[f64]) {
        let a: Vec<_> = a.iter().map(|column| column.to_vec()).collect();
        let x = nnls(&a, b).unwrap();
        assert!(x.iter().zip(expected).all(|(x, e)| (x - e).abs() < 1e-9), "{x:?}, expected {expected:?}");
    }

    #[test]
    fn a_line_is_found() {
        check(&[&[1., 1., 1.], &[0., 1., 2.]], &[3., 5., 7.], &[3., 2.]);
        // Far apart in size: 1e-6 + 1e3·t.
        check(&[&[1., 1., 1.], &[1e-9, 2e-9, 4e-9]], &[2e-6, 3e-6, 5e-6], &[1e-6, 1e3]);
    }

    #[test]
    fn what_would_be_negative_is_zero_and_the_rest_fits_again() {
        // Free fit: 4 − 2t. With both at least 0: the mean, 2.
        check(&[&[1., 1., 1.], &[0., 1., 2.]], &[4., 2., 0.], &[2., 0.]);
        // Through the origin only: Σty/Σt² = (−1 + 6)/5 of t = 1, 2.
        check(&[&[1., 1.], &[1., 2.]], &[-1., 3.], &[0., 1.]);
        check(&[&[1., 2.]], &[-1., -2.], &[0.]);
    }

    #[test]
    fn columns_that_say_the_same_do_not_break_it() {
        let x = nnls(&[vec![1., 2., 3.], vec![2., 4., 6.], vec![0.; 3]], &[2., 4., 6.]).unwrap();
        assert!((x[0] + 2.0 * x[1] - 2.0).abs() < 1e-9 && x[2] == 0.0, "{x:?}");
    }

    #[test]
    fn samples_that_cannot_support_it_are_refused() {
        assert!(matches!(
            nnls(&[vec![1.], vec![1.]], &[1.]),
            Err(Unsupported::TooFewValues { n: 1, needed: 2 })
        ));
        assert_eq!(nnls(&[vec![1., f64::NAN]], &[1., 2.]), Err(Unsupported::NotFinite));
    }
}

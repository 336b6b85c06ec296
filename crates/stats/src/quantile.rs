//! Quantiles: the one definition used everywhere.
//!
//! Type 7 of Hyndman & Fan, "Sample quantiles in statistical packages", The American Statistician 50 (1996),
//! 361–365: linear interpolation between the order statistics around `(n − 1)·p`. It is the default of R and
//! NumPy, and therefore what vLLM, SGLang and most load tools print.
//!
//! Invariants: monotone in `p`; inside the sample; the same for every order of the input of [`sorted`].

use std::cmp::Ordering;

use rayon::slice::ParallelSliceMut;

/// The quantile `p` of values in ascending order. NaN for an empty slice; `p` is clamped to [0, 1].
///
/// Infinite values are allowed and rank last: a quantile that falls on one, or between it and a finite value,
/// is infinite.
pub fn quantile(sorted: &[f64], p: f64) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else { return f64::NAN };
    let (below, above, weight) = position(sorted.len(), p);
    let (a, b) = (sorted[below], sorted[above.min(last)]);
    interpolate(a, b, weight)
}

/// A sorted copy. NaN sorts last.
pub fn sorted(values: &[f64]) -> Vec<f64> {
    let mut v = values.to_vec();
    sort(&mut v);
    v
}

/// Sorts in place. NaN sorts last.
pub fn sort(values: &mut [f64]) {
    // Equal values are indistinguishable, so the number of threads changes nothing.
    match values.len() {
        0..PARALLEL => values.sort_unstable_by(compare),
        _ => values.par_sort_unstable_by(compare),
    }
}

/// Values from which on sorting is shared between threads.
const PARALLEL: usize = 1 << 16;

/// The median of values in any order. NaN for an empty slice.
pub fn median(values: &[f64]) -> f64 {
    quantile(&sorted(values), 0.5)
}

/// Smallest n for which the empirical quantile lies inside the sample rather than at its edge: at least one
/// observation is expected on the far side, `n·min(p, 1 − p) ≥ 1`. That is 100 for p99.
pub fn needed_n(p: f64) -> usize {
    let tail = p.min(1.0 - p);
    if tail <= 0.0 {
        return usize::MAX;
    }
    // 1/(1 − 0.99) is 99.999…: without rounding the answer would depend on the last bit of p.
    ((1.0 / tail - 1e-9).ceil() as usize).max(1)
}

/// Whether `n` observations support the quantile `p`, see [`needed_n`].
pub fn supported(n: usize, p: f64) -> bool {
    n >= needed_n(p)
}

/// Positions of the two order statistics (from 0) and the weight of the second.
pub(crate) fn position(n: usize, p: f64) -> (usize, usize, f64) {
    let last = n.saturating_sub(1);
    let h = last as f64 * p.clamp(0.0, 1.0);
    let below = (h.floor() as usize).min(last);
    (below, (below + 1).min(last), h - below as f64)
}

/// Between `a` and `b`, exact at both ends and free of `∞ − ∞`.
pub(crate) fn interpolate(a: f64, b: f64, weight: f64) -> f64 {
    if weight <= 0.0 || a == b { a } else { a + weight * (b - a) }
}

pub(crate) fn compare(a: &f64, b: &f64) -> Ordering {
    a.partial_cmp(b).unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(values: &[f64], p: f64, expected: f64) {
        let q = quantile(&sorted(values), p);
        assert!((q - expected).abs() < 1e-12 || q == expected, "{q} != {expected}");
    }

    #[test]
    fn known_values_of_type_7() {
        // R: quantile(c(15, 20, 35, 40, 50), c(.05, .3, .4, .5, 1)) by its default, type 7.
        let v = [15.0, 20.0, 35.0, 40.0, 50.0];
        check(&v, 0.05, 16.0); // h = 0.2: 15 + 0.2 × 5
        check(&v, 0.3, 23.0); // h = 1.2: 20 + 0.2 × 15
        check(&v, 0.4, 29.0); // h = 1.6: 20 + 0.6 × 15
        check(&v, 0.5, 35.0);
        check(&v, 1.0, 50.0);
        check(&[7.0], 0.99, 7.0);
    }

    #[test]
    fn failures_ranked_infinite_stay_infinite_and_are_never_nan() {
        check(&[1.0, 2.0, f64::INFINITY], 0.5, 2.0);
        check(&[1.0, 2.0, f64::INFINITY], 0.75, f64::INFINITY);
        check(&[1.0, f64::INFINITY, f64::INFINITY], 0.75, f64::INFINITY);
    }

    #[test]
    fn an_empty_sample_has_no_quantile() {
        assert!(quantile(&[], 0.5).is_nan());
    }

    #[test]
    fn the_edge_of_the_sample_is_not_a_tail_quantile() {
        assert_eq!(needed_n(0.5), 2);
        assert_eq!(needed_n(0.95), 20);
        assert_eq!(needed_n(0.99), 100);
        assert_eq!(needed_n(0.999), 1000);
        assert!(!supported(99, 0.99));
    }

    proptest! {
        #[test]
        fn monotone_and_inside_the_sample(mut v in prop::collection::vec(-1e9..1e9f64, 1..60), p in 0.0..1.0f64, q in 0.0..1.0f64) {
            sort(&mut v);
            let (a, b) = (quantile(&v, p.min(q)), quantile(&v, p.max(q)));
            prop_assert!(a <= b + 1e-6);
            prop_assert!(a >= v[0] && b <= v[v.len() - 1] + 1e-6);
        }
    }
}

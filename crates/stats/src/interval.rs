//! Intervals without resampling: Student t for a mean, order statistics for a quantile.
//!
//! Both assume independent values. For latencies of one server that is false within a trial; use them on
//! trial-level values, or see [`crate::bootstrap`].

use crate::autocorrelation::effective_sample_size;
use crate::describe::Summary;
use crate::distribution::{binomial_cdf, t_quantile};
use crate::{Ci, Unsupported, require, require_probability};

/// Student t interval for the mean of independent, roughly normal values.
///
/// # Errors
/// Fewer than two values, or one that is not finite.
pub fn t_mean(values: &[f64], level: f64) -> Result<Ci, Unsupported> {
    require_probability(level)?;
    let s = Summary::of(values)?;
    let half = t_quantile(0.5 + level / 2.0, (s.n - 1) as f64) * s.standard_error();
    Ok(Ci { level, lo: s.mean - half, hi: s.mean + half })
}

/// Distribution-free interval for the quantile `p` between two order statistics of independent values.
///
/// With X ~ Binomial(n, p) values below the quantile, the interval from the l-th to the u-th smallest value covers
/// with probability P(l ≤ X ≤ u − 1) (David & Nagaraja, *Order Statistics*, 3rd ed. 2003, §7.1). Tails are equal
/// where the sample is large enough. Where one tail has no order statistic to stop at, its error is spent first
/// and the other tail gets what remains: 59 values are enough for p95 and 299 for p99, as in Wilks' formula.
///
/// # Errors
/// [`Unsupported::TooFewValues`] when even the whole range of the sample does not reach the level.
pub fn quantile_order(sorted: &[f64], p: f64, level: f64) -> Result<Ci, Unsupported> {
    require_probability(p)?;
    require_probability(level)?;
    require(sorted, 2)?;
    let needed = needed_n(p, level);
    let n = sorted.len();
    if n < needed {
        return Err(Unsupported::TooFewValues { n, needed });
    }
    let (l, u) = order_ranks(n as u64, p, level);
    Ok(Ci { level, lo: sorted[l as usize - 1], hi: sorted[u as usize - 1] })
}

/// [`quantile_order`] for a series in order of time; refuses one whose effective sample size is below n/2.
///
/// # Errors
/// As [`quantile_order`], and [`Unsupported::TooDependent`].
pub fn quantile_order_of_series(series: &[f64], p: f64, level: f64) -> Result<Ci, Unsupported> {
    require(series, 2)?;
    let (n, effective) = (series.len(), effective_sample_size(series));
    if effective < n as f64 / 2.0 {
        return Err(Unsupported::TooDependent { n, effective, needed: n.div_ceil(2) });
    }
    quantile_order(&crate::quantile::sorted(series), p, level)
}

/// Smallest n for which the range of n independent values covers the quantile `p` with probability `level`:
/// 1 − pⁿ − (1 − p)ⁿ ≥ level. That is 6 for the median, 59 for p95 and 299 for p99 at 95 %.
pub fn needed_n(p: f64, level: f64) -> usize {
    let (big, small) = (p.max(1.0 - p), p.min(1.0 - p));
    let miss = |n: i32| big.powi(n) + small.powi(n);
    // The larger term alone gives a lower bound on n; the smaller one adds at most a few.
    let mut n = ((1.0 - level).ln() / big.ln()).floor().clamp(1.0, 1e9) as i32;
    while miss(n) > 1.0 - level + 1e-15 {
        n += 1;
    }
    n as usize
}

/// Ranks (from 1) of the bounds.
fn order_ranks(n: u64, p: f64, level: f64) -> (u64, u64) {
    let alpha = 1.0 - level;
    // Below the l-th value: P(X < l). At or above the u-th: P(X ≥ u).
    let miss_low = |l: u64| binomial_cdf(l as i64 - 1, n, p);
    let miss_high = |u: u64| 1.0 - binomial_cdf(u as i64 - 1, n, p);
    let lower_rank = |allowed: f64| partition_last(1, n, |l| miss_low(l) <= allowed + 1e-12);
    let upper_rank = |allowed: f64| n + 1 - partition_last(1, n, |k| miss_high(n + 1 - k) <= allowed + 1e-12);
    let (low_edge, high_edge) = (miss_low(1), miss_high(n));
    if high_edge > alpha / 2.0 {
        (lower_rank(alpha - high_edge), n)
    } else if low_edge > alpha / 2.0 {
        (1, upper_rank(alpha - low_edge))
    } else {
        (lower_rank(alpha / 2.0), upper_rank(alpha / 2.0))
    }
}

/// The last k in `first..=last` for which `holds`, given that it holds up to some k; `first` when it never does.
fn partition_last(first: u64, last: u64, holds: impl Fn(u64) -> bool) -> u64 {
    let (mut lo, mut hi) = (first, last);
    while lo < hi {
        let mid = lo + (hi - lo).div_ceil(2);
        if holds(mid) { lo = mid } else { hi = mid - 1 }
    }
    lo
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn t_interval_of_a_published_sample() {
        // NIST/SEMATECH e-Handbook 1.3.5.2, ZARR13.DAT: mean 9.261460, sd 0.022789, n 195: 9.258242 to 9.264679.
        // A sample with these two moments: half the values one way, half the other, one at the mean.
        let (m, s) = (9.261_460, 0.022_789);
        let a = s; // 194 deviations of ±a: sd = a·√(194/194)
        let mut v = vec![m];
        v.extend((0..194).map(|i| if i % 2 == 0 { m + a } else { m - a }));
        let ci = t_mean(&v, 0.95).unwrap();
        assert!((ci.lo - 9.258_242).abs() < 2e-6 && (ci.hi - 9.264_679).abs() < 2e-6, "{ci:?}");
    }

    #[test]
    fn ranks_of_the_published_table() {
        // Median, 95 %: ranks (1, 6) at n = 6, (2, 9) at 10, (6, 15) at 20, (40, 61) at 100
        // (Conover, Practical Nonparametric Statistics, 3rd ed. 1999, table A3 of the binomial).
        for (n, ranks) in [(6, (1, 6)), (10, (2, 9)), (20, (6, 15)), (100, (40, 61))] {
            assert_eq!(order_ranks(n, 0.5, 0.95), ranks, "n = {n}");
        }
    }

    #[test]
    fn wilks_sample_sizes() {
        // Wilks, Annals of Mathematical Statistics 12 (1941), 91–96: 59 and 299 for 95/95 and 99/95.
        assert_eq!(needed_n(0.5, 0.95), 6);
        assert_eq!(needed_n(0.95, 0.95), 59);
        assert_eq!(needed_n(0.99, 0.95), 299);
        assert_eq!(needed_n(0.05, 0.95), 59);
    }

    #[test]
    fn a_sample_too_small_says_what_it_needs() {
        let v: Vec<f64> = (0..58).map(f64::from).collect();
        assert_eq!(quantile_order(&v, 0.95, 0.95), Err(Unsupported::TooFewValues { n: 58, needed: 59 }));
        assert_eq!(t_mean(&[1.0], 0.95), Err(Unsupported::TooFewValues { n: 1, needed: 2 }));
        assert_eq!(t_mean(&[1.0, 2.0], 1.0), Err(Unsupported::NotAProbability { value: 1.0 }));
    }

    proptest! {
        #[test]
        fn ranks_cover_at_least_the_level(n in 6u64..3000, p in 0.01..0.99f64) {
            prop_assume!(n as usize >= needed_n(p, 0.95));
            let (l, u) = order_ranks(n, p, 0.95);
            prop_assert!(1 <= l && l < u && u <= n);
            let cover = binomial_cdf(u as i64 - 1, n, p) - binomial_cdf(l as i64 - 1, n, p);
            prop_assert!(cover >= 0.95 - 1e-9, "{cover}");
        }
    }
}

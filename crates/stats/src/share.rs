//! A share of many values, such as the requests that were too late, when the values come in runs.
//!
//! The interval is that of Clopper and Pearson at the effective sample size (Korn & Graubard, "Confidence intervals
//! for proportions with small expected number of positive counts estimated from survey data", Survey Methodology 24
//! (1998), 193–201): late requests follow late requests, so n of them tell less than n independent ones.

use statrs::distribution::{Beta, ContinuousCDF};

use crate::autocorrelation::effective_sample_size;
use crate::describe::{mean, sd};
use crate::{Ci, Unsupported, require_probability};

/// A share with its one-sided bounds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Share {
    /// Values counted.
    pub n: usize,
    /// How many independent values they are worth.
    pub effective: f64,
    /// The share itself.
    pub value: f64,
    /// Each bound holds by itself with the confidence asked for.
    pub bounds: Ci,
}

/// The share of values beyond a limit. Values that follow each other count for few also where none or all of them are
/// beyond it, which the share alone would not tell: a queue that was short all the time may just not have been long yet.
///
/// # Errors
/// As [`share`].
pub fn beyond(trials: &[Vec<f64>], limit: f64, level: f64) -> Result<Share, Unsupported> {
    let hits: Vec<Vec<bool>> = trials.iter().map(|t| t.iter().map(|v| *v > limit).collect()).collect();
    // Far beyond the limit is as bad as infinitely far, and a few such values would hide how the others move.
    let clipped: Vec<Vec<f64>> =
        trials.iter().map(|t| t.iter().map(|v| v.min(2.0 * limit)).collect()).collect();
    let n: usize = trials.iter().map(Vec::len).sum();
    let all = clipped.concat();
    let spread = sd(&all).unwrap_or(0.0).powi(2);
    bounded(&hits, level, worth(&clipped, n, spread))
}

/// The share of `true` in all trials together; each trial is in order of time. `level` is that of each bound alone.
///
/// # Errors
/// No values at all, or a level outside (0, 1).
pub fn share(trials: &[Vec<bool>], level: f64) -> Result<Share, Unsupported> {
    bounded(trials, level, f64::INFINITY)
}

/// [`share`] of values that are worth at most so many independent ones.
fn bounded(trials: &[Vec<bool>], level: f64, most: f64) -> Result<Share, Unsupported> {
    require_probability(level)?;
    let series: Vec<Vec<f64>> =
        trials.iter().map(|t| t.iter().map(|&b| f64::from(u8::from(b))).collect()).collect();
    let n: usize = series.iter().map(Vec::len).sum();
    if n == 0 {
        return Err(Unsupported::TooFewValues { n, needed: 1 });
    }
    let hits: f64 = series.iter().flatten().sum();
    let value = hits / n as f64;
    let effective = worth(&series, n, value * (1.0 - value)).min(most);
    let k = value * effective;
    let quantile = |a: f64, b: f64, p: f64| Beta::new(a, b).map_or(f64::NAN, |beta| beta.inverse_cdf(p));
    let lo = if k > 0.0 { quantile(k, effective - k + 1.0, 1.0 - level) } else { 0.0 };
    let hi = if k < effective { quantile(k + 1.0, effective - k, level) } else { 1.0 };
    Ok(Share { n, effective, value, bounds: Ci { level, lo, hi } })
}

/// Effective sample size of values with this variance: the smaller of what neighbours inside trials and what
/// differences between trials leave.
fn worth(series: &[Vec<f64>], n: usize, variance: f64) -> f64 {
    if variance <= 0.0 {
        return n as f64;
    }
    let within: f64 = series.iter().map(|t| effective_sample_size(t)).sum();
    let each: Vec<f64> = series.iter().filter(|t| !t.is_empty()).map(|t| mean(t)).collect();
    // Two trials say next to nothing of a variance.
    let between = if each.len() < 3 {
        n as f64
    } else {
        let of_mean = sd(&each).unwrap_or(0.0).powi(2) / each.len() as f64;
        if of_mean > 0.0 { variance / of_mean } else { n as f64 }
    };
    within.min(between).clamp(1.0, n as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::series;

    fn trial(hits: usize, n: usize) -> Vec<bool> {
        // Spread evenly, so that no run makes them dependent.
        (0..n).map(|i| (i + 1) * hits / n > i * hits / n).collect()
    }

    #[test]
    fn none_of_299_bounds_p99() {
        // 1 − 0.05^(1/n): 0.009 97 at 299, Wilks' sample size for p99.
        let s = share(&[trial(0, 150), trial(0, 149)], 0.95).unwrap();
        assert_eq!((s.n, s.value, s.bounds.lo), (299, 0.0, 0.0));
        assert!((s.bounds.hi - (1.0 - 0.05f64.powf(1.0 / 299.0))).abs() < 1e-9 && s.bounds.hi < 0.01);
        assert!(share(&[trial(0, 298)], 0.95).unwrap().bounds.hi > 0.01);
    }

    #[test]
    fn clopper_pearson_by_the_table() {
        // Clopper & Pearson, Biometrika 26 (1934), 404–413, and SciPy 1.17, binomtest(2, 20).proportion_ci(0.95).
        let s = share(&[trial(2, 20)], 0.975).unwrap();
        assert_eq!(s.effective, 20.0);
        assert!((s.bounds.lo - 0.012_349).abs() < 1e-5 && (s.bounds.hi - 0.316_98).abs() < 1e-5, "{s:?}");
    }

    #[test]
    fn runs_count_for_less() {
        let run: Vec<bool> = (0..400).map(|i| (100..140).contains(&i)).collect();
        let spread = share(&[trial(40, 400)], 0.95).unwrap();
        let together = share(&[run], 0.95).unwrap();
        assert!(together.effective < 60.0 && spread.effective > 300.0, "{together:?} {spread:?}");
        assert!(together.bounds.hi > spread.bounds.hi && together.bounds.lo < spread.bounds.lo);
    }

    #[test]
    fn bounds_cover_the_truth_of_correlated_values() {
        // AR(1) with 0.8, above its 95th percentile: 5 % in truth. Nominally 95 % of bounds hold, each by itself.
        let mut random = series::rng(3);
        let (mut below, mut above, times) = (0, 0, 400);
        for _ in 0..times {
            let trials: Vec<Vec<bool>> = (0..3)
                .map(|_| series::ar1(&mut random, 400, 0.8).iter().map(|v| *v > 1.644_854).collect())
                .collect();
            let s = share(&trials, 0.95).unwrap();
            below += usize::from(s.bounds.lo > 0.05);
            above += usize::from(s.bounds.hi < 0.05);
        }
        assert!(below <= 32 && above <= 32, "{below} and {above} of {times}");
    }

    #[test]
    fn a_queue_that_was_short_so_far_is_worth_little() {
        // AR(1) with 0.95: about 400·0.05/1.95 = 10 independent values a trial; none is beyond 5 standard deviations.
        let mut random = series::rng(4);
        let trials: Vec<Vec<f64>> = (0..3).map(|_| series::ar1(&mut random, 400, 0.95)).collect();
        let s = beyond(&trials, 5.0, 0.95).unwrap();
        assert!(s.value == 0.0 && s.effective < 90.0 && s.bounds.hi > 0.03, "{s:?}");
        let independent: Vec<Vec<f64>> = (0..3).map(|_| series::ar1(&mut random, 400, 0.0)).collect();
        assert!(beyond(&independent, 5.0, 0.95).unwrap().effective > 600.0);
    }

    #[test]
    fn nothing_has_no_share() {
        assert!(share(&[vec![], vec![]], 0.95).is_err());
        assert!(share(&[trial(1, 4)], 1.0).is_err());
    }
}

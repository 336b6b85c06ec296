//! Welch's t test: do the means of two independent groups differ?
//!
//! Use it on trial-level values only: observations inside one trial are not independent.

use crate::describe::Summary;
use crate::distribution::{t_cdf, t_quantile};
use crate::{Ci, Unsupported, require_probability};

/// Outcome of [`welch`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Welch {
    /// Mean of the candidate − mean of the baseline.
    pub difference: f64,
    /// Interval of the difference.
    pub ci: Ci,
    /// The test statistic.
    pub t: f64,
    /// Degrees of freedom after Welch and Satterthwaite.
    pub df: f64,
    /// Two-sided p-value.
    pub p: f64,
}

/// Compares two groups that may differ in variance (Welch, Biometrika 34 (1947), 28–35).
///
/// # Errors
/// A group of fewer than two values, a value that is not finite, or two groups that do not vary at all.
pub fn welch(baseline: &[f64], candidate: &[f64], level: f64) -> Result<Welch, Unsupported> {
    require_probability(level)?;
    let (a, b) = (Summary::of(baseline)?, Summary::of(candidate)?);
    let (va, vb) = (a.sd * a.sd / a.n as f64, b.sd * b.sd / b.n as f64);
    let variance = va + vb;
    if variance <= 0.0 {
        return Err(Unsupported::Constant);
    }
    let df = variance * variance / (va * va / (a.n - 1) as f64 + vb * vb / (b.n - 1) as f64);
    let difference = b.mean - a.mean;
    let se = variance.sqrt();
    let t = difference / se;
    let half = t_quantile(0.5 + level / 2.0, df) * se;
    let p = (2.0 * t_cdf(-t.abs(), df)).min(1.0);
    Ok(Welch { difference, ci: Ci { level, lo: difference - half, hi: difference + half }, t, df, p })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equals_another_implementation() {
        // SciPy 1.17, stats.ttest_ind(a, b, equal_var=False): t 2.947 077 5, df 27.272 002 8, p 0.006 500 160 7.
        let a = [27.5, 21.0, 19.0, 23.6, 17.0, 17.9, 16.9, 20.1, 21.9, 22.6, 23.1, 19.6, 19.0, 21.7, 21.4];
        let b = [27.1, 22.0, 20.8, 23.4, 23.4, 23.5, 25.8, 22.0, 24.8, 20.2, 21.9, 22.1, 22.9, 30.5, 31.4];
        let w = welch(&a, &b, 0.95).unwrap();
        assert!((w.t - 2.947_077_522_6).abs() < 1e-9, "{w:?}");
        assert!((w.df - 27.272_002_755).abs() < 1e-8);
        assert!((w.p - 0.006_500_160_67).abs() < 1e-9);
        assert!(w.ci.lo > 0.0 && w.ci.lo < w.difference && w.difference < w.ci.hi);
    }

    #[test]
    fn interval_and_p_value_agree() {
        // t = 1 at df 8 for two groups of variance 2.5: difference 1, se = √(2 × 2.5/5) = 1.
        let w = welch(&[1.0, 2.0, 3.0, 4.0, 5.0], &[2.0, 3.0, 4.0, 5.0, 6.0], 0.95).unwrap();
        assert!((w.t - 1.0).abs() < 1e-12 && (w.df - 8.0).abs() < 1e-12);
        assert!((w.ci.hi - (1.0 + 2.306_004)).abs() < 1e-5); // t table, df 8
        assert!((w.p - 0.346_593_5).abs() < 1e-6); // 2·P(T > 1), df 8
    }

    #[test]
    fn constant_groups_cannot_be_tested() {
        assert_eq!(welch(&[1.0, 1.0], &[2.0, 2.0], 0.95), Err(Unsupported::Constant));
    }
}

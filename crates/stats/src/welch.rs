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

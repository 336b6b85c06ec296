//! Two levels: trials, and blocks of neighbours inside each trial.

use super::Options;
use crate::{Ci, Unsupported};

/// Interval of the quantile `p` of all observations together. See [`two_level_mean`].
///
/// # Errors
/// Fewer than two trials, an empty trial, a value that is not finite, or too few values for the quantile.
pub fn two_level_quantile(trials: &[Vec<f64>], p: f64, options: &Options) -> Result<Ci, Unsupported> {
    check(trials, options)?;
    crate::require_probability(p)?;
    let n: usize = trials.iter().map(Vec::len).sum();
    let needed = crate::interval::needed_n(p, options.level);
    if n < needed {
        return Err(Unsupported::TooFewValues { n, needed });
    }
    let each: Vec<f64> =
        trials.iter().map(|t| crate::quantile::quantile(&crate::quantile::sorted(t), p)).collect();
    crate::interval::t_mean(&each, options.level)
}

/// Interval of the mean of all observations together.
///
/// # Errors
/// Fewer than two trials, an empty trial, or a value that is not finite.
pub fn two_level_mean(trials: &[Vec<f64>], options: &Options) -> Result<Ci, Unsupported> {
    check(trials, options)?;
    let means: Vec<f64> = trials.iter().map(|t| crate::describe::mean(t)).collect();
    crate::interval::t_mean(&means, options.level)
}

fn check(trials: &[Vec<f64>], options: &Options) -> Result<(), Unsupported> {
    options.check()?;
    if trials.len() < 2 {
        return Err(Unsupported::TooFewTrials { trials: trials.len(), needed: 2 });
    }
    trials.iter().try_for_each(|t| crate::require(t, 1))
}

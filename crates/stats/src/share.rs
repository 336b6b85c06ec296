//! Bounds over trials of dependent values: a share, such as that of the requests that were too late, and a mean.
//!
//! Late requests follow late requests, so n of them tell less than n independent ones. What they are worth is read off
//! the autocovariance about the mean *of all trials*: summed over every lag of a trial it is the variance between the
//! trials, and where it dies out earlier (Geyer's initial positive sequence) many stretches inside the trials speak
//! instead of a handful of trials. Trials that differ by more than their requests explain therefore count as few.
//!
//! A share is bounded by Clopper and Pearson at the effective sample size with a correction for how well that size is
//! known (Korn & Graubard, "Confidence intervals for proportions with small expected number of positive counts
//! estimated from survey data", Survey Methodology 24 (1998), 193–201), a mean by Student's t over the trials.

use statrs::distribution::{Beta, ContinuousCDF};

use crate::describe::mean;
use crate::distribution::{normal_quantile, t_quantile};
use crate::{Ci, Unsupported, require_probability};

/// Values of a trial beyond which neighbours are averaged first: the work grows with the square of the length.
const LONGEST: usize = 1024;
/// Share of the values by which runs are judged where fewer are beyond the limit.
const TOP: f64 = 0.05;
/// As many of them at least.
const TOP_LEAST: usize = 20;
/// Independent values, or hits, that are worth one degree of freedom of their variance.
const PER_DEGREE: f64 = 2.0;

/// A share or a mean with its one-sided bounds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Share {
    /// Values counted.
    pub n: usize,
    /// How many independent values they are worth.
    pub effective: f64,
    /// The share or mean itself.
    pub value: f64,
    /// Each bound holds by itself with the confidence asked for.
    pub bounds: Ci,
}

/// The share of values beyond a limit. Where few or none are, runs of the values that come closest tell what the sample
/// is worth: a queue that was short all the time may just not have been long yet.
///
/// # Errors
/// As [`share`].
pub fn beyond(trials: &[Vec<f64>], limit: f64, level: f64) -> Result<Share, Unsupported> {
    let over = |limit: f64| -> Vec<Vec<bool>> {
        trials.iter().map(|t| t.iter().map(|v| *v > limit).collect()).collect()
    };
    let mut all = trials.concat();
    all.sort_by(f64::total_cmp);
    let top = ((TOP * all.len() as f64).ceil() as usize).max(TOP_LEAST);
    // Half of a small sample at most: below its median it says nothing of a tail.
    let lower = all.get(all.len() - top.min(all.len().div_ceil(2)).max(1).min(all.len()));
    match lower {
        Some(lower) if *lower < limit => {
            let near = bounded(&over(limit), level, &over(lower.next_down()))?;
            let own = share(&over(limit), level)?;
            Ok(if own.effective < near.effective { own } else { near })
        }
        _ => share(&over(limit), level),
    }
}

/// The share of `true` in all trials together; each trial is in order of time. `level` is that of each bound alone.
///
/// # Errors
/// No values at all, or a level outside (0, 1).
pub fn share(trials: &[Vec<bool>], level: f64) -> Result<Share, Unsupported> {
    bounded(trials, level, trials)
}

/// The mean of all trials together; each trial is in order of time. `level` is that of each bound alone.
///
/// # Errors
/// Fewer than two trials with values, a value that is not finite, or a level outside (0, 1).
pub fn mean_of(trials: &[Vec<f64>], level: f64) -> Result<Share, Unsupported> {
    require_probability(level)?;
    let count = trials.iter().filter(|t| !t.is_empty()).count();
    if count < 2 {
        return Err(Unsupported::TooFewTrials { trials: count, needed: 2 });
    }
    if trials.iter().flatten().any(|v| !v.is_finite()) {
        return Err(Unsupported::NotFinite);
    }
    let pooled = Pooled::of(trials);
    let low = pooled.relative(level);
    // What was not seen may be worse than what was: the bound above supposes one more trial like the worst.
    let worst = trials.iter().filter(|t| !t.is_empty()).max_by(|a, b| mean(a).total_cmp(&mean(b)));
    let with_worst = Pooled::of(&[trials, worst.map_or(&[], std::slice::from_ref)].concat());
    let high = with_worst.relative(level);
    let (lo, hi) = if pooled.mean > 0.0 {
        let hi = if high < 1.0 { with_worst.mean / (1.0 - high) } else { f64::INFINITY };
        (pooled.mean / (1.0 + low), hi)
    } else {
        (pooled.mean - low, with_worst.mean + high)
    };
    Ok(Share { n: pooled.n, effective: pooled.effective(), value: pooled.mean, bounds: Ci { level, lo, hi } })
}

/// The bounds of a share of values that are worth as much as those of `like`, or less.
fn bounded(trials: &[Vec<bool>], level: f64, like: &[Vec<bool>]) -> Result<Share, Unsupported> {
    require_probability(level)?;
    let n: usize = trials.iter().map(Vec::len).sum();
    if n == 0 {
        return Err(Unsupported::TooFewValues { n, needed: 1 });
    }
    let hits = trials.iter().flatten().filter(|hit| **hit).count();
    let value = hits as f64 / n as f64;
    let series: Vec<Vec<f64>> =
        like.iter().map(|t| t.iter().map(|&b| f64::from(u8::from(b))).collect()).collect();
    let pooled = Pooled::of(&series);
    let effective = pooled.effective();
    // Korn & Graubard: a variance that is not known well is worth less. Hits in runs tell of it only by those that are
    // there, so the bound above counts hits, and the one below, which rests on them, values.
    let worth = |values: f64| {
        let degrees = pooled.degrees(values / PER_DEGREE);
        let known = (normal_quantile(level) / t_quantile(level, degrees)).powi(2);
        if pooled.variance > 0.0 && level > 0.5 { effective * known } else { effective }
    };
    let quantile = |a: f64, b: f64, p: f64| Beta::new(a, b).map_or(f64::NAN, |beta| beta.inverse_cdf(p));
    let (below, above) = (worth(effective), worth(effective * pooled.variance));
    let lo = if value > 0.0 {
        let k = value * below;
        quantile(k, below - k + 1.0, 1.0 - level)
    } else {
        0.0
    };
    let hi = if value < 1.0 {
        let k = value * above;
        quantile(k + 1.0, above - k, level)
    } else {
        1.0
    };
    Ok(Share { n, effective, value, bounds: Ci { level, lo, hi } })
}

/// What trials of one process say together.
struct Pooled {
    n: usize,
    trials: usize,
    mean: f64,
    /// Variance of one value.
    variance: f64,
    /// Variance of the mean.
    of_mean: f64,
}

impl Pooled {
    fn of(trials: &[Vec<f64>]) -> Self {
        let n: usize = trials.iter().map(Vec::len).sum();
        let count = trials.iter().filter(|t| !t.is_empty()).count();
        let mean = trials.iter().flatten().sum::<f64>() / n as f64;
        let variance = trials.iter().flatten().map(|v| (v - mean).powi(2)).sum::<f64>() / n as f64;
        let longest = trials.iter().map(Vec::len).max().unwrap_or(0);
        let width = longest.div_ceil(LONGEST).max(1);
        let centred = |t: &Vec<f64>| -> Vec<f64> {
            t.chunks(width).map(|c| c.iter().map(|v| v - mean).sum::<f64>()).collect()
        };
        let centred: Vec<Vec<f64>> = trials.iter().map(centred).collect();
        let longest = longest.div_ceil(width);
        let at = |lag: usize| -> f64 {
            let of = |t: &Vec<f64>| match t.get(lag..) {
                Some(late) => late.iter().zip(t).map(|(a, b)| a * b).sum::<f64>(),
                None => 0.0,
            };
            centred.iter().map(of).sum()
        };
        // Pairs of neighbouring lags from 0 on, as long as they add: 2 Σ_{k≥0} γ_k − γ_0.
        let (mut sum, mut lag) = (0.0, 0);
        while lag < longest {
            let pair = at(lag) + at(lag + 1);
            if pair <= 0.0 {
                break;
            }
            sum += pair;
            lag += 2;
        }
        let total = (2.0 * sum - at(0)).max(variance * n as f64);
        // Centred at their own mean, the values miss its variance once for every lag that was summed.
        let (lags, longest, all) =
            (lag.min(longest) as f64, longest as f64, (n as f64 / width as f64).max(1.0));
        let missed = if longest > 0.0 { (2.0 * lags - lags * lags / longest) / all } else { 0.0 };
        let of_mean = total / (n as f64).powi(2) / (1.0 - missed.min(0.75));
        Self { n, trials: count, mean, variance, of_mean }
    }

    /// Number of independent values that would give the mean the same variance.
    fn effective(&self) -> f64 {
        if self.of_mean > 0.0 {
            (self.variance / self.of_mean).clamp(1.0, self.n as f64)
        } else {
            self.n as f64
        }
    }

    /// Half the width of the interval of the mean by Student's t over trials; of its inverse, as a share of it, where
    /// the mean is positive. The deviation of a queue grows with its length, faster than in proportion, so a low mean
    /// comes with a deviation that is too small; that of the inverse moves less.
    fn relative(&self, level: f64) -> f64 {
        let half = t_quantile(level, self.degrees(0.0)) * self.of_mean.sqrt();
        if self.mean > 0.0 { half / self.mean } else { half }
    }

    /// What the variance of the mean is known by: a trial each, or where `more` says so stretches inside them.
    fn degrees(&self, more: f64) -> f64 {
        more.max(self.trials as f64 - 1.0).max(1.0)
    }
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
    fn bounds_are_no_narrower_than_clopper_pearson() {
        // Clopper & Pearson, Biometrika 26 (1934), 404–413, and SciPy 1.17, binomtest(2, 20).proportion_ci(0.95).
        let s = share(&[trial(2, 20)], 0.975).unwrap();
        assert!(s.effective <= 20.0, "{s:?}");
        // Of one trial with two hits little is known, so the bounds are wider than for values known to be independent.
        assert!(s.bounds.lo < 0.012_349 && s.bounds.hi > 0.316_98, "{s:?}");
        // The same for 200 of 2000 (`binomtest(200, 2000)`: 0.0872 to 0.1140): the more is known, the less is added.
        let s = share(&[trial(200, 2000)], 0.975).unwrap();
        assert!(
            s.bounds.lo < 0.0873 && s.bounds.lo > 0.085 && s.bounds.hi > 0.1139 && s.bounds.hi < 0.116,
            "{s:?}"
        );
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
    fn a_mean_is_bounded_over_trials() {
        // Means 0.1, 0.2, 0.3: standard error 0.1/√3, t(2) at 0.95 is 2.920, and 0.2/(1 + 2.920·0.057 74/0.2) = 0.1085.
        let trials = [vec![0.1; 9], vec![0.2; 9], vec![0.3; 9]];
        let s = mean_of(&trials, 0.95).unwrap();
        assert!((s.value - 0.2).abs() < 1e-12 && (s.bounds.lo - 0.108_5).abs() < 1e-4, "{s:?}");
        // One more trial of 0.3: 0.225, standard error 0.047 87, t(3) is 2.353: 0.225/(1 − 0.500 6) = 0.4506.
        assert!((s.bounds.hi - 0.450_6).abs() < 3e-4, "{s:?}");
        assert!(mean_of(&trials[..1], 0.95).is_err() && mean_of(&[vec![f64::NAN], vec![1.0]], 0.95).is_err());
    }

    #[test]
    fn nothing_has_no_share() {
        assert!(share(&[vec![], vec![]], 0.95).is_err());
        assert!(share(&[trial(1, 4)], 1.0).is_err());
    }
}

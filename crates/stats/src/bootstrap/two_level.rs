//! Two levels: trials, and blocks of neighbours inside each trial.
//!
//! A resample draws as many trials as there are, with replacement, and fills each from blocks of neighbours of the
//! drawn trial (the circular block bootstrap). The statistic is that of all drawn observations together. Drawing
//! trials carries what differs between trials into the interval, drawing blocks what differs inside them.
//!
//! # Few trials
//!
//! Drawing both levels counts the variance inside trials twice, and with k trials gives only (k − 1)/k of the variance
//! between them, at normal-like percentiles where Student's t with k − 1 degrees of freedom is due (Davison & Hinkley,
//! *Bootstrap Methods and their Application* (1997), §3.8; Hesterberg, The American Statistician 69 (2015), 371–386,
//! §3). Left as they are, the percentiles of five trials cover 99 % when trials agree and 87 % when they differ. The
//! interval returned is the hull of two, each right in one of these cases:
//!
//! 1. trials agree: percentiles of the resamples, drawn towards the estimate by √(k/(2k − 1)), so that the variance
//!    inside trials counts once;
//! 2. trials differ: estimate ± t(k − 1) · s/√k, with s the standard deviation of the statistic between trials.
//!
//! A quantile with fewer than [`TAIL`] observations beyond it in a trial is too coarse there for 2 to be right; its
//! percentiles are then left wide. `examples/coverage.rs` measures what this reaches (figures in `COVERAGE.md`): 93–97 %
//! for mean and median; 94–97 % for p95 and 93–98 % for p99, which fall to 91 % and 87 % where skewed latencies differ
//! by 30 % between trials.

use super::layout::Layout;
use super::moments::{Drawn, Moments};
use super::ranks::Ranks;
use super::{Options, percentiles, sorted_finite};
use crate::describe::{mean, sd};
use crate::distribution::t_quantile;
use crate::interval::needed_n;
use crate::quantile::{quantile, sorted};
use crate::{Ci, Unsupported, require_probability};

/// Observations that a trial must have beyond a quantile for its own quantile to be trusted.
const TAIL: f64 = 5.0;

/// Interval of the quantile `p` of all observations together. Each trial is in order of time.
///
/// # Errors
/// Fewer than two trials, an empty trial, a value that is not finite, or fewer values in all than
/// [`crate::interval::needed_n`].
pub fn two_level_quantile(trials: &[Vec<f64>], p: f64, options: &Options) -> Result<Ci, Unsupported> {
    two_level_quantiles(trials, &[p], options).remove(0)
}

/// [`two_level_quantile`] of several quantiles from the same resamples, which costs little more than of one.
pub fn two_level_quantiles(
    trials: &[Vec<f64>],
    ps: &[f64],
    options: &Options,
) -> Vec<Result<Ci, Unsupported>> {
    let layout = match Layout::of(trials, options) {
        Ok(layout) => layout,
        Err(why) => return vec![Err(why); ps.len()],
    };
    let supported = |p: f64| {
        require_probability(p)?;
        let (n, needed) = (layout.len(), needed_n(p, options.level));
        if n < needed { Err(Unsupported::TooFewValues { n, needed }) } else { Ok(p) }
    };
    let checked: Vec<Result<f64, Unsupported>> = ps.iter().map(|&p| supported(p)).collect();
    let ps: Vec<f64> = checked.iter().filter_map(|p| p.ok()).collect();
    let mut intervals = quantile_intervals(trials, &layout, &ps, options).into_iter();
    let next = |p: Result<f64, Unsupported>| p.and_then(|_| intervals.next().ok_or(Unsupported::NotFinite));
    checked.into_iter().map(next).collect()
}

/// Intervals of quantiles that the observations support.
fn quantile_intervals(trials: &[Vec<f64>], layout: &Layout, ps: &[f64], options: &Options) -> Vec<Ci> {
    if ps.is_empty() {
        return Vec::new();
    }
    let ranks = Ranks::of(&trials.concat());
    let estimates: Vec<f64> = ps.iter().map(|&p| quantile(ranks.sorted(), p)).collect();
    // Whether a value lies below the quantile is what a quantile averages, so its runs set the block length.
    let lengths = estimates.iter().map(|&q| layout.block(trials, options, |v| f64::from(u8::from(v <= q))));
    let block = lengths.max().unwrap_or(1);
    let replicates = options.replicate(
        layout.len(),
        || ranks.scratch(),
        |rng, scratch| ranks.quantiles(ps, scratch, |ranges| layout.draw(rng, block, |r| ranges.push(r))),
    );
    let sorted_trials: Vec<Vec<f64>> = trials.iter().map(|t| sorted(t)).collect();
    let shortest = trials.iter().map(Vec::len).min().unwrap_or(0) as f64;
    let interval = |(i, (&p, &estimate)): (usize, (&f64, &f64))| {
        let each: Vec<f64> = sorted_trials.iter().map(|t| quantile(t, p)).collect();
        let scale = if shortest * p.min(1.0 - p) < TAIL { 1.0 } else { once(trials.len()) };
        let column = sorted_finite(replicates.iter().map(|r| r[i]));
        hull(estimate, &each, &column, scale, options.level)
    };
    ps.iter().zip(&estimates).enumerate().map(interval).collect()
}

/// Interval of the mean of all observations together. Each trial is in order of time.
///
/// # Errors
/// Fewer than two trials, an empty trial, or a value that is not finite.
pub fn two_level_mean(trials: &[Vec<f64>], options: &Options) -> Result<Ci, Unsupported> {
    let layout = Layout::of(trials, options)?;
    let values = trials.concat();
    let moments = Moments::of(&values);
    let block = layout.block(trials, options, |v| v);
    let replicates = sorted_finite(options.replicate(
        layout.draws(block),
        || (),
        |rng, ()| {
            let mut drawn = Drawn::default();
            layout.draw(rng, block, |r| moments.add(r, &mut drawn));
            moments.shift() + drawn.mean()
        },
    ));
    let each: Vec<f64> = trials.iter().map(|t| mean(t)).collect();
    Ok(hull(mean(&values), &each, &replicates, once(trials.len()), options.level))
}

/// Interval of the standard deviation of all observations together. Each trial is in order of time.
///
/// # Errors
/// Fewer than two trials, a trial of fewer than two values, or a value that is not finite.
pub fn two_level_sd(trials: &[Vec<f64>], options: &Options) -> Result<Ci, Unsupported> {
    let layout = Layout::of(trials, options)?;
    let shortest = trials.iter().map(Vec::len).min().unwrap_or(0);
    let each = trials.iter().map(|t| sd(t)).collect::<Option<Vec<f64>>>();
    let each = each.ok_or(Unsupported::TooFewValues { n: shortest, needed: 2 })?;
    let values = trials.concat();
    let estimate = sd(&values).ok_or(Unsupported::TooFewValues { n: shortest, needed: 2 })?;
    let moments = Moments::of(&values);
    let block = layout.block(trials, options, |v| (v - moments.shift()).powi(2));
    let replicates = sorted_finite(options.replicate(
        layout.draws(block),
        || (),
        |rng, ()| {
            let mut drawn = Drawn::default();
            layout.draw(rng, block, |r| moments.add(r, &mut drawn));
            drawn.sd()
        },
    ));
    let ci = hull(estimate, &each, &replicates, once(trials.len()), options.level);
    Ok(Ci { lo: ci.lo.max(0.0), ..ci })
}

/// The factor by which deviations of resamples of `k` trials shrink when the variance inside trials counts once.
fn once(k: usize) -> f64 {
    let k = k as f64;
    (k / (2.0 * k - 1.0)).sqrt()
}

/// The wider, on each side, of the percentiles at `scale` and of Student's t between trials.
fn hull(estimate: f64, each: &[f64], replicates: &[f64], scale: f64, level: f64) -> Ci {
    let (lo, hi) = if replicates.is_empty() { (estimate, estimate) } else { percentiles(replicates, level) };
    let (lo, hi) = (estimate + scale * (lo - estimate), estimate + scale * (hi - estimate));
    let k = each.len() as f64;
    let half = t_quantile(0.5 + level / 2.0, k - 1.0) * sd(each).unwrap_or(0.0) / k.sqrt();
    Ci { level, lo: lo.min(estimate - half), hi: hi.max(estimate + half) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn options() -> Options {
        Options { resamples: 400, seed: 7, ..Options::default() }
    }

    #[test]
    fn trials_that_differ_give_at_least_the_t_interval() {
        // Trial means 1, 2, 3: t(2) = 4.302 65, s = 1: 2 ± 4.302 65/√3 = 2 ± 2.484 14.
        let trials: Vec<Vec<f64>> = [1.0, 2.0, 3.0].iter().map(|m| vec![m - 0.01, *m, m + 0.01]).collect();
        let ci = two_level_mean(&trials, &options()).unwrap();
        assert!((ci.lo - (2.0 - 2.484_14)).abs() < 1e-4 && (ci.hi - (2.0 + 2.484_14)).abs() < 1e-4, "{ci:?}");
    }

    #[test]
    fn trials_without_any_spread_have_an_interval_of_no_width() {
        let trials = vec![vec![0.25; 40]; 3];
        for ci in [
            two_level_mean(&trials, &options()).unwrap(),
            two_level_quantile(&trials, 0.95, &options()).unwrap(),
        ] {
            assert_eq!((ci.lo, ci.hi), (0.25, 0.25));
        }
        let ci = two_level_sd(&trials, &options()).unwrap();
        assert_eq!((ci.lo, ci.hi), (0.0, 0.0));
    }

    #[test]
    fn what_cannot_be_supported_says_so() {
        let one = vec![vec![1.0, 2.0, 3.0]];
        assert_eq!(two_level_mean(&one, &options()), Err(Unsupported::TooFewTrials { trials: 1, needed: 2 }));
        let small = vec![vec![1.0; 29]; 2];
        let e = two_level_quantile(&small, 0.95, &options());
        assert_eq!(e, Err(Unsupported::TooFewValues { n: 58, needed: 59 }));
        let bad = vec![vec![1.0, f64::NAN], vec![1.0, 2.0]];
        assert_eq!(two_level_mean(&bad, &options()), Err(Unsupported::NotFinite));
        let empty = vec![vec![], vec![1.0]];
        assert_eq!(two_level_mean(&empty, &options()), Err(Unsupported::TooFewValues { n: 0, needed: 1 }));
    }

    #[test]
    fn several_quantiles_at_once_are_those_of_each() {
        let trials: Vec<Vec<f64>> =
            (0..3).map(|t| (0..90).map(|i| f64::from((i * 7919 + t * 31) % 997)).collect()).collect();
        let options = Options { block: Some(4), ..options() };
        let ps = [0.5, 0.99, 0.95, 2.0];
        let together = two_level_quantiles(&trials, &ps, &options);
        let each: Vec<_> = ps.iter().map(|&p| two_level_quantile(&trials, p, &options)).collect();
        assert_eq!(together, each);
        assert_eq!(together[1], Err(Unsupported::TooFewValues { n: 270, needed: 299 }));
        assert_eq!(together[3], Err(Unsupported::NotAProbability { value: 2.0 }));
    }

    #[test]
    fn the_number_of_threads_changes_nothing() {
        let trials: Vec<Vec<f64>> =
            (0..4).map(|t| (0..200).map(|i| f64::from((i * 7919 + t * 31) % 997)).collect()).collect();
        let with = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                (two_level_quantile(&trials, 0.9, &options()), two_level_mean(&trials, &options()))
            })
        };
        assert_eq!(with(1), with(3));
    }

    #[test]
    fn a_hundred_thousand_gaps_with_a_thousand_resamples() {
        let trials: Vec<Vec<f64>> = (0..5u32)
            .map(|t| (0..20_000u32).map(|i| f64::from((i * 7919 + t * 31) % 9973)).collect())
            .collect();
        let options = Options { resamples: 1000, ..Options::default() };
        let ci = two_level_quantile(&trials, 0.99, &options).unwrap();
        assert!(ci.lo > 9_700.0 && ci.hi < 9_973.0, "{ci:?}");
    }

    proptest! {
        #[test]
        fn encloses_the_estimate_and_scales_with_the_values(
            trials in prop::collection::vec(prop::collection::vec(0.001..10.0f64, 20..40), 2..5),
            factor in 0.1..50.0f64,
        ) {
            let all = sorted(&trials.concat());
            let ci = two_level_quantile(&trials, 0.5, &options()).unwrap();
            let q = quantile(&all, 0.5);
            prop_assert!(ci.lo <= q && q <= ci.hi);
            let scaled: Vec<Vec<f64>> = trials.iter().map(|t| t.iter().map(|v| v * factor).collect()).collect();
            let other = two_level_quantile(&scaled, 0.5, &options()).unwrap();
            prop_assert!((other.lo - ci.lo * factor).abs() <= 1e-9 * factor.max(1.0) * 10.0);
            prop_assert!((other.hi - ci.hi * factor).abs() <= 1e-9 * factor.max(1.0) * 10.0);
        }
    }
}

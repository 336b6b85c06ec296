//! The same items scored on two sides: by how much is the candidate worse, and how sure is that?
//!
//! Items are drawn from what users ask, so they are the unit. Each is its own control: only differences within an item
//! count, and an item that both sides get wrong says nothing.
//!
//! | scores | interval |
//! |---|---|
//! | each 0 or 1: right or wrong, equal or not | Tango's score interval of a difference of paired shares |
//! | between 0 and 1 | bootstrap (BCa) of the mean difference, n ≥ 30 |
//! | positive, of any size: perplexity | bootstrap (BCa) of the ratio of means, n ≥ 30 |
//!
//! Tango ("Equivalence test and confidence interval for the difference in proportions for the paired-sample design",
//! Statistics in Medicine 17 (1998), 891–908): with b items worse and c better of n, T(δ) = (b − c − nδ) /
//! √(n (2q + δ(1 − δ))) is standard normal, q being the likeliest share of better items when the difference is δ: the
//! larger root of 2n q² + (δ(2n − b + c) − b − c) q − cδ(1 − δ) = 0. It has a width where no item differs, which
//! resampling has not: n equal answers leave room for z² / (n + z²).

use crate::bootstrap::{Bca, Options};
use crate::describe::mean;
use crate::distribution::{normal_cdf, normal_quantile};
use crate::{Ci, Unsupported, require_probability};

/// Fewest items whose mean difference is resampled.
const LEAST: usize = 30;

/// What the values of items are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scale {
    /// Losses between 0 and 1; the sides differ by the difference of their means.
    Share,
    /// Positive numbers; the sides differ by the ratio of their means, less 1.
    Ratio,
}

/// By how much the candidate's items exceed the baseline's.
#[derive(Debug, Clone)]
pub struct Excess {
    /// Items.
    pub n: usize,
    /// The difference.
    pub value: f64,
    /// Its interval.
    pub ci: Ci,
    law: Law,
}

#[derive(Debug, Clone)]
enum Law {
    Counts {
        worse: f64,
        better: f64,
        n: f64,
    },
    Resampled(Bca),
    /// Nothing varies; between 0 and 1 as much as n equal items leave room for.
    Constant {
        value: f64,
        n: f64,
        bounded: bool,
    },
}

impl Excess {
    /// p of "the true difference is at least `limit`"; small means that it lies below.
    pub fn p_below(&self, limit: f64) -> f64 {
        match &self.law {
            Law::Counts { worse, better, n } => normal_cdf(score(*worse, *better, *n, limit)),
            Law::Resampled(bca) => 1.0 - bca.confidence_below(limit),
            Law::Constant { value, n, bounded: true } => normal_cdf(score(0.0, 0.0, *n, limit - value)),
            Law::Constant { value, .. } => match value.total_cmp(&limit) {
                std::cmp::Ordering::Less => 0.0,
                _ => 1.0,
            },
        }
    }
}

/// Compares the values of the same items, in the same order.
///
/// # Errors
/// No items, sides of unequal number, values outside their scale, or fewer than 30 items that are not all 0 or 1.
pub fn excess(
    baseline: &[f64],
    candidate: &[f64],
    scale: Scale,
    options: &Options,
) -> Result<Excess, Unsupported> {
    require_probability(options.level)?;
    let (n, level) = (baseline.len(), options.level);
    if n == 0 || n != candidate.len() {
        return Err(Unsupported::TooFewValues { n: n.min(candidate.len()), needed: n.max(1) });
    }
    let both = || baseline.iter().chain(candidate);
    let inside = |v: &f64| match scale {
        Scale::Share => (0.0..=1.0).contains(v),
        Scale::Ratio => v.is_finite() && *v > 0.0,
    };
    if !both().all(inside) {
        return Err(Unsupported::NotFinite);
    }
    if scale == Scale::Share && both().all(|v| *v == 0.0 || *v == 1.0) {
        let count = |of: fn(f64, f64) -> bool| {
            baseline.iter().zip(candidate).filter(|(a, b)| of(**a, **b)).count() as f64
        };
        let (worse, better, n_) = (count(|a, b| b > a), count(|a, b| b < a), n as f64);
        let value = (worse - better) / n_;
        let law = Law::Counts { worse, better, n: n_ };
        return Ok(Excess { n, value, ci: of_counts(worse, better, n_, level), law });
    }
    if n < LEAST {
        return Err(Unsupported::TooFewValues { n, needed: LEAST });
    }
    // Pairs are drawn by their position.
    let places: Vec<f64> = (0..n).map(|i| i as f64).collect();
    let sums = |drawn: &[f64]| {
        drawn.iter().fold((0.0, 0.0), |(a, b), i| (a + baseline[*i as usize], b + candidate[*i as usize]))
    };
    let statistic = |drawn: &[f64]| {
        let (a, b) = sums(drawn);
        match scale {
            Scale::Share => (b - a) / n as f64,
            Scale::Ratio => b / a - 1.0,
        }
    };
    let value = match scale {
        Scale::Share => mean(candidate) - mean(baseline),
        Scale::Ratio => mean(candidate) / mean(baseline) - 1.0,
    };
    let alike = |d: f64| baseline.iter().zip(candidate).all(|(a, b)| (b - a - d).abs() < 1e-12);
    let constant = match scale {
        Scale::Share => alike(value),
        Scale::Ratio => alike(0.0),
    };
    if constant {
        let bounded = scale == Scale::Share;
        let room = if bounded { of_counts(0.0, 0.0, n as f64, level).hi } else { 0.0 };
        let ci = Ci { level, lo: value - room, hi: value + room };
        return Ok(Excess { n, value, ci, law: Law::Constant { value, n: n as f64, bounded } });
    }
    let bca = Bca::of(&places, statistic, options)?;
    Ok(Excess { n, value, ci: bca.ci(level), law: Law::Resampled(bca) })
}

/// Items, all alike on both sides, from which on a difference of `limit` is ruled out at a two-sided level.
pub fn equal_items_needed(limit: f64, level: f64) -> Option<u64> {
    let z = normal_quantile(0.5 + level / 2.0);
    let n = (z * z * (1.0 - limit) / limit).ceil();
    (limit > 0.0 && limit < 1.0 && n.is_finite()).then_some(n as u64)
}

/// Tango's statistic.
fn score(worse: f64, better: f64, n: f64, delta: f64) -> f64 {
    let delta = delta.clamp(-1.0, 1.0);
    let (b, c) = (worse, better);
    let linear = delta * (2.0 * n - b + c) - b - c;
    let constant = -c * delta * (1.0 - delta);
    let q = ((linear * linear - 8.0 * n * constant).max(0.0).sqrt() - linear) / (4.0 * n);
    let variance = n * (2.0 * q + delta * (1.0 - delta));
    let difference = b - c - n * delta;
    match (variance > 0.0, difference == 0.0) {
        (true, _) => difference / variance.sqrt(),
        (false, true) => 0.0,
        (false, false) => difference.signum() * f64::INFINITY,
    }
}

/// Where Tango's statistic is at its critical values.
fn of_counts(worse: f64, better: f64, n: f64, level: f64) -> Ci {
    let z = normal_quantile(0.5 + level / 2.0);
    let value = (worse - better) / n;
    // The statistic falls with δ: inside the interval it lies between −z and z.
    let edge = |outside: f64, is_inside: &dyn Fn(f64) -> bool| {
        let (mut inside, mut outside) = (value, outside);
        if is_inside(outside) {
            return outside;
        }
        for _ in 0..100 {
            let middle = f64::midpoint(inside, outside);
            if is_inside(middle) { inside = middle } else { outside = middle }
        }
        inside
    };
    let lo = edge(-1.0, &|delta| score(worse, better, n, delta) < z);
    let hi = edge(1.0, &|delta| score(worse, better, n, delta) > -z);
    Ci { level, lo, hi }
}

#[cfg(test)]
mod tests {
    use rand::{Rng as _, SeedableRng as _};
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::distribution::binomial_cdf;

    fn counts(worse: usize, better: usize, n: usize) -> Excess {
        let of = |i: usize| match i {
            i if i < worse => (0.0, 1.0),
            i if i < worse + better => (1.0, 0.0),
            _ => (0.0, 0.0),
        };
        let (a, b): (Vec<f64>, Vec<f64>) = (0..n).map(of).unzip();
        excess(&a, &b, Scale::Share, &Options::default()).unwrap()
    }

    #[test]
    fn items_that_never_differ_leave_the_room_of_their_number() {
        // z² / (n + z²) with z = 1.959964.
        for (n, room) in [(10, 0.277_53), (100, 0.036_99), (3838, 0.001_0)] {
            let found = counts(0, 0, n);
            assert!((found.ci.hi - room).abs() < 1e-5 && (found.ci.lo + room).abs() < 1e-5, "{n} {found:?}");
        }
        assert_eq!(equal_items_needed(0.001, 0.95), Some(3838));
        assert!(counts(0, 0, 3837).ci.hi > 0.001 && counts(0, 0, 3839).ci.hi < 0.001);
    }

    #[test]
    fn sides_exchanged_are_the_mirror_image() {
        for (b, c, n) in [(5, 1, 40), (0, 3, 20), (20, 0, 20), (7, 7, 50)] {
            let (x, y) = (counts(b, c, n), counts(c, b, n));
            assert!((x.ci.lo + y.ci.hi).abs() < 1e-9 && (x.ci.hi + y.ci.lo).abs() < 1e-9, "{x:?} {y:?}");
            assert!(x.ci.lo <= x.value && x.value <= x.ci.hi);
        }
    }

    #[test]
    fn the_interval_covers_as_often_as_it_says() {
        // Every outcome of 40 items, weighed by its probability: nothing is drawn.
        let n = 40_u64;
        let point = |k: u64, n: u64, p: f64| {
            binomial_cdf(k as i64, n, p) - if k == 0 { 0.0 } else { binomial_cdf(k as i64 - 1, n, p) }
        };
        for (worse, better) in [(0.05, 0.05), (0.2, 0.1), (0.3, 0.02), (0.02, 0.0), (0.5, 0.3)] {
            let mut covered = 0.0;
            for b in 0..=n {
                for c in 0..=n - b {
                    let ci = of_counts(b as f64, c as f64, n as f64, 0.95);
                    if (ci.lo..=ci.hi).contains(&(worse - better)) {
                        covered += point(b, n, worse) * point(c, n - b, better / (1.0 - worse));
                    }
                }
            }
            assert!((0.925..=1.0).contains(&covered), "{worse} {better}: {covered}");
        }
    }

    #[test]
    fn the_test_against_a_limit_agrees_with_the_interval() {
        for found in [counts(5, 1, 400), counts(0, 0, 200), counts(30, 10, 90)] {
            assert!((found.p_below(found.ci.hi) - 0.025).abs() < 1e-6);
            assert!((found.p_below(found.ci.lo) - 0.975).abs() < 1e-6);
        }
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let a: Vec<f64> = (0..200).map(|_| rng.random_range(0.2..0.8)).collect();
        let b: Vec<f64> = a.iter().map(|v| v + rng.random_range(-0.05..0.07)).collect();
        for scale in [Scale::Share, Scale::Ratio] {
            let found = excess(&a, &b, scale, &Options { resamples: 10_000, ..Options::default() }).unwrap();
            assert!(found.ci.lo < found.value && found.value < found.ci.hi);
            assert!((found.p_below(found.ci.hi) - 0.025).abs() < 0.003, "{}", found.p_below(found.ci.hi));
        }
    }

    #[test]
    fn scores_of_an_item_belong_together() {
        // Items differ widely, sides hardly: unpaired, the interval would be forty times as wide.
        let a: Vec<f64> = (0..100).map(|i| f64::from(i) / 100.0).collect();
        let b: Vec<f64> = a.iter().enumerate().map(|(i, v)| v + 0.001 * f64::from(i as u32 % 3)).collect();
        let found = excess(&a, &b, Scale::Share, &Options::default()).unwrap();
        assert!((found.value - 0.000_99).abs() < 1e-9 && found.ci.hi - found.ci.lo < 0.000_4, "{found:?}");
    }

    #[test]
    fn what_does_not_vary_is_not_certain() {
        let half = [0.5; 50];
        let same = excess(&half, &half, Scale::Share, &Options::default()).unwrap();
        assert!(same.value == 0.0 && same.ci.hi > 0.07 && same.p_below(0.001) > 0.4, "{same:?}");
        let ratio = excess(&[7.5; 50], &[7.5; 50], Scale::Ratio, &Options::default()).unwrap();
        assert_eq!((ratio.ci.lo, ratio.ci.hi, ratio.p_below(0.001)), (0.0, 0.0, 0.0));
    }

    #[test]
    fn what_cannot_be_supported_says_so() {
        let of = |a: &[f64], b: &[f64], scale| excess(a, b, scale, &Options::default()).map(|e| e.value);
        assert!(matches!(of(&[], &[], Scale::Share), Err(Unsupported::TooFewValues { .. })));
        assert!(matches!(of(&[0.5; 29], &[0.4; 29], Scale::Share), Err(Unsupported::TooFewValues { .. })));
        assert!(matches!(of(&[0.5, 1.0], &[0.5], Scale::Share), Err(Unsupported::TooFewValues { .. })));
        assert_eq!(of(&[1.5], &[0.5], Scale::Share), Err(Unsupported::NotFinite));
        assert_eq!(of(&[0.0; 40], &[1.0; 40], Scale::Ratio), Err(Unsupported::NotFinite));
    }
}

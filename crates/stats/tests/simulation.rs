//! Do the intervals and tests keep their promises? Repetitions with a known truth and fixed seeds.
//!
//! `examples/coverage.rs` repeats this at larger size and prints the table that the documentation quotes.

use rayon::prelude::*;
use stopwatt_stats::Sample;
use stopwatt_stats::bootstrap::{Options, two_level_mean, two_level_quantile};
use stopwatt_stats::distribution::normal_quantile;
use stopwatt_stats::interval::{quantile_order, quantile_order_of_series};
use stopwatt_stats::quantile::sorted;
use stopwatt_stats::welch::welch;
use stopwatt_stats::{Ci, Unsupported};

#[path = "support/series.rs"]
mod series;

/// Share of repetitions whose interval holds the truth; trials are AR(1) series around their own offset.
fn coverage(
    repetitions: u64,
    n: usize,
    phi: f64,
    between: f64,
    truth: f64,
    interval: impl Fn(&[Vec<f64>], u64) -> Result<Ci, Unsupported> + Sync,
) -> f64 {
    let holds = |seed: u64| {
        let mut random = series::rng(seed);
        let trials: Vec<Vec<f64>> = (0..5)
            .map(|_| {
                let offset = between * series::normal(&mut random);
                series::ar1(&mut random, n, phi).into_iter().map(|v| v + offset).collect()
            })
            .collect();
        interval(&trials, seed).is_ok_and(|ci| ci.lo <= truth && truth <= ci.hi)
    };
    (0..repetitions).into_par_iter().filter(|&s| holds(s)).count() as f64 / repetitions as f64
}

fn options(seed: u64) -> Options {
    Options { resamples: 200, seed, ..Options::default() }
}

/// The quantile of values with variance 1 inside and `between²` between trials.
fn truth(p: f64, between: f64) -> f64 {
    normal_quantile(p) * (1.0 + between * between).sqrt()
}

#[track_caller]
fn within(share: f64, low: f64, high: f64) {
    assert!((low..=high).contains(&share), "{share} is not within {low}..={high}");
}

#[test]
fn two_level_mean_covers_correlated_series() {
    let ci = |trials: &[Vec<f64>], seed| two_level_mean(&Sample::of(trials), &options(seed));
    within(coverage(600, 100, 0.6, 0.0, 0.0, ci), 0.93, 0.98);
    within(coverage(600, 100, 0.6, 0.4, 0.0, ci), 0.92, 0.98);
}

#[test]
fn two_level_median_covers_correlated_series() {
    let ci = |trials: &[Vec<f64>], seed| two_level_quantile(&Sample::of(trials), 0.5, &options(seed));
    within(coverage(600, 100, 0.6, 0.0, 0.0, ci), 0.93, 0.98);
    within(coverage(600, 100, 0.6, 0.4, 0.0, ci), 0.92, 0.98);
}

#[test]
fn two_level_tails_cover_correlated_series() {
    for (p, low) in [(0.95, 0.91), (0.99, 0.88)] {
        let ci = |trials: &[Vec<f64>], seed| two_level_quantile(&Sample::of(trials), p, &options(seed));
        within(coverage(400, 200, 0.6, 0.0, truth(p, 0.0), ci), low, 0.995);
        within(coverage(400, 200, 0.6, 0.3, truth(p, 0.3), ci), low, 0.995);
    }
}

#[test]
fn order_statistics_cover_independent_values_and_refuse_dependent_ones() {
    let held = (0..2000u64)
        .filter(|&seed| {
            let ci =
                quantile_order(&sorted(&series::ar1(&mut series::rng(seed), 120, 0.0)), 0.95, 0.95).unwrap();
            ci.lo <= 1.644_854 && 1.644_854 <= ci.hi
        })
        .count();
    within(held as f64 / 2000.0, 0.945, 0.985);
    let dependent = series::ar1(&mut series::rng(1), 2000, 0.8);
    assert!(matches!(quantile_order_of_series(&dependent, 0.5, 0.95), Err(Unsupported::TooDependent { .. })));
}

#[test]
fn equal_groups_differ_in_five_percent_of_ten_thousand_pairs() {
    // Five trials a side, each the mean of a correlated series around its own offset: the unit is the trial.
    let trial = |random: &mut _| {
        let offset = 0.3 * series::normal(random);
        let s = series::ar1(random, 40, 0.6);
        10.0 + offset + s.iter().sum::<f64>() / s.len() as f64
    };
    let differs = |seed: u64| {
        let mut random = series::rng(seed);
        let mut group = || (0..5).map(|_| trial(&mut random)).collect::<Vec<f64>>();
        let (a, b) = (group(), group());
        welch(&a, &b, 0.95).unwrap().p < 0.05
    };
    let share = (0..10_000u64).into_par_iter().filter(|&s| differs(s)).count() as f64 / 1e4;
    within(share, 0.04, 0.06);
}

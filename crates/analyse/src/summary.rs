//! Values to the statistics of a metric, each with its interval or the reason for its absence.
//!
//! | values | mean, std, quantiles | interval |
//! |---|---|---|
//! | many a trial (requests, gaps) | of all trials' values together | two-level block bootstrap over trials |
//! | one a trial | of the trials | Student t for the mean, order statistics for quantiles |
//!
//! A quantile is given when at least one value is expected beyond it (`n ≥ 20` for p95, `n ≥ 100` for p99,
//! `n ≥ 1000` for p99.9), its interval when the sample reaches beyond it with the asked confidence (`n ≥ 59`, `n ≥ 299`,
//! `n ≥ 2995` at 95 %).

use stopwatt_core::Metric;
use stopwatt_core::metrics_doc::{Estimate, Interval, IntervalKind, MetricSummary};
use stopwatt_stats::bootstrap::{self, two_level_mean, two_level_quantiles, two_level_sd};
use stopwatt_stats::describe::{mean, sd};
use stopwatt_stats::quantile::{needed_n, quantile, sort, sorted, supported};
use stopwatt_stats::{Ci, Sample, Unsupported, interval};

use crate::settings::Settings;

/// The quantiles of a summary.
const QUANTILES: [f64; 4] = [0.5, 0.95, 0.99, 0.999];
/// Why minimum and maximum have no interval.
pub(crate) const EXTREME: &str = "the extreme of a sample has no interval";
/// Why the spread between trials has no interval.
const SPREAD: &str = "no interval is computed for the spread between trials";

/// The range in which a metric's values must lie, so that no interval leaves it.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Range {
    /// Durations, counts, rates.
    NotNegative,
    /// Shares.
    Share,
    /// Anything: values of a target's own.
    Any,
}

impl Range {
    fn clip(self, ci: Ci) -> (f64, f64) {
        match self {
            Self::NotNegative => (ci.lo.max(0.0), ci.hi.max(0.0)),
            Self::Share => (ci.lo.clamp(0.0, 1.0), ci.hi.clamp(0.0, 1.0)),
            Self::Any => (ci.lo, ci.hi),
        }
    }
}

/// Summarises values of requests or gaps.
pub(crate) fn of_observations(
    metric: Metric,
    sample: &Sample,
    settings: &Settings,
    absent: &str,
) -> MetricSummary {
    let Some((min, max)) = sample.range() else {
        return MetricSummary::unavailable(metric, absent);
    };
    let make = Maker { n: sample.n(), trials: sample.trials(), range: Range::NotNegative };
    let options = bootstrap::Options {
        resamples: settings.resamples,
        level: settings.level,
        seed: settings.seed,
        block: None,
    };
    let mut intervals = two_level_quantiles(sample, &QUANTILES, &options).into_iter();
    let all = sample.ordered();
    let quantiles = QUANTILES.map(|p| {
        let interval = intervals.next().unwrap_or(Err(Unsupported::NotFinite));
        match supported(sample.n(), p) {
            true => make.estimate(all.quantile(p), interval),
            false => make.absent(format!("needs n >= {}", needed_n(p))),
        }
    });
    let [p50, p95, p99, p999] = quantiles;
    Shape {
        mean: make.estimate(sample.mean(), two_level_mean(sample, &options)),
        std: match sample.sd() {
            Some(spread) => make.estimate(spread, two_level_sd(sample, &options)),
            None => make.absent("needs n >= 2"),
        },
        min: make.without_interval(min, EXTREME),
        max: make.without_interval(max, EXTREME),
        p50,
        p95,
        p99,
        p999,
    }
    .of(metric)
}

/// Summarises one value a trial.
pub(crate) fn of_trials(
    metric: Metric,
    values: &[f64],
    range: Range,
    settings: &Settings,
    absent: &str,
) -> MetricSummary {
    if values.is_empty() {
        return MetricSummary::unavailable(metric, absent);
    }
    let all = sorted(values);
    let make = Maker { n: all.len(), trials: all.len(), range };
    let at = |p: f64| match supported(all.len(), p) {
        true => make.estimate(quantile(&all, p), interval::quantile_order(&all, p, settings.level)),
        false => make.absent(format!("needs n >= {} trials", needed_n(p))),
    };
    Shape {
        mean: mean_of_trials(values, range, settings, absent),
        std: match sd(values) {
            Some(spread) => make.without_interval(spread, SPREAD),
            None => make.absent("needs at least 2 trials"),
        },
        min: make.without_interval(all[0], EXTREME),
        max: make.without_interval(all[all.len() - 1], EXTREME),
        p50: at(0.5),
        p95: at(0.95),
        p99: at(0.99),
        p999: at(0.999),
    }
    .of(metric)
}

/// The mean of one value a trial, with its interval over trials.
pub(crate) fn mean_of_trials(values: &[f64], range: Range, settings: &Settings, absent: &str) -> Estimate {
    if values.is_empty() {
        return Estimate::unavailable(absent);
    }
    let ci = match interval::t_mean(values, settings.level) {
        Err(Unsupported::TooFewValues { n, needed }) if n < 2 => {
            Err(Unsupported::TooFewTrials { trials: n, needed })
        }
        other => other,
    };
    Maker { n: values.len(), trials: values.len(), range }.estimate(mean(values), ci)
}

/// Summarises latencies when `failed` of the requests never ended well: they rank last, as infinitely late.
pub(crate) fn with_failures(
    metric: Metric,
    trials: &[Vec<f64>],
    failed: usize,
    settings: &Settings,
    absent: &str,
) -> MetricSummary {
    if failed == 0 {
        return of_observations(metric, &Sample::of(trials), settings, absent);
    }
    let mut all = trials.concat();
    all.extend(std::iter::repeat_n(f64::INFINITY, failed));
    sort(&mut all);
    let make = Maker { n: all.len(), trials: trials.len(), range: Range::NotNegative };
    let infinite = || make.absent("falls on a failed request, which counts as infinitely late");
    let no_interval = "no interval is computed where failures rank as infinitely late";
    let finite = |v: f64| if v.is_finite() { make.without_interval(v, no_interval) } else { infinite() };
    let at = |p: f64| match supported(all.len(), p) {
        true => finite(quantile(&all, p)),
        false => make.absent(format!("needs n >= {}", needed_n(p))),
    };
    let moment = || make.absent("a failed request counts as infinitely late, so there is no mean");
    Shape {
        mean: moment(),
        std: moment(),
        min: if all[0].is_finite() { make.without_interval(all[0], EXTREME) } else { infinite() },
        max: infinite(),
        p50: at(0.5),
        p95: at(0.95),
        p99: at(0.99),
        p999: at(0.999),
    }
    .of(metric)
}

/// Makes estimates of one sample.
#[derive(Clone, Copy)]
struct Maker {
    n: usize,
    trials: usize,
    range: Range,
}

impl Maker {
    fn estimate(self, value: f64, ci: Result<Ci, Unsupported>) -> Estimate {
        match ci {
            Ok(ci) => {
                let (lo, hi) = self.range.clip(ci);
                let interval = Interval { kind: IntervalKind::Confidence, level: ci.level, lo, hi };
                Estimate { value: Some(value), interval: Some(interval), reason: None, ..self.empty() }
            }
            Err(why) => self.without_interval(value, &reason(why)),
        }
    }

    fn without_interval(self, value: f64, reason: &str) -> Estimate {
        Estimate { value: Some(value), reason: Some(reason.to_owned()), ..self.empty() }
    }

    fn absent(self, reason: impl Into<String>) -> Estimate {
        Estimate { reason: Some(reason.into()), ..self.empty() }
    }

    fn empty(self) -> Estimate {
        Estimate { n: self.n as u64, trials: self.trials as u64, ..Estimate::default() }
    }
}

/// Why an interval is absent, in words that do not differ from metric to metric.
fn reason(why: Unsupported) -> String {
    match why {
        Unsupported::TooFewTrials { needed, .. } => format!("an interval needs at least {needed} trials"),
        Unsupported::TooFewValues { needed, .. } => format!("an interval needs n >= {needed}"),
        other => format!("no interval: {other}"),
    }
}

/// A summary without its metric.
struct Shape {
    mean: Estimate,
    std: Estimate,
    min: Estimate,
    max: Estimate,
    p50: Estimate,
    p95: Estimate,
    p99: Estimate,
    p999: Estimate,
}

impl Shape {
    fn of(self, metric: Metric) -> MetricSummary {
        let info = metric.info();
        let Self { mean, std, min, max, p50, p95, p99, p999 } = self;
        MetricSummary {
            unit: info.unit.to_owned(),
            better: info.better,
            definition: info.definition.to_owned(),
            mean,
            std,
            min,
            max,
            p50,
            p95,
            p99,
            p999,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn settings() -> Settings {
        Settings { resamples: 100, ..Settings::default() }
    }

    fn observations(trials: &[Vec<f64>]) -> MetricSummary {
        of_observations(Metric::Ttft, &Sample::of(trials), &settings(), "no request ended well")
    }

    #[test]
    fn by_hand() {
        let s = observations(&[vec![1.0, 2.0], vec![3.0, 4.0, 5.0]]);
        assert_eq!((s.mean.value, s.mean.n, s.mean.trials), (Some(3.0), 5, 2));
        assert_eq!((s.min.value, s.max.value, s.p50.value), (Some(1.0), Some(5.0), Some(3.0)));
        assert!((s.std.value.unwrap() - 2.5f64.sqrt()).abs() < 1e-12);
        let i = s.mean.interval.unwrap();
        assert!(i.lo >= 0.0 && i.lo <= 3.0 && i.hi >= 3.0 && i.level == 0.95);
        assert_eq!(s.p95.reason.as_deref(), Some("needs n >= 20"));
        assert_eq!((s.p95.value, s.p99.reason.as_deref()), (None, Some("needs n >= 100")));
        assert_eq!((s.p999.value, s.p999.reason.as_deref()), (None, Some("needs n >= 1000")));
        assert_eq!(s.p50.reason.as_deref(), Some("an interval needs n >= 6"));
        assert_eq!(s.max.reason.as_deref(), Some(EXTREME));
    }

    #[test]
    fn one_trial_has_values_but_no_interval() {
        let s = observations(&[(0..300).map(f64::from).collect()]);
        assert!(s.p99.value.is_some() && s.p99.interval.is_none());
        assert_eq!(s.p99.reason.as_deref(), Some("an interval needs at least 2 trials"));
        assert_eq!(s.mean.reason, s.p99.reason);
    }

    #[test]
    fn enough_values_have_every_interval() {
        let trials: Vec<Vec<f64>> =
            (0..5).map(|t| (0..700).map(|i| f64::from((i * 37 + t) % 71)).collect()).collect();
        let s = observations(&trials);
        for (name, e) in s.statistics() {
            assert_eq!(e.interval.is_some(), !matches!(name, "min" | "max"), "{name}");
            assert!(e.value.is_some() && (e.interval.is_some() || e.reason.is_some()));
        }
    }

    #[test]
    fn trial_values_by_hand() {
        // 10, 12, 14: mean 12, s 2, t(2) = 4.302 65: ± 4.968 3.
        let s = of_trials(Metric::OutputThroughput, &[10.0, 12.0, 14.0], Range::NotNegative, &settings(), "");
        let i = s.mean.interval.unwrap();
        assert!((i.lo - 7.0317).abs() < 1e-3 && (i.hi - 16.9683).abs() < 1e-3, "{i:?}");
        assert_eq!((s.std.value, s.p50.value), (Some(2.0), Some(12.0)));
        assert_eq!(s.p50.reason.as_deref(), Some("an interval needs n >= 6"));
        let one = of_trials(Metric::OutputThroughput, &[10.0], Range::NotNegative, &settings(), "");
        assert_eq!(one.mean.reason.as_deref(), Some("an interval needs at least 2 trials"));
    }

    #[test]
    fn a_share_stays_a_share() {
        let s = of_trials(Metric::ErrorRate, &[0.0, 0.1], Range::Share, &settings(), "");
        let i = s.mean.interval.unwrap();
        assert_eq!((i.lo, s.mean.value), (0.0, Some(0.05)));
        assert!(i.hi <= 1.0);
    }

    #[test]
    fn failures_rank_last() {
        let trials = vec![(1..=15).map(f64::from).collect::<Vec<_>>(), vec![]];
        let s = with_failures(Metric::E2eWithFailures, &trials, 5, &settings(), "");
        assert_eq!((s.p50.value, s.p50.n), (Some(10.5), 20));
        assert_eq!((s.p95.value, s.max.value, s.mean.value), (None, None, None));
        assert!(s.p95.reason.unwrap().contains("infinitely late"));
        let none = with_failures(Metric::E2eWithFailures, &trials, 0, &settings(), "");
        assert_eq!(none.mean.value, Some(8.0));
    }

    #[test]
    fn nothing_measured_says_why() {
        let s = observations(&[vec![], vec![]]);
        assert_eq!(s.mean, Estimate::unavailable("no request ended well"));
    }

    proptest! {
        #[test]
        fn every_estimate_has_an_interval_or_a_reason_and_lies_inside_it(
            trials in prop::collection::vec(prop::collection::vec(0.0..10.0f64, 0..40), 0..5),
        ) {
            for (_, e) in observations(&trials).statistics() {
                prop_assert!(e.interval.is_some() || e.reason.is_some());
                prop_assert!(e.value.is_some() || e.interval.is_none());
                if let (Some(v), Some(i)) = (e.value, e.interval) {
                    prop_assert!(i.lo <= v + 1e-9 && v <= i.hi + 1e-9, "{v} {i:?}");
                }
            }
        }
    }
}

//! Workload pairs: how much faster the optimised side is, and whether that is as it was before.
//!
//! The unit is the trial: trial i of both sides is measured next to each other, so the ratio of their mean times is one
//! observation. Ratios multiply, so they are averaged as logarithms: the speed-up is their geometric mean, its interval
//! that of Student's t on the logarithms; two visits are compared by Welch's test on them.

use stopwatt_core::comparison::{GateState, Verdict};
use stopwatt_core::expectations::{Expectation, ExpectedMetric, ExpectedPoint};
use stopwatt_core::metric::Direction;
use stopwatt_core::metrics_doc::{Estimate, Interval, IntervalKind, MetricSummary, MetricsDoc, TrialValues};
use stopwatt_core::workload_pairs::{PairChange, PairJudged, PairSide, Speedup};
use stopwatt_stats::interval::t_mean;
use stopwatt_stats::welch::welch;

use std::collections::BTreeMap;

/// Name of the metric in expectations.
pub const SPEEDUP: &str = "speedup";
/// Metrics of the sides that say how much memory was needed, the better one first.
const MEMORY: [&str; 2] = ["peak_memory_bytes", "held_bytes"];
/// Metrics of the optimised side that say what it needs once, in seconds.
pub const ONCE: [&str; 2] = ["capture_s", "compile_s"];

fn interval(level: f64, lo: f64, hi: f64) -> Interval {
    Interval { kind: IntervalKind::Confidence, level, lo, hi }
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// Mean times of the trials of both sides, in seconds, to the speed-up. A change within `margin` (0.01 is 1 %) does not
/// matter. `None` without trials that both sides have.
pub fn speedup(baseline: &[f64], optimised: &[f64], level: f64, margin: f64) -> Option<Speedup> {
    let trials: Vec<f64> = baseline.iter().zip(optimised).map(|(a, b)| a / b).collect();
    if trials.is_empty() || trials.iter().any(|r| !(r.is_finite() && *r > 0.0)) {
        return None;
    }
    let logs: Vec<f64> = trials.iter().map(|r| r.ln()).collect();
    let found = t_mean(&logs, level).ok().map(|ci| interval(level, ci.lo.exp(), ci.hi.exp()));
    let value = mean(&logs).exp();
    let verdict = match found {
        Some(i) if i.lo > 1.0 && value > 1.0 + margin => Verdict::Improved,
        Some(i) if i.hi < 1.0 && value < 1.0 / (1.0 + margin) => Verdict::Regressed,
        Some(i) if i.lo > 1.0 / (1.0 + margin) && i.hi < 1.0 + margin => Verdict::Equivalent,
        _ => Verdict::Inconclusive,
    };
    Some(Speedup { value, interval: found, trials, verdict })
}

/// How the speed-up of a later visit stands to that of an earlier one: their trials.
pub fn change(before: &[f64], after: &[f64], level: f64) -> PairChange {
    let logs = |trials: &[f64]| trials.iter().map(|r| r.ln()).collect::<Vec<f64>>();
    let (a, b) = (logs(before), logs(after));
    let found = welch(&a, &b, level).ok().map(|w| interval(level, w.ci.lo.exp_m1(), w.ci.hi.exp_m1()));
    PairChange {
        before: mean(&a).exp(),
        after: mean(&b).exp(),
        change: (mean(&b) - mean(&a)).exp_m1(),
        interval: found,
        same: found.map(|i| i.lo <= 0.0 && i.hi >= 0.0),
    }
}

/// A speed-up against what is expected: passed when it is not worse by `margin` with confidence, failed when it is worse
/// by more and that is certain.
pub fn judged(before: &[f64], now: &[f64], level: f64, margin: f64) -> PairJudged {
    let found = change(before, now, level);
    let (state, reason) = match found.interval {
        None => (GateState::Inconclusive, Some("the trials support no interval".to_owned())),
        Some(i) if i.lo > -margin => (GateState::Passed, None),
        Some(i) if i.hi < 0.0 && found.change < -margin => (GateState::Failed, None),
        Some(_) => (GateState::Inconclusive, Some("the trials do not tell; measure more of them".to_owned())),
    };
    PairJudged {
        state,
        reason,
        before: Some(found.before),
        change: Some(found.change),
        interval: found.interval,
    }
}

/// What the run of a side comes to; `run` is where it lies.
pub fn side(mode: &str, run: &str, doc: &MetricsDoc) -> PairSide {
    let metrics = doc.points.first().map(|p| &p.metrics);
    let of = |name: &str| metrics.and_then(|m| m.get(name)).map(|s: &MetricSummary| s.mean.clone());
    let known = |e: Option<Estimate>| e.filter(|e| e.value.is_some());
    let memory = MEMORY.iter().find_map(|name| doc.custom.get(*name)?.value);
    PairSide {
        mode: mode.to_owned(),
        run: run.to_owned(),
        seconds: of("e2e").unwrap_or_else(|| Estimate::unavailable("nothing was measured")),
        tokens_per_s: known(of("output_throughput")),
        joules_per_token: known(of("energy_per_token")),
        memory_bytes: memory,
        metrics: doc.custom.clone(),
    }
}

/// Mean time of an iteration in each trial of a run, in seconds.
pub fn trial_seconds(doc: &MetricsDoc) -> Vec<f64> {
    let trials = doc.points.first().and_then(|p| p.trials.get("e2e"));
    trials.map(|t| t.mean.iter().flatten().copied().collect()).unwrap_or_default()
}

/// Iterations after which what is needed once is earned back, with the interval of the speed-up; `None` unless the
/// optimised side is faster with confidence.
pub fn break_even(
    baseline: &PairSide,
    optimised: &PairSide,
    speedup: Option<&Speedup>,
) -> Option<(f64, Interval)> {
    let once = ONCE.iter().find_map(|name| optimised.metrics.get(*name)?.value)?;
    let (of, seconds) = (speedup?, baseline.seconds.value?);
    let found = of.interval.filter(|i| i.lo > 1.0)?;
    // An iteration saves t (1 − 1/s).
    let after = |s: f64| (once / (seconds * (1.0 - s.recip()))).ceil();
    Some((after(of.value), interval(found.level, after(found.hi), after(found.lo))))
}

/// The speed-up as an expectation: what the two sides are expected to take stands in `of`, that of the optimised side.
pub fn expectation(speedup: &Speedup, of: Expectation) -> Expectation {
    let n = speedup.trials.len() as u64;
    let estimate =
        Estimate { value: Some(speedup.value), n, trials: n, interval: speedup.interval, reason: None };
    let trials =
        TrialValues { mean: speedup.trials.iter().map(|t| Some(*t)).collect(), ..TrialValues::default() };
    let metric = ExpectedMetric {
        unit: "1".to_owned(),
        better: Direction::Higher,
        definition: "speedup/1".to_owned(),
        estimates: BTreeMap::from([("mean".to_owned(), estimate)]),
        trials,
    };
    let point = ExpectedPoint {
        label: "pair".to_owned(),
        concurrency: None,
        rate_rps: None,
        input: None,
        output: None,
        engine_settings: BTreeMap::new(),
        metrics: BTreeMap::from([(SPEEDUP.to_owned(), metric)]),
    };
    let mut of = of;
    of.points.insert(0, point);
    of
}

/// The trials of a stored speed-up; `None` when the expectation is of something else.
pub fn expected_trials(expected: &Expectation) -> Option<Vec<f64>> {
    let metric = expected.points.iter().find_map(|p| p.metrics.get(SPEEDUP))?;
    Some(metric.trials.mean.iter().flatten().copied().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_speedup_is_the_geometric_mean_of_the_trials_and_its_interval_that_of_their_logarithms() {
        // Ratios 2, 4 and 8: logarithms ln 2 · (1, 2, 3), mean 2 ln 2, sd ln 2, t(0.975, 2) = 4.302653.
        let found = speedup(&[2.0, 4.0, 8.0], &[1.0; 3], 0.95, 0.01).unwrap();
        assert!((found.value - 4.0).abs() < 1e-12);
        let half = 4.302_652_729_749_464 * 2f64.ln() / 3f64.sqrt();
        let i = found.interval.unwrap();
        assert!((i.lo - 4.0 * (-half).exp()).abs() < 1e-9 && (i.hi - 4.0 * half.exp()).abs() < 1e-9);
        assert_eq!(found.verdict, Verdict::Inconclusive);
        assert_eq!(speedup(&[], &[], 0.95, 0.01), None);
        assert_eq!(speedup(&[1.0], &[0.0], 0.95, 0.01), None);
        let one = speedup(&[3.0], &[1.0], 0.95, 0.01).unwrap();
        assert_eq!((one.interval, one.verdict), (None, Verdict::Inconclusive));
    }

    #[test]
    fn verdicts_need_an_interval_and_more_than_the_margin() {
        let verdict = |ratios: &[f64]| {
            speedup(ratios, &vec![1.0; ratios.len()], 0.95, 0.01).map(|s| s.verdict).unwrap()
        };
        assert_eq!(verdict(&[1.50, 1.51, 1.49]), Verdict::Improved);
        assert_eq!(verdict(&[0.70, 0.71, 0.69]), Verdict::Regressed);
        assert_eq!(verdict(&[1.001, 1.0, 0.999, 1.0]), Verdict::Equivalent);
        assert_eq!(verdict(&[1.5, 0.7, 1.1]), Verdict::Inconclusive);
    }

    #[test]
    fn a_later_visit_is_judged_by_interval() {
        let before = [2.00, 2.02, 1.98, 2.01];
        let state = |now: &[f64]| judged(&before, now, 0.95, 0.05).state;
        assert_eq!(state(&[2.01, 2.00, 1.99, 2.0]), GateState::Passed);
        assert_eq!(state(&[1.5, 1.52, 1.49, 1.5]), GateState::Failed);
        assert_eq!(state(&[1.2, 2.9, 2.0, 1.6]), GateState::Inconclusive);
        assert_eq!(state(&[2.0]), GateState::Inconclusive);
        assert_eq!(change(&before, &[2.01, 2.0, 1.99, 2.0], 0.95).same, Some(true));
        assert_eq!(change(&before, &[1.5, 1.52, 1.49, 1.5], 0.95).same, Some(false));
    }

    #[test]
    fn what_is_needed_once_is_earned_back_only_by_a_gain_that_is_certain() {
        let of = |value: f64| Estimate { value: Some(value), ..Estimate::default() };
        let side = |seconds: f64, once: Option<f64>| PairSide {
            seconds: of(seconds),
            metrics: once.map(|s| ("compile_s".to_owned(), of(s))).into_iter().collect(),
            ..PairSide::default()
        };
        let (a, b) = (side(0.002, None), side(0.001, Some(1.0)));
        let proved = speedup(&[2.0, 2.02, 1.98], &[1.0; 3], 0.95, 0.01).unwrap();
        let (n, i) = break_even(&a, &b, Some(&proved)).unwrap();
        // 1 s at 1 ms an iteration.
        assert!((n - 1000.0).abs() <= 1.0 && i.lo < n && n < i.hi && i.hi < 1030.0, "{n} {i:?}");
        let open = speedup(&[2.0, 0.7, 1.4], &[1.0; 3], 0.95, 0.01).unwrap();
        assert_eq!(break_even(&a, &b, Some(&open)), None);
        assert_eq!(break_even(&a, &side(0.001, None), Some(&proved)), None);
    }

    /// Log-normal noise about a true speed-up: the interval holds the truth as often as it says.
    #[test]
    fn intervals_cover_as_often_as_they_say() {
        let mut state = 7u64;
        let mut unit = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (((state >> 11) as f64) + 0.5) / (1u64 << 53) as f64
        };
        let mut normal = || (-2.0 * unit().ln()).sqrt() * (std::f64::consts::TAU * unit()).cos();
        let mut noisy = |mean: f64| mean * (0.05 * normal()).exp();
        let (mut covered, mut same, visits) = (0, 0, 4000);
        for _ in 0..visits {
            let mut trials = || (0..5).map(|_| (noisy(3.0), noisy(2.0))).unzip::<f64, f64, Vec<_>, Vec<_>>();
            let ((a, b), (c, d)) = (trials(), trials());
            let first = speedup(&a, &b, 0.95, 0.01).unwrap();
            let second = speedup(&c, &d, 0.95, 0.01).unwrap();
            let i = first.interval.unwrap();
            covered += u32::from((i.lo..=i.hi).contains(&1.5));
            same += u32::from(change(&first.trials, &second.trials, 0.95).same == Some(true));
        }
        for share in [covered, same].map(|n| f64::from(n) / f64::from(visits)) {
            assert!((0.94..0.965).contains(&share), "{share}");
        }
    }
}

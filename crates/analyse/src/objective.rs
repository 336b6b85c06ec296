//! Do the objectives hold at one load, with confidence?
//!
//! | objective | tested | holds when | fails when |
//! |---|---|---|---|
//! | `pX metric < L` | share of values beyond L, failed requests included | its upper bound is at most 1 − X | its lower bound is above |
//! | `mean metric < L` | mean over trials, Student t | upper bound at most L | lower bound above |
//! | `error_rate < L` | share of failed requests | upper bound at most L | lower bound above |
//!
//! Each bound is one-sided. A load also fails when its queue grows ([`stopwatt_stats::backlog`]), since a longer run
//! would fail every limit, and when more than 1 % of its requests fail without an objective that allows it. A sample
//! between the bounds is unclear: more trials, not a guess.

use stopwatt_core::search::{ObjectiveLook, Verdict};
use stopwatt_core::stream::gaps;
use stopwatt_core::{EndKind, Metric, RequestRecord, RequestRow};
use stopwatt_stats::backlog::{Growth, growth};
use stopwatt_stats::describe::mean;
use stopwatt_stats::interval::t_mean;
use stopwatt_stats::quantile::{quantile, sort};
use stopwatt_stats::share::{Share, beyond, share};

use crate::request::{RequestMetrics, request_metrics, seconds};
use crate::slo::{Slo, Statistic};

/// Share of failed requests that is too many where no objective speaks of them.
const FAILED: f64 = 0.01;
/// Trials without which nothing holds: one stretch of luck is no evidence.
const LEAST_TRIALS: usize = 2;
/// Trials from which a load is judged by ordinary evidence.
const ENOUGH_TRIALS: usize = 3;
/// A load is looked at after each trial, so the error allowed is shared out (Bonferroni): this part of it for each look
/// from [`ENOUGH_TRIALS`] on, at most three with the five trials of the default …
const EACH: f64 = 1.0 / 3.0;
/// … and this one before, where only what is plain is decided.
const EARLY: f64 = 1.0 / 25.0;

/// One request, as far as objectives ask.
#[derive(Debug, Clone, Default)]
pub struct Sample {
    /// Whether it ended well.
    pub ok: bool,
    /// When it was meant to be sent, in seconds.
    pub begin_s: f64,
    /// When it ended, in seconds.
    pub end_s: f64,
    /// Its values; empty when it failed.
    pub values: RequestMetrics,
    /// Its inter-token latencies, in seconds; empty when it failed.
    pub itl: Vec<f64>,
}

impl Sample {
    /// What a record says; `None` for a request that we stopped.
    pub fn of(record: &RequestRecord) -> Option<Self> {
        let ok = record.end == EndKind::Ok;
        (ok || record.end.is_failure()).then(|| Self {
            ok,
            begin_s: seconds(record.intended_ns),
            end_s: seconds(record.end_ns),
            values: if ok { request_metrics(&RequestRow::of(record)) } else { RequestMetrics::default() },
            itl: if ok {
                gaps(&record.chunks).map(|g| seconds(g.per_token_ns())).collect()
            } else {
                Vec::new()
            },
        })
    }
}

/// What the trials of one load say.
#[derive(Debug, Clone, PartialEq)]
pub struct Judged {
    /// All together.
    pub verdict: Verdict,
    /// `queue` or `failures`, where these decided.
    pub veto: Option<&'static str>,
    /// One by one.
    pub objectives: Vec<ObjectiveLook>,
    /// Requests that stay behind for each that arrives.
    pub queue_growth: Option<f64>,
}

/// An objective that says nothing of a load as a whole; the first of these, if any.
pub fn without_statistic(objectives: &[Slo]) -> Option<&Slo> {
    objectives.iter().find(|o| o.statistic.is_none())
}

/// Judges one load by its trials, each in order of time. `open` says that requests came at planned times, so that a
/// queue can grow. `level` is that of each bound over all looks at the load, one after each trial.
pub fn judge(objectives: &[Slo], trials: &[Vec<Sample>], open: bool, level: f64) -> Judged {
    let level = of_look(level, trials.len());
    let looks: Vec<ObjectiveLook> = objectives.iter().map(|o| look(o, trials, level)).collect();
    let times = |t: &Vec<Sample>| t.iter().map(|s| (s.begin_s, s.end_s)).collect::<Vec<_>>();
    let queue = if open { growth(&trials.iter().map(times).collect::<Vec<_>>()) } else { None };
    let spoken = objectives.iter().any(|o| o.metric == Metric::ErrorRate);
    let failing = || share(&failed(trials), level).is_ok_and(|s| s.bounds.lo > FAILED);
    let veto = if queue.as_ref().is_some_and(Growth::grows) {
        Some("queue")
    } else if !spoken && failing() {
        Some("failures")
    } else {
        None
    };
    let enough = trials.iter().filter(|t| !t.is_empty()).count() >= LEAST_TRIALS;
    let verdict = if veto.is_some() || looks.iter().any(|l| l.verdict == Verdict::Fails) {
        Verdict::Fails
    } else if enough && looks.iter().all(|l| l.verdict == Verdict::Holds) {
        Verdict::Holds
    } else {
        Verdict::Unclear
    };
    Judged { verdict, veto, objectives: looks, queue_growth: queue.map(|q| q.share()) }
}

/// Confidence of a bound in one of the looks, so that all of them together have `level`.
fn of_look(level: f64, trials: usize) -> f64 {
    1.0 - (1.0 - level) * if trials < ENOUGH_TRIALS { EARLY } else { EACH }
}

/// Requests without a late one from which a load holds `1 − allowed` at `level`, the sooner the more trials share them.
pub fn needed(allowed: f64, level: f64) -> u64 {
    ((1.0 - of_look(level, ENOUGH_TRIALS)).ln() / (1.0 - allowed).ln()).ceil() as u64
}

fn failed(trials: &[Vec<Sample>]) -> Vec<Vec<bool>> {
    trials.iter().map(|t| t.iter().map(|s| !s.ok).collect()).collect()
}

fn look(objective: &Slo, trials: &[Vec<Sample>], level: f64) -> ObjectiveLook {
    match (objective.metric, objective.statistic) {
        (Metric::ErrorRate, _) => {
            of_share(objective, None, share(&failed(trials), level).ok(), objective.limit)
        }
        (_, Some(Statistic::Percentile(p))) => percentile(objective, p / 100.0, trials, level),
        (_, Some(Statistic::Mean) | None) => of_mean(objective, trials, level),
    }
}

/// The values of one request: one, or one a gap.
fn values(sample: &Sample, metric: Metric) -> Vec<f64> {
    match metric {
        Metric::Itl => sample.itl.clone(),
        _ => sample.values.value(metric).into_iter().collect(),
    }
}

fn percentile(objective: &Slo, p: f64, trials: &[Vec<Sample>], level: f64) -> ObjectiveLook {
    // A failed request is later than any limit.
    let with_failures = |s: &Sample| if s.ok { values(s, objective.metric) } else { vec![f64::INFINITY] };
    let trials: Vec<Vec<f64>> = trials.iter().map(|t| t.iter().flat_map(with_failures).collect()).collect();
    let mut all = trials.concat();
    sort(&mut all);
    let value = (!all.is_empty()).then(|| quantile(&all, p)).filter(|v| v.is_finite());
    of_share(objective, value, beyond(&trials, objective.limit, level).ok(), 1.0 - p)
}

fn of_share(objective: &Slo, value: Option<f64>, found: Option<Share>, allowed: f64) -> ObjectiveLook {
    let bounds = found.map(|s| (s.value, s.bounds.lo, s.bounds.hi));
    let value = if objective.metric == Metric::ErrorRate { found.map(|s| s.value) } else { value };
    judged(objective, value, bounds, allowed)
}

fn of_mean(objective: &Slo, trials: &[Vec<Sample>], level: f64) -> ObjectiveLook {
    let of_trial = |t: &Vec<Sample>| {
        let all: Vec<f64> = t.iter().flat_map(|s| values(s, objective.metric)).collect();
        (!all.is_empty()).then(|| mean(&all))
    };
    let means: Vec<f64> = trials.iter().filter_map(of_trial).collect();
    let value = (!means.is_empty()).then(|| mean(&means));
    // One-sided bounds at `level` are the two sides of an interval at 2·level − 1.
    let bounds = t_mean(&means, 2.0 * level - 1.0).ok().zip(value).map(|(ci, v)| (v, ci.lo, ci.hi));
    judged(objective, value, bounds, objective.limit)
}

fn judged(
    objective: &Slo,
    value: Option<f64>,
    bounds: Option<(f64, f64, f64)>,
    allowed: f64,
) -> ObjectiveLook {
    let verdict = match bounds {
        // p = 0.99 leaves 1 − p a rounding error above 0.01.
        Some((_, _, hi)) if hi <= allowed * (1.0 + 1e-9) => Verdict::Holds,
        Some((_, lo, _)) if lo > allowed * (1.0 + 1e-9) => Verdict::Fails,
        _ => Verdict::Unclear,
    };
    ObjectiveLook {
        objective: objective.to_string(),
        value,
        tested: bounds.map(|b| b.0),
        lo: bounds.map(|b| b.1),
        hi: bounds.map(|b| b.2),
        allowed,
        verdict,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::slo::parse;

    fn trial(ttfts: &[f64]) -> Vec<Sample> {
        let sample = |(i, ttft): (usize, &f64)| Sample {
            ok: ttft.is_finite(),
            begin_s: i as f64,
            end_s: i as f64 + ttft.min(0.9),
            values: RequestMetrics { ttft: Some(*ttft).filter(|t| t.is_finite()), ..Default::default() },
            itl: Vec::new(),
        };
        ttfts.iter().enumerate().map(sample).collect()
    }

    #[track_caller]
    fn check(text: &str, trials: &[Vec<f64>], expected: Verdict) -> Judged {
        let trials: Vec<Vec<Sample>> = trials.iter().map(|t| trial(t)).collect();
        let got = judge(&parse(text).unwrap(), &trials, true, 0.95);
        assert_eq!(got.verdict, expected, "{got:?}");
        got
    }

    #[test]
    fn a_percentile_needs_its_sample_to_hold_and_little_to_fail() {
        // 0.05/3 at each look from three trials on: ln 0.016 67/ln 0.99 = 407.4; 0.05/25 before: 618.4.
        assert_eq!(needed(0.01, 0.95), 408);
        let fast = |n| vec![0.1; n];
        check("p99 ttft < 500ms", &[fast(136), fast(136), fast(135)], Verdict::Unclear);
        check("p99 ttft < 500ms", &[fast(136), fast(136), fast(136)], Verdict::Holds);
        check("p99 ttft < 500ms", &[fast(309), fast(309)], Verdict::Unclear);
        check("p99 ttft < 500ms", &[fast(310), fast(309)], Verdict::Holds);
        // The same requests in one trial are one stretch of luck.
        check("p99 ttft < 500ms", &[fast(900)], Verdict::Unclear);
        // Five late ones of 30, spread out, are far beyond 1 %.
        let mut few = fast(30);
        [4, 9, 14, 20, 26].into_iter().for_each(|i| few[i] = 0.6);
        let got = check("p99 ttft < 500ms", &[few], Verdict::Fails);
        assert_eq!(got.objectives[0].tested, Some(5.0 / 30.0));
        assert_eq!(got.objectives[0].value, Some(0.6));
    }

    #[test]
    fn failures_are_late_and_too_many_veto() {
        let mut some = vec![0.1; 60];
        (0..60).step_by(6).for_each(|i| some[i] = f64::INFINITY);
        let got = check("p99 ttft < 500ms", &[some.clone()], Verdict::Fails);
        assert_eq!(got.veto, Some("failures"));
        // An objective of their own speaks for them; the mean is that of those that ended well.
        let both = vec![some; 3];
        assert_eq!(check("mean ttft < 500ms", &both, Verdict::Fails).veto, Some("failures"));
        check("mean ttft < 500ms, error_rate < 40%", &both, Verdict::Holds);
        check("mean ttft < 500ms, error_rate < 1%", &both, Verdict::Fails);
    }

    #[test]
    fn a_mean_is_judged_over_trials() {
        // Means 0.1, 0.2, 0.3 have a standard error of 0.1/√3 = 0.057 74; t(2) at 1 − 0.05/3 is 5.3: 0.2 ± 0.307.
        let trials = [vec![0.1; 9], vec![0.2; 9], vec![0.3; 9]];
        check("mean ttft < 520ms", &trials, Verdict::Holds);
        check("mean ttft < 490ms", &trials, Verdict::Unclear);
        let steady = [vec![0.2; 9], vec![0.21; 9], vec![0.22; 9]];
        check("mean ttft < 170ms", &steady, Verdict::Fails);
        check("mean ttft < 900ms", &trials[..1], Verdict::Unclear);
    }

    #[test]
    fn a_growing_queue_fails_whatever_the_latency() {
        let behind = |i: usize| Sample {
            ok: true,
            begin_s: i as f64,
            end_s: 2.0 * i as f64 + 1.0,
            values: RequestMetrics { ttft: Some(0.01), ..Default::default() },
            itl: Vec::new(),
        };
        let trials: Vec<Vec<Sample>> = vec![(0..40).map(behind).collect(); 2];
        let objectives = parse("p50 ttft < 1s").unwrap();
        let open = judge(&objectives, &trials, true, 0.95);
        assert_eq!((open.verdict, open.veto), (Verdict::Fails, Some("queue")));
        assert!((open.queue_growth.unwrap() - 0.5).abs() < 0.05);
        assert_eq!(judge(&objectives, &trials, false, 0.95).verdict, Verdict::Holds);
    }

    #[test]
    fn nothing_measured_is_unclear() {
        check("p99 ttft < 1s, mean ttft < 1s", &[], Verdict::Unclear);
        let bare = parse("p99 ttft < 1s, ttft < 1s").unwrap();
        assert_eq!(without_statistic(&bare), Some(&bare[1]));
    }
}

//! Do the objectives hold at one load, with confidence?
//!
//! | objective | tested | holds when | fails when |
//! |---|---|---|---|
//! | `pX metric < L` | share of values beyond L, failed requests included | its upper bound is at most 1 − X | its lower bound is above |
//! | `mean metric < L` | mean, Student t over trials | upper bound at most L | lower bound above |
//! | `error_rate < L` | share of failed requests | upper bound at most L | lower bound above |
//!
//! Each bound is one-sided. A load also fails when its queue grows ([`stopwatt_stats::backlog`]), since a longer run
//! would fail every limit, and when more than 1 % of its requests fail without an objective that allows it. A sample
//! between the bounds is unclear: more trials, not a guess.

use stopwatt_core::search::{ObjectiveLook, Verdict};
use stopwatt_core::stream::gaps;
use stopwatt_core::{EndKind, Metric, RequestRecord, RequestRow};
use stopwatt_stats::Unsupported;
use stopwatt_stats::backlog::growth;
use stopwatt_stats::describe::mean;
use stopwatt_stats::quantile::{quantile, sort};
use stopwatt_stats::share::{Share, beyond, mean_of, share};

use crate::request::{RequestMetrics, request_metrics, seconds};
use crate::slo::{Slo, Statistic};

/// Share of failed requests that is too many where no objective speaks of them.
const FAILED: f64 = 0.01;
/// Trials without which nothing holds: one stretch of luck is no evidence.
const LEAST_TRIALS: usize = 2;
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

/// Judges one load by its trials so far, each in order of time, of at most `most`. `open` says that requests came at
/// planned times, so that a queue can grow. `level` is that of each side over all looks at the load, one after each
/// trial: with 0.975, a load that fails is said to hold with a probability of at most 2.5 %, and one that holds to fail.
pub fn judge(objectives: &[Slo], trials: &[Vec<Sample>], most: usize, open: bool, level: f64) -> Judged {
    let allowed = spent(trials.len(), most) * (1.0 - level);
    let spoken = objectives.iter().any(|o| o.metric == Metric::ErrorRate);
    // All have to hold, so each may use the whole error; one is enough to fail, so there they share it.
    let reasons = objectives.len() + usize::from(open) + usize::from(!spoken);
    let levels = Levels { holds: 1.0 - allowed, fails: 1.0 - allowed / reasons.max(1) as f64 };
    let looks: Vec<ObjectiveLook> = objectives.iter().map(|o| look(o, trials, levels)).collect();
    let times = |t: &Vec<Sample>| t.iter().map(|s| (s.begin_s, s.end_s)).collect::<Vec<_>>();
    let queue = if open { growth(&trials.iter().map(times).collect::<Vec<_>>()) } else { None };
    let failing = || share(&failed(trials), levels.fails).is_ok_and(|s| s.bounds.lo > FAILED);
    let veto = if queue.as_ref().is_some_and(|q| q.grows(levels.fails)) {
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

/// Confidence of the bound above, by which an objective holds, and of the one below, by which it fails.
#[derive(Debug, Clone, Copy)]
struct Levels {
    holds: f64,
    fails: f64,
}

/// Part of the error that is spent on the look after so many trials: looking often is paid for, and the cube leaves most
/// of it to the last looks, where the sample is largest (Kim & DeMets, "Design and analysis of group sequential tests
/// based on the type I error spending rate function", Biometrika 74 (1987), 149–154). The parts add up to 1, so that
/// their sum bounds the error whatever the looks have in common (Bonferroni).
fn spent(trials: usize, most: usize) -> f64 {
    let until = |k: usize| (k as f64 / most.max(trials).max(1) as f64).powi(3);
    until(trials.max(1)) - until(trials.saturating_sub(1))
}

/// Independent requests without a late one from which a load holds `1 − allowed` at `level` in the last of so many
/// trials. Requests of a queue follow each other, so more of them are needed the longer it is: see
/// [`stopwatt_stats::share`].
pub fn requests_needed(allowed: f64, level: f64, trials: usize) -> u64 {
    ((spent(trials, trials) * (1.0 - level)).ln() / (1.0 - allowed).ln()).ceil() as u64
}

fn failed(trials: &[Vec<Sample>]) -> Vec<Vec<bool>> {
    trials.iter().map(|t| t.iter().map(|s| !s.ok).collect()).collect()
}

fn look(objective: &Slo, trials: &[Vec<Sample>], levels: Levels) -> ObjectiveLook {
    match (objective.metric, objective.statistic) {
        (Metric::ErrorRate, _) => {
            let failed = failed(trials);
            let found = levels.both(|level| share(&failed, level));
            judged(objective, found.map(|f| f.value), found, objective.limit)
        }
        (_, Some(Statistic::Percentile(p))) => percentile(objective, p / 100.0, trials, levels),
        (_, Some(Statistic::Mean) | None) => {
            let all = |t: &Vec<Sample>| t.iter().flat_map(|s| values(s, objective.metric)).collect();
            let trials: Vec<Vec<f64>> = trials.iter().map(all).collect();
            let n: usize = trials.iter().map(Vec::len).sum();
            let value = (n > 0).then(|| mean(&trials.concat()));
            judged(objective, value, levels.both(|level| mean_of(&trials, level)), objective.limit)
        }
    }
}

/// What was tested, with a bound for each verdict.
#[derive(Debug, Clone, Copy)]
struct Found {
    value: f64,
    lo: f64,
    hi: f64,
}

impl Levels {
    fn both(self, at: impl Fn(f64) -> Result<Share, Unsupported>) -> Option<Found> {
        let (holds, fails) = (at(self.holds).ok()?, at(self.fails).ok()?);
        Some(Found { value: holds.value, lo: fails.bounds.lo, hi: holds.bounds.hi })
    }
}

/// The values of one request: one, or one a gap.
fn values(sample: &Sample, metric: Metric) -> Vec<f64> {
    match metric {
        Metric::Itl => sample.itl.clone(),
        _ => sample.values.value(metric).into_iter().collect(),
    }
}

fn percentile(objective: &Slo, p: f64, trials: &[Vec<Sample>], levels: Levels) -> ObjectiveLook {
    // A failed request is later than any limit.
    let with_failures = |s: &Sample| if s.ok { values(s, objective.metric) } else { vec![f64::INFINITY] };
    let trials: Vec<Vec<f64>> = trials.iter().map(|t| t.iter().flat_map(with_failures).collect()).collect();
    let mut all = trials.concat();
    sort(&mut all);
    let value = (!all.is_empty()).then(|| quantile(&all, p)).filter(|v| v.is_finite());
    let found = levels.both(|level| beyond(&trials, objective.limit, level));
    judged(objective, value, found, 1.0 - p)
}

fn judged(objective: &Slo, value: Option<f64>, found: Option<Found>, allowed: f64) -> ObjectiveLook {
    let verdict = match found {
        // p = 0.99 leaves 1 − p a rounding error above 0.01.
        Some(f) if f.hi <= allowed * (1.0 + 1e-9) => Verdict::Holds,
        Some(f) if f.lo > allowed * (1.0 + 1e-9) => Verdict::Fails,
        _ => Verdict::Unclear,
    };
    ObjectiveLook {
        objective: objective.to_string(),
        value,
        tested: found.map(|f| f.value),
        lo: found.map(|f| f.lo),
        hi: found.map(|f| f.hi).filter(|hi| hi.is_finite()),
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
        let got = judge(&parse(text).unwrap(), &trials, 3, true, 0.95);
        assert_eq!(got.verdict, expected, "{got:?}");
        got
    }

    #[test]
    fn a_percentile_needs_its_sample_to_hold_and_little_to_fail() {
        // 19/27 of 0.05 at the last of three looks: ln 0.035 19/ln 0.99 = 333.04; 7/27 of it before: 432.4.
        assert_eq!(requests_needed(0.01, 0.95, 3), 334);
        let fast = |n| vec![0.1; n];
        check("p99 ttft < 500ms", &[fast(111), fast(111), fast(111)], Verdict::Unclear);
        check("p99 ttft < 500ms", &[fast(112), fast(111), fast(111)], Verdict::Holds);
        check("p99 ttft < 500ms", &[fast(216), fast(216)], Verdict::Unclear);
        check("p99 ttft < 500ms", &[fast(217), fast(216)], Verdict::Holds);
        // The same requests in one trial are one stretch of luck.
        check("p99 ttft < 500ms", &[fast(900)], Verdict::Unclear);
        // Five late ones of 30, spread out, are far beyond 1 %, but not by one trial alone.
        let mut few = fast(30);
        [4, 9, 14, 20, 26].into_iter().for_each(|i| few[i] = 0.6);
        check("p99 ttft < 500ms", &[few.clone()], Verdict::Unclear);
        let got = check("p99 ttft < 500ms", &[few.clone(), few.clone(), few], Verdict::Fails);
        assert_eq!(got.objectives[0].tested, Some(15.0 / 90.0));
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
        // One more trial of 0.3: 0.225, standard error 0.047 87, t(3) at 1 − 0.035 is 2.7: up to 0.54.
        let trials = [vec![0.1; 9], vec![0.2; 9], vec![0.3; 9]];
        check("mean ttft < 600ms", &trials, Verdict::Holds);
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
        let open = judge(&objectives, &trials, 3, true, 0.95);
        assert_eq!((open.verdict, open.veto), (Verdict::Fails, Some("queue")));
        assert!((open.queue_growth.unwrap() - 0.5).abs() < 0.05);
        assert_eq!(judge(&objectives, &trials, 3, false, 0.95).verdict, Verdict::Holds);
    }

    #[test]
    fn nothing_measured_is_unclear() {
        check("p99 ttft < 1s, mean ttft < 1s", &[], Verdict::Unclear);
        let bare = parse("p99 ttft < 1s, ttft < 1s").unwrap();
        assert_eq!(without_statistic(&bare), Some(&bare[1]));
    }
}

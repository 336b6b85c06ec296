//! From a run to what is expected of its target, and which gates a later run must clear.

use std::collections::BTreeMap;

use stopwatt_core::Metric;
use stopwatt_core::clock::Nanos;
use stopwatt_core::expectations::{Expectation, ExpectedMetric, ExpectedPoint};
use stopwatt_core::fingerprint::Fingerprint;
use stopwatt_core::log::{Fact, LogEvent};
use stopwatt_core::metric::Direction;
use stopwatt_core::metrics_doc::{MetricsDoc, Point};

use crate::compare::{Facts, Gate};

/// Trials that an expectation rests on at least: with fewer nothing can be compared with it.
const TRIALS: usize = 2;

/// Why a run cannot become an expectation.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NoExpectation {
    /// Its own verdict says so.
    #[error("run {id} is not valid: {codes}")]
    Invalid {
        /// The run.
        id: String,
        /// The fatal findings.
        codes: String,
    },
    /// Nothing could be compared with it.
    #[error("run {id} has {trials} trial{} at {point}; at least 2 are needed", if *trials == 1 { "" } else { "s" })]
    TooFewTrials {
        /// The run.
        id: String,
        /// The point.
        point: String,
        /// Its trials.
        trials: usize,
    },
    /// It measured nothing.
    #[error("run {id} holds no measured point")]
    Empty {
        /// The run.
        id: String,
    },
}

/// The fingerprint in a log, and when the run began.
pub fn machine(log: &[LogEvent]) -> (Fingerprint, Option<Nanos>) {
    let fingerprint = log.iter().find_map(|e| match &e.fact {
        Fact::Fingerprint { fingerprint } => Some(fingerprint.clone()),
        _ => None,
    });
    let began = log.iter().find_map(|e| match &e.fact {
        Fact::RunStarted { clock, .. } => Some(clock.t0_unix_ns),
        _ => None,
    });
    (fingerprint.unwrap_or_default(), began)
}

/// What a run shows of its target.
///
/// # Errors
/// The run is not valid, or has fewer than two trials at a point.
pub fn expectation(doc: &MetricsDoc, log: &[LogEvent], facts: &Facts) -> Result<Expectation, NoExpectation> {
    let id = || doc.run_id.clone();
    if !doc.validity.valid {
        let fatal = doc.validity.reasons.iter().filter(|r| r.fatal).map(|r| r.code.as_str());
        return Err(NoExpectation::Invalid { id: id(), codes: fatal.collect::<Vec<_>>().join(", ") });
    }
    if doc.points.is_empty() {
        return Err(NoExpectation::Empty { id: id() });
    }
    for point in &doc.points {
        let trials = point.trials.values().map(|t| t.mean.iter().flatten().count()).max().unwrap_or(0);
        if trials < TRIALS {
            return Err(NoExpectation::TooFewTrials { id: id(), point: point.label.clone(), trials });
        }
    }
    let (fingerprint, began) = machine(log);
    Ok(Expectation {
        run_id: id(),
        measured_unix_ns: began,
        stopwatt: fingerprint.stopwatt,
        env_hash: doc.env.hash.clone(),
        fixed_clock: doc.env.fixed_clock,
        facts: facts.binding(),
        points: doc.points.iter().map(point).collect(),
    })
}

fn point(point: &Point) -> ExpectedPoint {
    let metric = |(name, trials): (&String, &stopwatt_core::metrics_doc::TrialValues)| {
        let summary = point.metrics.get(name)?;
        let kept = ["mean", "p50", "p95", "p99"];
        let estimates: BTreeMap<_, _> = summary
            .statistics()
            .into_iter()
            .filter(|(s, e)| kept.contains(s) && e.value.is_some())
            .map(|(s, e)| (s.to_owned(), e.clone()))
            .collect();
        let expected = ExpectedMetric {
            unit: summary.unit.clone(),
            better: summary.better,
            definition: summary.definition.clone(),
            estimates,
            trials: trials.clone(),
        };
        trials.mean.iter().any(Option::is_some).then(|| (name.clone(), expected))
    };
    ExpectedPoint {
        label: point.label.clone(),
        concurrency: point.concurrency,
        rate_rps: point.rate_rps,
        input: point.input,
        output: point.output,
        engine_settings: point.engine_settings.clone(),
        metrics: point.trials.iter().filter_map(metric).collect(),
    }
}

/// Gates that a run must clear: each judged metric may be worse by less than the margin. One that was never measured
/// for the expectation has no gate: nothing is expected of it.
pub fn gates(expected: &Expectation, primary: &[(String, String)], margin: f64) -> Vec<Gate> {
    let known = |metric: &str, statistic: &str| {
        expected
            .points
            .iter()
            .any(|p| p.metrics.get(metric).is_some_and(|m| m.estimates.contains_key(statistic)))
    };
    primary
        .iter()
        .filter(|(metric, statistic)| known(metric, statistic))
        .filter_map(|(metric, statistic)| {
            let better = Metric::from_name(metric).map_or(Direction::Lower, |m| m.info().better);
            Gate::not_worse(metric, statistic, better, margin)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use stopwatt_core::comparison::GateState;

    use super::*;
    use crate::compare::{Options, Side, compare};
    use crate::testing::{log, whole_requests, whole_run};
    use crate::{Input, Recorded, Settings, analyse};

    fn run() -> (MetricsDoc, Vec<LogEvent>) {
        let log = log(&whole_run());
        let record = Recorded::of(&whole_requests());
        let mut doc = analyse(&Input { log: &log, record: &record, settings: &Settings::default() });
        doc.validity.valid = true;
        for point in &mut doc.points {
            point.trials.get_mut("ttft").unwrap().mean =
                [0.1, 0.101, 0.099, 0.1005, 0.0995].map(Some).to_vec();
        }
        (doc, log)
    }

    #[test]
    fn a_run_meets_what_it_became_the_expectation_of() {
        let (doc, log) = run();
        let facts = Facts::of_run(&log, &serde_json::Value::Null);
        let expected = expectation(&doc, &log, &facts).unwrap();
        assert_eq!((expected.run_id.as_str(), expected.measured_unix_ns), ("example", Some(7)));
        assert_eq!(expected.facts["machine.cpu"], "Example CPU");
        let ttft = &expected.points[0].metrics["ttft"];
        assert_eq!(ttft.trials.mean.len(), 5);
        assert_eq!(ttft.estimates["mean"].trials, 2);

        let primary = vec![("ttft".to_owned(), "mean".to_owned()), ("goodput".to_owned(), "mean".to_owned())];
        let judged = |margin: f64, doc: &MetricsDoc| {
            let gates = gates(&expected, &primary, margin);
            assert_eq!(gates.len(), 1, "nothing is expected of goodput, which was not measured");
            let options = Options { gates, margin, primary: primary.clone(), ..Options::default() };
            let stored = Side::of_expectation("expected", &expected);
            let run = Side::of_run("now", doc, facts.only_binding());
            compare(&stored, &[run], &options).gate
        };
        assert_eq!(judged(0.05, &doc), Some(GateState::Passed));
        assert_eq!(judged(0.001, &doc), Some(GateState::Inconclusive), "noise of 0.8 % hides 0.1 %");
        let mut slow = doc.clone();
        for point in &mut slow.points {
            point.trials.get_mut("ttft").unwrap().mean = [0.12, 0.121, 0.119, 0.12, 0.12].map(Some).to_vec();
        }
        assert_eq!(judged(0.05, &slow), Some(GateState::Failed));
    }

    #[test]
    fn what_proves_nothing_is_no_expectation() {
        let (mut doc, log) = run();
        let facts = Facts::default();
        doc.points[1].trials.values_mut().for_each(|t| t.mean.truncate(1));
        let few = expectation(&doc, &log, &facts).unwrap_err();
        assert_eq!(few.to_string(), "run example has 1 trial at c=2; at least 2 are needed");
        doc.validity.valid = false;
        assert!(matches!(expectation(&doc, &log, &facts), Err(NoExpectation::Invalid { .. })));
        let (mut doc, log) = run();
        doc.points.clear();
        assert!(matches!(expectation(&doc, &log, &facts), Err(NoExpectation::Empty { .. })));
    }
}

//! What the engine said of itself while a point was measured.
//!
//! Gauges come from the readings inside the measuring windows, counters from the readings at the ends of each trial
//! and those between, so that a restart of the engine in the middle is seen and does not count backwards.

use stopwatt_core::engine::{EngineUse, GAUGES, Gauge, KV_USAGE, TOTALS, increase};
use stopwatt_core::metrics_doc::Estimate;

use crate::measured::{Point, Trial};
use crate::settings::Settings;
use crate::summary::{EXTREME, Range, mean_of_trials};

const NO_METRICS: &str =
    "the engine has no metrics that are understood, or they were not read (measure.scrape_s)";
const NOT_INSIDE: &str = "no reading fell into a measuring window (measure.scrape_s)";
const NOT_GIVEN: &str = "the engine does not give it";
const A_COUNT: &str = "a count has no interval";

/// The engine's block of a point.
pub(crate) fn engine_use(point: &Point<'_>, settings: &Settings) -> EngineUse {
    let readings = || point.trials.iter().flat_map(|t| &t.readings);
    let good = readings().filter(|r| !r.counters.is_empty()).count() as u64;
    let gauge = |key: &str| {
        let of = |t: &Trial<'_>| t.readings.iter().filter_map(|r| r.counters.get(key).copied()).collect();
        let trials: Vec<Vec<f64>> =
            point.trials.iter().map(of).filter(|v: &Vec<f64>| !v.is_empty()).collect();
        let means: Vec<f64> = trials.iter().map(|v| v.iter().sum::<f64>() / v.len() as f64).collect();
        let absent = match (good, any_counter(point)) {
            (0, true) => NOT_INSIDE,
            (0, false) => NO_METRICS,
            _ => NOT_GIVEN,
        };
        let range = if key == KV_USAGE { Range::Share } else { Range::NotNegative };
        let n = trials.iter().map(Vec::len).sum::<usize>() as u64;
        let mean = Estimate { n, ..mean_of_trials(&means, range, settings, absent) };
        let max = match trials.concat().into_iter().reduce(f64::max) {
            None => Estimate::unavailable(absent),
            Some(max) => without_interval(max, n, trials.len(), EXTREME),
        };
        (key.to_owned(), Gauge { mean, max })
    };
    let total = |key: &str| {
        let rises: Vec<f64> =
            point.trials.iter().filter_map(|t| rise(t, key)).map(|(rise, _)| rise).collect();
        let estimate = match (rises.len(), any_counter(point)) {
            (0, false) => Estimate::unavailable(NO_METRICS),
            (0, true) => Estimate::unavailable(NOT_GIVEN),
            (n, _) => without_interval(rises.iter().sum(), n as u64, n, A_COUNT),
        };
        (key.to_owned(), estimate)
    };
    EngineUse {
        readings: good,
        missed: readings().count() as u64 - good,
        slowest_reading_s: readings().map(|r| r.took_s).reduce(f64::max),
        gauges: GAUGES.into_iter().map(gauge).collect(),
        totals: TOTALS.into_iter().map(total).collect(),
    }
}

fn without_interval(value: f64, n: u64, trials: usize, reason: &str) -> Estimate {
    Estimate { value: Some(value), n, trials: trials as u64, interval: None, reason: Some(reason.to_owned()) }
}

/// Whether the engine gave anything at all.
fn any_counter(point: &Point<'_>) -> bool {
    let at_ends = |t: &Trial<'_>| t.end.is_some_and(|e| !e.before.is_empty() || !e.after.is_empty());
    point.trials.iter().any(|t| at_ends(t) || t.readings.iter().any(|r| !r.counters.is_empty()))
}

/// How far a counter rose over a trial, and how often it fell; `None` without a reading at both ends.
pub(crate) fn rise(trial: &Trial<'_>, key: &str) -> Option<(f64, u64)> {
    let end = trial.end?;
    let (before, after) = (*end.before.get(key)?, *end.after.get(key)?);
    let between = trial.readings.iter().filter_map(|r| r.counters.get(key).copied());
    increase([before].into_iter().chain(between).chain([after]))
}

#[cfg(test)]
mod tests {
    use stopwatt_core::engine::{EngineCounters, GENERATION_TOKENS, PREEMPTIONS, RUNNING, WAITING};
    use stopwatt_core::log::{Fact, LogEvent};

    use super::*;
    use crate::Recorded;
    use crate::measured::Measured;
    use crate::testing::{log, trial_ended};

    fn counters(values: &[(&str, f64)]) -> EngineCounters {
        values.iter().map(|(k, v)| ((*k).to_owned(), *v)).collect()
    }

    fn reading(at_ms: i64, values: &[(&str, f64)]) -> Fact {
        let problem = values.is_empty().then(|| "/metrics answers 500".to_owned());
        Fact::EngineReading {
            at_ns: at_ms * 1_000_000,
            took_s: at_ms as f64 * 1e-6,
            counters: counters(values),
            problem,
        }
    }

    fn trial(trial: u32, start_ms: i64, end_ms: i64, before: f64, after: f64) -> Fact {
        let mut fact = trial_ended(0, trial, start_ms, end_ms);
        if let Fact::TrialEnded { counters_before, counters_after, .. } = &mut fact {
            *counters_before = counters(&[(GENERATION_TOKENS, before)]);
            *counters_after = counters(&[(GENERATION_TOKENS, after)]);
        }
        fact
    }

    fn block(log: &[LogEvent]) -> EngineUse {
        let record = Recorded::of(&[]);
        engine_use(&Measured::sort(log, &record).points[0], &Settings::default())
    }

    #[test]
    fn by_hand() {
        let load = |at, running, waiting, tokens| {
            reading(at, &[(RUNNING, running), (WAITING, waiting), (GENERATION_TOKENS, tokens)])
        };
        let facts = [
            load(50, 9.0, 9.0, 10.0), // before any window
            load(200, 2.0, 0.0, 40.0),
            load(400, 4.0, 1.0, 60.0),
            reading(450, &[]),
            trial(0, 100, 500, 20.0, 100.0),
            load(700, 4.0, 6.0, 130.0),
            load(900, 4.0, 6.0, 5.0), // the engine began again
            trial(1, 600, 1000, 100.0, 25.0),
        ];
        let found = block(&log(&facts));
        assert_eq!((found.readings, found.missed, found.slowest_reading_s), (4, 1, Some(0.0009)));
        let running = &found.gauges[RUNNING];
        // Trial means 3 and 4.
        assert_eq!((running.mean.value, running.mean.n, running.mean.trials), (Some(3.5), 4, 2));
        assert!(running.mean.interval.is_some());
        assert_eq!((running.max.value, found.gauges[WAITING].max.value), (Some(4.0), Some(6.0)));
        // 80 in the first trial; 30, 5 and 20 in the second.
        assert_eq!(found.totals[GENERATION_TOKENS].value, Some(80.0 + 55.0));
        assert_eq!(found.gauges[KV_USAGE].mean.reason.as_deref(), Some(NOT_GIVEN));
        assert_eq!(found.totals[PREEMPTIONS].reason.as_deref(), Some(NOT_GIVEN));
    }

    #[test]
    fn what_is_absent_has_a_reason() {
        let silent = block(&log(&[trial_ended(0, 0, 0, 100)]));
        assert_eq!(silent.gauges[RUNNING].mean.reason.as_deref(), Some(NO_METRICS));
        assert_eq!(silent.totals[GENERATION_TOKENS].reason.as_deref(), Some(NO_METRICS));
        assert_eq!(silent.slowest_reading_s, None);
        let short = block(&log(&[trial(0, 0, 100, 1.0, 2.0)]));
        assert_eq!(short.gauges[RUNNING].max.reason.as_deref(), Some(NOT_INSIDE));
        assert_eq!(short.totals[GENERATION_TOKENS].value, Some(1.0));
    }
}

//! The record, sorted: points, their trials, and the rows of each trial.
//!
//! Rows of the warm-up are counted and left out. A trial whose end was never logged (the run was cut off) keeps its
//! rows; its window then reaches from the first intended send time to the last end.

use std::collections::BTreeMap;

use stopwatt_core::clock::Nanos;
use stopwatt_core::cpu_counters::CpuTrial;
use stopwatt_core::log::{EngineCounters, Fact, LogEvent, PlannedPoint, ReadStamps};
use stopwatt_core::power::{GpuTrial, TrialEnergy};
use stopwatt_core::quality::Quality;
use stopwatt_core::stream::TrialKey;
use stopwatt_core::{EndKind, RequestRow};

use crate::recorded::{Recorded, StreamGaps};
use crate::request::{RequestMetrics, request_metrics, seconds};

/// Everything measured, by point.
#[derive(Debug, Default)]
pub(crate) struct Measured<'a> {
    /// Points with at least one row or ended trial, in order of the plan.
    pub(crate) points: Vec<Point<'a>>,
    /// Requests spent on warm-up.
    pub(crate) warmup_requests: u64,
}

/// One point.
#[derive(Debug)]
pub(crate) struct Point<'a> {
    /// Index in the plan.
    pub(crate) index: u32,
    /// What was planned.
    pub(crate) planned: PlannedPoint,
    /// Trials that measured anything, in order.
    pub(crate) trials: Vec<Trial<'a>>,
    /// Cache counters of each profiled run.
    pub(crate) cache_runs: Vec<CacheRun>,
    /// Why there is none.
    pub(crate) no_cache: Option<&'a str>,
    /// How good the outputs are, or why that is not known.
    pub(crate) quality: Result<&'a Quality, &'a str>,
    /// Power of the machine after the load, in watts, or why it is not known.
    pub(crate) idle_w: Result<f64, Option<&'a str>>,
    /// Gaps of the whole record.
    gaps: &'a StreamGaps,
}

/// One trial.
#[derive(Debug)]
pub(crate) struct Trial<'a> {
    /// Its index in the point.
    pub(crate) index: u32,
    /// What was logged at its end; `None` when it was cut off.
    pub(crate) end: Option<TrialEnd<'a>>,
    /// Begin of the window.
    pub(crate) start_ns: Nanos,
    /// End of the window.
    pub(crate) end_ns: Nanos,
    /// Its requests, in order of planning.
    pub(crate) requests: &'a [RequestRow],
    /// Readings of the engine's counters inside the window.
    pub(crate) readings: Vec<Reading<'a>>,
    /// Prompt tokens that a cold prefix cache could have found at most; `None` where the run did not say.
    pub(crate) expected_hits: Option<u64>,
    /// What sensors said; `None` where the run had none.
    pub(crate) power: Option<TrialPower<'a>>,
    /// What the CPU's counters said, or why they did not; `None` where nobody looked.
    pub(crate) cpu: Option<Result<&'a CpuTrial, &'a str>>,
}

/// What [`Fact::CacheRun`] says.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CacheRun {
    pub(crate) l2_hit: Option<f64>,
    /// Bytes read and written, of one iteration.
    pub(crate) dram_bytes: Option<f64>,
}

/// What [`Fact::TrialPower`] says.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TrialPower<'a> {
    pub(crate) energy: Option<&'a TrialEnergy>,
    pub(crate) reason: Option<&'a str>,
    pub(crate) gpu: Option<&'a GpuTrial>,
}

/// One reading of the engine's counters.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reading<'a> {
    pub(crate) at_ns: Nanos,
    pub(crate) took_s: f64,
    /// Empty when it brought nothing.
    pub(crate) counters: &'a EngineCounters,
}

/// What [`Fact::TrialEnded`] says besides the window.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TrialEnd<'a> {
    pub(crate) client_cpu_s: Option<f64>,
    pub(crate) engine_cpu_s: Option<f64>,
    pub(crate) engine_rss_bytes: Option<u64>,
    pub(crate) planned: Option<u64>,
    pub(crate) before: &'a EngineCounters,
    pub(crate) after: &'a EngineCounters,
    pub(crate) reads: Option<ReadStamps>,
}

/// One request with its values; those of a request that did not end well are empty.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Row<'a> {
    pub(crate) record: &'a RequestRow,
    pub(crate) values: RequestMetrics,
}

impl<'a> Row<'a> {
    fn of(record: &'a RequestRow) -> Self {
        // Computed when looked at: kept, they would need as much memory as the rows.
        let ok = record.end == EndKind::Ok;
        Self { record, values: if ok { request_metrics(record) } else { RequestMetrics::default() } }
    }

    pub(crate) fn is_ok(&self) -> bool {
        self.record.end == EndKind::Ok
    }

    /// Whether it ended by itself, well or not, rather than being stopped by us.
    pub(crate) fn has_ended(&self) -> bool {
        self.is_ok() || self.record.end.is_failure()
    }
}

impl<'a> Trial<'a> {
    /// Length of the window; `None` when it is empty.
    pub(crate) fn window_s(&self) -> Option<f64> {
        let s = seconds(self.end_ns - self.start_ns);
        (s > 0.0).then_some(s)
    }

    /// Its requests with their values.
    pub(crate) fn rows(&self) -> impl Iterator<Item = Row<'a>> + use<'a> {
        self.requests.iter().map(Row::of)
    }

    pub(crate) fn ok(&self) -> impl Iterator<Item = Row<'a>> + use<'a> {
        self.rows().filter(Row::is_ok)
    }

    /// Successful requests that ended inside the window.
    pub(crate) fn ok_in_window(&self) -> impl Iterator<Item = Row<'a>> + use<'a> {
        let window = self.start_ns..=self.end_ns;
        self.ok().filter(move |r| window.contains(&r.record.end_ns))
    }

    pub(crate) fn ended(&self) -> usize {
        self.rows().filter(Row::has_ended).count()
    }

    pub(crate) fn failed(&self) -> usize {
        self.requests.iter().filter(|r| r.end.is_failure()).count()
    }
}

impl<'a> Point<'a> {
    pub(crate) fn rows(&self) -> impl Iterator<Item = Row<'a>> {
        self.trials.iter().flat_map(Trial::rows)
    }

    /// Gaps of the whole record, with the keys of this point's trials.
    pub(crate) fn gaps(&self) -> (&'a StreamGaps, impl Iterator<Item = TrialKey> + Clone) {
        (self.gaps, self.trials.iter().map(|t| (self.index, t.index)))
    }

    pub(crate) fn ended(&self) -> usize {
        self.trials.iter().map(Trial::ended).sum()
    }

    pub(crate) fn failed(&self) -> usize {
        self.trials.iter().map(Trial::failed).sum()
    }
}

impl<'a> Measured<'a> {
    /// Finds the trials of a record.
    pub(crate) fn sort(log: &'a [LogEvent], record: &'a Recorded) -> Self {
        let mut ends: BTreeMap<TrialKey, (TrialEnd<'a>, Nanos, Nanos)> = BTreeMap::new();
        let mut planned: &[PlannedPoint] = &[];
        let mut expected: BTreeMap<(u32, u32), u64> = BTreeMap::new();
        let mut readings: Vec<Reading<'a>> = Vec::new();
        let mut powers: BTreeMap<TrialKey, TrialPower<'a>> = BTreeMap::new();
        let mut cpu: BTreeMap<TrialKey, Result<&'a CpuTrial, &'a str>> = BTreeMap::new();
        let mut cache_runs: BTreeMap<u32, Vec<CacheRun>> = BTreeMap::new();
        let quality = crate::quality::told(log);
        let (mut no_cache, mut idle_w) = (None, Err(None));
        for event in log {
            match &event.fact {
                Fact::Plan { points, .. } => planned = points,
                Fact::TrialEnded {
                    point,
                    trial,
                    start_ns,
                    end_ns,
                    client_cpu_s,
                    engine_cpu_s,
                    engine_rss_bytes,
                    planned,
                    counters_before,
                    counters_after,
                    reads,
                } => {
                    let end = TrialEnd {
                        client_cpu_s: *client_cpu_s,
                        engine_cpu_s: *engine_cpu_s,
                        engine_rss_bytes: *engine_rss_bytes,
                        planned: *planned,
                        before: counters_before,
                        after: counters_after,
                        reads: *reads,
                    };
                    ends.insert((*point, *trial), (end, *start_ns, *end_ns));
                }
                Fact::CacheExpected { point, trial, tokens } => {
                    expected.insert((*point, *trial), *tokens);
                }
                Fact::TrialPower { point, trial, energy, reason, gpu } => {
                    let (energy, reason, gpu) = (energy.as_ref(), reason.as_deref(), gpu.as_ref());
                    powers.insert((*point, *trial), TrialPower { energy, reason, gpu });
                }
                Fact::TrialCpu { point, trial, counts, reason } => {
                    let counted = counts.as_ref().ok_or(reason.as_deref().unwrap_or("not counted"));
                    cpu.insert((*point, *trial), counted);
                }
                Fact::CacheRun { point, l2_hit, dram_read_bytes, dram_write_bytes, iterations, .. } => {
                    let each = iterations.filter(|n| *n > 0).map(|n| n as f64);
                    let bytes = dram_read_bytes.zip(*dram_write_bytes).map(|(r, w)| r + w);
                    let dram_bytes = bytes.zip(each).map(|(bytes, n)| bytes / n);
                    cache_runs.entry(*point).or_default().push(CacheRun { l2_hit: *l2_hit, dram_bytes });
                }
                Fact::CacheUnavailable { reason } => no_cache = Some(reason.as_str()),
                Fact::SensorsEnded { idle_w: watts, idle_reason, .. } => {
                    idle_w = watts.ok_or(idle_reason.as_deref());
                }
                Fact::EngineReading { at_ns, took_s, counters, .. } => {
                    readings.push(Reading { at_ns: *at_ns, took_s: *took_s, counters });
                }
                _ => {}
            }
        }
        readings.sort_by_key(|r| r.at_ns);

        let mut rows: BTreeMap<TrialKey, &'a [RequestRow]> = BTreeMap::new();
        for trial in record.measured().chunk_by(|a, b| (a.point, a.trial) == (b.point, b.trial)) {
            rows.insert((trial[0].point, trial[0].trial), trial);
        }
        let warmup_requests = (record.rows().len() - record.measured().len()) as u64;

        let keys: std::collections::BTreeSet<TrialKey> = rows.keys().chain(ends.keys()).copied().collect();
        let mut points: Vec<Point<'a>> = Vec::new();
        for key in keys {
            let requests = rows.remove(&key).unwrap_or_default();
            let (end, start_ns, end_ns) = match ends.remove(&key) {
                Some((end, start_ns, end_ns)) => (Some(end), start_ns, end_ns),
                None => {
                    let start_ns = requests.iter().map(|r| r.intended_ns).min().unwrap_or(0);
                    let end_ns = requests.iter().map(|r| r.end_ns).max().unwrap_or(start_ns);
                    (None, start_ns, end_ns)
                }
            };
            let inside = readings.partition_point(|r| r.at_ns < start_ns)
                ..readings.partition_point(|r| r.at_ns <= end_ns.max(start_ns));
            let readings = readings[inside].to_vec();
            let expected_hits = expected.get(&key).copied();
            let (power, cpu) = (powers.get(&key).copied(), cpu.get(&key).copied());
            let trial =
                Trial { index: key.1, end, start_ns, end_ns, requests, readings, expected_hits, power, cpu };
            match points.last_mut() {
                Some(point) if point.index == key.0 => point.trials.push(trial),
                _ => {
                    let planned = planned.get(key.0 as usize).cloned().unwrap_or_else(|| unplanned(key.0));
                    points.push(Point {
                        index: key.0,
                        planned,
                        trials: vec![trial],
                        cache_runs: cache_runs.remove(&key.0).unwrap_or_default(),
                        no_cache,
                        quality,
                        idle_w,
                        gaps: record.gaps(),
                    });
                }
            }
        }
        Self { points, warmup_requests }
    }
}

/// A point whose plan was lost with the log.
fn unplanned(index: u32) -> PlannedPoint {
    PlannedPoint {
        label: format!("point {index}"),
        concurrency: None,
        rate_rps: None,
        input: None,
        output: None,
        engine_settings: Default::default(),
    }
}

#[cfg(test)]
mod tests {
    use stopwatt_core::{Phase, RequestRecord};

    use super::*;
    use crate::testing::{log, ok_request, trial_ended};

    const MS: i64 = 1_000_000;

    fn request(id: u64, point: u32, trial: u32) -> RequestRecord {
        RequestRecord { point, trial, ..ok_request(id, id as i64 * 100 * MS, &[id as i64 * 100 + 50]) }
    }

    #[test]
    fn rows_find_their_trial_in_any_order() {
        let mut requests = vec![request(3, 1, 0), request(1, 0, 1), request(0, 0, 0), request(2, 0, 1)];
        requests.push(RequestRecord { phase: Phase::Warmup, ..request(9, 0, 0) });
        let log = log(&[trial_ended(0, 0, 0, 100), trial_ended(0, 1, 100, 260)]);
        let record = Recorded::of(&requests);
        let m = Measured::sort(&log, &record);
        let ids: Vec<Vec<Vec<u64>>> = m
            .points
            .iter()
            .map(|p| p.trials.iter().map(|t| t.requests.iter().map(|r| r.id).collect()).collect())
            .collect();
        assert_eq!(ids, [vec![vec![0], vec![1, 2]], vec![vec![3]]]);
        assert_eq!(m.warmup_requests, 1);
        assert_eq!(m.points[0].trials[1].window_s(), Some(0.16));
    }

    #[test]
    fn a_trial_that_was_cut_off_spans_its_rows() {
        let requests = [request(1, 0, 0), request(2, 0, 0)];
        let record = Recorded::of(&requests);
        let m = Measured::sort(&[], &record);
        let t = &m.points[0].trials[0];
        assert!(t.end.is_none());
        assert_eq!((t.start_ns, t.end_ns), (100 * MS, 250 * MS));
    }

    #[test]
    fn what_ended_after_the_window_is_not_in_it() {
        let requests = [request(0, 0, 0), request(1, 0, 0)];
        let log = log(&[trial_ended(0, 0, 0, 120)]);
        let record = Recorded::of(&requests);
        let m = Measured::sort(&log, &record);
        assert_eq!(
            (m.points[0].trials[0].ok().count(), m.points[0].trials[0].ok_in_window().count()),
            (2, 1)
        );
    }
}

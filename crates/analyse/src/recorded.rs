//! What analysis keeps of a record in memory: rows without their streams, and the gaps of each trial.
//!
//! Few gaps are kept one by one. More than [`EXACT_GAPS`] are histograms of neighbouring stretches (see
//! [`mod@stopwatt_core::stream::gaps`]), whose values are at most 0.05 % off; both are a [`Sample`], so that every
//! statistic and interval takes the same path.

use std::collections::BTreeMap;

use stopwatt_core::clock::Nanos;
use stopwatt_core::stream::gaps::middle;
use stopwatt_core::stream::{Gap, Granule, Streams, TokenSeries, TrialGaps, TrialKey, counts, gaps};
use stopwatt_core::{Metric, Phase, RequestRecord, RequestRow};
use stopwatt_stats::Sample;
use stopwatt_stats::sample::{Group, Ordered};

use crate::request::seconds;

/// Gaps of a run up to which each is kept.
pub const EXACT_GAPS: u64 = 1 << 18;

/// A record in memory.
#[derive(Debug, Clone)]
pub struct Recorded {
    /// Rows of the warm-up first, then by point, trial and id.
    rows: Vec<RequestRow>,
    measured_from: usize,
    gaps: StreamGaps,
    tokens: TokenSeries,
}

/// The gaps between the token chunks of measured, successful requests.
#[derive(Debug, Clone)]
pub enum StreamGaps {
    /// Every gap.
    Exact(ExactGaps),
    /// Histograms.
    Binned(BTreeMap<TrialKey, TrialGaps>),
    /// The record holds neither chunks nor histograms.
    Unknown,
}

/// Every gap, by trial and request.
#[derive(Debug, Clone, Default)]
pub struct ExactGaps {
    by_trial: BTreeMap<TrialKey, BTreeMap<u64, Vec<Gap>>>,
    tokens: TokenSeries,
}

impl ExactGaps {
    /// Takes the stream of a request.
    pub fn take(&mut self, record: &RequestRecord) {
        self.tokens.take(record);
        if counts(record) {
            let trial = self.by_trial.entry((record.point, record.trial)).or_default();
            trial.entry(record.id).or_default().extend(gaps(&record.chunks));
        }
    }

    /// Number of gaps taken.
    pub fn count(&self) -> u64 {
        self.by_trial.values().flatten().map(|(_, gaps)| gaps.len() as u64).sum()
    }
}

impl Recorded {
    /// Rows whose gaps were all taken.
    pub fn exact(rows: Vec<RequestRow>, mut gaps: ExactGaps) -> Self {
        let tokens = std::mem::take(&mut gaps.tokens);
        Self::new(rows, StreamGaps::Exact(gaps), tokens)
    }

    /// Rows with the histograms of their gaps.
    pub fn binned(rows: Vec<RequestRow>, streams: Streams) -> Self {
        Self::new(rows, StreamGaps::Binned(streams.gaps), streams.tokens)
    }

    /// Rows whose gaps are not known.
    pub fn without_gaps(rows: Vec<RequestRow>) -> Self {
        Self::new(rows, StreamGaps::Unknown, TokenSeries::default())
    }

    /// Records in memory, with every gap.
    pub fn of(records: &[RequestRecord]) -> Self {
        let mut gaps = ExactGaps::default();
        records.iter().for_each(|r| gaps.take(r));
        Self::exact(records.iter().map(RequestRow::of).collect(), gaps)
    }

    fn new(mut rows: Vec<RequestRow>, gaps: StreamGaps, tokens: TokenSeries) -> Self {
        rows.sort_unstable_by_key(|r| (r.phase == Phase::Measure, r.point, r.trial, r.id));
        let measured_from = rows.partition_point(|r| r.phase != Phase::Measure);
        Self { rows, measured_from, gaps, tokens }
    }

    /// Every request: those of the warm-up, then by point, trial and id.
    pub fn rows(&self) -> &[RequestRow] {
        &self.rows
    }

    /// The measured requests by point, trial and id.
    pub fn measured(&self) -> &[RequestRow] {
        &self.rows[self.measured_from..]
    }

    /// Tokens over time; empty when the record does not tell.
    pub fn tokens(&self) -> &TokenSeries {
        &self.tokens
    }

    /// Gaps of the record as they are kept.
    pub fn gaps(&self) -> &StreamGaps {
        &self.gaps
    }

    /// The values of a gap metric at one point, in ascending order.
    pub fn ordered_gaps(&self, metric: Metric, point: u32) -> Ordered {
        self.gaps.sample(metric, self.gaps.trials(point)).ordered()
    }
}

impl StreamGaps {
    /// The values of a gap metric in the given trials, in seconds; empty for every other metric.
    pub fn sample(&self, metric: Metric, trials: impl IntoIterator<Item = TrialKey>) -> Sample {
        let trials = trials.into_iter();
        match (self, metric) {
            (Self::Exact(exact), Metric::Itl | Metric::ChunkGap) => {
                let value = |g: &Gap| match metric {
                    Metric::Itl => seconds(g.ns.max(0)) / f64::from(g.divisor()),
                    _ => seconds(g.ns.max(0)),
                };
                let values = |key| {
                    let requests = exact.by_trial.get(&key).into_iter().flatten();
                    requests.flat_map(|(_, gaps)| gaps.iter().map(value)).collect()
                };
                Sample::of(&trials.map(values).collect::<Vec<Vec<f64>>>())
            }
            (Self::Binned(binned), Metric::Itl | Metric::ChunkGap) => {
                let granules = |t: &TrialGaps| {
                    let itl = t.itl.as_ref().filter(|_| metric == Metric::Itl);
                    itl.unwrap_or(&t.chunk_gap).iter().map(group).collect::<Vec<Group>>()
                };
                Sample::grouped(trials.filter_map(|key| binned.get(&key)).map(granules))
            }
            _ => Sample::default(),
        }
    }

    /// Whether both gap metrics have the same values in these trials: every chunk had one token.
    pub(crate) fn are_per_token(&self, trials: impl IntoIterator<Item = TrialKey>) -> bool {
        let same = |key: TrialKey| match self {
            Self::Exact(exact) => {
                let requests = exact.by_trial.get(&key).into_iter().flatten();
                requests.flat_map(|(_, gaps)| gaps).all(|g| g.divisor() == 1)
            }
            Self::Binned(binned) => binned.get(&key).is_none_or(|t| t.itl.is_none()),
            Self::Unknown => true,
        };
        trials.into_iter().all(same)
    }

    /// Whether values stand for those of their bins.
    pub(crate) fn are_binned(&self) -> bool {
        matches!(self, Self::Binned(_))
    }

    fn trials(&self, point: u32) -> Vec<TrialKey> {
        let range = (point, 0)..=(point, u32::MAX);
        match self {
            Self::Exact(exact) => exact.by_trial.range(range).map(|(key, _)| *key).collect(),
            Self::Binned(binned) => binned.range(range).map(|(key, _)| *key).collect(),
            Self::Unknown => Vec::new(),
        }
    }
}

/// Bins as values: the middle of each, moved inside what was measured.
fn group(granule: &Granule) -> Group {
    let (min, max) = (granule.min_ns as f64, granule.max_ns as f64);
    let value = |bin: u16| middle(bin).clamp(min, max.max(min)) / 1e9;
    Group {
        min: min / 1e9,
        max: max / 1e9,
        sum: seconds(granule.sum_ns as Nanos),
        squares: granule.squares / 1e18,
        values: granule.bins.iter().map(|&(bin, count)| (value(bin), count)).collect(),
    }
}

#[cfg(test)]
mod tests {
    use stopwatt_core::stream::StreamRecorder;

    use super::*;
    use crate::testing::ok_request;

    /// Requests of 40 gaps each of 5 to 60 ms in three trials.
    fn requests() -> Vec<RequestRecord> {
        let request = |id: u64| {
            let mut r = ok_request(id, 0, &[]);
            let mut t = 0;
            r.trial = (id % 3) as u32;
            r.chunks = (0..41)
                .map(|i| {
                    t += ((id * 41 + i) * 7_919 % 55_001 + 5_000) as i64 * 1_000;
                    crate::testing::chunk(t, Some(1), stopwatt_core::ChunkKind::Content)
                })
                .collect();
            r
        };
        (0..600).map(request).collect()
    }

    fn streams(records: &[RequestRecord]) -> Streams {
        let mut recorder = StreamRecorder::default();
        let mut streams = Streams::default();
        let closed: Vec<_> = records.iter().filter_map(|r| recorder.take(r)).collect();
        let (rest, tokens) = recorder.finish();
        for (key, gaps) in closed.into_iter().chain(rest) {
            streams.gaps.entry(key).or_default().append(gaps);
        }
        streams.tokens = tokens;
        streams
    }

    #[test]
    fn histograms_give_the_values_within_their_error() {
        let records = requests();
        let exact = Recorded::of(&records);
        let binned = Recorded::binned(exact.rows.clone(), streams(&records));
        let trials = [(0, 0), (0, 1), (0, 2)];
        let (a, b) = (exact.gaps.sample(Metric::Itl, trials), binned.gaps.sample(Metric::Itl, trials));
        assert_eq!((a.n(), a.trials()), (b.n(), b.trials()));
        assert_eq!(a.range(), b.range());
        assert!((a.mean() - b.mean()).abs() < 1e-15 && (a.sd().unwrap() - b.sd().unwrap()).abs() < 1e-12);
        let (a, b) = (exact.ordered_gaps(Metric::Itl, 0), binned.ordered_gaps(Metric::Itl, 0));
        for p in [0.0, 0.01, 0.5, 0.9, 0.99, 0.999, 1.0] {
            let (x, y) = (a.quantile(p), b.quantile(p));
            assert!((x - y).abs() <= x * stopwatt_core::stream::gaps::RELATIVE_ERROR, "{p}: {x} {y}");
        }
        assert_eq!(exact.tokens(), binned.tokens());
    }

    #[test]
    fn rows_are_in_order_whatever_order_they_came_in() {
        let mut records = requests();
        records[5].phase = Phase::Warmup;
        records.reverse();
        let r = Recorded::of(&records);
        assert_eq!(r.rows()[0].id, 5);
        assert_eq!(r.measured().len(), 599);
        assert!(r.measured().is_sorted_by_key(|r| (r.point, r.trial, r.id)));
    }
}

//! Warm-up: send until the engine is steady, then stop sending.
//!
//! The series that is watched is the time per output token of each request in order of completion (the time to first
//! token when requests have one token only): it does not depend on the lengths drawn for a request, as the whole
//! latency would. Steady state is decided by `stats::steady`; time is a bound, not the criterion.

use stopwatt_analyse::request_metrics;
use stopwatt_core::{EndKind, Nanos, RequestRecord, RequestRow};
use stopwatt_stats::steady;

/// What counts as steady. The time per token of a batching engine moves by a tenth and more with the lengths that
/// happen to share a batch, which no warm-up ends; engines that compile, page in or fill caches move by factors.
const STEADY: steady::Options = steady::Options { min_segment: 3, min_steady: 8, tolerance: 0.15 };

/// When to end.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// Fewest requests, whatever the series looks like.
    pub(crate) least: u64,
    /// Requests from which steadiness is asked.
    pub(crate) wanted: u64,
    /// From here on `least` is enough.
    pub(crate) until_ns: Nanos,
}

/// Watches completions and says when sending may stop.
#[derive(Debug)]
pub(crate) struct Watch {
    bounds: Bounds,
    series: Vec<f64>,
    ended: u64,
    verdict: Option<steady::Steady>,
    /// Sending has stopped. What still ends shares ever smaller batches and says nothing of the steady state.
    decided: bool,
}

impl Watch {
    pub(crate) fn new(bounds: Bounds) -> Self {
        Self { bounds, series: Vec::new(), ended: 0, verdict: None, decided: false }
    }

    /// Takes a completion into account; `true` when no more need to be sent.
    pub(crate) fn ended(&mut self, record: &RequestRecord) -> bool {
        self.ended += 1;
        if !self.decided {
            self.decided = self.decide(record);
        }
        self.decided
    }

    fn decide(&mut self, record: &RequestRecord) -> bool {
        if record.end == EndKind::Ok {
            let metrics = request_metrics(&RequestRow::of(record));
            self.series.extend(metrics.tpot.or(metrics.ttft));
        }
        if self.ended >= self.bounds.wanted {
            let found = steady::detect(&self.series, &STEADY);
            let steady = found.steady;
            self.verdict = Some(found);
            if steady {
                return true;
            }
        }
        self.ended >= self.bounds.least && record.end_ns >= self.bounds.until_ns
    }

    /// Whether the series ended steady, and on what that rests.
    pub(crate) fn verdict(&self) -> (bool, String) {
        let found = match &self.verdict {
            Some(found) => found.clone(),
            None => steady::detect(&self.series, &STEADY),
        };
        let detail = match &found.reason {
            None => format!(
                "steady from request {} of {}, level {:.4} s",
                found.start + 1,
                self.series.len(),
                found.level
            ),
            Some(reason) => reason.to_string(),
        };
        (found.steady, detail)
    }

    pub(crate) fn requests(&self) -> u64 {
        self.ended
    }
}

#[cfg(test)]
mod tests {
    use stopwatt_core::{ChunkKind, ChunkStamp, Phase};

    use super::*;

    /// A request of 11 tokens with this time between them, that ended at `end_ns`.
    fn request(tpot_ns: i64, end_ns: i64) -> RequestRecord {
        let chunk = |i: i64| ChunkStamp::new(end_ns - (10 - i) * tpot_ns, Some(1), ChunkKind::Content);
        RequestRecord {
            id: 0,
            point: 0,
            trial: 0,
            phase: Phase::Warmup,
            input_asked: 8,
            output_asked: 11,
            input_usage: Some(8),
            output_usage: Some(11),
            session: None,
            turn: None,
            cached_usage: None,
            output_tokenizer: None,
            intended_ns: 0,
            dispatched_ns: Some(0),
            connected_ns: None,
            written_ns: Some(0),
            first_byte_ns: Some(0),
            end_ns,
            end: EndKind::Ok,
            status: Some(200),
            error_len: None,
            error_hash: None,
            finish: None,
            chunks: (0..11_i64).map(chunk).collect(),
        }
    }

    fn watch() -> Watch {
        Watch::new(Bounds { least: 8, wanted: 16, until_ns: 1_000_000_000_000 })
    }

    #[test]
    fn a_slow_begin_is_waited_for_and_the_drain_does_not_count() {
        let mut series = watch();
        let mut sent = 0;
        // Ten slow requests, then a level with a little scatter.
        while !series
            .ended(&request(if sent < 10 { 30_000_000 } else { 10_000_000 + sent % 3 * 100_000 }, sent))
        {
            sent += 1;
            assert!(sent < 100, "{:?}", series.verdict());
        }
        assert!(sent >= 17, "steady after {sent}");
        for i in 0..8 {
            assert!(series.ended(&request(10_000_000 - i * 1_000_000, sent + i)));
        }
        let (steady, detail) = series.verdict();
        assert!(steady && detail.contains("steady from request"), "{detail}");
    }

    #[test]
    fn time_ends_a_warm_up_that_never_settles() {
        let mut series = watch();
        let mut ended = 0;
        while !series.ended(&request(10_000_000 + ended * 2_000_000, ended * 50_000_000_000)) {
            ended += 1;
            assert!(ended < 100);
        }
        assert!(ended >= 19 && !series.verdict().0, "{ended}: {:?}", series.verdict());
    }
}

//! Warm-up: send until the engine is steady, then stop sending.
//!
//! The series that is watched is the time per output token of each request in order of completion (the time to first
//! token when requests have one token only): it does not depend on the lengths drawn for a request, as the whole
//! latency would. Steady state is decided by `stats::steady`; time is a bound, not the criterion.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use stopwatt_analyse::request_metrics;
use stopwatt_core::{EndKind, Nanos, RequestRecord};
use stopwatt_stats::steady;

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
}

impl Watch {
    pub(crate) fn new(bounds: Bounds) -> Self {
        Self { bounds, series: Vec::new(), ended: 0, verdict: None }
    }

    /// Takes a completion into account; `true` when no more need to be sent.
    pub(crate) fn ended(&mut self, record: &RequestRecord) -> bool {
        self.ended += 1;
        if record.end == EndKind::Ok {
            let metrics = request_metrics(record);
            self.series.extend(metrics.tpot.or(metrics.ttft));
        }
        if self.ended >= self.bounds.wanted {
            let found = steady::detect(&self.series, &steady::Options::default());
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
            None => steady::detect(&self.series, &steady::Options::default()),
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

/// Told by the watching side, asked by the sending side.
#[derive(Debug, Default)]
pub(crate) struct Enough {
    flag: AtomicBool,
    sent: AtomicU64,
}

impl Enough {
    pub(crate) fn say(&self) {
        self.flag.store(true, Ordering::Release);
    }

    /// Whether another request is wanted.
    pub(crate) fn wants_more(&self) -> bool {
        self.sent.fetch_add(1, Ordering::Relaxed);
        !self.flag.load(Ordering::Acquire)
    }
}

//! The engine's own counters: read once before and after each trial, and as a series while the run lasts.
//!
//! The series has a thread of the lowest priority and connections of its own, so that it takes nothing from the
//! client; what it costs the engine is in the record, as the time that each reading took.

use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use stopwatt_core::engine::EngineCounters;
use stopwatt_core::log::Fact;
use stopwatt_core::{Clock, Nanos};
use stopwatt_load::Target;
use stopwatt_record::run_dir::RunWriter;
use stopwatt_sensor::host;
use stopwatt_wire::engine_metrics::{self, PATHS};

/// Longest wait for a page.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The engine's page of metrics.
#[derive(Debug, Clone)]
pub(crate) struct Page {
    path: &'static str,
    /// Whose names it uses, for the record: `vllm (V1)`.
    pub(crate) names: String,
}

/// One reading.
#[derive(Debug, Clone, PartialEq)]
struct Reading {
    /// Middle of the exchange, since `t0`.
    at_ns: Nanos,
    took_s: f64,
    /// The values, or why there are none.
    counters: Result<EngineCounters, String>,
}

impl Page {
    /// Finds the page; else says what stood in its place.
    pub(crate) fn find(target: &Target) -> Result<Self, String> {
        let mut problem = String::new();
        for path in PATHS {
            match fetch(target, path) {
                Ok(reading) => {
                    let versions = reading.versions.map(|v| format!(" ({v})")).unwrap_or_default();
                    return Ok(Self { path, names: format!("{}{versions}", reading.engine) });
                }
                Err(why) if problem.is_empty() => problem = why,
                Err(_) => {}
            }
        }
        Err(problem)
    }

    /// The counters now; empty when the page does not answer.
    pub(crate) fn counters(&self, target: &Target) -> EngineCounters {
        fetch(target, self.path).map(|r| r.counters).unwrap_or_default()
    }

    fn read(&self, target: &Target, clock: Clock) -> Reading {
        let begin = clock.now();
        let counters = fetch(target, self.path).map(|r| r.counters);
        let end = clock.now();
        Reading { at_ns: begin + (end - begin) / 2, took_s: (end - begin) as f64 * 1e-9, counters }
    }

    /// Reads the page at every `every` and logs what it says, until the other end of `stopped` is dropped. A record
    /// that cannot be written is told by the next request.
    pub(crate) fn record(
        &self,
        target: &Target,
        clock: Clock,
        writer: &RunWriter,
        every: Duration,
        stopped: &Receiver<()>,
    ) {
        host::lower_priority_of_this_thread();
        let start = clock.now();
        loop {
            let Reading { at_ns, took_s, counters } = self.read(target, clock);
            let (counters, problem) = match counters {
                Ok(counters) => (counters, None),
                Err(problem) => (EngineCounters::new(), Some(problem)),
            };
            if writer.log(Fact::EngineReading { at_ns, took_s, counters, problem }).is_err() {
                return;
            }
            // Readings that were due while a slow one lasted are left out, not made up for.
            let step = Nanos::try_from(every.as_nanos()).unwrap_or(Nanos::MAX / 4).max(1);
            let passed = clock.now() - start;
            let wait = step - passed % step;
            match stopped.recv_timeout(Duration::from_nanos(wait.unsigned_abs())) {
                Err(RecvTimeoutError::Timeout) => {}
                Ok(()) | Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }
}

fn fetch(target: &Target, path: &str) -> Result<engine_metrics::Reading, String> {
    let answer = stopwatt_load::get(target, path, TIMEOUT).map_err(|e| format!("{path}: {e}"))?;
    if answer.status != 200 {
        return Err(format!("{path} answers {}", answer.status));
    }
    std::str::from_utf8(&answer.body)
        .ok()
        .and_then(engine_metrics::read)
        .ok_or_else(|| format!("{path} has no names that are understood"))
}

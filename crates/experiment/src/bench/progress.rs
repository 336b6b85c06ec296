//! What is going on, for whoever watches. Never part of the record.

use stopwatt_core::RequestRecord;
use stopwatt_core::engine_run::EngineRun;
use stopwatt_core::metrics_doc::Capacity;
use stopwatt_core::search::SearchLook;

/// A step of a benchmark.
#[derive(Debug, Clone, PartialEq)]
pub enum Progress<'a> {
    /// The built-in engine is being started.
    EngineStarting,
    /// An engine answers.
    EngineReady {
        /// Model name.
        model: String,
        /// Address, without credentials.
        url: String,
    },
    /// The load client's own ceiling is being measured, before a heavy run.
    Calibrating,
    /// Capacity is being measured, for a scenario that sends shares of it.
    Capacity,
    /// Capacity was found.
    CapacityFound(Capacity),
    /// A load was judged by a search.
    Looked(SearchLook),
    /// One of several engines is being started.
    Engine {
        /// Its place in the order.
        index: usize,
        /// Number of engines.
        of: usize,
        /// Its settings.
        label: String,
    },
    /// An engine that was started is gone.
    EngineEnded(EngineRun),
    /// A point begins.
    Point {
        /// Its index.
        index: usize,
        /// Number of points.
        of: usize,
        /// Its name.
        label: String,
    },
    /// Warm-up began.
    WarmupStarted,
    /// Warm-up ended.
    WarmupEnded {
        /// Whether a steady state was detected; `None` when warm-up is off.
        steady: Option<bool>,
        /// Requests spent.
        requests: u64,
    },
    /// A trial began.
    Trial {
        /// Its index.
        index: u32,
        /// Number of trials.
        of: u32,
        /// Requests it will send; `None` when it ends by time.
        requests: Option<u64>,
        /// Seconds it will take; `None` when it ends by count.
        seconds: Option<f64>,
    },
    /// A request of a trial ended. Told on the thread that records, so what is made of it delays no request.
    Request(&'a RequestRecord),
    /// Something is worse than asked for.
    Warning(String),
}

//! What is going on, for whoever watches. Never part of the record.

/// A step of a benchmark.
#[derive(Debug, Clone, PartialEq)]
pub enum Progress {
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
    /// A request ended.
    Request {
        /// Whether it failed.
        failed: bool,
    },
    /// Something is worse than asked for.
    Warning(String),
}

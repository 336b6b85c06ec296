//! The lines of `run.log`: one JSON object a line, in order of time.
//!
//! Analysis needs nothing but these lines, the locked configuration and the request rows, so a report can be
//! rebuilt from the record alone, also from one that was cut off.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::clock::{Clock, Nanos};
use crate::fingerprint::Fingerprint;
use crate::import::Imported;
use crate::metrics_doc::RunStatus;

/// One line of `run.log`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LogEvent {
    /// Since `t0`.
    pub t_ns: Nanos,
    /// What happened.
    pub fact: Fact,
}

/// Counters of an engine at one moment, by Stopwatt's own names (see `wire::engine_metrics`).
pub type EngineCounters = BTreeMap<String, f64>;

/// What happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Fact {
    /// First line of every run.
    RunStarted {
        /// Identifier of the run.
        run_id: String,
        /// `MAJOR.MINOR` of the run format.
        format: String,
        /// Zero of all stamps.
        clock: Clock,
    },
    /// The environment.
    Fingerprint {
        /// What was found.
        fingerprint: Fingerprint,
    },
    /// An engine answered and was asked what it can do.
    EngineProbed {
        /// The model name used in requests.
        model: String,
        /// Feature (`token_ids`, `ignore_eos`, `stream_usage`, `metrics`, …) → `yes`, or what was done instead.
        features: BTreeMap<String, String>,
    },
    /// The points that will be measured, in order.
    Plan {
        /// One entry a point.
        points: Vec<PlannedPoint>,
        /// Trials at each point.
        trials: u32,
    },
    /// Warm-up of a point ended.
    WarmupEnded {
        /// Index of the point.
        point: u32,
        /// Requests spent.
        requests: u64,
        /// Whether a steady state was detected; `None` when warm-up was switched off.
        steady: Option<bool>,
        /// What the decision rests on.
        detail: String,
    },
    /// A trial began.
    TrialStarted {
        /// Index of the point.
        point: u32,
        /// Index of the trial.
        trial: u32,
    },
    /// A trial ended.
    TrialEnded {
        /// Index of the point.
        point: u32,
        /// Index of the trial.
        trial: u32,
        /// Begin of its measuring window.
        start_ns: Nanos,
        /// End of its measuring window.
        end_ns: Nanos,
        /// CPU time of the client in the window.
        client_cpu_s: Option<f64>,
        /// CPU time of the engine in the window, when it is ours.
        engine_cpu_s: Option<f64>,
        /// Peak resident memory of the engine up to now, when it is ours.
        engine_rss_bytes: Option<u64>,
        /// Requests that the schedule wanted to send in the window; `None` in a closed loop.
        planned: Option<u64>,
        /// The engine's counters at the begin.
        counters_before: EngineCounters,
        /// The engine's counters at the end.
        counters_after: EngineCounters,
    },
    /// A sample of the engine process, while it is ours.
    EngineSample {
        /// Resident memory.
        rss_bytes: u64,
    },
    /// The run was measured by another tool and read from its file.
    Imported {
        /// Where it comes from, and what the file holds beside request rows.
        imported: Imported,
    },
    /// Something is worse than asked for.
    Warning {
        /// Stable name.
        code: String,
        /// Whether it makes the run invalid.
        fatal: bool,
        /// For people.
        detail: String,
    },
    /// Last line of a run that came to an end of its own or by a signal.
    RunEnded {
        /// Whether everything planned was measured.
        status: RunStatus,
        /// Why not, when it was not.
        reason: Option<String>,
        /// Peak resident memory of the client.
        client_rss_bytes: Option<u64>,
        /// Wall clock against monotonic clock since `t0`.
        wall_drift_ns: Nanos,
    },
}

/// One point of the plan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PlannedPoint {
    /// Name for people.
    pub label: String,
    /// Requests kept in flight; `None` in an open loop.
    pub concurrency: Option<u32>,
    /// Planned request rate; `None` in a closed loop.
    pub rate_rps: Option<f64>,
    /// Fixed input length of a sweep; `None` when lengths vary.
    pub input: Option<u32>,
    /// Fixed output length; `None` when lengths vary.
    pub output: Option<u32>,
}

//! Request records to metrics with intervals and a validity verdict.
//!
//! ```text
//!                      recorded
//! run.log ─────────┐   measured     point, summary        document
//! events.parquet ──┼─► points ────► metrics of a point ─► MetricsDoc ─► metrics.json
//! streams.parquet  │   trials       validity ───────────►
//! config.lock.json ┘
//! ```
//!
//! Invariants:
//!
//! - pure: the same log, rows and settings give the same document, byte for byte, also from a run that was cut off;
//! - the order of rows does not matter;
//! - only successful requests of trials have latencies; failures count in `error_rate`, `slo_attainment` and
//!   `e2e_with_failures`; requests that we stopped count nowhere;
//! - no number without its n and an interval, or the reason why there is none.

pub mod acceptance;
mod best;
mod client;
pub mod compare;
mod cost;
mod custom;
pub mod dialect;
mod document;
mod engine_use;
mod environment;
pub mod expectation;
mod imported;
pub mod kernel_movement;
mod measured;
pub mod objective;
mod point;
mod power;
pub mod quality;
pub mod rca;
pub mod recorded;
pub mod reproduction;
pub mod request;
pub mod search;
pub mod sensors;
pub mod settings;
pub mod slo;
mod summary;
#[cfg(test)]
mod testing;
pub mod unusual;
mod validity;
pub mod workload_pairs;

use stopwatt_core::log::LogEvent;
use stopwatt_core::metrics_doc::MetricsDoc;

pub use recorded::{Recorded, StreamGaps};
pub use request::{RequestMetrics, request_metrics};
pub use settings::{CacheState, CostSettings, Settings, TokenRanges};

/// Everything analysis may look at.
#[derive(Debug, Clone, Copy)]
pub struct Input<'a> {
    /// The lines of `run.log`, in order.
    pub log: &'a [LogEvent],
    /// The requests and their gaps.
    pub record: &'a Recorded,
    /// From the locked configuration.
    pub settings: &'a Settings,
}

/// Computes the document that becomes `metrics.json`.
pub fn analyse(input: &Input<'_>) -> MetricsDoc {
    document::build(input)
}

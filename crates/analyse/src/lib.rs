//! Request records to metrics with intervals and a validity verdict.

pub mod request;
pub mod settings;
pub mod slo;
#[cfg(test)]
mod testing;

use stopwatt_core::RequestRecord;
use stopwatt_core::log::LogEvent;

pub use request::{RequestMetrics, request_metrics};
pub use settings::Settings;

/// Everything analysis may look at.
#[derive(Debug, Clone, Copy)]
pub struct Input<'a> {
    /// The lines of `run.log`, in order.
    pub log: &'a [LogEvent],
    /// The rows of `events.parquet`, in any order.
    pub requests: &'a [RequestRecord],
    /// From the locked configuration.
    pub settings: &'a Settings,
}

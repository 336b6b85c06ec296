//! What the server counts, in vLLM's metric names and Prometheus' text format.
//!
//! Any thread may write or read; relaxed order suffices, since a scrape wants no more than each value by itself.

mod metrics;
mod process;

pub(crate) use metrics::{Ended, Metrics};

//! What an engine says of itself: the names of its counters, and their summary over a point.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::metrics_doc::Estimate;

/// Requests being computed.
pub const RUNNING: &str = "running";
/// Requests waiting to be computed.
pub const WAITING: &str = "waiting";
/// Share of the KV cache in use, 0 to 1; the mean over data-parallel engines.
pub const KV_USAGE: &str = "kv_usage";
/// Prompt tokens looked up in the prefix cache, total.
pub const PREFIX_CACHE_QUERIES_TOKENS: &str = "prefix_cache_queries_tokens";
/// Prompt tokens found in the prefix cache, total.
pub const PREFIX_CACHE_HITS_TOKENS: &str = "prefix_cache_hits_tokens";
/// Prompt tokens, cached ones included, total.
pub const PROMPT_TOKENS: &str = "prompt_tokens";
/// Generated tokens, total.
pub const GENERATION_TOKENS: &str = "generation_tokens";
/// Requests whose computation was thrown away to free memory, total.
pub const PREEMPTIONS: &str = "preemptions";
/// Requests that ended well, total.
pub const REQUESTS_SUCCESS: &str = "requests_success";
/// Cached KV blocks whose content was thrown out to make room, total. In no summary of a run.
pub const KV_EVICTIONS: &str = "kv_evictions";
/// Share of the held KV blocks' places that hold no token, 0 to 1. In no summary of a run.
pub const KV_FRAGMENTATION: &str = "kv_fragmentation";

/// Values that rise and fall.
pub const GAUGES: [&str; 3] = [RUNNING, WAITING, KV_USAGE];
/// Values that only rise while the engine lives.
pub const TOTALS: [&str; 6] = [
    PREFIX_CACHE_QUERIES_TOKENS,
    PREFIX_CACHE_HITS_TOKENS,
    PROMPT_TOKENS,
    GENERATION_TOKENS,
    PREEMPTIONS,
    REQUESTS_SUCCESS,
];

/// Counters of an engine at one moment, by the names above; a name is absent when the engine does not give it.
pub type EngineCounters = BTreeMap<String, f64>;

/// What an engine said of itself in the measuring windows of a point.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct EngineUse {
    /// Readings inside the windows.
    pub readings: u64,
    /// Readings inside the windows that brought nothing.
    pub missed: u64,
    /// The longest that a reading took, in seconds.
    pub slowest_reading_s: Option<f64>,
    /// Values that rise and fall, by name.
    pub gauges: BTreeMap<String, Gauge>,
    /// How far counters rose over all windows, by name.
    pub totals: BTreeMap<String, Estimate>,
}

/// A value that rises and falls.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Gauge {
    /// Mean over trials of each trial's mean reading.
    pub mean: Estimate,
    /// The largest reading.
    pub max: Estimate,
}

/// How far a counter rose over readings in order of time, and how often it fell. After a fall the engine counts from
/// zero again, so that the new value is what came since; what it counted between the last reading and its end is lost.
pub fn increase(readings: impl IntoIterator<Item = f64>) -> Option<(f64, u64)> {
    let mut readings = readings.into_iter();
    let mut last = readings.next()?;
    let mut found = None;
    for value in readings {
        let (sum, falls): (f64, u64) = found.unwrap_or((0.0, 0));
        found = Some(if value < last { (sum + value, falls + 1) } else { (sum + value - last, falls) });
        last = value;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_that_fell_counts_from_zero_again() {
        assert_eq!(increase([10.0, 12.0, 12.0, 19.0]), Some((9.0, 0)));
        assert_eq!(increase([10.0, 12.0, 3.0, 5.0]), Some((2.0 + 3.0 + 2.0, 1)));
        assert_eq!(increase([10.0]), None);
        assert_eq!(increase([]), None);
    }
}

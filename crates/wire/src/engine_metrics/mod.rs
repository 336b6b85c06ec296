//! What an engine says of itself at `/metrics`, under Stopwatt's own names.
//!
//! ```text
//! Prometheus text ──► samples (name, labels, value) ──► names of the engine ──► Reading
//! ```
//!
//! Engines name and count the same things differently; the table in `names` is the one place that knows. A key is
//! absent when the engine does not give it: nothing is guessed. Counters are totals since the engine began; a window
//! is the difference of two readings.

mod names;
mod text;

pub use stopwatt_core::engine::{
    EngineCounters, GENERATION_TOKENS, KV_EVICTIONS, KV_FRAGMENTATION, KV_USAGE, PREEMPTIONS,
    PREFIX_CACHE_HITS_TOKENS, PREFIX_CACHE_QUERIES_TOKENS, PROMPT_TOKENS, REQUESTS_SUCCESS, RUNNING, WAITING,
};
pub use text::{Labels, Sample, samples};

use names::{FAMILIES, Family, HEARTBEATS, Join, Value, Way};

/// Where engines answer, in the order to ask. `trtllm-serve` has JSON at the first address.
pub const PATHS: [&str; 2] = ["/metrics", "/prometheus/metrics"];

/// A page of metrics that was understood.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading {
    /// Whose names they are: `vllm` (the built-in engine too), `sglang`, `llama.cpp`, `tgi` or `tensorrt-llm`.
    pub engine: &'static str,
    /// Which versions of it use these names, where names have changed.
    pub versions: Option<&'static str>,
    /// The values.
    pub counters: EngineCounters,
}

/// Reads the answer of `/metrics`; `None` when no known name is in it. Lines of other metrics and lines that are no
/// samples are passed over.
pub fn read(page: &str) -> Option<Reading> {
    let samples: Vec<Sample<'_>> = samples(page).filter(|s| s.value.is_finite()).collect();
    FAMILIES.iter().find_map(|family| family.read(&samples))
}

/// Sum of the counters that rise while the engine works, steps before tokens: when it changes, the engine has advanced.
/// `None` when the page has none of them. Only differences of one engine mean something.
pub fn heartbeat(page: &str) -> Option<f64> {
    let samples: Vec<Sample<'_>> = samples(page).filter(|s| s.value.is_finite()).collect();
    let beats =
        HEARTBEATS.iter().flat_map(|name| samples.iter().filter(move |s| is(s, name)).map(|s| s.value));
    beats.fold(None, |sum, beat| Some(sum.unwrap_or(0.0) + beat))
}

/// The values of [`read`]; empty when no known name is in the page.
pub fn counters(page: &str) -> EngineCounters {
    read(page).map(|r| r.counters).unwrap_or_default()
}

impl Family {
    fn read(&self, samples: &[Sample<'_>]) -> Option<Reading> {
        let mut counters = EngineCounters::new();
        let mut versions = None;
        for value in self.values {
            let Some((found, way)) = value.read(samples) else { continue };
            counters.insert(value.key.to_owned(), found);
            versions = versions.or(Some(way.versions).filter(|v| !v.is_empty()));
        }
        // An engine that does not count hits has not said that it looks prompts up.
        if !counters.contains_key(PREFIX_CACHE_HITS_TOKENS) {
            counters.remove(PREFIX_CACHE_QUERIES_TOKENS);
        }
        (!counters.is_empty()).then_some(Reading { engine: self.engine, versions, counters })
    }
}

impl Value {
    fn read(&self, samples: &[Sample<'_>]) -> Option<(f64, &'static Way)> {
        self.ways.iter().find_map(|way| {
            let of_name = |name: &'static str| samples.iter().filter(move |s| is(s, name));
            let good = |s: &&Sample<'_>| {
                self.join != Join::SumOfGood || !s.labels.get("finished_reason").is_some_and(|r| is_bad(&r))
            };
            let values: Vec<f64> =
                way.names.iter().flat_map(|n| of_name(n)).filter(good).map(|s| s.value).collect();
            let sum: f64 = values.iter().sum();
            let joined = if self.join == Join::Mean { sum / values.len() as f64 } else { sum };
            (!values.is_empty()).then_some((joined, way))
        })
    }
}

/// Whether a sample has a name of the table. Some exporters write `_` for `:`.
fn is(sample: &Sample<'_>, wanted: &str) -> bool {
    let (wanted, label) = match wanted.split_once('{') {
        Some((name, label)) => (name, label.strip_suffix('}').and_then(|l| l.split_once('='))),
        None => (wanted, None),
    };
    let name = sample.name.strip_suffix("_total").unwrap_or(sample.name);
    let plain = |b: u8| if b == b':' { b'_' } else { b };
    name.len() == wanted.len()
        && name.bytes().map(plain).eq(wanted.bytes().map(plain))
        && label.is_none_or(|(key, value)| sample.labels.get(key).is_some_and(|v| v == value))
}

fn is_bad(reason: &str) -> bool {
    matches!(reason, "abort" | "error")
}

#[cfg(test)]
mod tests;

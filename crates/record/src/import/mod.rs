//! Results of other load tools as runs.
//!
//! ```text
//! file ──► format, told by content ──► Foreign: rows, plan, windows, statistics ──► run directory
//! ```
//!
//! What the file holds of each request becomes a row; what it holds as a statistic alone stays one, see
//! [`stopwatt_core::import`]. Nothing is filled in, and no text of a request or an error is kept.

mod aiperf;
mod error;
mod guidellm;
mod table;
#[cfg(test)]
mod tests;
mod value;
mod vllm;
mod write;

use serde_json::Value;
use sha2::{Digest as _, Sha256};
use stopwatt_core::import::{Imported, ImportedAggregate};
use stopwatt_core::log::PlannedPoint;
use stopwatt_core::{EndKind, Metric, Nanos, Phase, RequestRecord};

pub use error::ImportError;
pub use write::{ImportSettings, write};

/// A result of another tool, read.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Foreign {
    /// What is not in rows.
    pub imported: Imported,
    /// Model, when the file tells.
    pub model: Option<String>,
    /// What was measured, in order.
    pub points: Vec<PlannedPoint>,
    /// Measuring windows.
    pub windows: Vec<Window>,
    /// Requests, with stamps since the first was sent.
    pub rows: Vec<RequestRecord>,
}

/// The measuring window of a trial, from the moment the first request of the file was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Index of the point.
    pub point: u32,
    /// Index of the trial.
    pub trial: u32,
    /// Begin.
    pub start_ns: Nanos,
    /// End; the begin where the file does not tell.
    pub end_ns: Nanos,
}

/// Reads a file of any known format; `metric` says what the values of a plain table are.
///
/// # Errors
/// No known format, or one that is damaged.
pub fn read(bytes: &[u8], metric: Option<Metric>) -> Result<Foreign, ImportError> {
    let text = std::str::from_utf8(bytes).map_err(|_| ImportError::NotText)?;
    let text = text.trim_start_matches('\u{feff}').trim();
    if text.is_empty() {
        return Err(ImportError::Empty);
    }
    let mut foreign = if text.starts_with('{') {
        let documents = serde_json::Deserializer::from_str(text)
            .into_iter::<Value>()
            .collect::<Result<Vec<Value>, _>>()
            .map_err(|source| ImportError::Json { line: source.line(), source })?;
        json(&documents)?
    } else if text.starts_with('[') {
        return Err(ImportError::Unknown { found: "a JSON list".to_owned() });
    } else {
        table::read(text, metric)?
    };
    foreign.imported.sha256 = Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect();
    Ok(foreign)
}

fn json(documents: &[Value]) -> Result<Foreign, ImportError> {
    let Some(first) = documents.first() else { return Err(ImportError::Empty) };
    if vllm::is_one(first) {
        return vllm::read(documents);
    }
    if guidellm::is_one(first) {
        return guidellm::read(first);
    }
    if aiperf::is_one(first) {
        return aiperf::read(first);
    }
    let keys: Vec<&str> =
        first.as_object().into_iter().flat_map(|o| o.keys()).take(6).map(String::as_str).collect();
    Err(ImportError::Unknown { found: format!("a JSON object with the keys {}", keys.join(", ")) })
}

/// A row of which nothing is known yet.
fn blank(point: u32, id: u64, start_ns: Nanos) -> RequestRecord {
    RequestRecord {
        id,
        point,
        phase: Phase::Measure,
        intended_ns: start_ns,
        dispatched_ns: Some(start_ns),
        end_ns: start_ns,
        end: EndKind::Unknown,
        ..RequestRecord::blank()
    }
}

fn aggregate(point: u32, metric: Metric, statistic: &str, value: f64, n: u64) -> ImportedAggregate {
    let (metric, statistic) = (metric.name().to_owned(), statistic.to_owned());
    ImportedAggregate { point, metric, statistic, value, n }
}

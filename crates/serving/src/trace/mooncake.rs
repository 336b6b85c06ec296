//! Mooncake: one JSON object a line, with the ids of its 512-token blocks.

use serde::Deserialize;

use super::json::not_json;
use super::{Entry, tokens};

#[derive(Deserialize)]
struct Row {
    /// Milliseconds since the begin of the trace.
    timestamp: f64,
    input_length: u64,
    output_length: u64,
    #[serde(default)]
    hash_ids: Vec<u64>,
}

pub(super) fn entry(text: &str) -> Result<Entry, String> {
    let row: Row = serde_json::from_str(text).map_err(|e| match e.classify() {
        serde_json::error::Category::Data => format!("it is not a Mooncake row: {e}"),
        _ => not_json(&e),
    })?;
    let at_ms = row.timestamp;
    if !(at_ms.is_finite() && (0.0..9e12).contains(&at_ms)) {
        return Err("`timestamp` is not a time in milliseconds".to_owned());
    }
    let (input, output) =
        (tokens("input_length", row.input_length)?, tokens("output_length", row.output_length)?);
    let mut entry = Entry::lengths(Some((at_ms * 1e6).round() as i64), input, output);
    entry.blocks = row.hash_ids;
    Ok(entry)
}

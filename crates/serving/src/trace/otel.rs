//! OpenTelemetry GenAI spans in OTLP JSON, as the collector's file exporter writes them.
//!
//! Names by the semantic conventions for generative AI: `gen_ai.usage.input_tokens` and `output_tokens`, before
//! version 1.27 `prompt_tokens` and `completion_tokens`. Spans without any of them are no requests to a model.

use serde_json::Value;

use super::{Entry, Rows, TraceError, tokens};

const INPUT: [&str; 2] = ["gen_ai.usage.input_tokens", "gen_ai.usage.prompt_tokens"];
const OUTPUT: [&str; 2] = ["gen_ai.usage.output_tokens", "gen_ai.usage.completion_tokens"];

/// The requests of one exported batch.
pub(super) fn entries(
    line: u64,
    batch: Result<Value, String>,
    take: &mut Rows<'_>,
) -> Result<(), TraceError> {
    let batch = match batch {
        Ok(batch) => batch,
        Err(reason) => return take(line, Err(reason)),
    };
    let Some(resources) = batch.get("resourceSpans").and_then(Value::as_array) else {
        return take(line, Err("it has no `resourceSpans`".to_owned()));
    };
    let list =
        |value: &Value, key: &str| value.get(key).and_then(Value::as_array).cloned().unwrap_or_default();
    for scope in resources.iter().flat_map(|r| list(r, "scopeSpans")) {
        for span in list(&scope, "spans") {
            if let Some(row) = entry(&span) {
                take(line, row)?;
            }
        }
    }
    Ok(())
}

/// `None` for a span that is no request for text.
fn entry(span: &Value) -> Option<Result<Entry, String>> {
    let attribute = |names: &[&str]| {
        let attributes = span.get("attributes")?.as_array()?;
        names.iter().find_map(|name| {
            attributes
                .iter()
                .find(|a| a.get("key").and_then(Value::as_str) == Some(name))?
                .get("value")
                .cloned()
        })
    };
    let (input, output) = (attribute(&INPUT), attribute(&OUTPUT));
    let operation = attribute(&["gen_ai.operation.name"]);
    let is_embedding = operation.and_then(|o| o.get("stringValue")?.as_str().map(|s| s == "embeddings"));
    if (input.is_none() && output.is_none()) || is_embedding == Some(true) {
        return None;
    }
    let count = |value: Option<Value>, name: &str| {
        let value = value.ok_or_else(|| format!("a span has no `{name}`"))?;
        tokens(name, integer(&value).ok_or_else(|| format!("`{name}` is not a number of tokens"))?)
    };
    let at = span.get("startTimeUnixNano").and_then(|t| match t {
        Value::String(text) => text.parse::<i64>().ok(),
        other => other.as_i64(),
    });
    Some(match at {
        None => Err("a span has no `startTimeUnixNano`".to_owned()),
        Some(at) => count(input, INPUT[0])
            .and_then(|input| Ok(Entry::lengths(Some(at), input, count(output, OUTPUT[0])?))),
    })
}

/// `{"intValue": "123"}`, also as a number or a double without a fraction.
fn integer(value: &Value) -> Option<u64> {
    match value.get("intValue") {
        Some(Value::String(text)) => text.parse().ok(),
        Some(number) => number.as_u64(),
        None => {
            value.get("doubleValue")?.as_f64().filter(|d| *d >= 0.0 && d.fract() == 0.0).map(|d| d as u64)
        }
    }
}

//! AIPerf's `profile_export_aiperf.json`: statistics of each metric, no requests.

use serde_json::Value;
use stopwatt_core::Metric;
use stopwatt_core::import::{Imported, ImportedCount};
use stopwatt_core::log::PlannedPoint;

use super::value::{Fields, nanos};
use super::{Foreign, ImportError, Window, aggregate};

const TOOL: &str = "aiperf";

/// Our metric, AIPerf's key, and whether it has a distribution.
const METRICS: [(Metric, &str, bool); 13] = [
    (Metric::Ttft, "time_to_first_token", true),
    (Metric::TtftAnswer, "time_to_first_output_token", true),
    (Metric::Tpot, "inter_token_latency", true),
    (Metric::ChunkGap, "inter_chunk_latency", true),
    (Metric::E2e, "request_latency", true),
    (Metric::E2eFromSchedule, "effective_latency", true),
    (Metric::InputTokens, "input_sequence_length", true),
    (Metric::OutputTokens, "output_sequence_length", true),
    (Metric::OutputThroughput, "output_token_throughput", false),
    (Metric::TotalThroughput, "total_token_throughput", false),
    (Metric::RequestThroughput, "request_throughput", false),
    (Metric::Goodput, "goodput", false),
    (Metric::SloAttainment, "good_request_fraction", false),
];
const STATISTICS: [(&str, &str); 7] = [
    ("mean", "avg"),
    ("std", "std"),
    ("min", "min"),
    ("max", "max"),
    ("p50", "p50"),
    ("p95", "p95"),
    ("p99", "p99"),
];

/// Whether the document is of this format.
pub(super) fn is_one(document: &Value) -> bool {
    document.get("aiperf_version").is_some() && document.get("request_throughput").is_some()
}

/// Reads the document.
pub(super) fn read(document: &Value) -> Result<Foreign, ImportError> {
    let file = Fields { tool: TOOL, value: document };
    let mut imported = Imported {
        tool: TOOL.to_owned(),
        version: file.text("aiperf_version"),
        measured: file.text("start_time"),
        ..Imported::default()
    };
    let total = |key: &str| file.at(key).number("avg");
    let completed = total("request_count").unwrap_or(0.0).round() as u64;
    let failed = total("error_request_count").unwrap_or(0.0).round() as u64;
    imported.counts.push(ImportedCount { point: 0, completed, failed });
    for (metric, key, distribution) in METRICS {
        let told = file.at(key);
        if file.get(key).is_none() {
            continue;
        }
        let scale = scale(told, key, metric)?;
        let n = if distribution { told.count("count").unwrap_or(completed) } else { 1 };
        for (ours, theirs) in STATISTICS.iter().take(if distribution { STATISTICS.len() } else { 1 }) {
            if let Some(value) = told.number(theirs) {
                imported.aggregates.push(aggregate(0, metric, ours, value * scale, n));
            }
        }
        imported.definitions.insert(metric.name().to_owned(), format!("{TOOL}:{key}"));
    }
    if imported.aggregates.is_empty() {
        return Err(file.wrong("request_latency", "and every other metric is missing"));
    }
    let window = file.at("benchmark_duration");
    let seconds = match window.text("unit").as_deref() {
        Some("ms") => window.number("avg").map(|v| v / 1e3),
        _ => window.number("avg"),
    };
    let config = file.at("input_config");
    let first = |list: &str| config.get(list).and_then(|v| v.get(0));
    let phase = config
        .get("phases")
        .and_then(Value::as_array)
        .and_then(|all| all.iter().find(|p| p.get("kind").and_then(Value::as_str) == Some("profiling")));
    let load = Fields { value: phase.unwrap_or(&Value::Null), ..file };
    let concurrency = load.count("concurrency").and_then(|c| u32::try_from(c).ok());
    let rate_rps = load.number("rate").or_else(|| load.number("request_rate"));
    let label = match (concurrency, rate_rps) {
        (Some(c), None) => format!("c={c}"),
        (_, Some(r)) => format!("rate={r}"),
        (None, None) => "the whole run".to_owned(),
    };
    let model = config.at("models").get("items").and_then(|v| v.get(0)).or_else(|| first("models"));
    Ok(Foreign {
        model: model.and_then(|m| m.get("name")?.as_str().map(str::to_owned)),
        points: vec![PlannedPoint {
            label,
            concurrency,
            rate_rps,
            input: None,
            output: None,
            engine_settings: Default::default(),
        }],
        windows: vec![Window { point: 0, trial: 0, start_ns: 0, end_ns: nanos(seconds.unwrap_or(0.0)) }],
        imported,
        ..Foreign::default()
    })
}

/// What turns AIPerf's unit into ours.
fn scale(told: Fields<'_>, key: &str, metric: Metric) -> Result<f64, ImportError> {
    let unit = told.text("unit").unwrap_or_default();
    match (metric.info().unit, unit.as_str()) {
        ("s", "ms") => Ok(1e-3),
        ("s", "us") => Ok(1e-6),
        ("s", "ns") => Ok(1e-9),
        ("s", "sec" | "s") => Ok(1.0),
        ("s", _) => Err(told.wrong(key, "has a unit that is no time")),
        ("1", "%" | "percent") => Ok(1e-2),
        _ => Ok(1.0),
    }
}

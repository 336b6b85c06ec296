//! guidellm's `benchmarks.json`: several benchmarks, each with its requests.
//!
//! Of a request guidellm keeps the first and the last token, not those between, so gaps cannot be made.

use serde_json::Value;
use stopwatt_core::import::{Imported, ImportedCount};
use stopwatt_core::log::PlannedPoint;
use stopwatt_core::{ChunkKind, ChunkStamp, EndKind, Metric, RequestRecord};

use super::value::{Fields, nanos};
use super::{Foreign, ImportError, Window, aggregate, blank};

const TOOL: &str = "guidellm";

/// Our metric, guidellm's key and what turns its unit into ours.
const METRICS: [(Metric, &str, f64); 9] = [
    (Metric::Ttft, "time_to_first_token_ms", 1e-3),
    (Metric::TtftAnswer, "time_to_first_output_token_ms", 1e-3),
    (Metric::Tpot, "inter_token_latency_ms", 1e-3),
    (Metric::E2e, "request_latency", 1.0),
    (Metric::RequestThroughput, "requests_per_second", 1.0),
    (Metric::OutputThroughput, "output_tokens_per_second", 1.0),
    (Metric::TotalThroughput, "tokens_per_second", 1.0),
    (Metric::InputTokens, "prompt_token_count", 1.0),
    (Metric::OutputTokens, "output_token_count", 1.0),
];
const STATISTICS: [(&str, &str); 5] =
    [("mean", "mean"), ("std", "std_dev"), ("min", "min"), ("max", "max"), ("p50", "median")];
const PERCENTILES: [&str; 3] = ["p95", "p99", "p999"];

/// Whether the document is of this format.
pub(super) fn is_one(document: &Value) -> bool {
    document.get("benchmarks").is_some_and(Value::is_array)
        && document.pointer("/metadata/guidellm_version").is_some()
}

/// Reads every benchmark of the document.
pub(super) fn read(document: &Value) -> Result<Foreign, ImportError> {
    let file = Fields { tool: TOOL, value: document };
    let benchmarks = file.list("benchmarks")?.unwrap_or_default();
    if benchmarks.is_empty() {
        return Err(file.wrong("benchmarks", "is empty"));
    }
    let mut out = Foreign {
        imported: Imported {
            tool: TOOL.to_owned(),
            version: file.at("metadata").text("guidellm_version"),
            ..Imported::default()
        },
        ..Foreign::default()
    };
    let zero = benchmarks.iter().flat_map(|b| requests(Fields { value: b, ..file })).filter_map(start);
    let zero = zero.fold(f64::INFINITY, f64::min);
    for (benchmark, point) in benchmarks.iter().zip(0..) {
        read_one(Fields { value: benchmark, ..file }, point, zero, &mut out)?;
    }
    if !out.rows.is_empty() {
        // Analysis makes these from the stamps; only what was measured by other rules is said to be so.
        for (metric, key, _) in &METRICS[..3] {
            out.imported.definitions.insert(metric.name().to_owned(), format!("{TOOL}:{key}"));
        }
    }
    Ok(out)
}

/// Every request of a benchmark with the way it ended.
fn requests<'a>(benchmark: Fields<'a>) -> impl Iterator<Item = (Fields<'a>, EndKind)> {
    let kinds =
        [("successful", EndKind::Ok), ("incomplete", EndKind::Cancelled), ("errored", EndKind::Unknown)];
    kinds.into_iter().flat_map(move |(key, end)| {
        let list = benchmark.at("requests").get(key).and_then(Value::as_array);
        list.into_iter().flatten().map(move |value| (Fields { value, ..benchmark }, end))
    })
}

fn timings(request: Fields<'_>) -> Fields<'_> {
    request.at("info").at("timings")
}

fn start((request, _): (Fields<'_>, EndKind)) -> Option<f64> {
    let t = timings(request);
    t.number("request_start").or_else(|| t.number("resolve_start"))
}

fn read_one(benchmark: Fields<'_>, point: u32, zero: f64, out: &mut Foreign) -> Result<(), ImportError> {
    let config = benchmark.at("config");
    let strategy = config.at("strategy");
    let backend = config.at("backend");
    out.model = out.model.take().or_else(|| backend.text("model")).or_else(|| backend.text("target_model"));
    let streams = strategy.count("streams").or_else(|| strategy.count("max_concurrency"));
    let concurrency = streams.and_then(|n| u32::try_from(n).ok());
    let rate_rps = strategy.number("rate");
    let kind = strategy.text("type_").unwrap_or_else(|| "benchmark".to_owned());
    let label = match (rate_rps, concurrency) {
        (Some(rate), _) => format!("{kind} rate={rate}"),
        (None, Some(c)) => format!("{kind} c={c}"),
        (None, None) => kind,
    };
    out.points.push(PlannedPoint {
        label,
        concurrency,
        rate_rps,
        input: None,
        output: None,
        engine_settings: Default::default(),
    });

    let first_id = out.rows.len() as u64;
    let rows: Vec<RequestRecord> = requests(benchmark)
        .zip(first_id..)
        .filter_map(|((request, end), id)| row(request, end, point, id, zero))
        .collect();
    let told = benchmark.at("scheduler_metrics");
    let window = told.number("measure_start_time").zip(told.number("measure_end_time"));
    let (start_ns, end_ns) = match window {
        Some((from, to)) if zero.is_finite() && to >= from => (nanos(from - zero), nanos(to - zero)),
        _ => (
            rows.iter().filter_map(|r| r.dispatched_ns).min().unwrap_or(0),
            rows.iter().map(|r| r.end_ns).max().unwrap_or(0),
        ),
    };
    out.windows.push(Window { point, trial: 0, start_ns, end_ns });
    if rows.is_empty() {
        statistics(benchmark, point, out)?;
    }
    out.rows.extend(rows);
    Ok(())
}

fn row(request: Fields<'_>, end: EndKind, point: u32, id: u64, zero: f64) -> Option<RequestRecord> {
    let t = timings(request);
    let start_ns = nanos(start((request, end))? - zero);
    let at = |key: &str| t.number(key).map(|s| nanos(s - zero));
    let mut row = blank(point, id, start_ns);
    // Only where it plans arrivals is the target a planned time; it is never later than the begin.
    row.intended_ns = at("targeted_start").filter(|t| (0..=start_ns).contains(t)).unwrap_or(start_ns);
    let tokens = |side: &str| {
        let usage = request.at(side);
        let count = usage.count("total_tokens").or_else(|| usage.count("text_tokens"));
        count.and_then(|n| u32::try_from(n).ok())
    };
    (row.input_usage, row.output_usage) = (tokens("input_metrics"), tokens("output_metrics"));
    row.cached_usage = request.at("input_metrics").count("cached_tokens").and_then(|n| u32::try_from(n).ok());
    (row.input_asked, row.output_asked) = (row.input_usage.unwrap_or(0), row.output_usage.unwrap_or(0));
    let first = at("first_token_iteration");
    let answer = at("first_output_token_iteration");
    let last = at("last_token_iteration").filter(|last| first.is_some_and(|f| *last > f));
    // The first token is reasoning where the first answer comes later.
    let is_reasoning = first.zip(answer).is_some_and(|(f, a)| a > f);
    let first_kind = if is_reasoning { ChunkKind::Reasoning } else { ChunkKind::Content };
    let between = answer.filter(|a| is_reasoning && last.is_some_and(|l| *a < l));
    row.chunks = first
        .map(|t| ChunkStamp::new(t, None, first_kind))
        .into_iter()
        .chain(between.into_iter().chain(last).map(|t| ChunkStamp::new(t, None, ChunkKind::Content)))
        .collect();
    row.end_ns = at("request_end").or_else(|| at("resolve_end")).or(last).or(first).unwrap_or(start_ns);
    row.end = if end == EndKind::Ok && row.chunks.is_empty() { EndKind::NoTokens } else { end };
    Some(row)
}

/// Of a file that was saved without its requests.
fn statistics(benchmark: Fields<'_>, point: u32, out: &mut Foreign) -> Result<(), ImportError> {
    let metrics = benchmark.at("metrics");
    let totals = metrics.at("request_totals");
    let completed = totals
        .count("successful")
        .ok_or_else(|| benchmark.wrong("metrics.request_totals.successful", "is missing"))?;
    let failed = totals.count("errored").unwrap_or(0);
    out.imported.counts.push(ImportedCount { point, completed, failed });
    for (metric, key, scale) in METRICS {
        let told = metrics.at(key).at("successful");
        let n = told.count("count").unwrap_or(completed);
        let quantiles = told.at("percentiles");
        let named = STATISTICS.iter().map(|(ours, theirs)| (*ours, told.number(theirs)));
        let percentiles = PERCENTILES.iter().map(|p| (*p, quantiles.number(p)));
        for (statistic, value) in named.chain(percentiles) {
            if let Some(value) = value {
                out.imported.aggregates.push(aggregate(point, metric, statistic, value * scale, n));
            }
        }
        out.imported.definitions.insert(metric.name().to_owned(), format!("{TOOL}:{key}"));
    }
    Ok(())
}

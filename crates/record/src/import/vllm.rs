//! `vllm bench serve --save-result`, from both of vLLM's clients; with `--save-detailed` it holds every request.
//!
//! Arrays are in seconds and have one entry a request. A file to which results were appended holds several documents,
//! each of which becomes a point.

use serde_json::Value;
use sha2::{Digest as _, Sha256};
use stopwatt_core::import::{Imported, ImportedCount, ImportedSample};
use stopwatt_core::log::PlannedPoint;
use stopwatt_core::{ChunkKind, ChunkStamp, EndKind, Metric, RequestRecord};

use super::value::{Fields, nanos};
use super::{Foreign, ImportError, Window, aggregate, blank};

const TOOL: &str = "vllm";

/// vLLM's key of a metric with a distribution, in milliseconds.
const LATENCIES: [(Metric, &str); 4] =
    [(Metric::Ttft, "ttft"), (Metric::Tpot, "tpot"), (Metric::Itl, "itl"), (Metric::E2e, "e2el")];
/// Our name of a statistic.
const STATISTICS: [(&str, &str); 7] = [
    ("mean", "mean"),
    ("std", "std"),
    ("p50", "median"),
    ("p50", "p50"),
    ("p95", "p95"),
    ("p99", "p99"),
    ("p999", "p99.9"),
];
/// Numbers of the whole.
const TOTALS: [(Metric, &str); 3] = [
    (Metric::RequestThroughput, "request_throughput"),
    (Metric::OutputThroughput, "output_throughput"),
    (Metric::TotalThroughput, "total_token_throughput"),
];

/// Whether the document is of this format.
pub(super) fn is_one(document: &Value) -> bool {
    let has = |key: &str| document.get(key).is_some();
    has("backend") && has("num_prompts") && has("request_throughput")
}

/// Reads every document of the file.
pub(super) fn read(documents: &[Value]) -> Result<Foreign, ImportError> {
    let mut foreign = Foreign {
        imported: Imported {
            tool: TOOL.to_owned(),
            gaps: true,
            definitions: LATENCIES
                .iter()
                .chain(&[(Metric::ChunkGap, "itl")])
                .map(|(m, key)| (m.name().to_owned(), format!("{TOOL}:{key}")))
                .collect(),
            ..Imported::default()
        },
        ..Foreign::default()
    };
    for (document, point) in documents.iter().zip(0..) {
        read_one(Fields { tool: TOOL, value: document }, point, &mut foreign)?;
    }
    Ok(foreign)
}

fn read_one(file: Fields<'_>, point: u32, out: &mut Foreign) -> Result<(), ImportError> {
    let duration = file.number("duration").ok_or_else(|| file.wrong("duration", "is missing"))?;
    let completed = file.count("completed").ok_or_else(|| file.wrong("completed", "is missing"))?;
    let failed = file.count("failed").unwrap_or(0);
    out.model = out.model.take().or_else(|| file.text("model_id"));
    out.imported.measured = out.imported.measured.take().or_else(|| file.text("date"));
    let concurrency = file.count("max_concurrency").and_then(|c| u32::try_from(c).ok());
    let rate_rps = file.number("request_rate");
    let label = match (concurrency, rate_rps) {
        (Some(c), None) => format!("c={c}"),
        (c, Some(r)) => format!("rate={r}{}", c.map(|c| format!(" c≤{c}")).unwrap_or_default()),
        (None, None) => "all at once".to_owned(),
    };
    out.points.push(PlannedPoint {
        label,
        concurrency,
        rate_rps,
        input: None,
        output: None,
        engine_settings: Default::default(),
    });
    out.windows.push(Window { point, trial: 0, start_ns: 0, end_ns: nanos(duration) });

    let id = out.rows.len() as u64;
    match rows(file, point, id)? {
        Some(rows) => out.rows.extend(rows),
        None => {
            out.imported.counts.push(ImportedCount { point, completed, failed });
            samples(file, point, out)?;
            statistics(file, point, completed, out);
        }
    }
    Ok(())
}

/// A row a request; `None` where the file was saved without details, or does not tell when requests began.
fn rows(file: Fields<'_>, point: u32, id: u64) -> Result<Option<Vec<RequestRecord>>, ImportError> {
    let (Some(ttfts), Some(starts)) = (file.numbers("ttfts")?, file.numbers("start_times")?) else {
        return Ok(None);
    };
    let n = ttfts.len();
    let same = |key: &str, found: usize| match found {
        found if found == n => Ok(()),
        found => {
            Err(ImportError::Length { tool: TOOL, key: key.to_owned(), found, other: "ttfts", expected: n })
        }
    };
    let required = |key: &str| file.list(key)?.ok_or_else(|| file.wrong(key, "is missing beside `ttfts`"));
    let (inputs, outputs, itls, errors) =
        (required("input_lens")?, required("output_lens")?, required("itls")?, required("errors")?);
    let latencies = file.numbers("latencies")?;
    let waits = file.numbers("queue_times")?;
    for (key, found) in [
        ("start_times", starts.len()),
        ("input_lens", inputs.len()),
        ("output_lens", outputs.len()),
        ("itls", itls.len()),
        ("errors", errors.len()),
        ("latencies", latencies.as_ref().map_or(n, Vec::len)),
        ("queue_times", waits.as_ref().map_or(n, Vec::len)),
    ] {
        same(key, found)?;
    }
    let zero = starts.iter().copied().fold(f64::INFINITY, f64::min);
    let tokens = |v: &Value| v.as_u64().and_then(|n| u32::try_from(n).ok());
    let mut rows = Vec::with_capacity(n);
    for i in 0..n {
        let start_ns = nanos(starts[i] - zero);
        let mut row = blank(point, id + i as u64, start_ns);
        row.intended_ns = start_ns - waits.as_ref().map_or(0, |w| nanos(w[i]));
        row.input_usage = tokens(&inputs[i]);
        row.input_asked = row.input_usage.unwrap_or(0);
        row.output_usage = tokens(&outputs[i]).filter(|n| *n > 0);
        row.output_asked = row.output_usage.unwrap_or(0);
        let error = errors[i].as_str().unwrap_or_default();
        if error.is_empty() {
            let gaps: Option<Vec<f64>> =
                itls[i].as_array().and_then(|all| all.iter().map(Value::as_f64).collect());
            let gaps =
                gaps.ok_or_else(|| file.wrong("itls", "holds something else than lists of numbers"))?;
            let mut at = ttfts[i];
            let mut chunk = |gap: f64| {
                at += gap;
                ChunkStamp::new(start_ns + nanos(at), None, ChunkKind::Content)
            };
            row.chunks = std::iter::once(0.0).chain(gaps).map(&mut chunk).collect();
            let last = row.chunks.last().map_or(start_ns, |c| c.t_ns);
            row.end_ns = latencies.as_ref().map_or(last, |l| last.max(start_ns + nanos(l[i])));
            (row.end, row.status) = (EndKind::Ok, Some(200));
        } else {
            row.end = end_of(error);
            row.error_len = u32::try_from(error.len()).ok();
            let digest = Sha256::digest(error.as_bytes());
            row.error_hash = Some(digest.iter().take(8).map(|b| format!("{b:02x}")).collect());
            row.end_ns = start_ns + latencies.as_ref().map_or(0, |l| nanos(l[i]));
        }
        rows.push(row);
    }
    Ok(Some(rows))
}

/// The kind of a failure by vLLM's words: the reason phrase of the status, or a Python traceback.
fn end_of(error: &str) -> EndKind {
    const KNOWN: [(&str, EndKind); 6] = [
        ("TimeoutError", EndKind::Timeout),
        ("ClientConnector", EndKind::Connect),
        ("JSONDecodeError", EndKind::Malformed),
        ("ServerDisconnected", EndKind::Truncated),
        ("ClientPayloadError", EndKind::Truncated),
        ("Never received a valid chunk", EndKind::NoTokens),
    ];
    match KNOWN.iter().find(|(word, _)| error.contains(word)) {
        Some((_, end)) => *end,
        None if error.contains("Traceback") || error.contains('\n') => EndKind::Unknown,
        None => EndKind::Http,
    }
}

/// Values of requests whose begin is not known: older versions kept no start times.
fn samples(file: Fields<'_>, point: u32, out: &mut Foreign) -> Result<(), ImportError> {
    let mut add = |metric: Metric, values: Vec<f64>| {
        let metric = metric.name().to_owned();
        out.imported.samples.push(ImportedSample { point, trial: 0, metric, values });
    };
    let Some(ttfts) = file.numbers("ttfts")? else { return Ok(()) };
    let errors = file.list("errors")?.unwrap_or_default();
    let is_ok = |i: &usize| errors.get(*i).and_then(Value::as_str).is_none_or(str::is_empty);
    let ok: Vec<usize> = (0..ttfts.len()).filter(is_ok).collect();
    add(Metric::Ttft, ok.iter().map(|i| ttfts[*i]).collect());
    if let Some(itls) = file.list("itls")? {
        let gaps = |i: &usize| itls.get(*i).and_then(Value::as_array).into_iter().flatten();
        let all: Vec<f64> = ok.iter().flat_map(gaps).filter_map(Value::as_f64).collect();
        if !all.is_empty() {
            add(Metric::Itl, all.clone());
            add(Metric::ChunkGap, all);
        }
    }
    Ok(())
}

fn statistics(file: Fields<'_>, point: u32, n: u64, out: &mut Foreign) {
    for (metric, key) in LATENCIES {
        for (ours, theirs) in STATISTICS {
            if let Some(ms) = file.number(&format!("{theirs}_{key}_ms")) {
                out.imported.aggregates.push(aggregate(point, metric, ours, ms / 1e3, n));
            }
        }
    }
    for (metric, key) in TOTALS {
        if let Some(value) = file.number(key) {
            out.imported.aggregates.push(aggregate(point, metric, "mean", value, 1));
        }
    }
    let goodput = file.number("request_goodput");
    out.imported.aggregates.extend(goodput.map(|v| aggregate(point, Metric::Goodput, "mean", v, 1)));
}

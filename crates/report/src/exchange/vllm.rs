//! The JSON that `vllm bench serve --save-result --save-detailed` writes.
//!
//! Numbers follow the `vllm` dialect; arrays are in seconds, one entry a request. Generated texts are never recorded,
//! so theirs are empty. What only vLLM's own server can tell (speculative decoding) is left out, as vLLM does.

use serde_json::{Map, Value, json};
use stopwatt_analyse::dialect::{self, Dialect, Reading, Verdict};
use stopwatt_core::log::{Fact, LogEvent, PlannedPoint};
use stopwatt_core::{Clock, EndKind, Phase, RequestRecord};
use stopwatt_record::RunError;

use crate::date::compact_utc;
use crate::rebuild::Analysed;

/// Which requests of the run go to the file.
#[derive(Debug, Clone, Copy, Default)]
pub struct Select {
    /// Index of the point; `None` takes the one with the highest throughput.
    pub point: Option<u32>,
    /// Index of the trial; `None` takes all, as if they had been one run.
    pub trial: Option<u32>,
}

/// Why a run cannot be exported.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExportError {
    /// The run has no such point.
    #[error("the run has no point {asked}; it has {points}")]
    Point {
        /// What was asked for.
        asked: u32,
        /// How many there are.
        points: usize,
    },
    /// The point has no such trial.
    #[error("point {point} has no trial {asked} with requests")]
    Trial {
        /// Which point.
        point: u32,
        /// What was asked for.
        asked: u32,
    },
    /// The run has no rows, for instance because only statistics were imported.
    #[error("the run holds no requests, and the format is made of them")]
    NoRequests,
    /// The rows cannot be read.
    #[error(transparent)]
    Run(#[from] RunError),
    /// Nothing was sampled.
    #[error("the run holds no readings of sensors, and the format is made of them")]
    NoSensors,
    /// `power.csv` cannot be read.
    #[error("power.csv: {0}")]
    Sensors(#[from] std::io::Error),
    /// The run dropped the stamps of chunks.
    #[error("the run holds no stamps of chunks (--no-chunks), and the format is made of them")]
    NoChunks,
}

impl ExportError {
    /// What to try next.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Point { .. } | Self::Trial { .. } => {
                Some("both count from 0; `stopwatt report` lists the points")
            }
            Self::Run(error) => error.hint(),
            Self::NoSensors => Some("`stopwatt doctor` says which sensors this machine has"),
            Self::Sensors(_) => None,
            Self::NoRequests => Some("export a run that was measured, or imported with its detailed arrays"),
            Self::NoChunks => Some("measure without --no-chunks"),
        }
    }
}

/// The file for the selected requests.
///
/// # Errors
/// Nothing to export.
pub fn to_vllm(run: &Analysed, select: Select) -> Result<Value, ExportError> {
    let headline = run.doc.headline_point.and_then(|p| u32::try_from(p).ok()).unwrap_or(0);
    let point = select.point.unwrap_or(headline);
    if select.point.is_some_and(|p| p as usize >= run.doc.points.len()) {
        return Err(ExportError::Point { asked: point, points: run.doc.points.len() });
    }
    let is_measured = |r: &&RequestRecord| r.phase == Phase::Measure && r.point == point;
    let all = run.requests()?;
    let mut rows: Vec<&RequestRecord> = all.iter().filter(is_measured).collect();
    if rows.is_empty() {
        return Err(ExportError::NoRequests);
    }
    if let Some(trial) = select.trial {
        rows.retain(|r| r.trial == trial);
        if rows.is_empty() {
            return Err(ExportError::Trial { point, asked: trial });
        }
    }
    if rows.iter().any(|r| r.end == EndKind::Ok) && rows.iter().all(|r| r.chunks.is_empty()) {
        return Err(ExportError::NoChunks);
    }
    rows.sort_by_key(|r| (r.trial, r.dispatched_ns, r.id));

    let mut out = heading(run, point, &rows);
    let log = selected_log(&run.log, point, select.trial);
    let requests: Vec<RequestRecord> = rows.iter().map(|r| (*r).clone()).collect();
    let view = dialect::view(Dialect::Vllm, &log, &requests, &run.doc);
    for figure in view.points.iter().flat_map(|p| &p.figures) {
        for statistic in &figure.statistics {
            let value = json!(statistic.value);
            match statistic.name.as_str() {
                "value" if figure.unit == "1" => {
                    out.insert(figure.key.clone(), json!(statistic.value.map(|v| v as u64)));
                }
                "value" => drop(out.insert(figure.key.clone(), value)),
                name => drop(out.insert(format!("{name}_{}_ms", figure.key), value)),
            }
        }
    }
    let goodput = run.doc.points.get(point as usize).and_then(|p| p.metrics.get("goodput")?.mean.value);
    out.insert("request_goodput".to_owned(), json!(goodput));
    details(&mut out, &rows);
    Ok(Value::Object(out))
}

/// The log with only what the selected trials need.
fn selected_log(log: &[LogEvent], point: u32, trial: Option<u32>) -> Vec<LogEvent> {
    let keep = |e: &&LogEvent| match &e.fact {
        Fact::TrialEnded { point: p, trial: t, .. } => *p == point && trial.is_none_or(|x| x == *t),
        Fact::Plan { .. } | Fact::RunStarted { .. } | Fact::Imported { .. } => true,
        _ => false,
    };
    log.iter().filter(keep).cloned().collect()
}

fn heading(run: &Analysed, point: u32, rows: &[&RequestRecord]) -> Map<String, Value> {
    let mut clock: Option<Clock> = None;
    let (mut model, mut planned): (Option<&str>, Option<&PlannedPoint>) = (None, None);
    for event in &run.log {
        match &event.fact {
            Fact::RunStarted { clock: c, .. } => clock = Some(*c),
            Fact::EngineProbed { model: m, .. } => model = Some(m),
            Fact::Plan { points, .. } => planned = points.get(point as usize),
            _ => {}
        }
    }
    let setting = |key: &str| run.config.get("settings")?.get(key)?.get("value").cloned();
    let is_chat = rows
        .iter()
        .any(|r| r.chunks.iter().any(|c| c.shape_or_typical().has(stopwatt_core::ChunkShape::DELTA)));
    let backend = if is_chat { "openai-chat" } else { "openai" };
    let rate = planned.and_then(|p| p.rate_rps);
    let burstiness = match setting("load.arrival").as_ref().and_then(Value::as_str) {
        Some("gamma") => setting("load.burstiness").unwrap_or(Value::Null),
        Some("constant") => Value::Null,
        _ => json!(1.0),
    };
    let fields = json!({
        "date": clock.map(|c| compact_utc(c.t0_unix_ns)),
        "endpoint_type": backend,
        "backend": backend,
        "label": planned.map(|p| p.label.clone()),
        "model_id": model,
        "tokenizer_id": setting("target.tokenizer").filter(|v| !v.is_null()),
        "num_prompts": rows.len(),
        "stopwatt_run": run.doc.run_id,
        "request_rate": rate.map_or_else(|| json!("inf"), |r| json!(r)),
        "burstiness": burstiness,
        "max_concurrency": planned.and_then(|p| p.concurrency),
    });
    match fields {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

/// One entry a request, in seconds; start times since the first request.
fn details(out: &mut Map<String, Value>, rows: &[&RequestRecord]) {
    let seconds = |ns: i64| ns as f64 / 1e9;
    let zero = rows.iter().filter_map(|r| r.dispatched_ns).min().unwrap_or(0);
    let mut columns: [Vec<Value>; 9] = Default::default();
    for row in rows {
        let reading: Option<Reading> = match dialect::read(Dialect::Vllm, row) {
            Verdict::Absent => continue,
            Verdict::Success(reading) => Some(reading),
            Verdict::CutSuccess | Verdict::Failure => None,
        };
        let start = row.dispatched_ns.unwrap_or(row.intended_ns);
        let tokens = reading.as_ref().map_or(&[][..], |r| &r.tokens);
        let gaps: Vec<f64> = tokens.windows(2).map(|w| seconds(w[1] - w[0])).collect();
        let error = if reading.is_some() { "" } else { row.end.name() };
        let values = [
            json!(reading.as_ref().map_or(row.input_usage.unwrap_or(row.input_asked), |r| r.input)),
            json!(reading.as_ref().map_or(Some(0), |r| r.output)),
            json!(tokens.first().map_or(0.0, |t| seconds(t - start))),
            json!(gaps),
            json!(reading.as_ref().map_or(0.0, |r| seconds(r.end_ns - r.start_ns))),
            json!(seconds(start - zero)),
            json!(seconds(start - row.intended_ns).max(0.0)),
            json!(""),
            json!(error),
        ];
        columns.iter_mut().zip(values).for_each(|(column, value)| column.push(value));
    }
    let names = [
        "input_lens",
        "output_lens",
        "ttfts",
        "itls",
        "latencies",
        "start_times",
        "queue_times",
        "generated_texts",
        "errors",
    ];
    for (name, column) in names.into_iter().zip(columns) {
        out.insert(name.to_owned(), Value::Array(column));
    }
}

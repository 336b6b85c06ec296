//! `stopwatt predict --out`: a prediction as a run, in the form of a measured one.
//!
//! Every simulated request becomes a row and every token a chunk, so that reports and comparisons read it like any other
//! run. It says that it was not measured: its tool is `stopwatt-predict`, and what was asked stands in its configuration.
//!
//! The trials are one load under steps that are shorter or longer by what the interval of the prediction allows, at equal
//! shares of its probability: the spread between trials is how sure the prediction is.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use stopwatt_analyse::Settings;
use stopwatt_core::import::Imported;
use stopwatt_core::log::PlannedPoint;
use stopwatt_core::{
    ChunkKind, ChunkStamp, Clock, EndKind, FinishReason, Metric, Nanos, Phase, RequestRecord,
};
use stopwatt_predict::predict::{PredictionDoc, Question, SimulatedRequest, simulate_trials};
use stopwatt_record::config::Layers;
use stopwatt_record::import::{self, Foreign, Window};
use stopwatt_record::run_dir::Create;

use super::report::{self, Written};

/// Trials of a predicted run.
const TRIALS: u32 = 5;

/// What was asked; the settings of a predicted run.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct PredictSettings {
    model: String,
    dtype: String,
    gpu: String,
    engine_version: String,
    engine_args: Vec<String>,
    input: String,
    output: String,
    concurrency: Option<u32>,
    rate_rps: Option<f64>,
    requests: u32,
    seed: u64,
    kernels: Vec<String>,
    calibrated: bool,
}

/// Writes the run and its reports.
pub(super) fn write(
    question: &Question,
    doc: &PredictionDoc,
    engine_args: &[String],
    out: PathBuf,
    lang: super::Language,
) -> anyhow::Result<Written> {
    let trials = simulate_trials(question, TRIALS)?;
    let (load, engine) = (&doc.load, &doc.engine);
    let label = match (load.concurrency, load.rate_rps) {
        (Some(n), _) => format!("c={n} in={} out={}", load.input, load.output),
        (None, Some(rate)) => format!("rate={rate}/s in={} out={}", load.input, load.output),
        (None, None) => format!("in={} out={}", load.input, load.output),
    };
    let mut foreign = Foreign {
        imported: Imported {
            tool: "stopwatt-predict".to_owned(),
            version: Some(env!("CARGO_PKG_VERSION").to_owned()),
            gaps: true,
            definitions: [Metric::Ttft, Metric::Tpot, Metric::Itl, Metric::E2e]
                .map(|m| (m.name().to_owned(), m.info().definition.to_owned()))
                .into(),
            ..Imported::default()
        },
        model: Some(doc.model.clone()),
        points: vec![PlannedPoint {
            label,
            concurrency: load.concurrency,
            rate_rps: load.rate_rps,
            input: load.input.parse().ok(),
            output: load.output.parse().ok(),
            engine_settings: Default::default(),
        }],
        ..Foreign::default()
    };
    let mut start = 0;
    for (trial, requests) in (0..).zip(&trials) {
        let end = requests.iter().filter_map(|r| r.tokens.last()).max().copied().unwrap_or(0);
        let first = foreign.rows.len() as u64;
        foreign.rows.extend((first..).zip(requests).map(|(id, r)| record(id, trial, start, r)));
        let window = Window { point: 0, trial, start_ns: start, end_ns: start + nanos(end) };
        foreign.windows.push(window);
        start = window.end_ns + 1_000_000_000;
    }
    let settings = PredictSettings {
        model: doc.model.clone(),
        dtype: doc.dtype.clone(),
        gpu: doc.gpu.clone(),
        engine_version: engine.version.clone(),
        engine_args: engine_args.to_vec(),
        input: load.input.clone(),
        output: load.output.clone(),
        concurrency: load.concurrency,
        rate_rps: load.rate_rps,
        requests: load.requests,
        seed: load.seed,
        kernels: doc.kernel_table.as_ref().map(|t| t.sources.clone()).unwrap_or_default(),
        calibrated: question.spreads.is_some(),
    };
    let mut layers = Layers::<PredictSettings>::new();
    if let serde_json::Value::Object(all) = serde_json::to_value(&settings)? {
        for (key, value) in all {
            layers = layers.flag(&key, "predict", Some(value));
        }
    }
    let mut lock = layers.resolve()?.lock();
    let analysis = Settings { mode: "predict".to_owned(), seed: load.seed, ..Settings::default() };
    if let Some(lock) = lock.as_object_mut() {
        lock.insert(stopwatt_report::ANALYSIS_KEY.to_owned(), serde_json::to_value(analysis)?);
    }
    let create = Create {
        root: super::runs_root(),
        out: Some(out),
        name: "predict".to_owned(),
        clock: Clock::start(),
        keep_chunks: true,
    };
    let path = import::write(foreign, create, &lock)?;
    report::write(&path, lang.into())
}

fn nanos(n: u64) -> Nanos {
    Nanos::try_from(n).unwrap_or(Nanos::MAX)
}

fn record(id: u64, trial: u32, start: Nanos, r: &SimulatedRequest) -> RequestRecord {
    let at = |t: u64| start + nanos(t);
    let chunk = |t: &u64| ChunkStamp::new(at(*t), Some(1), ChunkKind::Content);
    let end = r.tokens.last().copied().unwrap_or(r.sent);
    RequestRecord {
        id,
        trial,
        phase: Phase::Measure,
        input_asked: r.input,
        output_asked: r.output,
        input_usage: Some(r.input),
        output_usage: Some(r.output),
        intended_ns: at(r.sent),
        dispatched_ns: Some(at(r.sent)),
        written_ns: Some(at(r.sent)),
        first_byte_ns: r.tokens.first().map(|t| at(*t)),
        end_ns: at(end),
        end: EndKind::Ok,
        status: Some(200),
        finish: Some(FinishReason::Length),
        chunks: r.tokens.iter().map(chunk).collect(),
        ..RequestRecord::blank()
    }
}

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
use stopwatt_predict::predict::{LoadDoc, PredictionDoc, Question, SimulatedRequest, simulate_trials};
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
    engine: String,
    engine_version: String,
    engine_args: Vec<String>,
    /// The loads, by their names for people.
    loads: Vec<String>,
    /// Requests of a trial of each load.
    requests: Vec<u32>,
    seed: u64,
    kernels: Vec<String>,
    calibrated: bool,
}

/// Name of a load for people, as `bench` names it.
fn label(load: &LoadDoc) -> String {
    match (load.concurrency, load.rate_rps) {
        (Some(n), _) => format!("c={n} in={} out={}", load.input, load.output),
        (None, Some(rate)) => format!("rate={rate}/s in={} out={}", load.input, load.output),
        (None, None) => format!("in={} out={}", load.input, load.output),
    }
}

/// Writes loads on one engine as the points of a run, and its reports; `None` without a load.
pub(super) fn write(
    loads: &[(Question, PredictionDoc)],
    engine_args: &[String],
    out: PathBuf,
    lang: super::Language,
) -> anyhow::Result<Option<Written>> {
    let Some((question, doc)) = loads.first() else { return Ok(None) };
    let point = |(_, doc): &(Question, PredictionDoc)| PlannedPoint {
        label: label(&doc.load),
        concurrency: doc.load.concurrency,
        rate_rps: doc.load.rate_rps,
        input: doc.load.input.parse().ok(),
        output: doc.load.output.parse().ok(),
        engine_settings: Default::default(),
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
        points: loads.iter().map(point).collect(),
        ..Foreign::default()
    };
    let mut start = 0;
    for (point, (question, _)) in (0..).zip(loads) {
        for (trial, requests) in (0..).zip(&simulate_trials(question, TRIALS)?) {
            let end = requests.iter().filter_map(|r| r.tokens.last()).max().copied().unwrap_or(0);
            let first = foreign.rows.len() as u64;
            let rows = (first..).zip(requests);
            foreign.rows.extend(rows.map(|(id, r)| RequestRecord { point, ..record(id, trial, start, r) }));
            let window = Window { point, trial, start_ns: start, end_ns: start + nanos(end) };
            foreign.windows.push(window);
            start = window.end_ns + 1_000_000_000;
        }
    }
    let settings = PredictSettings {
        model: doc.model.clone(),
        dtype: doc.dtype.clone(),
        gpu: doc.gpu.clone(),
        engine: doc.engine.name.clone(),
        engine_version: doc.engine.version.clone(),
        engine_args: engine_args.to_vec(),
        loads: loads.iter().map(|(_, doc)| label(&doc.load)).collect(),
        requests: loads.iter().map(|(_, doc)| doc.load.requests).collect(),
        seed: doc.load.seed,
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
    let analysis = Settings { mode: "predict".to_owned(), seed: settings.seed, ..Settings::default() };
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
    Ok(Some(report::write(&path, lang.into())?))
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
        cached_usage: Some(r.cached),
        session: Some(r.turn.0.into()),
        turn: Some(r.turn.1),
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

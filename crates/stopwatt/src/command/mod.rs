//! The subcommands: one file each.

pub(crate) mod bench;
mod calibrate;
#[cfg(feature = "ops")]
pub(crate) mod chaos;
mod columns;
pub(crate) mod compare;
mod compare_kernels;
mod compared;
pub(crate) mod completions;
pub(crate) mod cuda_check;
pub(crate) mod doctor;
#[cfg(feature = "ops")]
mod endpoint;
mod engine_constants;
pub(crate) mod expect;
pub(crate) mod explain;
pub(crate) mod export;
mod failure;
mod gpu_settings;
pub(crate) mod guard;
pub(crate) mod import;
mod kernel_tables;
pub(crate) mod man;
mod measured_loads;
pub(crate) mod merge;
mod model_and_gpu;
#[cfg(not(feature = "ops"))]
pub(crate) mod not_built_in;
pub(crate) mod ocr;
pub(crate) mod pair;
mod place;
pub(crate) mod plan;
mod plan_text;
pub(crate) mod predict;
mod predict_load;
mod predict_measured;
mod predict_out;
mod predict_text;
mod price;
mod procedure;
pub(crate) mod profile;
mod prove;
pub(crate) mod report;
pub(crate) mod reproduce;
mod resume;
pub(crate) mod roofline;
mod roofline_measure;
mod roofline_model;
pub(crate) mod run;
pub(crate) mod runs;
pub(crate) mod serve;
mod serve_ocr;
pub(crate) mod targets;
mod tokenizer;
#[cfg(feature = "ops")]
pub(crate) mod watch;
#[cfg(feature = "ops")]
mod watch_cost;
#[cfg(feature = "ops")]
mod watch_dashboard;
#[cfg(feature = "ops")]
mod watch_quality;
#[cfg(feature = "ops")]
mod watch_query;
#[cfg(feature = "ops")]
mod watch_rules;
#[cfg(feature = "ops")]
mod watch_scale;
#[cfg(feature = "ops")]
mod watch_signals;
#[cfg(feature = "ops")]
mod watch_store;
#[cfg(feature = "ops")]
mod watch_trace;
mod workload_flags;

pub(crate) use explain::metric;
pub(crate) use failure::{Failure, complaint, hint_of, outcome_of};

use std::io::IsTerminal as _;
use std::path::PathBuf;

use clap::ValueEnum;
use stopwatt_analyse::dialect::Dialect;
use stopwatt_core::text::Lang;
use stopwatt_record::config::environment;
use stopwatt_report::Style;

use crate::exit::Outcome;

/// How to print a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum Format {
    /// For people
    #[default]
    Table,
    /// For programs: follows a file in `schemas/`
    Json,
    /// For spreadsheets
    Csv,
}

/// Language of what people read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum Language {
    /// English
    #[default]
    En,
    /// Korean
    Ko,
}

impl From<Language> for Lang {
    fn from(language: Language) -> Self {
        match language {
            Language::En => Self::En,
            Language::Ko => Self::Ko,
        }
    }
}

/// The folder that holds runs and their catalogue: `STOPWATT_RUNS`, else `stopwatt-runs` here.
pub(crate) fn runs_root() -> PathBuf {
    environment::var("STOPWATT_RUNS").map_or_else(|| PathBuf::from("stopwatt-runs"), PathBuf::from)
}

/// Refuses GPUs that are asked for and not there, before anything is measured.
fn refuse_missing_gpus(asked: Option<&str>) -> anyhow::Result<()> {
    stopwatt_experiment::check_gpus(asked).map_err(|problem| {
        let error = anyhow::anyhow!("{problem}").context("failed to find the GPUs of --gpus");
        Failure::new(Outcome::MissingResource, error)
            .hint("`stopwatt doctor` lists what is here; leave --gpus out to watch what the target sees")
            .into()
    })
}

/// How to draw on this terminal. `files` is the run directory to mention.
pub(crate) fn terminal_style(files: Option<&str>) -> Style<'_> {
    let color = std::io::stdout().is_terminal() && environment::var("NO_COLOR").is_none_or(|v| v.is_empty());
    let width = environment::var("COLUMNS").and_then(|v| v.parse().ok()).unwrap_or(100);
    Style { color, width, files }
}

/// Whose definitions to print.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum DialectName {
    /// vLLM bench serve, Python client
    Vllm,
    /// vLLM bench, Rust client
    VllmRs,
    /// SGLang bench serving
    Sglang,
    /// guidellm
    Guidellm,
    /// NVIDIA AIPerf
    Aiperf,
    /// Kubernetes inference-perf
    InferencePerf,
    /// MLPerf LoadGen, server scenario
    Mlperf,
}

impl From<DialectName> for Dialect {
    fn from(name: DialectName) -> Self {
        match name {
            DialectName::Vllm => Self::Vllm,
            DialectName::VllmRs => Self::VllmRs,
            DialectName::Sglang => Self::Sglang,
            DialectName::Guidellm => Self::Guidellm,
            DialectName::Aiperf => Self::Aiperf,
            DialectName::InferencePerf => Self::InferencePerf,
            DialectName::Mlperf => Self::Mlperf,
        }
    }
}

/// A field of a CSV line, quoted where it must be.
pub(crate) fn csv_field(field: &str) -> String {
    if field.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", field.replace('"', "\"\""))
    } else {
        field.to_owned()
    }
}

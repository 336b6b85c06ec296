//! `stopwatt export`: a run in another tool's file format.

use std::io::Write;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use stopwatt_record::catalogue;
use stopwatt_record::run_dir::{Run, write_atomically};
use stopwatt_report::Analysed;
use stopwatt_report::exchange::{Select, to_openmetrics, to_trace_events, to_vllm};

use crate::exit::Outcome;

/// Write a run in another tool's file format
///
/// `vllm` is the JSON of `vllm bench serve --save-result --save-detailed`, by its definitions: one entry a request in
/// the arrays, in seconds. Generated texts are never recorded, so theirs are empty.
///
/// `openmetrics` is what the sensors said over time, under the names of NVIDIA's DCGM exporter, for Prometheus: of one
/// GPU everything, of several the power of each.
///
/// `trace` is the JSON of Chrome's trace events, for ui.perfetto.dev: a slice a request with its wait and its stream,
/// the engine's own numbers, power and clocks on one time axis; of all points and trials unless one is named.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  stopwatt export latest --to vllm > result.json\n  stopwatt export 20261122-061530 --to vllm --point 2 --trial 0 --out result.json\n  stopwatt export latest --to openmetrics --out run.om && promtool tsdb create-blocks-from openmetrics run.om data\n  stopwatt export latest --to trace --out run.json   # open it at ui.perfetto.dev"
)]
pub(crate) struct ExportArgs {
    /// Run: an id, the begin of one, a tag, a path, or `latest`
    #[arg(value_name = "RUN", default_value = "latest")]
    run: String,
    /// Which format
    #[arg(long, value_enum)]
    to: Target,
    /// Index of the point, from 0 [default: the one with the highest throughput; of a trace all]
    #[arg(long, value_name = "N")]
    point: Option<u32>,
    /// Index of the trial, from 0 [default: all, as if they had been one run]
    #[arg(long, value_name = "N")]
    trial: Option<u32>,
    /// File to write [default: stdout]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// A format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Target {
    /// JSON of `vllm bench serve`
    Vllm,
    /// OpenMetrics text of the sensors, in the names of dcgm-exporter
    Openmetrics,
    /// Trace events of requests, engine and sensors, for Perfetto and Chrome
    Trace,
}

/// Runs the command.
pub(crate) fn run(args: &ExportArgs, out: &mut dyn Write) -> anyhow::Result<Outcome> {
    let path = catalogue::resolve(&super::runs_root(), &args.run)?;
    let run = Analysed::read(&Run::open(&path)?, None)?;
    let text = match args.to {
        Target::Vllm => {
            let document = to_vllm(&run, Select { point: args.point, trial: args.trial })?;
            serde_json::to_string(&document)? + "\n"
        }
        Target::Openmetrics => to_openmetrics(&run)?,
        Target::Trace => {
            let select = Select { point: args.point, trial: args.trial };
            serde_json::to_string(&to_trace_events(&run, select)?)? + "\n"
        }
    };
    match &args.out {
        Some(file) => write_atomically(file, text.as_bytes())?,
        None => out.write_all(text.as_bytes())?,
    }
    Ok(Outcome::Done)
}

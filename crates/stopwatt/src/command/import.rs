//! `stopwatt import`: the result of another tool as a run.

use std::io::Write;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use stopwatt_analyse::Settings;
use stopwatt_core::Clock;
use stopwatt_record::import::{self, ImportSettings};
use stopwatt_record::{Create, Layers};

use super::{Format, Language, report};
use crate::exit::Outcome;

/// Make a run of another tool's result, so that it can be reported and compared
///
/// Reads the JSON of `vllm bench serve --save-result` (with --save-detailed, every request), guidellm's
/// benchmarks.json, AIPerf's profile_export_aiperf.json, and tables with the columns run,value. What the file holds
/// of each request is analysed like a run of our own; what it holds as a statistic alone has no interval.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  stopwatt import vllm-result.json\n  stopwatt import benchmarks.json --out ./imported\n  stopwatt import ttft.csv --metric ttft"
)]
pub(crate) struct ImportArgs {
    /// File to read; its format is told by its content
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// What the values of a table are, in the unit that `stopwatt explain METRIC` tells
    #[arg(long, value_name = "METRIC")]
    metric: Option<String>,
    /// Folder of the run; it must not exist or be empty [default: stopwatt-runs/ID]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// How to print the result
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// Language of the report
    #[arg(long, value_enum, default_value_t)]
    lang: Language,
}

/// Runs the command.
pub(crate) fn run(args: &ImportArgs, out: &mut dyn Write) -> anyhow::Result<Outcome> {
    let metric = args.metric.as_deref().map(super::metric).transpose()?;
    let bytes =
        std::fs::read(&args.file).with_context(|| format!("failed to read {}", args.file.display()))?;
    let foreign =
        import::read(&bytes, metric).with_context(|| format!("failed to import {}", args.file.display()))?;

    let name = args.file.file_name().map(|n| n.to_string_lossy().into_owned());
    let resolved = Layers::<ImportSettings>::new()
        .flag("file", "FILE", name)
        .flag("metric", "--metric", metric.map(|m| m.name()))
        .resolve()?;
    let mut lock = resolved.lock();
    let settings = Settings { mode: format!("import:{}", foreign.imported.tool), ..Settings::default() };
    if let Some(lock) = lock.as_object_mut() {
        lock.insert(stopwatt_report::ANALYSIS_KEY.to_owned(), serde_json::to_value(settings)?);
    }
    let create = Create {
        root: super::runs_root(),
        out: args.out.clone(),
        name: "import".to_owned(),
        clock: Clock::start(),
        keep_chunks: true,
    };
    let path = import::write(foreign, create, &lock)?;
    let written = report::write(&path, args.lang.into())?;
    report::print(&written, args.format, args.lang.into(), out)?;
    Ok(Outcome::Done)
}

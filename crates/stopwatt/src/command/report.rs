//! `stopwatt report`: the reports of a run, rebuilt from its record alone.

use std::io::{IsTerminal as _, Write};
use std::path::Path;

use anyhow::Context as _;
use clap::Args;
use stopwatt_analyse::Settings;
use stopwatt_core::RequestRecord;
use stopwatt_core::log::LogEvent;
use stopwatt_core::metrics_doc::MetricsDoc;
use stopwatt_core::text::Lang;
use stopwatt_record::catalogue::{self, Catalogue};
use stopwatt_record::config::environment;
use stopwatt_record::events::Chunks;
use stopwatt_record::run_dir::Run;
use stopwatt_report::{Style, View};

use super::{Format, Language};
use crate::exit::Outcome;

/// Rebuild the reports of a run from its record and print the summary
///
/// Needs nothing but the run's directory; the result is the same, byte for byte, however often it is made. A run
/// that was cut off gets the report of what it holds.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  stopwatt report latest\n  stopwatt report 20261122-061530 --format csv > run.csv\n  stopwatt report ./some/run --lang ko")]
pub(crate) struct ReportArgs {
    /// Run: an id, the begin of one, a tag, a path, or `latest`
    #[arg(value_name = "RUN", default_value = "latest")]
    run: String,
    /// How to print the result
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// Language of the report
    #[arg(long, value_enum, default_value_t)]
    lang: Language,
}

/// A run in memory, analysed.
pub(crate) struct Analysed {
    pub(crate) doc: MetricsDoc,
    path: std::path::PathBuf,
    log: Vec<LogEvent>,
    requests: Vec<RequestRecord>,
    config: serde_json::Value,
}

impl Analysed {
    fn view(&self, lang: Lang) -> View<'_> {
        View { doc: &self.doc, log: &self.log, requests: &self.requests, config: &self.config, lang }
    }
}

/// Runs the command.
pub(crate) fn run(args: &ReportArgs, out: &mut dyn Write) -> anyhow::Result<Outcome> {
    let path = catalogue::resolve(&super::runs_root(), &args.run)?;
    let analysed = write(&path, args.lang.into())?;
    print(&analysed, args.format, args.lang.into(), out)?;
    Ok(Outcome::Done)
}

/// Analyses a run and writes `metrics.json`, `report.html` and `report.csv` into it.
pub(crate) fn write(path: &Path, lang: Lang) -> anyhow::Result<Analysed> {
    let run = Run::open(path)?;
    if run.is_running() {
        anyhow::bail!("the run in {} is still being written", path.display());
    }
    let config = run.config()?;
    let settings: Settings = match config.get("analysis") {
        Some(value) => serde_json::from_value(value.clone()).context("failed to read the analysis settings of the run")?,
        None => Settings::default(),
    };
    let requests = run.requests(Chunks::Read)?.collect::<Result<Vec<_>, _>>()?;
    let log = run.log().to_vec();
    let doc = stopwatt_analyse::analyse(&stopwatt_analyse::Input { log: &log, requests: &requests, settings: &settings });
    let analysed = Analysed { doc, path: path.to_owned(), log, requests, config };
    let view = analysed.view(lang);
    run.write_file("metrics.json", stopwatt_report::json(view.doc).as_bytes())?;
    run.write_file("report.csv", stopwatt_report::csv(view.doc).as_bytes())?;
    run.write_file("report.html", stopwatt_report::html(&view).as_bytes())?;
    // The catalogue is an index that can be made anew; without it the run is still whole.
    if let Err(error) = Catalogue::open(&super::runs_root()).and_then(|mut c| c.add(path)) {
        eprintln!("warning: the catalogue of runs was not updated: {error}");
    }
    Ok(analysed)
}

/// Prints the summary.
pub(crate) fn print(analysed: &Analysed, format: Format, lang: Lang, out: &mut dyn Write) -> anyhow::Result<()> {
    match format {
        Format::Json => write!(out, "{}", stopwatt_report::json(&analysed.doc))?,
        Format::Csv => write!(out, "{}", stopwatt_report::csv(&analysed.doc))?,
        Format::Table => {
            let color = std::io::stdout().is_terminal() && environment::var("NO_COLOR").is_none_or(|v| v.is_empty());
            let width = environment::var("COLUMNS").and_then(|v| v.parse().ok()).unwrap_or(100);
            let files = analysed.path.display().to_string();
            write!(out, "{}", stopwatt_report::terminal(&analysed.view(lang), Style { color, width, files: Some(&files) }))?;
        }
    }
    Ok(())
}

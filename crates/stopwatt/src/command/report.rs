//! `stopwatt report`: the reports of a run, rebuilt from its record alone.

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Args;
use stopwatt_core::text::Lang;
use stopwatt_record::catalogue::{self, Catalogue};
use stopwatt_record::remote::Address;
use stopwatt_record::run_dir::Run;
use stopwatt_report::Analysed;

use super::ocr::report as ocr_report;
use super::price::{PriceArgs, cost_settings};
use super::{DialectName, Format, Language};
use crate::exit::Outcome;

/// Rebuild the reports of a run from its record and print the summary
///
/// Needs nothing but the run's directory; the result is the same, byte for byte, however often it is made. A run
/// that was cut off gets the report of what it holds.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  stopwatt report latest\n  stopwatt report 20261122-061530 --format csv > run.csv\n  stopwatt report ./some/run --lang ko\n  stopwatt report latest --dialect vllm\n  stopwatt report read --share --lang ko\n  stopwatt report latest --price my-h100 --prices prices.toml --utilisation 0.4"
)]
pub(crate) struct ReportArgs {
    /// Run: an id, the begin of one, a tag, a path, an address such as s3://BUCKET/PREFIX, or `latest`
    #[arg(value_name = "RUN", default_value = "latest")]
    run: String,
    /// How to print the result
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// Language of the report
    #[arg(long, value_enum, default_value_t)]
    lang: Language,
    /// Print the run in another tool's definitions, ours beside them
    #[arg(long, value_enum, value_name = "TOOL")]
    dialect: Option<DialectName>,
    #[command(flatten)]
    cost: PriceArgs,
    /// Leave all content of documents out, so that the page can be passed on
    #[arg(long, conflicts_with = "include_documents", help_heading = "Of `ocr run`")]
    share: bool,
    /// Show content of documents also where they are not marked as made up
    #[arg(long, help_heading = "Of `ocr run`")]
    include_documents: bool,
}

/// Runs the command.
pub(crate) fn run(args: &ReportArgs, out: &mut dyn Write) -> anyhow::Result<Outcome> {
    let root = super::runs_root();
    let given = PathBuf::from(&args.run);
    let path = if ocr_report::is_in(&given) { given } else { catalogue::resolve(&root, &args.run)? };
    if ocr_report::is_in(&path) {
        let wanted = ocr_report::Wanted {
            share: args.share,
            include_documents: args.include_documents,
            format: args.format,
            lang: args.lang.into(),
        };
        return ocr_report::report(&path, wanted, out);
    }
    let PriceArgs { price, prices, utilisation } = &args.cost;
    let cost = cost_settings(price.as_deref(), prices.as_deref(), *utilisation)?;
    let analysed = stopwatt_report::write_all(&Run::open(&path)?, args.lang.into(), cost)?;
    // Who reads a run of somebody else's, wherever it lies, asks for no folder of runs here.
    if root.is_dir() && Address::of(&args.run)?.is_none() {
        remember(&path);
    }
    let written = Written { analysed, path };
    match args.dialect {
        Some(dialect) => print_dialect(&written, dialect, args.format, out)?,
        None => print(&written, args.format, args.lang.into(), out)?,
    }
    Ok(Outcome::Done)
}

/// Writes `metrics.json`, `report.html` and `report.csv` of a run from its record, and enters it into the catalogue.
pub(crate) fn write(path: &Path, lang: Lang) -> anyhow::Result<Written> {
    let analysed = stopwatt_report::write_all(&Run::open(path)?, lang, None)?;
    remember(path);
    Ok(Written { analysed, path: path.to_owned() })
}

/// Enters a run into the catalogue. That is an index which can be made anew: without it the run is still whole.
fn remember(path: &Path) {
    if let Err(error) = Catalogue::open(&super::runs_root()).and_then(|mut c| c.add(path)) {
        eprintln!("warning: the catalogue of runs was not updated: {error}");
    }
}

/// A run whose reports were written.
pub(crate) struct Written {
    pub(crate) analysed: Analysed,
    pub(crate) path: PathBuf,
}

/// Prints the summary.
pub(crate) fn print(
    written: &Written,
    format: Format,
    lang: Lang,
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    let Written { analysed, path } = written;
    match format {
        Format::Json => write!(out, "{}", stopwatt_report::json(&analysed.doc))?,
        Format::Csv => write!(out, "{}", stopwatt_report::csv(&analysed.doc))?,
        Format::Table => {
            let files = path.display().to_string();
            let style = super::terminal_style(Some(&files));
            write!(out, "{}", stopwatt_report::terminal(&analysed.view(lang), style))?;
        }
    }
    Ok(())
}

/// Prints the run in another tool's definitions.
pub(crate) fn print_dialect(
    written: &Written,
    dialect: DialectName,
    format: Format,
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    let view = written.analysed.dialect(dialect.into())?;
    match format {
        Format::Json => writeln!(out, "{}", serde_json::to_string_pretty(&view)?)?,
        Format::Csv => write!(out, "{}", stopwatt_report::dialect_csv(&view))?,
        Format::Table => {
            write!(out, "{}", stopwatt_report::dialect_terminal(&view, super::terminal_style(None)))?
        }
    }
    Ok(())
}

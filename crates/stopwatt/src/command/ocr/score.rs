//! `stopwatt ocr score`: readings against the truth, offline.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;
use stopwatt_ocr::input;
use stopwatt_ocr::score::{self, Options, PageLine};
use stopwatt_quality::Profile;
use stopwatt_record::run_dir::write_atomically;

use super::table;
use crate::command::{Format, Language};
use crate::exit::Outcome;

/// Score readings, of any OCR program or model, against the truth
///
/// Both files hold one JSON object a line: `{"id", "text", "type", "document", "fields"}` of a page, and `{"id", "text",
/// "fields", "finish_reason"}` of a reading. A page without a reading counts as read empty. Nothing of the text is
/// printed or stored.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  stopwatt ocr score --truth truth.jsonl --pred readings.jsonl
  stopwatt ocr score --truth truth.jsonl --pred readings.jsonl --norm ko-med@1 --format json
  stopwatt ocr score --truth truth.jsonl --pred readings.jsonl --pages pages.jsonl --drugs drugs.txt")]
pub(crate) struct ScoreArgs {
    /// What stands on the pages, as JSON lines
    #[arg(long, value_name = "FILE")]
    truth: PathBuf,
    /// What was read, as JSON lines
    #[arg(long, value_name = "FILE")]
    pred: PathBuf,
    /// Normalisation of the rates of characters and words: raw@1 (N0), text@1 (N1), ko-med@1 (N2), ko-med-nospace@1 (N3) or
    /// ko-med-jamo@1 (N4)
    #[arg(long, value_name = "ID", value_parser = profile, default_value = "text@1")]
    norm: Profile,
    /// Names of further drugs, one a line: a reading that is one of them is another drug, not a garbled name
    #[arg(long, value_name = "FILE")]
    drugs: Option<PathBuf>,
    /// What to do with pages without a reading
    #[arg(long, value_enum, default_value_t)]
    errors: Errors,
    /// Also write the scores of each page, as JSON lines with their ids
    #[arg(long, value_name = "FILE")]
    pages: Option<PathBuf>,
    /// Seed of the intervals
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// How to print the result
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// Language of the result
    #[arg(long, value_enum, default_value_t)]
    lang: Language,
}

/// What becomes of pages without a reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
enum Errors {
    /// They count as read empty
    #[default]
    Count,
    /// They are left out
    Exclude,
}

/// Runs the command.
pub(super) fn run(args: &ScoreArgs, out: &mut dyn Write) -> anyhow::Result<Outcome> {
    let truth = input::truth(&args.truth)?;
    let readings = input::readings(&args.pred, &truth)?;
    let options = Options {
        profile: args.norm,
        drugs: args.drugs.as_deref().map(names).transpose()?.unwrap_or_default(),
        exclude_failed: args.errors == Errors::Exclude,
        seed: args.seed,
    };
    let (doc, pages) = score::score(&truth, &readings, &options);
    if let Some(path) = &args.pages {
        write_atomically(path, lines(&pages)?.as_bytes())?;
        eprintln!("wrote {}", path.display());
    }
    match args.format {
        Format::Json => writeln!(out, "{}", serde_json::to_string_pretty(&doc)?)?,
        Format::Csv => write!(out, "{}", table::csv(&doc))?,
        Format::Table => write!(out, "{}", table::text(&doc, args.lang.into()))?,
    }
    Ok(Outcome::Done)
}

pub(super) fn profile(id: &str) -> Result<Profile, String> {
    Profile::from_id(id).ok_or_else(|| {
        let known: Vec<&str> = Profile::ALL.iter().map(|p| p.id()).collect();
        format!("no such normalisation; there are {}", known.join(", "))
    })
}

fn names(path: &Path) -> anyhow::Result<Vec<String>> {
    let text = std::fs::read_to_string(path).context("failed to read the file of --drugs")?;
    Ok(text.lines().map(str::trim).filter(|l| !l.is_empty()).map(str::to_owned).collect())
}

fn lines(pages: &[PageLine]) -> anyhow::Result<String> {
    let mut text = String::new();
    for page in pages {
        text.push_str(&serde_json::to_string(page)?);
        text.push('\n');
    }
    Ok(text)
}

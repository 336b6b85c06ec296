//! `stopwatt ocr verify`: is the truth itself right?

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Args;
use stopwatt_core::text::{Lang, Text, fill};
use stopwatt_ocr::input;
use stopwatt_ocr::verify::{VerifyDoc, verify};

use crate::command::columns::table;
use crate::command::{Failure, Format, Language, csv_field};
use crate::exit::Outcome;

/// Most problems that a table shows.
const SHOWN: usize = 20;

/// Check the truth: values that do not stand on their page, images of the wrong size, ids that come twice
///
/// Exits with 10 where something is wrong, and with 11 where a type has fewer documents than `--min-samples`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  stopwatt ocr verify data/truth.jsonl
  stopwatt ocr verify data --min-samples 50")]
pub(crate) struct VerifyArgs {
    /// File of the truth, or the folder of `truth.jsonl`
    #[arg(value_name = "FILE|FOLDER")]
    truth: PathBuf,
    /// Documents that each type needs
    #[arg(long, value_name = "N", default_value_t = 1)]
    min_samples: u64,
    /// How to print the result
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// Language of the result
    #[arg(long, value_enum, default_value_t)]
    lang: Language,
}

/// Runs the command.
pub(super) fn run(args: &VerifyArgs, out: &mut dyn Write) -> anyhow::Result<Outcome> {
    let file = if args.truth.is_dir() { args.truth.join("truth.jsonl") } else { args.truth.clone() };
    let pages = input::truth(&file)?;
    if args.min_samples == 0 {
        return Err(Failure::new(Outcome::Usage, anyhow::anyhow!("--min-samples is at least 1")).into());
    }
    let doc = verify(&pages, file.parent().unwrap_or(Path::new(".")), args.min_samples);
    match args.format {
        Format::Json => writeln!(out, "{}", serde_json::to_string_pretty(&doc)?)?,
        Format::Csv => {
            writeln!(out, "line,field,problem")?;
            for p in &doc.problems {
                let field = p.field.map_or_else(String::new, |f| f.to_string());
                writeln!(out, "{},{field},{}", p.line, csv_field(&p.problem))?;
            }
        }
        Format::Table => write!(out, "{}", text(&doc, args.lang.into()))?,
    }
    let few = doc.types.values().any(|t| t.documents < args.min_samples);
    Ok(match () {
        () if !doc.problems.is_empty() => Outcome::GateFailed,
        () if few => Outcome::Inconclusive,
        () => Outcome::Done,
    })
}

fn text(doc: &VerifyDoc, lang: Lang) -> String {
    let t = |text: Text| text.get(lang);
    let rows: Vec<[String; 6]> = doc
        .types
        .iter()
        .map(|(name, c)| {
            let [least, median, most] = c.characters.map(|n| n.to_string());
            [name.clone(), c.documents.to_string(), c.pages.to_string(), least, median, most]
        })
        .collect();
    let header = [
        Text::OcrType,
        Text::OcrDocuments,
        Text::OcrPages,
        Text::OcrShortest,
        Text::OcrMedian,
        Text::OcrLongest,
    ];
    let mut out = table(header.map(t), &rows);
    let counts = [doc.pages, doc.fields, doc.images].map(|n| n.to_string());
    out.push('\n');
    out.push_str(&fill(t(Text::OcrLookedAt), &[&counts[0], &counts[1], &counts[2]]));
    out.push('\n');
    for p in doc.problems.iter().take(SHOWN) {
        let field = p.field.map_or_else(String::new, |f| fill(t(Text::OcrField), &[&f.to_string()]));
        let line = fill(t(Text::OcrLine), &[&p.line.to_string()]);
        out.push_str(&format!("✗ {line}{field}: {}\n", p.problem));
    }
    if doc.problems.len() > SHOWN {
        let more = (doc.problems.len() - SHOWN).to_string();
        out.push_str(&format!("  {}\n", fill(t(Text::MoreFindings), &[&more])));
    }
    doc.remarks.iter().for_each(|r| out.push_str(&format!("! {r}\n")));
    if doc.problems.is_empty() {
        out.push_str(&format!("✓ {}\n", t(Text::OcrTruthRight)));
    }
    out
}

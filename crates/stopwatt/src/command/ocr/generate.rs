//! `stopwatt ocr gen`: made-up documents whose text is known.

use std::io::Write;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use stopwatt_core::text::{Text, fill};
use stopwatt_ocr::generate::{GenerateError, Made, Plan, generate};
use stopwatt_ocr::profile::DocType;

use crate::command::columns::bytes;
use crate::command::{Failure, Format, Language};
use crate::exit::Outcome;

/// Make documents whose text is known: images, and the truth recorded as they are drawn
///
/// Prescriptions, laboratory reports, diagnosis certificates, discharge summaries and medical records in Korean, all
/// made up. The same page is drawn at every resolution, so that resolutions differ in nothing else. What looks
/// written by hand is a font. A character that no font has is an error, never a gap on the page.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  stopwatt ocr gen --out data
  stopwatt ocr gen --types 처방전,lab_result --count 50 --dpi 72,150,300 --degrade clean,scan --seed 7 --out data
  stopwatt ocr gen --font NanumMyeongjo.ttf --font DejaVuSans.ttf --vocab words.tsv --out data")]
pub(crate) struct GenArgs {
    /// Folder of the documents
    #[arg(long, value_name = "FOLDER")]
    out: PathBuf,
    /// Types of documents, in Korean or English [default: all]
    #[arg(long, value_name = "TYPE", value_delimiter = ',', value_parser = doc_type)]
    types: Vec<DocType>,
    /// Documents of each type
    #[arg(long, value_name = "N", default_value_t = 80, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    count: u32,
    /// Resolutions, in dots per inch
    #[arg(long, value_name = "DPI", value_delimiter = ',', default_value = "150", value_parser = clap::value_parser!(u32).range(36..=1200))]
    dpi: Vec<u32>,
    /// What happens to the images: clean, scan, fax, phone
    #[arg(long, value_name = "NAME", value_delimiter = ',', default_value = "clean")]
    degrade: Vec<String>,
    /// Font file, as FILE or FILE#FACE; asked in the order given (repeatable) [default: NanumGothic, Noto Sans CJK, DejaVu Sans]
    #[arg(long = "font", value_name = "FILE")]
    fonts: Vec<PathBuf>,
    /// Font file for what looks written by hand (repeatable) [default: Nanum Pen]
    #[arg(long = "hand-font", value_name = "FILE")]
    hand_fonts: Vec<PathBuf>,
    /// Size of letters, in points
    #[arg(long, value_name = "POINTS", default_value_t = 10.0)]
    size: f64,
    /// Own drugs, laboratory items and diagnoses, as lines set apart by tabs
    #[arg(long, value_name = "FILE")]
    vocab: Option<PathBuf>,
    /// Seed of everything
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// How to print what was made
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// Language of the result
    #[arg(long, value_enum, default_value_t)]
    lang: Language,
}

/// Runs the command.
pub(super) fn run(args: &GenArgs, out: &mut dyn Write) -> anyhow::Result<Outcome> {
    if !(5.0..=24.0).contains(&args.size) {
        return Err(Failure::new(Outcome::Usage, anyhow::anyhow!("--size is between 5 and 24 points")).into());
    }
    let vocabulary = args.vocab.as_ref().map(std::fs::read_to_string).transpose();
    let plan = Plan {
        types: if args.types.is_empty() { DocType::ALL.to_vec() } else { args.types.clone() },
        count: args.count,
        dpi: args.dpi.clone(),
        degrade: args.degrade.clone(),
        seed: args.seed,
        fonts: args.fonts.clone(),
        hand_fonts: args.hand_fonts.clone(),
        points: args.size,
        vocabulary: vocabulary.context("failed to read the file of --vocab")?,
    };
    let total = plan.types.len() * args.count as usize * plan.dpi.len() * plan.degrade.len();
    let bar = indicatif::ProgressBar::new(total as u64);
    let made = generate(&plan, &args.out, |images| bar.set_position(images)).map_err(failure)?;
    bar.finish_and_clear();
    match args.format {
        Format::Json => writeln!(out, "{}", serde_json::to_string_pretty(&made)?)?,
        Format::Csv => {
            writeln!(out, "documents,images,bytes\n{},{},{}", made.documents, made.images, made.bytes)?;
        }
        Format::Table => write!(out, "{}", text(&made, args.lang.into()))?,
    }
    Ok(Outcome::Done)
}

fn failure(error: GenerateError) -> anyhow::Error {
    let (outcome, hint) = match &error {
        GenerateError::NoFont | GenerateError::MissingGlyph { .. } => {
            (Outcome::MissingResource, error.hint())
        }
        GenerateError::Degradation { .. } | GenerateError::Vocabulary { .. } | GenerateError::TooLong => {
            (Outcome::Configuration, error.hint())
        }
        _ => (Outcome::Usage, error.hint()),
    };
    let failure = Failure::new(outcome, anyhow::Error::new(error).context("failed to make the documents"));
    match hint {
        Some(hint) => failure.hint(hint).into(),
        None => failure.into(),
    }
}

fn text(made: &Made, lang: stopwatt_core::text::Lang) -> String {
    let counts = [made.documents.to_string(), made.images.to_string(), bytes(made.bytes as f64)];
    let mut out = fill(Text::OcrMade.get(lang), &[&counts[0], &counts[1], &counts[2]]);
    out.push('\n');
    for [name, hash] in &made.fonts {
        out.push_str(&format!("  {name}  {}\n", &hash[..16]));
    }
    if !made.handwriting_like {
        out.push_str(&format!("! {}\n", Text::OcrNoHand.get(lang)));
    }
    out
}

pub(super) fn doc_type(name: &str) -> Result<DocType, String> {
    DocType::from_name(name).ok_or_else(|| {
        let known: Vec<String> = DocType::ALL.iter().map(|t| format!("{} ({})", t.name(), t.id())).collect();
        format!("no such type; there are {}", known.join(", "))
    })
}

//! `stopwatt ocr compare`: two runs over the same pages.

use std::fmt::Write as _;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;
use stopwatt_core::text::{Lang, Text, fill};
use stopwatt_ocr::compare::{Change, CompareDoc, Compared, Figure, compare};
use stopwatt_ocr::rows::PageRow;

use super::report::PAGES;
use super::table::number;
use crate::command::columns::{seconds, table};
use crate::command::{Failure, Format, Language, csv_field};
use crate::exit::Outcome;

/// Compare two runs of `ocr run` page by page: accuracy, fields, times
///
/// Only pages that both runs read are compared, each with itself; intervals are over documents. Character error rate,
/// fields and latency over all pages are judged, corrected together; the rest is shown. Exits with 0 whatever the verdict.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  stopwatt ocr compare before after
  stopwatt ocr compare kor kor+eng --format json")]
pub(crate) struct CompareArgs {
    /// Folder of `ocr run --out` to compare against
    #[arg(value_name = "BASELINE")]
    baseline: PathBuf,
    /// Folder of the run that is judged
    #[arg(value_name = "CANDIDATE")]
    candidate: PathBuf,
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

/// Runs the command.
pub(super) fn run(args: &CompareArgs, out: &mut dyn Write) -> anyhow::Result<Outcome> {
    let (baseline, candidate) = (rows(&args.baseline)?, rows(&args.candidate)?);
    let doc = compare(&baseline, &candidate, args.seed).map_err(|e| {
        Failure::new(Outcome::Usage, anyhow::Error::new(e).context("failed to compare the runs"))
            .hint("both must have read the images of one `ocr gen`, or of one truth")
    })?;
    match args.format {
        Format::Json => writeln!(out, "{}", serde_json::to_string_pretty(&doc)?)?,
        Format::Csv => write!(out, "{}", csv(&doc))?,
        Format::Table => write!(out, "{}", text(&doc, args.lang.into()))?,
    }
    Ok(Outcome::Done)
}

fn rows(folder: &Path) -> anyhow::Result<Vec<PageRow>> {
    let text = std::fs::read_to_string(folder.join(PAGES)).map_err(|e| {
        let what = format!("failed to read {PAGES} of {}", folder.display());
        Failure::new(Outcome::Usage, anyhow::Error::new(e).context(what))
            .hint("`stopwatt ocr run --out` writes it")
    })?;
    let row = |(i, line): (usize, &str)| {
        serde_json::from_str(line)
            .with_context(|| format!("{PAGES}, line {}: not a page of `ocr run`", i + 1))
    };
    text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()).map(row).collect()
}

fn text(doc: &CompareDoc, lang: Lang) -> String {
    let t = |text: Text| text.get(lang);
    let mut out = String::new();
    let rows: Vec<[String; 8]> = doc
        .figures
        .iter()
        .map(|f| {
            let show = |v: f64| if f.figure == Figure::LatencyS { seconds(v) } else { number(v) };
            let signed = |v: f64| format!("{}{}", if v < 0.0 { "−" } else { "+" }, show(v.abs()));
            let interval = match f.interval {
                Some([lo, hi]) => format!("[{}, {}]", signed(lo), signed(hi)),
                None => "–".to_owned(),
            };
            [
                if f.group == "all" { t(Text::OcrAll).to_owned() } else { f.group.clone() },
                t(figure(f.figure)).to_owned(),
                show(f.baseline),
                show(f.candidate),
                signed(f.difference),
                interval,
                format!("{} / {}", f.pages_better_worse[0], f.pages_better_worse[1]),
                f.verdict.map_or("", |v| t(change(v))).to_owned(),
            ]
        })
        .collect();
    let header = [
        t(Text::OcrType),
        t(Text::OcrCompareFigure),
        t(Text::OcrCompareBaseline),
        t(Text::OcrCompareCandidate),
        t(Text::OcrCompareDifference),
        t(Text::OcrCompareInterval),
        t(Text::OcrCompareBetterWorse),
        t(Text::OcrVerdict),
    ];
    out.push_str(&table(header, &rows));
    let [a, b] = doc.failed.map(|n| n.to_string());
    let _ = writeln!(out, "\n{}", fill(t(Text::OcrComparePages), &[&doc.pages.to_string(), &a, &b]));
    let mut reasons: Vec<&str> = doc.figures.iter().filter_map(|f| f.reason.as_deref()).collect();
    reasons.dedup();
    reasons.truncate(1);
    for note in reasons.into_iter().chain(doc.notes.iter().map(String::as_str)) {
        let _ = writeln!(out, "! {note}");
    }
    let _ = writeln!(out, "{}", t(Text::OcrCompareNote));
    out
}

const fn figure(figure: Figure) -> Text {
    match figure {
        Figure::Cer => Text::OcrCompareCer,
        Figure::CerJamo => Text::OcrCompareJamo,
        Figure::Wer => Text::OcrCompareWer,
        Figure::FieldAccuracy => Text::OcrCompareFields,
        Figure::LatencyS => Text::OcrCompareLatency,
    }
}

const fn change(change: Change) -> Text {
    match change {
        Change::Improved => Text::OcrCompareImproved,
        Change::Regressed => Text::OcrCompareRegressed,
        Change::Inconclusive => Text::OcrCompareInconclusive,
        Change::Same => Text::OcrCompareSame,
    }
}

fn csv(doc: &CompareDoc) -> String {
    let mut out = "group,figure,pages,documents,baseline,candidate,difference,lo,hi,p,better,worse,verdict\n"
        .to_owned();
    let number = |v: Option<f64>| v.map_or_else(String::new, |v| v.to_string());
    for f in &doc.figures {
        let Compared { pages, documents, baseline, candidate, difference, .. } = f;
        let [better, worse] = f.pages_better_worse;
        let (lo, hi) = (number(f.interval.map(|i| i[0])), number(f.interval.map(|i| i[1])));
        let verdict = match f.verdict {
            None => "",
            Some(Change::Improved) => "improved",
            Some(Change::Regressed) => "regressed",
            Some(Change::Inconclusive) => "inconclusive",
            Some(Change::Same) => "same",
        };
        let (group, name) = (csv_field(&f.group), f.figure.name());
        let _ = writeln!(
            out,
            "{group},{name},{pages},{documents},{baseline},{candidate},{difference},{lo},{hi},{},{better},{worse},{verdict}",
            number(f.p)
        );
    }
    out
}

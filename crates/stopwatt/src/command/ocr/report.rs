//! `stopwatt report` of what `ocr run --out` kept.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use stopwatt_core::text::{Lang, Text, fill};
use stopwatt_ocr::evidence::Evidence;
use stopwatt_ocr::run::RunDoc;
use stopwatt_record::run_dir::write_atomically;
use stopwatt_report::ocr_html;

use super::page::Pages;
use super::{run, table};
use crate::command::{Failure, Format};
use crate::exit::Outcome;

/// What `ocr run` writes.
pub(super) const RESULT: &str = "ocr.json";
/// A line a page, without content.
pub(super) const PAGES: &str = "pages.jsonl";
/// Content of documents.
pub(super) const DOCUMENTS: &str = "documents.json";

/// What is asked of the report.
#[derive(Debug, Clone, Copy)]
pub(in crate::command) struct Wanted {
    /// Make it so that it can be passed on: no content of documents.
    pub(in crate::command) share: bool,
    /// Show content of documents that are not marked as made up.
    pub(in crate::command) include_documents: bool,
    /// How to print the result.
    pub(in crate::command) format: Format,
    /// Its language.
    pub(in crate::command) lang: Lang,
}

/// Whether `ocr run` wrote into a folder.
pub(in crate::command) fn is_in(folder: &Path) -> bool {
    folder.join(RESULT).is_file()
}

/// Writes `report.html` and `report.csv` and prints the result.
pub(in crate::command) fn report(
    folder: &Path,
    wanted: Wanted,
    out: &mut dyn Write,
) -> anyhow::Result<Outcome> {
    let doc: RunDoc = read(folder, RESULT)?.with_context(|| format!("failed to read {RESULT}"))?;
    let path = write(folder, &doc, wanted)?;
    match wanted.format {
        Format::Json => writeln!(out, "{}", serde_json::to_string_pretty(&doc)?)?,
        Format::Csv => write!(out, "{}", table::run_csv(&doc))?,
        Format::Table => {
            write!(out, "{}", table::run_text(&doc, wanted.lang))?;
            let path = path.display().to_string();
            writeln!(out, "{}", fill(Text::OcrReportWritten.get(wanted.lang), &[&path]))?;
        }
    }
    Ok(Outcome::Done)
}

/// Writes the page and the table beside it, and `metrics.json` of the run that they belong to; returns where the page is.
pub(super) fn write(folder: &Path, doc: &RunDoc, wanted: Wanted) -> anyhow::Result<PathBuf> {
    // Folders of earlier versions are no runs.
    if folder.join("run.log").is_file() {
        crate::command::report::write(folder, wanted.lang)?;
    }
    let evidence = if wanted.share { None } else { documents(folder, doc, wanted)? };
    let page = Pages { doc, evidence: evidence.as_ref(), share: wanted.share, lang: wanted.lang }.page();
    let path = folder.join("report.html");
    write_atomically(&path, ocr_html(&page, wanted.lang).as_bytes())?;
    run::private(&path, 0o600)?;
    write_atomically(&folder.join("report.csv"), table::run_csv(doc).as_bytes())?;
    Ok(path)
}

/// Content that may be shown: that of made-up pages, or what is asked for.
fn documents(folder: &Path, doc: &RunDoc, wanted: Wanted) -> anyhow::Result<Option<Evidence>> {
    let evidence: Option<Evidence> = read(folder, DOCUMENTS)?;
    if evidence.is_none() && wanted.include_documents {
        let error = anyhow::anyhow!("the run kept nothing of what was read");
        let failure = Failure::new(Outcome::Usage, error);
        return Err(failure.hint("`stopwatt ocr run --store-text` keeps it").into());
    }
    Ok(evidence.filter(|e| (doc.synthetic && e.synthetic) || wanted.include_documents))
}

/// A file of the folder; `None` where it is not there.
fn read<T: serde::de::DeserializeOwned>(folder: &Path, name: &str) -> anyhow::Result<Option<T>> {
    let text = match std::fs::read_to_string(folder.join(name)) {
        Ok(text) => text,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e).with_context(|| format!("failed to read {name}")),
    };
    // The message of the parser may quote the value, so it is not passed on.
    let value = serde_json::from_str(&text).map_err(|e| {
        anyhow::anyhow!("{name} is not understood at line {}, column {}", e.line(), e.column())
    })?;
    Ok(Some(value))
}

//! Runs to terminal tables, JSON, CSV and HTML.
//!
//! ```text
//! run.log, events.parquet, config.lock.json ──► analyse ──► MetricsDoc ─┐
//! (chunks only of short runs)                       View ◄──────────────┘
//!                                                    ├──► terminal   what a person reads first
//!                                                    ├──► html       the same, with plots and evidence
//!                                                    └──► csv, json  what a program reads
//! ```
//!
//! Invariants, each held by a test:
//!
//! - the same record gives the same bytes: nothing here reads a clock, a path or the environment;
//! - a number is shown with its interval, or with the reason why there is none;
//! - text that came from outside (model names, error details) is inert in every format;
//! - meaning is never carried by colour alone.
//!
//! This crate never measures and never computes a metric: values come from `MetricsDoc`, the request rows are
//! only drawn.

mod acceptance;
mod before_after;
mod causes;
mod comparison;
mod cost;
mod csv;
mod date;
mod dialect;
mod engines;
pub mod exchange;
mod facts;
mod figures;
mod gpu;
mod hardware;
mod html;
mod markup;
mod model_roofline;
mod notes;
mod ocr;
mod plan;
mod points;
mod quantity;
mod rebuild;
mod reproduction;
mod search;
mod settings;
mod software;
mod summary;
mod svg;
mod table;
mod terminal;
mod trace;

use stopwatt_analyse::Recorded;
use stopwatt_core::RequestRow;
use stopwatt_core::log::LogEvent;
use stopwatt_core::metrics_doc::MetricsDoc;
use stopwatt_core::text::Lang;

pub use acceptance::acceptance;
pub use before_after::{ComparedView, ComparisonView, comparison_html};
pub use comparison::{comparison, comparison_csv};
pub use csv::csv;
pub use dialect::{dialect_csv, dialect_terminal};
pub use hardware::{Hardware, kernels_text, movement_csv, movement_text, roofline_csv, roofline_text};
pub use html::html;
pub use model_roofline::{ModelRooflinePage, model_roofline_html};
pub use ocr::{
    Bar, Block, Cell, Document, LineChart, Measured, OcrPage, Piece, Section, Series,
    Standing as OcrStanding, Stretch, Tone, ocr_html,
};
pub use plan::{PlanPage, plan_html};
pub use rebuild::{ANALYSIS_KEY, Analysed, RebuildError, write_all};
pub use reproduction::{reproduction, reproduction_csv};
pub use terminal::{Style, terminal};
pub use trace::Trace;

/// Everything a report is made from.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    /// The summary.
    pub doc: &'a MetricsDoc,
    /// The lines of `run.log`.
    pub log: &'a [LogEvent],
    /// The requests and what their streams come to; empty is fine, then there is less to draw.
    pub record: &'a Recorded,
    /// `config.lock.json`.
    pub config: &'a serde_json::Value,
    /// `power.csv`; empty when nothing was sampled.
    pub trace: &'a Trace,
    /// What the run holds of its device; empty where it measured something else.
    pub hardware: &'a Hardware,
    /// Language of the texts.
    pub lang: Lang,
}

impl<'a> View<'a> {
    /// Whether the run is about requests, or iterations of a target, which are rows of the same kind.
    pub(crate) fn has_requests(&self) -> bool {
        !self.doc.points.is_empty() || self.hardware.is_empty()
    }

    /// Every request: those of the warm-up, then by point, trial and id.
    pub(crate) fn requests(&self) -> &'a [RequestRow] {
        self.record.rows()
    }
}

/// `metrics.json`, as it lies in a run.
pub fn json(doc: &MetricsDoc) -> String {
    let mut text = serde_json::to_string_pretty(doc).expect("a MetricsDoc has only string keys");
    text.push('\n');
    text
}

//! What the catalogue knows of one run.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use serde::Serialize;
use stopwatt_core::Metric;
use stopwatt_core::log::Fact;
use stopwatt_core::metrics_doc::{MetricsDoc, RunStatus};

use super::tags;
use crate::run_dir::{LOG, METRICS, Run, RunError, TAGS};

/// What the catalogue knows of one run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Entry {
    /// Name of the run.
    pub id: String,
    /// Its directory.
    pub path: PathBuf,
    /// UNIX nanoseconds of its start.
    pub started_unix_ns: i64,
    /// Whether it came to its end.
    pub status: RunStatus,
    /// Whether it is being written.
    pub running: bool,
    /// What it is, for instance `bench`, or `bench:sweep` once it was analysed.
    pub kind: String,
    /// Model, when known.
    pub model: Option<String>,
    /// Verdict on the run itself; `None` when it was not judged.
    pub valid: Option<bool>,
    /// Headline numbers by `metric.statistic`, for instance `ttft.p50`, in SI units.
    pub headline: BTreeMap<String, f64>,
    /// Tags, sorted.
    pub tags: Vec<String>,
}

/// The numbers that a list of runs shows.
const HEADLINE: [(Metric, &str); 7] = [
    (Metric::Ttft, "p50"),
    (Metric::Ttft, "p99"),
    (Metric::Tpot, "mean"),
    (Metric::E2e, "p95"),
    (Metric::OutputThroughput, "mean"),
    (Metric::RequestThroughput, "mean"),
    (Metric::ErrorRate, "mean"),
];

impl Entry {
    /// Reads a run directory.
    pub fn read(path: &Path) -> Result<Self, RunError> {
        let run = Run::open(path)?;
        let model = run.log().iter().find_map(|e| match &e.fact {
            Fact::EngineProbed { model, .. } => Some(model.clone()),
            _ => None,
        });
        // A summary that is damaged can be made again from the record, so the run is listed all the same.
        let metrics = run.metrics().ok().flatten();
        Ok(Self {
            id: run.id().to_string(),
            path: std::fs::read_link(path).unwrap_or_else(|_| path.to_owned()),
            started_unix_ns: run.clock().t0_unix_ns,
            status: run.status(),
            running: run.is_running(),
            kind: metrics.as_ref().map_or_else(|| run.id().kind().to_owned(), |m| m.pipeline.mode.clone()),
            model,
            valid: metrics.as_ref().map(|m| m.validity.valid),
            headline: metrics.as_ref().map(headline).unwrap_or_default(),
            tags: tags::read(path)?,
        })
    }
}

fn headline(doc: &MetricsDoc) -> BTreeMap<String, f64> {
    let mut numbers = BTreeMap::new();
    for (metric, statistic) in HEADLINE {
        let value = doc.metrics.get(metric.name()).and_then(|summary| {
            summary.statistics().into_iter().find(|(name, _)| *name == statistic).and_then(|(_, e)| e.value)
        });
        if let Some(value) = value {
            numbers.insert(format!("{}.{statistic}", metric.name()), value);
        }
    }
    numbers
}

/// Changes whenever one of the files does that an entry is made of.
pub(super) fn stamp(path: &Path) -> String {
    let mut stamp = String::new();
    for name in [LOG, METRICS, TAGS] {
        let _ = match std::fs::metadata(path.join(name)) {
            Ok(file) => {
                let changed = file.modified().ok().and_then(|t| t.duration_since(UNIX_EPOCH).ok());
                write!(stamp, "{}@{} ", file.len(), changed.unwrap_or_default().as_nanos())
            }
            Err(_) => write!(stamp, "- "),
        };
    }
    stamp
}

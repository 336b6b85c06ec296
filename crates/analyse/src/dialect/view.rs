//! Numbers under a tool's names, ours beside them.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use stopwatt_core::log::LogEvent;
use stopwatt_core::metrics_doc::{self, MetricsDoc};
use stopwatt_core::stream::TrialKey;
use stopwatt_core::{Phase, RequestRecord, RequestRow};

use super::Dialect;
use super::measures::{Session, statistics, total, values};
use super::terms::{Quantity, TERMS, Term};
use crate::Recorded;
use crate::imported;
use crate::measured::{Measured, Trial};

/// A run in the words of another tool.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DialectView {
    /// Which definitions.
    pub dialect: Dialect,
    /// The tool, for people.
    pub tool: String,
    /// The version whose definitions these are.
    pub version: String,
    /// Identifier of the run.
    pub run_id: String,
    /// What holds for every number.
    pub notes: Vec<String>,
    /// Every point, in order of the plan.
    pub points: Vec<PointView>,
}

/// A point in the words of another tool: its trials as if the tool had run them one after another.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PointView {
    /// Name for people.
    pub label: String,
    /// Trials behind the numbers.
    pub trials: u64,
    /// What holds for every number of this point.
    pub notes: Vec<String>,
    /// The tool's numbers, in its order.
    pub figures: Vec<Figure>,
}

/// One number, or one distribution, of the tool.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Figure {
    /// As the tool prints it.
    pub name: String,
    /// Its key in the tool's file, without the statistic.
    pub key: String,
    /// Unit of every value: `ms`, `s`, `ns`, `1/s` or `1`.
    pub unit: String,
    /// Values behind it; 0 where it could not be made.
    pub n: u64,
    /// The statistics that the tool gives; one named `value` for a number of the whole.
    pub statistics: Vec<Statistic>,
    /// Our nearest metric.
    pub ours: Option<Ours>,
    /// What sets it apart from ours.
    pub differs: Option<String>,
}

/// A named value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Statistic {
    /// As the tool names it.
    pub name: String,
    /// `None` where it is infinite or cannot be made.
    pub value: Option<f64>,
}

/// Our nearest metric, in the figure's unit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Ours {
    /// Its name.
    pub metric: String,
    /// Mean.
    pub mean: Option<f64>,
    /// Median.
    pub p50: Option<f64>,
    /// 99th percentile.
    pub p99: Option<f64>,
}

impl Figure {
    /// A statistic by its name.
    pub fn statistic(&self, name: &str) -> Option<f64> {
        self.statistics.iter().find(|s| s.name == name)?.value
    }
}

impl PointView {
    /// A figure by the tool's key.
    pub fn figure(&self, key: &str) -> Option<&Figure> {
        self.figures.iter().find(|f| f.key == key)
    }
}

/// Reads a run as `dialect` would; `doc` is its summary by our definitions. The order of `requests` does not matter.
pub fn view(dialect: Dialect, log: &[LogEvent], requests: &[RequestRecord], doc: &MetricsDoc) -> DialectView {
    let record = Recorded::without_gaps(requests.iter().map(RequestRow::of).collect());
    let measured = Measured::sort(log, &record);
    let mut by_trial: BTreeMap<TrialKey, Vec<&RequestRecord>> = BTreeMap::new();
    for request in requests.iter().filter(|r| r.phase == Phase::Measure) {
        by_trial.entry((request.point, request.trial)).or_default().push(request);
    }
    by_trial.values_mut().for_each(|trial| trial.sort_by_key(|r| r.id));
    let mut notes: Vec<String> = dialect.notes().iter().map(|n| (*n).to_owned()).collect();
    if let Some(imported) = imported::find(log) {
        notes.push(format!(
            "the run was imported: {} decided which chunks count, and what it left out is not known",
            imported.tool
        ));
    } else if requests.iter().any(|r| r.chunks.iter().any(|c| c.shape.is_unknown())) {
        notes.push(
            "the run was recorded before chunk shapes were, so each chunk is taken for a typical one of its kind"
                .to_owned(),
        );
    }
    let points = measured.points.iter().zip(&doc.points).map(|(point, ours)| {
        let session = |trial: &Trial<'_>| {
            let requests = by_trial.get(&(point.index, trial.index));
            Session::of(dialect, trial, requests.map_or(&[], Vec::as_slice))
        };
        let sessions: Vec<Session> = point.trials.iter().map(session).collect();
        PointView {
            label: point.planned.label.clone(),
            trials: point.trials.len() as u64,
            notes: point_notes(dialect, &sessions),
            figures: TERMS
                .iter()
                .filter(|t| t.dialect == dialect)
                .map(|t| figure(t, &sessions, ours))
                .collect(),
        }
    });
    DialectView {
        dialect,
        tool: dialect.title().to_owned(),
        version: dialect.version().to_owned(),
        run_id: doc.run_id.clone(),
        notes,
        points: points.collect(),
    }
}

fn point_notes(dialect: Dialect, sessions: &[Session]) -> Vec<String> {
    let mut notes = Vec::new();
    if sessions.len() > 1 {
        notes.push(format!(
            "{} trials as one after another: {} does not repeat, and gives no interval",
            sessions.len(),
            dialect.title()
        ));
    }
    let cut: usize = sessions.iter().map(|s| s.cut).sum();
    if cut > 0 {
        notes.push(format!(
            "{cut} requests that this tool takes for successes had a faulty event, at which Stopwatt ended them: they are counted, without latencies and tokens"
        ));
    }
    let unknown = sessions.iter().flat_map(|s| &s.readings).filter(|r| r.output.is_none()).count();
    if unknown > 0 {
        notes.push(format!(
            "{unknown} requests have no count of output tokens that this tool would take: it tokenises the text, which is not kept; give --tokenizer to `bench`"
        ));
    }
    notes
}

fn figure(term: &Term, sessions: &[Session], ours: &metrics_doc::Point) -> Figure {
    let scale = match term.unit {
        "ms" => 1e3,
        "ns" => 1e9,
        _ => 1.0,
    };
    let sample = values(term.dialect, term.quantity, sessions);
    let (n, statistics) = if is_total(term.quantity) {
        let value = total(term.dialect, term.quantity, sessions);
        (u64::from(value.is_some()), vec![Statistic { name: "value".to_owned(), value }])
    } else {
        (sample.len() as u64, statistics(term.dialect, &sample, scale))
    };
    let ours = term.ours.and_then(|metric| {
        let summary = ours.metrics.get(metric.name())?;
        let scale = if metric.info().unit == "s" { scale } else { 1.0 };
        let of = |e: &metrics_doc::Estimate| e.value.map(|v| v * scale);
        Some(Ours {
            metric: metric.name().to_owned(),
            mean: of(&summary.mean),
            p50: of(&summary.p50),
            p99: of(&summary.p99),
        })
    });
    Figure {
        name: term.name.to_owned(),
        key: term.key.to_owned(),
        unit: term.unit.to_owned(),
        n,
        statistics,
        ours,
        differs: term.differs.map(str::to_owned),
    }
}

/// Whether the quantity is one number of the whole.
fn is_total(quantity: Quantity) -> bool {
    use Quantity as Q;
    matches!(
        quantity,
        Q::Window
            | Q::Completed
            | Q::Failed
            | Q::TotalInput
            | Q::TotalOutput
            | Q::RequestRate
            | Q::InputRate
            | Q::OutputRate
            | Q::TotalRate
            | Q::Concurrency
            | Q::PeakRate
            | Q::PeakConcurrency
    )
}

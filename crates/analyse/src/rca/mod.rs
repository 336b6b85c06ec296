//! Why does the candidate differ, or why is there no verdict? Each check looks for one kind of cause.
//!
//! ```text
//! ComparisonDoc ─► what asks for a cause ─┐
//! Seen (both)   ─► document, log, rows,   ├─► environment, input, kernels, memory, queueing,  ─► causes, largest first
//!                  sensors, kernels      ─┘   sample size, outliers, client                      or none
//! ```
//!
//! A cause is weighed by the share of the change that it explains. Shares are taken on the logarithm of the slowdown:
//! clocks that are 5 % lower explain half of a latency that is 10 % higher. Where a share cannot be computed (another
//! CPU, say) the weight is a rank by kind, and `computed` says so.
//!
//! Invariants, each held by a test:
//!
//! - without a judged metric that changed, a metric without a verdict or a gate that was missed there is no cause;
//! - a cause that works against the change is none;
//! - what was not recorded is named as not checked, never taken for equal.

mod client;
mod environment;
mod input;
mod kernels;
mod memory;
mod outliers;
mod queueing;
mod sample_size;

use std::collections::BTreeMap;

use stopwatt_core::RequestRow;
use stopwatt_core::cause::{Cause, CauseCode, CauseKind, Evidence, Unchecked};
use stopwatt_core::comparison::{ComparisonDoc, Difference, GateState, MetricComparison, Verdict};
use stopwatt_core::log::LogEvent;
use stopwatt_core::metric::{Direction, Metric};
use stopwatt_core::metrics_doc::{MetricsDoc, Point};

use crate::compare::{Gate, matching, setting};

pub use crate::sensors::Sensors;
pub use kernels::{KernelUse, Kernels};

/// Weight of a difference that by itself makes a comparison say nothing: other work, another machine.
const UNFAIR: f64 = 1.0;
/// Weight of a difference whose effect cannot be computed and need not be large.
const POSSIBLE: f64 = 0.3;

/// What is known of a run besides its trial values. What is absent is not looked at.
#[derive(Debug, Clone, Copy, Default)]
pub struct Seen<'a> {
    /// Its summary.
    pub doc: Option<&'a MetricsDoc>,
    /// Its log.
    pub log: &'a [LogEvent],
    /// Its measured requests.
    pub requests: &'a [RequestRow],
    /// What its sensors read.
    pub sensors: Option<&'a Sensors>,
    /// What its kernels did.
    pub kernels: Option<&'a Kernels>,
}

/// Looks for the causes of every candidate's differences and writes them into the comparison. `candidates` stand in the
/// order of `doc.candidates`.
pub fn explain(doc: &mut ComparisonDoc, baseline: Seen<'_>, candidates: &[Seen<'_>]) {
    let mut causes = Vec::new();
    let mut unchecked = Vec::new();
    for (run, &seen) in doc.candidates.iter().zip(candidates) {
        let case = Case::new(doc, &run.name, baseline, seen);
        if !case.symptoms.is_empty() || case.gate_missed {
            let (found, blind) = case.explain();
            causes.extend(found);
            unchecked.extend(blind);
        } else {
            causes.extend(gather(&case, memory::look(&case).found));
        }
    }
    doc.causes = causes;
    doc.unchecked = unchecked;
}

/// What a check came to.
#[derive(Debug, Default)]
struct Look {
    found: Vec<Found>,
    /// Why it could not look.
    blind: Option<CauseCode>,
}

impl Look {
    fn blind(why: CauseCode) -> Self {
        Self { found: Vec::new(), blind: Some(why) }
    }

    fn of(found: impl IntoIterator<Item = Found>) -> Self {
        Self { found: found.into_iter().collect(), blind: None }
    }
}

/// One observation with its weight.
#[derive(Debug, Clone)]
struct Found {
    code: CauseCode,
    point: Option<String>,
    values: Vec<String>,
    share: Option<f64>,
    weight: f64,
}

impl Found {
    /// One whose share of the change is known.
    fn explaining(code: CauseCode, share: f64, values: impl IntoIterator<Item = String>) -> Self {
        let share = share.clamp(0.0, 1.0);
        Self { code, point: None, values: values.into_iter().collect(), share: Some(share), weight: share }
    }

    /// One whose share cannot be computed.
    fn ranked(code: CauseCode, weight: f64, values: impl IntoIterator<Item = String>) -> Self {
        Self { code, point: None, values: values.into_iter().collect(), share: None, weight }
    }

    fn at(mut self, point: Option<&str>) -> Self {
        self.point = point.map(str::to_owned);
        self
    }
}

/// One candidate against the baseline.
struct Case<'a> {
    doc: &'a ComparisonDoc,
    run: &'a str,
    a: Seen<'a>,
    b: Seen<'a>,
    /// Judged metrics that are not equivalent, and metrics whose gate was missed.
    symptoms: Vec<&'a MetricComparison>,
    /// Whether a gate was missed, also one of a metric that was not measured.
    gate_missed: bool,
}

impl<'a> Case<'a> {
    fn new(doc: &'a ComparisonDoc, run: &'a str, a: Seen<'a>, b: Seen<'a>) -> Self {
        let missed = || doc.gates.iter().filter(|g| g.run == run && g.state != GateState::Passed);
        let gated = |row: &MetricComparison| {
            missed().filter(|g| g.point == row.point).any(|g| {
                g.gate
                    .parse::<Gate>()
                    .is_ok_and(|gate| gate.subject() == (row.metric.as_str(), row.statistic.as_str()))
            })
        };
        let asks = |row: &&MetricComparison| {
            row.run == run
                && row.baseline.is_some()
                && row.candidate.is_some()
                && (row.verdict.is_some_and(|v| v != Verdict::Equivalent) || gated(row))
        };
        let symptoms = doc.comparisons.iter().filter(asks).collect();
        Self { doc, run, a, b, symptoms, gate_missed: missed().next().is_some() }
    }

    fn explain(&self) -> (Vec<Cause>, Vec<Unchecked>) {
        type Check = fn(&Case<'_>) -> Look;
        const CHECKS: [(CauseKind, Check); 8] = [
            (CauseKind::Environment, environment::look),
            (CauseKind::Input, input::look),
            (CauseKind::Kernel, kernels::look),
            (CauseKind::Memory, memory::look),
            (CauseKind::Queueing, queueing::look),
            (CauseKind::SampleSize, sample_size::look),
            (CauseKind::Outliers, outliers::look),
            (CauseKind::Client, client::look),
        ];
        let mut found = Vec::new();
        let mut unchecked = Vec::new();
        for (kind, check) in CHECKS {
            let look = check(self);
            unchecked.extend(look.blind.map(|code| Unchecked {
                run: self.run.to_owned(),
                kind,
                code: code.name().to_owned(),
                detail: code.sentence(&[], stopwatt_core::text::Lang::En),
            }));
            found.extend(look.found);
        }
        (gather(self, found), unchecked)
    }

    /// A compared statistic of this candidate at a point of the baseline.
    fn row(&self, metric: &str, statistic: &str, point: Option<&str>) -> Option<&'a MetricComparison> {
        self.doc.comparisons.iter().find(|c| {
            c.run == self.run && c.metric == metric && c.statistic == statistic && c.point.as_deref() == point
        })
    }

    /// Whether a judged metric changed for certain.
    fn changed(&self) -> bool {
        self.symptoms.iter().any(|s| matches!(s.verdict, Some(Verdict::Improved | Verdict::Regressed)))
    }

    /// What the two records say differs. What need not matter counts only where something changed.
    fn differences(&self) -> impl Iterator<Item = &'a Difference> {
        let changed = self.changed();
        self.doc.differences.iter().filter(move |d| d.run == self.run && (d.forbids || changed))
    }

    /// Labels of the points at which something asks for a cause.
    fn points(&self) -> Vec<Option<&'a str>> {
        let mut points: Vec<Option<&str>> = self.symptoms.iter().map(|s| s.point.as_deref()).collect();
        points.dedup();
        points
    }

    /// The symptoms of a point.
    fn here(&self, point: Option<&str>) -> impl Iterator<Item = &'a MetricComparison> {
        self.symptoms.iter().copied().filter(move |s| s.point.as_deref() == point)
    }

    /// The share of a symptom that a slowdown explains: the largest over those of the point (all points when `None`);
    /// zero when it works against each.
    fn explained<'s>(&self, slowdown: f64, symptoms: impl IntoIterator<Item = &'s MetricComparison>) -> f64 {
        let share = |row: &MetricComparison| slower(row).map(|s| (slowdown / s).clamp(0.0, 1.0));
        symptoms.into_iter().filter_map(share).filter(|s| s.is_finite()).fold(0.0, f64::max)
    }

    /// Both documents' points that belong to a point of the comparison.
    fn both(&self, point: Option<&str>) -> Option<(&'a Point, &'a Point, (u32, u32))> {
        let (a, b) = (self.a.doc?, self.b.doc?);
        let settings = |doc: &MetricsDoc| doc.points.iter().map(setting).collect::<Vec<_>>();
        let pairs = matching(&settings(a), &settings(b));
        let (i, j) = pairs.into_iter().find(|&(i, _)| Some(a.points[i].label.as_str()) == point)?;
        Some((&a.points[i], &b.points[j], (u32::try_from(i).ok()?, u32::try_from(j).ok()?)))
    }
}

/// Observations of a kind make one cause.
fn gather(case: &Case<'_>, found: Vec<Found>) -> Vec<Cause> {
    let mut by_kind = BTreeMap::<CauseKind, Vec<Found>>::new();
    for one in found {
        by_kind.entry(one.code.kind()).or_default().push(one);
    }
    let cause = |(kind, mut found): (CauseKind, Vec<Found>)| {
        found.sort_by(|x, y| y.weight.total_cmp(&x.weight));
        let weight = found[0].weight;
        Cause {
            run: case.run.to_owned(),
            kind,
            weight,
            computed: found[0].share.is_some(),
            evidence: found
                .into_iter()
                .map(|f| Evidence { point: f.point, ..Evidence::new(f.code, f.values, f.share) })
                .collect(),
        }
    };
    let mut causes: Vec<Cause> = by_kind.into_iter().map(cause).collect();
    causes.sort_by(|x, y| y.weight.total_cmp(&x.weight));
    causes
}

/// Logarithm of how much slower the candidate is by a metric; `None` without a direction or a ratio.
fn slower(row: &MetricComparison) -> Option<f64> {
    let ratio = (row.candidate? / row.baseline?).ln();
    match row.better {
        Direction::Lower => Some(ratio),
        Direction::Higher => Some(-ratio),
        Direction::Neutral => None,
    }
    .filter(|v| v.is_finite() && *v != 0.0)
}

/// Metrics that a longer wait or longer work makes longer.
fn is_latency(row: &MetricComparison) -> bool {
    Metric::from_name(&row.metric)
        .is_some_and(|m| m.info().unit == "s" && m.info().better == Direction::Lower)
}

/// Name and statistic, as people write them.
fn named(row: &MetricComparison) -> String {
    format!("{} {}", row.metric, row.statistic)
}

/// A change in percent with its sign.
fn percent(share: f64) -> String {
    format!("{:+.1}", share * 100.0)
}

/// A value with three significant digits.
fn short(value: f64) -> String {
    let magnitude = if value == 0.0 { 0 } else { value.abs().log10().floor() as i32 };
    let places = usize::try_from((2 - magnitude).clamp(0, 6)).unwrap_or(0);
    format!("{value:.places$}")
}

#[cfg(test)]
mod tests;

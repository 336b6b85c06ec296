//! One side of a comparison: the trial values of a run, or of a table of samples.

use std::collections::BTreeMap;

use stopwatt_core::comparison::ComparedRun;
use stopwatt_core::expectations::Expectation;
use stopwatt_core::metric::Direction;
use stopwatt_core::metrics_doc::{MetricsDoc, Point, TrialValues};
use stopwatt_stats::describe;

use super::environment::Facts;

/// What is compared.
#[derive(Debug, Clone)]
pub struct Side {
    /// How it is named in the result.
    pub run: ComparedRun,
    /// What it was measured on and with.
    pub facts: Facts,
    pub(super) points: Vec<SidePoint>,
}

/// One setting.
#[derive(Debug, Clone)]
pub(super) struct SidePoint {
    /// `None` for samples.
    pub(super) label: Option<String>,
    pub(super) setting: Setting,
    pub(super) metrics: Vec<Metric>,
}

/// Trial values of one metric.
#[derive(Debug, Clone)]
pub(super) struct Metric {
    pub(super) name: String,
    pub(super) unit: String,
    pub(super) better: Direction,
    /// Whether it lies between 0 and 1, so that differences are percentage points.
    pub(super) share: bool,
    pub(super) statistics: Vec<(&'static str, Vec<Option<f64>>)>,
}

impl Metric {
    /// The statistics that were made in each trial.
    fn of_trials(name: &str, unit: &str, better: Direction, values: &TrialValues) -> Self {
        let statistics =
            [("mean", &values.mean), ("p50", &values.p50), ("p95", &values.p95), ("p99", &values.p99)];
        Self {
            name: name.to_owned(),
            unit: unit.to_owned(),
            better,
            share: stopwatt_core::Metric::from_name(name).is_some_and(stopwatt_core::Metric::is_share),
            statistics: statistics
                .into_iter()
                .filter(|(_, v)| !v.is_empty())
                .map(|(s, v)| (s, v.clone()))
                .collect(),
        }
    }

    pub(super) fn of(&self, statistic: &str) -> Option<&[Option<f64>]> {
        self.statistics.iter().find(|(name, _)| *name == statistic).map(|(_, v)| v.as_slice())
    }
}

impl SidePoint {
    pub(super) fn label(&self) -> &str {
        self.label.as_deref().unwrap_or("samples")
    }
}

/// What a point was asked to be: concurrency, rate, input and output.
pub(crate) type Setting = (Option<u32>, Option<f64>, Option<f64>, Option<f64>);

/// The setting of a point.
pub(crate) fn setting(point: &Point) -> Setting {
    (point.concurrency, point.rate_rps, point.input, point.output)
}

/// Positions of points of both sides that were measured at the same setting, in the order of `a`. One point on each
/// side is paired whatever its setting: a changed setting may be what is tried.
pub(crate) fn matching(a: &[Setting], b: &[Setting]) -> Vec<(usize, usize)> {
    if a.len() == 1 && b.len() == 1 {
        return vec![(0, 0)];
    }
    let mut free: Vec<usize> = (0..b.len()).collect();
    let mut pairs = Vec::new();
    for (i, x) in a.iter().enumerate() {
        if let Some(at) = free.iter().position(|&j| same(x, &b[j])) {
            pairs.push((i, free.remove(at)));
        }
    }
    pairs
}

/// Whether both are the same load and planned lengths. Drawn lengths may differ a little.
fn same(a: &Setting, b: &Setting) -> bool {
    let near = |a: Option<f64>, b: Option<f64>| match (a, b) {
        (Some(a), Some(b)) => (a - b).abs() <= 0.05 * a.abs().max(b.abs()),
        (a, b) => a.is_none() && b.is_none(),
    };
    a.0 == b.0 && near(a.1, b.1) && near(a.2, b.2) && near(a.3, b.3)
}

impl Side {
    /// The points of a run; `name` is what it is called in the result.
    pub fn of_run(name: &str, doc: &MetricsDoc, facts: Facts) -> Self {
        let run = ComparedRun {
            name: name.to_owned(),
            run_id: Some(doc.run_id.clone()),
            valid: Some(doc.validity.valid),
            fixed_clock: doc.env.fixed_clock,
        };
        Self { run, facts, points: doc.points.iter().map(point).collect() }
    }

    /// What is expected of a target; `name` is what it is called in the result.
    pub fn of_expectation(name: &str, expected: &Expectation) -> Self {
        let run = ComparedRun {
            name: name.to_owned(),
            run_id: Some(expected.run_id.clone()),
            valid: Some(true),
            fixed_clock: expected.fixed_clock,
        };
        let points = expected.points.iter().map(|p| SidePoint {
            label: Some(p.label.clone()),
            setting: (p.concurrency, p.rate_rps, p.input, p.output),
            metrics: p
                .metrics
                .iter()
                .map(|(name, m)| Metric::of_trials(name, &m.unit, m.better, &m.trials))
                .collect(),
        });
        Self { run, facts: Facts::stored(&expected.facts), points: points.collect() }
    }

    /// Samples as `run,value` lines, one line a measured value: the mean of each run is its trial value.
    ///
    /// # Errors
    /// A line that is not of this form, by its number; or no line at all.
    pub fn of_csv(name: &str, text: &str, metric: &str, better: Direction) -> Result<Self, CsvError> {
        let mut order: Vec<&str> = Vec::new();
        let mut values: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
        for (i, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') || (order.is_empty() && i == 0 && is_header(line)) {
                continue;
            }
            let bad = |problem: &str| CsvError::Line { line: i + 1, problem: problem.to_owned() };
            let (run, value) = line.split_once(',').ok_or_else(|| bad("it has no comma"))?;
            let value: f64 = value.trim().parse().map_err(|_| bad("the value is not a number"))?;
            if !value.is_finite() {
                return Err(bad("the value is not finite"));
            }
            let run = run.trim();
            if !values.contains_key(run) {
                order.push(run);
            }
            values.entry(run).or_default().push(value);
        }
        if order.is_empty() {
            return Err(CsvError::Empty);
        }
        let trials = order.iter().map(|run| Some(describe::mean(&values[run]))).collect();
        let metric = Metric {
            name: metric.to_owned(),
            unit: "1".to_owned(),
            better,
            share: false,
            statistics: vec![("mean", trials)],
        };
        let run = ComparedRun { name: name.to_owned(), run_id: None, valid: None, fixed_clock: None };
        let point = SidePoint { label: None, setting: (None, None, None, None), metrics: vec![metric] };
        Ok(Self { run, facts: Facts::default(), points: vec![point] })
    }
}

fn is_header(line: &str) -> bool {
    line.split(',').nth(1).is_some_and(|v| v.trim().parse::<f64>().is_err())
}

/// Why a table of samples cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CsvError {
    /// A line of another form.
    #[error("line {line} is not of the form run,value: {problem}")]
    Line {
        /// From 1.
        line: usize,
        /// What is wrong.
        problem: String,
    },
    /// Nothing to compare.
    #[error("it holds no samples; write one line for each, as run,value")]
    Empty,
}

fn point(point: &Point) -> SidePoint {
    let metrics = point.trials.iter().filter_map(|(name, values)| {
        let summary = point.metrics.get(name)?;
        Some(Metric::of_trials(name, &summary.unit, summary.better, values))
    });
    SidePoint { label: Some(point.label.clone()), setting: setting(point), metrics: metrics.collect() }
}

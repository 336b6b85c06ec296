//! One side of a comparison: the trial values of a run, or of a table of samples.

use std::collections::{BTreeMap, BTreeSet};

use stopwatt_core::comparison::ComparedRun;
use stopwatt_core::expectations::Expectation;
use stopwatt_core::log::LogEvent;
use stopwatt_core::metric::Direction;
use stopwatt_core::metrics_doc::{MetricsDoc, Point, TrialValues};
use stopwatt_core::quality::Quality;
use stopwatt_stats::describe;

use super::environment::Facts;

/// What is compared.
#[derive(Debug, Clone)]
pub struct Side {
    /// How it is named in the result.
    pub run: ComparedRun,
    /// What it was measured on and with.
    pub facts: Facts,
    /// How good its outputs are, or why that is not known.
    pub(super) quality: Result<Quality, String>,
    pub(super) points: Vec<SidePoint>,
}

/// One setting.
#[derive(Debug, Clone)]
pub(super) struct SidePoint {
    /// `None` for samples.
    pub(super) label: Option<String>,
    pub(super) setting: Setting,
    pub(super) metrics: Vec<Metric>,
    /// Why a metric has no value, by its name.
    pub(super) absent: BTreeMap<String, String>,
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

/// What a point was asked to be.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Setting {
    concurrency: Option<u32>,
    rate_rps: Option<f64>,
    input: Option<f64>,
    output: Option<f64>,
    /// Settings of the engine, where it was started with several.
    engine: BTreeMap<String, String>,
}

/// The setting of a point.
pub(crate) fn setting(point: &Point) -> Setting {
    Setting {
        concurrency: point.concurrency,
        rate_rps: point.rate_rps,
        input: point.input,
        output: point.output,
        engine: point.engine_settings.clone(),
    }
}

/// Positions of points of both sides that were measured at the same setting, in the order of `a`. One point on each
/// side is paired whatever its setting: a changed setting may be what is tried.
///
/// Settings of the engine have to be equal too. Where only one side has any, or they name other things, they are what is
/// tried, and points are paired without them as long as that is clear: one point a load on each side.
pub(crate) fn matching(a: &[Setting], b: &[Setting]) -> Vec<(usize, usize)> {
    if a.len() == 1 && b.len() == 1 {
        return vec![(0, 0)];
    }
    let names =
        |side: &[Setting]| side.iter().flat_map(|s| s.engine.keys().cloned()).collect::<BTreeSet<_>>();
    let engines = names(a) == names(b);
    let alike = |x: &Setting, y: &Setting| x.same_load(y) && (!engines || x.engine == y.engine);
    let clear =
        |side: &[Setting], x: &Setting| engines || side.iter().filter(|y| x.same_load(y)).count() == 1;
    let mut free: Vec<usize> = (0..b.len()).collect();
    let mut pairs = Vec::new();
    for (i, x) in a.iter().enumerate() {
        if !clear(a, x) || !clear(b, x) {
            continue;
        }
        if let Some(at) = free.iter().position(|&j| alike(x, &b[j])) {
            pairs.push((i, free.remove(at)));
        }
    }
    pairs
}

impl Setting {
    /// Whether both are the same load and planned lengths. Drawn lengths may differ a little.
    fn same_load(&self, other: &Self) -> bool {
        let near = |a: Option<f64>, b: Option<f64>| match (a, b) {
            (Some(a), Some(b)) => (a - b).abs() <= 0.05 * a.abs().max(b.abs()),
            (a, b) => a.is_none() && b.is_none(),
        };
        self.concurrency == other.concurrency
            && near(self.rate_rps, other.rate_rps)
            && near(self.input, other.input)
            && near(self.output, other.output)
    }
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
        Self { run, facts, quality: unknown(), points: doc.points.iter().map(point).collect() }
    }

    /// With what the run's log says of quality.
    #[must_use]
    pub fn with_quality(self, log: &[LogEvent]) -> Self {
        Self { quality: crate::quality::told(log).cloned().map_err(str::to_owned), ..self }
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
            setting: Setting {
                concurrency: p.concurrency,
                rate_rps: p.rate_rps,
                input: p.input,
                output: p.output,
                engine: p.engine_settings.clone(),
            },
            metrics: p
                .metrics
                .iter()
                .map(|(name, m)| Metric::of_trials(name, &m.unit, m.better, &m.trials))
                .collect(),
            absent: BTreeMap::new(),
        });
        let facts = Facts::stored(&expected.facts);
        Self { run, facts, quality: unknown(), points: points.collect() }
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
        let point = SidePoint {
            label: None,
            setting: Setting::default(),
            metrics: vec![metric],
            absent: BTreeMap::new(),
        };
        Ok(Self { run, facts: Facts::default(), quality: unknown(), points: vec![point] })
    }
}

fn unknown() -> Result<Quality, String> {
    Err("the record says nothing of quality".to_owned())
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
    let absent = point.metrics.iter().filter(|(name, _)| !point.trials.contains_key(*name));
    let absent = absent.filter_map(|(name, m)| Some((name.clone(), m.mean.reason.clone()?)));
    SidePoint {
        label: Some(point.label.clone()),
        setting: setting(point),
        metrics: metrics.collect(),
        absent: absent.collect(),
    }
}

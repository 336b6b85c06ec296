//! Outliers: single trials or requests that carry the difference. They are kept; the change is shown with and without.

use std::collections::BTreeMap;

use stopwatt_core::cause::CauseCode;
use stopwatt_core::comparison::MetricComparison;
use stopwatt_core::{EndKind, Metric, Phase, RequestRow};
use stopwatt_stats::outlier;

use super::{Case, Found, Look, named, percent};
use crate::request::request_metrics;

/// Share of the change that must go with the outliers.
const SHARE: f64 = 0.25;
/// Metrics whose mean single requests can carry.
const BY_REQUEST: [Metric; 3] = [Metric::Ttft, Metric::Tpot, Metric::E2e];

pub(super) fn look(case: &Case<'_>) -> Look {
    let mut found: Vec<Found> = case.symptoms.iter().filter_map(|row| trials(case, row)).collect();
    for point in case.points() {
        found.extend(BY_REQUEST.into_iter().filter_map(|metric| requests(case, point, metric)));
    }
    let few = case.symptoms.iter().any(|s| (s.trials[0].min(s.trials[1]) as usize) < outlier::NEEDED);
    let blind = (few && found.is_empty()).then_some(CauseCode::FewForOutliers);
    Look { found, blind }
}

/// The change of a metric without the trials that stand out on their side.
fn trials(case: &Case<'_>, row: &MetricComparison) -> Option<Found> {
    let runs = [case.doc.baseline.name.as_str(), case.run];
    let mut names = Vec::new();
    let mut kept: [Vec<f64>; 2] = Default::default();
    for side in 0..2 {
        // Positions in the run, so that a trial without a value does not shift the others.
        let known: Vec<(usize, f64)> =
            row.values[side].iter().enumerate().filter_map(|(i, v)| Some((i, (*v)?))).collect();
        let values: Vec<f64> = known.iter().map(|(_, v)| *v).collect();
        let flagged = outlier::flag(&values);
        names.extend(flagged.iter().map(|f| format!("{} #{}", runs[side], known[f.index].0 + 1)));
        kept[side] = values
            .iter()
            .enumerate()
            .filter(|(i, _)| flagged.iter().all(|f| f.index != *i))
            .map(|(_, v)| *v)
            .collect();
    }
    let [a, b] = kept.map(|v| mean(&v));
    let without = if row.absolute { b? - a? } else { b? / a? - 1.0 };
    let share = carried(row.delta?, without)?;
    let values = [named(row), names.join(", "), percent(row.delta?), percent(without)];
    let found = Found::explaining(CauseCode::OutlierTrials, share, values);
    (!names.is_empty() && share >= SHARE).then(|| found.at(row.point.as_deref()))
}

/// The change of a mean without the requests that stand out at their point.
fn requests(case: &Case<'_>, point: Option<&str>, metric: Metric) -> Option<Found> {
    case.here(point)
        .find(|s| s.metric == metric.name() && s.statistic == "mean" || is_mean(case, s, metric))?;
    let (_, _, (i, j)) = case.both(point)?;
    let sides = [(case.a.requests, i), (case.b.requests, j)].map(|(rows, at)| Values::of(rows, at, metric));
    let [x, y] = &sides;
    let with = y.mean(|_| true)? / x.mean(|_| true)? - 1.0;
    let without = y.mean(|i| y.ordinary(i))? / x.mean(|i| x.ordinary(i))? - 1.0;
    let share = carried(with, without).filter(|s| *s >= SHARE && with.abs() > case.doc.margin)?;
    let values = [
        format!("{} mean", metric.name()),
        x.flagged.len().to_string(),
        y.flagged.len().to_string(),
        percent(with),
        percent(without),
    ];
    Some(Found::explaining(CauseCode::OutlierRequests, share, values).at(point))
}

/// Whether a symptom of this metric has a mean that moved as it did: a tail that grew moves the mean too.
fn is_mean(case: &Case<'_>, symptom: &MetricComparison, metric: Metric) -> bool {
    let point = symptom.point.as_deref();
    let moved = case.row(metric.name(), "mean", point).and_then(|row| row.delta).unwrap_or(0.0);
    symptom.metric == metric.name() && symptom.delta.is_some_and(|d| d * moved > 0.0)
}

/// Values of the requests of a point, by trial, with the positions of those that stand out.
struct Values {
    all: Vec<(u32, f64)>,
    flagged: Vec<usize>,
}

impl Values {
    fn of(rows: &[RequestRow], point: u32, metric: Metric) -> Self {
        let good = |r: &&RequestRow| r.point == point && r.phase == Phase::Measure && r.end == EndKind::Ok;
        let value = |r: &RequestRow| Some((r.trial, request_metrics(r).value(metric)?));
        let all: Vec<(u32, f64)> = rows.iter().filter(good).filter_map(value).collect();
        let values: Vec<f64> = all.iter().map(|(_, v)| *v).collect();
        let flagged = outlier::flag(&values).into_iter().map(|f| f.index).collect();
        Self { all, flagged }
    }

    fn ordinary(&self, i: usize) -> bool {
        self.flagged.binary_search(&i).is_err()
    }

    /// Mean over trials of the mean of the kept requests of each, as metrics are made.
    fn mean(&self, keep: impl Fn(usize) -> bool) -> Option<f64> {
        let mut trials = BTreeMap::<u32, Vec<f64>>::new();
        for (_, (trial, v)) in self.all.iter().enumerate().filter(|(i, _)| keep(*i)) {
            trials.entry(*trial).or_default().push(*v);
        }
        mean(&trials.values().filter_map(|v| mean(v)).collect::<Vec<_>>())
    }
}

fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| stopwatt_stats::describe::mean(values))
}

/// Share of a change that is gone without something; all of it when the change turns round.
fn carried(with: f64, without: f64) -> Option<f64> {
    let share = 1.0 - without / with;
    share.is_finite().then(|| share.clamp(0.0, 1.0))
}

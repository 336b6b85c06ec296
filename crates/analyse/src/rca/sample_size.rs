//! Sample size: too few trials, or trials that differ too much, for a verdict or a gate.

use stopwatt_core::cause::CauseCode;
use stopwatt_core::comparison::{GateState, MetricComparison, Verdict};
use stopwatt_stats::compare::trials_needed;

use super::{Case, Found, Look, named};
use crate::compare::{Gate, NOISY};

/// Probability with which a change should be found.
const POWER: f64 = 0.8;

pub(super) fn look(case: &Case<'_>) -> Look {
    let by_row = case.symptoms.iter().map(|row| {
        let undecided = row.verdict == Some(Verdict::Inconclusive);
        let verdict = if undecided { without_verdict(case, row) } else { Vec::new() };
        [verdict, on_the_limit(case, row)].concat()
    });
    let by_row: Vec<Vec<Found>> = by_row.filter(|found| !found.is_empty()).collect();
    // It says nothing about the metrics that did change: it weighs as much as it concerns.
    let part = by_row.len() as f64 / case.symptoms.len().max(1) as f64;
    Look::of(by_row.into_iter().flatten().map(|f| Found { weight: f.weight * part, ..f }))
}

/// Why a metric has no verdict. Noise explains as much of a difference as the half width of its interval.
fn without_verdict(case: &Case<'_>, row: &MetricComparison) -> Vec<Found> {
    let point = row.point.as_deref();
    let [a, b] = row.trials;
    let fewest = a.min(b);
    if fewest < 2 {
        let values = [named(row), a.to_string(), b.to_string()];
        return vec![Found::explaining(CauseCode::TooFewTrials, 1.0, values).at(point)];
    }
    let (Some([lo, hi]), Some(delta)) = (row.ci95, row.delta) else { return Vec::new() };
    let share = if delta == 0.0 { 1.0 } else { (hi - lo) / 2.0 / delta.abs() };
    let mut found = Vec::new();
    if row.cv.iter().flatten().any(|cv| *cv > NOISY) {
        let cv = |i: usize| row.cv[i].map_or_else(|| "?".to_owned(), |cv| format!("{:.1}", cv * 100.0));
        found.push(Found::explaining(CauseCode::NoisyTrials, share, [named(row), cv(0), cv(1)]));
    }
    let change = delta.abs().max(case.doc.margin);
    let needed = spread(row).and_then(|sd| trials_needed(change, sd, case.doc.level, POWER));
    if let Some(n) = needed.filter(|n| u64::from(*n) > fewest) {
        let values = [named(row), fewest.to_string(), n.to_string(), format!("{:.1}", change * 100.0)];
        found.push(Found::explaining(CauseCode::MoreTrials, share, values));
    }
    found.into_iter().map(|f| f.at(point)).collect()
}

/// Gates whose limit lies inside the interval of a metric: more trials decide.
fn on_the_limit(case: &Case<'_>, row: &MetricComparison) -> Vec<Found> {
    let straddled = case
        .doc
        .gates
        .iter()
        .filter(|g| g.run == case.run && g.point == row.point && g.state == GateState::Inconclusive);
    let one = |text: &String| {
        let gate: Gate = text.parse().ok()?;
        let [lo, hi] = row.ci95?;
        let inside = gate.subject() == (row.metric.as_str(), row.statistic.as_str())
            && (lo..=hi).contains(&gate.limit());
        let fewest = row.trials.into_iter().min()?;
        let far = (row.delta? - gate.limit()).abs();
        let needed = trials_needed(far, spread(row)?, case.doc.level, POWER).filter(|_| inside)?;
        let share = (hi - lo) / 2.0 / far;
        let values = [text.clone(), fewest.to_string(), needed.to_string()];
        (u64::from(needed) > fewest)
            .then(|| Found::explaining(CauseCode::GateNeedsTrials, share, values).at(row.point.as_deref()))
    };
    straddled.filter_map(|g| one(&g.gate)).collect()
}

/// Relative standard deviation between trials, of both sides together. Shares have none: their changes are absolute.
fn spread(row: &MetricComparison) -> Option<f64> {
    let [a, b] = row.cv;
    (!row.absolute).then_some(((a?.powi(2) + b?.powi(2)) / 2.0).sqrt())
}

//! Memory: the L2 hit rate rose, and latency did not follow. Then the bytes that came from DRAM say why.

use stopwatt_core::Metric;
use stopwatt_core::cause::CauseCode;
use stopwatt_core::comparison::MetricComparison;

use super::{Case, Found, Look, is_latency, named, percent, short};
use crate::compare::{DRAM_BYTES, L2_HIT_RATE};

/// Rise of the hit rate that should show, as a share of all accesses.
const RISE: f64 = 0.01;
/// Fall of DRAM traffic that counts as less.
const LESS: f64 = -0.02;
/// What the profiler calls bytes from and to DRAM.
const DRAM: &str = "dram__bytes";

/// Weights: the bytes say why; they are not known; memory is not the bound.
const SURE: f64 = 0.8;
const UNKNOWN: f64 = 0.5;

pub(super) fn look(case: &Case<'_>) -> Look {
    let mut points: Vec<Option<&str>> = case
        .doc
        .comparisons
        .iter()
        .filter(|c| c.run == case.run && is_latency(c))
        .map(|c| c.point.as_deref())
        .collect();
    points.dedup();
    let mut blind = true;
    let mut found = Vec::new();
    for point in points {
        let Some((x, y, rises)) = hit_rates(case, point) else { continue };
        blind = false;
        let metric = [(Metric::Tpot, "mean"), (Metric::E2e, "mean"), (Metric::E2e, "p50")]
            .into_iter()
            .find_map(|(metric, statistic)| case.row(metric.name(), statistic, point));
        let Some(latency) = metric.filter(|row| rises && is_flat(row, case.doc.margin)) else { continue };
        let (bytes, weight) = traffic(case, point);
        let change = percent(latency.delta.unwrap_or(0.0));
        let shown = |v: f64| format!("{:.1}", v * 100.0);
        let values = [shown(x), shown(y), named(latency), change];
        found.push(Found::ranked(CauseCode::L2WithoutGain, weight, values).at(point));
        found.push(Found { weight: weight * 0.99, ..bytes.at(point) });
    }
    Look { found, blind: blind.then_some(CauseCode::NoL2) }
}

/// Hit rates of both sides, and whether the rise is beyond noise: from trials, else from the two summaries.
fn hit_rates(case: &Case<'_>, point: Option<&str>) -> Option<(f64, f64, bool)> {
    if let Some(row) = case.row(L2_HIT_RATE, "mean", point) {
        let beyond = row.ci95.is_some_and(|[lo, _]| lo > 0.0);
        let (x, y) = (row.baseline?, row.candidate?);
        return Some((x, y, beyond && y - x >= RISE));
    }
    let (x, y) = (case.a.doc?.l2_hit_pct? / 100.0, case.b.doc?.l2_hit_pct? / 100.0);
    Some((x, y, y - x >= RISE))
}

/// Whether a latency neither fell beyond noise nor beyond the margin.
fn is_flat(row: &MetricComparison, margin: f64) -> bool {
    row.delta.is_some_and(|d| d > -margin) || row.ci95.is_none_or(|[_, hi]| hi >= 0.0)
}

fn traffic(case: &Case<'_>, point: Option<&str>) -> (Found, f64) {
    let counted = || Some((case.a.kernels?.sum(DRAM)?, case.b.kernels?.sum(DRAM)?));
    let compared = case.row(DRAM_BYTES, "mean", point).and_then(|row| row.baseline.zip(row.candidate));
    let Some((x, y)) = compared.or_else(counted).filter(|(x, _)| *x > 0.0) else {
        return (Found::ranked(CauseCode::DramUnknown, UNKNOWN, []), UNKNOWN);
    };
    let mib = |v: f64| short(v / f64::from(1 << 20));
    let code = if y / x - 1.0 > LESS { CauseCode::DramNotLess } else { CauseCode::DramLess };
    (Found::ranked(code, SURE, [mib(x), mib(y), percent(y / x - 1.0)]), SURE)
}

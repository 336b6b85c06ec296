//! Input drift: other work was asked for, or the lengths that were met differ.

use stopwatt_core::Metric;
use stopwatt_core::cause::CauseCode;
use stopwatt_core::comparison::MetricComparison;

use super::{Case, Found, Look, POSSIBLE, UNFAIR, is_latency, percent, short};

/// Groups of settings that say what work is sent, and how much of it at a time.
const WORK: [&str; 5] = ["workload", "request", "scenario", "seed", "load"];

pub(super) fn look(case: &Case<'_>) -> Look {
    let lengths: Vec<Found> = case.points().into_iter().flat_map(|point| lengths(case, point)).collect();
    Look::of(settings(case).chain(lengths))
}

fn settings<'a>(case: &'a Case<'_>) -> impl Iterator<Item = Found> + 'a {
    case.differences().filter_map(|d| {
        let group = d.what.split('.').next().unwrap_or_default();
        let side = |v: &Option<String>| v.clone().unwrap_or_else(|| "–".to_owned());
        let weight = if d.forbids { UNFAIR } else { POSSIBLE };
        let values = [d.what.clone(), side(&d.baseline), side(&d.candidate)];
        WORK.contains(&group).then(|| Found::ranked(CauseCode::SettingDiffers, weight, values))
    })
}

/// Tokens that requests really had. The end-to-end latency grows with the output, the time to the first token with the
/// input: in proportion at most, so the share is an upper bound.
fn lengths(case: &Case<'_>, point: Option<&str>) -> Vec<Found> {
    let of = |metric: Metric, code: CauseCode, moved: [Metric; 2]| {
        let row = case.row(metric.name(), "mean", point).filter(|row| differs(row, case.doc.margin))?;
        let (x, y) = (row.baseline?, row.candidate?);
        let touched =
            case.here(point).filter(|s| is_latency(s) && moved.iter().any(|m| m.name() == s.metric));
        let share = case.explained((y / x).ln(), touched);
        let values = [short(x), short(y), percent(y / x - 1.0)];
        // Other lengths are other work, also where no latency seems to follow them.
        let found = match share > 0.0 {
            true => Found::explaining(code, share, values),
            false => Found::ranked(code, POSSIBLE / 2.0, values),
        };
        Some(found.at(point))
    };
    [
        of(Metric::InputTokens, CauseCode::InputLengths, [Metric::Ttft, Metric::TtftAnswer]),
        of(Metric::OutputTokens, CauseCode::OutputLengths, [Metric::E2e, Metric::E2eFromSchedule]),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Whether a length differs beyond the margin and beyond noise; lengths that do not vary need no interval.
fn differs(row: &MetricComparison, margin: f64) -> bool {
    let beyond_noise = row.ci95.is_none_or(|[lo, hi]| lo > 0.0 || hi < 0.0);
    row.delta.is_some_and(|d| d.abs() > margin) && beyond_noise
}

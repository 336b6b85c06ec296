//! Quality in a comparison: the items of both sides paired one by one, not trial values. It belongs to the run, so it has
//! one row and one answer to its gate, whatever the number of points.

use stopwatt_core::Metric as Known;
use stopwatt_core::comparison::{GateResult, MetricComparison, Verdict};
use stopwatt_core::quality::QualityScale;
use stopwatt_stats::compare::Margin;
use stopwatt_stats::items::equal_items_needed;

use super::Options;
use super::gate::{Gate, decided};
use super::side::Side;
use crate::quality::{Judged, judge};

/// Name of the metric.
pub(super) const QUALITY_LOSS: &str = Known::QualityLoss.name();

/// Both sides' items; the reason where there are none to pair.
fn judged(a: &Side, b: &Side, level: f64) -> Result<Judged, String> {
    let of = |side: &Side| side.quality.clone().map_err(|why| format!("{}: {why}", side.run.name));
    judge(&of(a)?, &of(b)?, level)
}

/// The row; `None` where neither side knows of quality.
pub(super) fn row(a: &Side, b: &Side, point: Option<&str>, options: &Options) -> Option<MetricComparison> {
    if a.quality.is_err() && b.quality.is_err() {
        return None;
    }
    let info = Known::QualityLoss.info();
    let primary = options.primary.iter().any(|(m, s)| m == QUALITY_LOSS && s == "mean");
    let mut out = MetricComparison {
        run: b.run.name.clone(),
        point: point.map(str::to_owned),
        metric: info.name.to_owned(),
        statistic: "mean".to_owned(),
        unit: info.unit.to_owned(),
        better: info.better,
        baseline: None,
        candidate: None,
        absolute: true,
        delta: None,
        ci95: None,
        hedges_g: None,
        hedges_g_ci95: None,
        p: None,
        p_holm: None,
        trials: [1, 1],
        cv: [None, None],
        values: [Vec::new(), Vec::new()],
        primary,
        verdict: primary.then_some(Verdict::Inconclusive),
        reason: None,
    };
    match judged(a, b, options.level) {
        Err(reason) => out.reason = Some(reason),
        Ok(judged) => {
            let [x, y] = judged.losses;
            (out.baseline, out.candidate, out.delta) = (Some(x), Some(y), Some(y - x));
            out.values = [vec![Some(x)], vec![Some(y)]];
            match (&judged.excess, judged.loss()) {
                (Err(why), _) => out.reason = Some(format!("no interval over items: {why}")),
                (Ok(_), loss) => {
                    out.ci95 = loss.map(|(_, ci)| ci);
                    let (below, above) = judged.against(0.0).unwrap_or((1.0, 1.0));
                    out.p = Some((2.0 * below.min(above)).min(1.0));
                    let inside = |[lo, hi]: [f64; 2]| lo > -options.margin && hi < options.margin;
                    if primary && out.ci95.is_some_and(inside) {
                        out.verdict = Some(Verdict::Equivalent);
                    }
                }
            }
        }
    }
    Some(out)
}

/// Judges the gate of quality. The p-value is corrected later with the others.
pub(super) fn check(
    gate: &Gate,
    a: &Side,
    b: &Side,
    point: Option<&str>,
    options: &Options,
    barred: Option<&str>,
) -> GateResult {
    let missing = |why: &str| gate.missing(b, point, why);
    let Margin::Absolute(limit) = gate.limit else {
        return missing("a limit of quality is in percentage points: `quality_loss mean <= +0.1pp`");
    };
    let judged = match judged(a, b, options.level) {
        Ok(judged) => judged,
        Err(why) => return missing(&format!("not measured: {why}")),
    };
    let Some((below, above)) = judged.against(limit) else {
        let why = judged.excess.as_ref().err().map(ToString::to_string).unwrap_or_default();
        return missing(&format!("no interval over {} items: {why}", judged.n));
    };
    let mut result = decided(gate, b, point, options, (below, above), barred);
    let needed = equal_items_needed(limit, options.level).filter(|n| *n > judged.n as u64);
    // Shares alone: a relative scale has no such bound.
    let shares = b.quality.as_ref().is_ok_and(|q| q.scale != QualityScale::Relative);
    if let (true, Some(needed), true) = (shares, needed, result.p_holm.is_some()) {
        result.detail = format!(
            "{}; {} items can show no less than that, {needed} equal ones could",
            result.detail, judged.n
        );
    }
    result
}

//! `report.csv`: one row a point × metric × statistic, for spreadsheets and scripts.
//!
//! Values are in the SI unit of the metric with all their digits; an absent value is an empty cell with its
//! reason in the last column. Line ends are `\n`, quoting follows RFC 4180.

use std::fmt::Write as _;

use stopwatt_core::cost::Cost;
use stopwatt_core::engine::EngineUse;
use stopwatt_core::metrics_doc::{Estimate, Metrics, MetricsDoc};

/// The columns, in order.
const HEADER: &str = "point,label,metric,unit,statistic,value,n,trials,interval_lo,interval_hi,reason\n";

/// Every estimate of a run as CSV.
pub fn csv(doc: &MetricsDoc) -> String {
    let mut out = String::from(HEADER);
    if doc.points.is_empty() {
        rows(&mut out, "", "", &doc.metrics);
    }
    for (i, point) in doc.points.iter().enumerate() {
        rows(&mut out, &i.to_string(), &point.label, &point.metrics);
        engine(&mut out, &i.to_string(), &point.label, &point.engine);
    }
    if let Some(found) = &doc.cost {
        cost(&mut out, found);
    }
    out
}

/// `engine.*`: what the engine said of itself; what it did not say has no row.
fn engine(out: &mut String, point: &str, label: &str, engine: &EngineUse) {
    for (name, gauge) in engine.gauges.iter().filter(|(_, g)| g.mean.value.is_some()) {
        row(out, [point, label, &format!("engine.{name}"), "1", "mean"], &gauge.mean);
        row(out, [point, label, &format!("engine.{name}"), "1", "max"], &gauge.max);
    }
    for (name, total) in engine.totals.iter().filter(|(_, t)| t.value.is_some()) {
        row(out, [point, label, &format!("engine.{name}"), "1", "rise"], total);
    }
}

/// `cost.*`: the bases of the cost block as statistics, then each point as measured.
fn cost(out: &mut String, cost: &Cost) {
    let bases = [
        ("", "peak_goodput", &cost.peak_goodput),
        ("", "measured", &cost.measured),
        ("", "idle_inclusive", &cost.idle_inclusive),
    ];
    let numbers: Vec<String> = (0..cost.points.len()).map(|i| i.to_string()).collect();
    let points = numbers.iter().zip(&cost.points).map(|(i, at)| (i.as_str(), "measured", at));
    let per_million = format!("{}/1e6", cost.price.currency);
    for (point, statistic, at) in bases.into_iter().chain(points) {
        let label = at.label.as_deref().unwrap_or_default();
        row(out, [point, label, "cost.output_per_1m", &per_million, statistic], &at.output_per_1m);
        row(out, [point, label, "cost.total_per_1m", &per_million, statistic], &at.total_per_1m);
        row(out, [point, label, "cost.interactivity", "1/s", statistic], &at.interactivity);
    }
}

fn rows(out: &mut String, point: &str, label: &str, metrics: &Metrics) {
    for (name, summary) in metrics {
        for (statistic, estimate) in summary.statistics() {
            row(out, [point, label, name, &summary.unit, statistic], estimate);
        }
    }
}

/// One estimate; `names` are the cells before its value.
fn row(out: &mut String, names: [&str; 5], estimate: &Estimate) {
    let Estimate { value, n, trials, interval, reason } = estimate;
    let (lo, hi) = (interval.map(|i| i.lo), interval.map(|i| i.hi));
    let reason = text_cell(reason.as_deref().unwrap_or_default());
    let (value, lo, hi) = (number(*value), number(lo), number(hi));
    let names = names.map(text_cell).join(",");
    let _ = writeln!(out, "{names},{value},{n},{trials},{lo},{hi},{reason}");
}

/// Shortest decimal that reads back as the same number.
pub(crate) fn number(value: Option<f64>) -> String {
    value.filter(|v| v.is_finite()).map(|v| v.to_string()).unwrap_or_default()
}

/// Quotes a text where needed, and defuses one that a spreadsheet would run as a formula.
pub(crate) fn text_cell(text: &str) -> String {
    let formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']);
    let text = if formula { format!("'{text}") } else { text.to_owned() };
    if text.contains([',', '"', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_quoted_and_defused() {
        assert_eq!(text_cell("c=8 in=512"), "c=8 in=512");
        assert_eq!(text_cell("a,\"b\""), "\"a,\"\"b\"\"\"");
        assert_eq!(text_cell("=HYPERLINK(1)"), "'=HYPERLINK(1)");
    }

    #[test]
    fn numbers_read_back_exactly() {
        for v in [0.1 + 0.2, 1e-9, 123_456_789.123_456_78] {
            assert_eq!(number(Some(v)).parse::<f64>().ok(), Some(v));
        }
        assert_eq!(number(Some(f64::NAN)), "");
    }
}

//! Does a long measurement hold its level: latency within a point, memory over the run?
//!
//! Both use the Theil–Sen line, which outliers do not bend, and speak only of changes that are both significant at
//! 99 % and larger than 5 %.

use stopwatt_core::Metric;
use stopwatt_core::log::Fact;
use stopwatt_core::verdict::Code;
use stopwatt_stats::trend::{Trend, theil_sen};

use super::{At, Evidence, Findings};
use crate::request::seconds;

/// Shortest measured time, in seconds, over which a change is called drift.
const SHORTEST_S: f64 = 60.0;
/// Smallest change that matters.
const CHANGE: f64 = 0.05;
const LEVEL: f64 = 0.99;

/// Time per output token (time to first token where there is none) against the time of the end of a request: it does
/// not depend on the lengths that happened to be drawn.
pub(super) fn check_latency(at: &At<'_>, findings: &mut Findings) {
    if at.document.wall_s < SHORTEST_S {
        return;
    }
    let has_tpot = at.point.rows().any(|r| r.values.tpot.is_some());
    let metric = if has_tpot { Metric::Tpot } else { Metric::Ttft };
    let ended = |r: crate::measured::Row<'_>| Some((seconds(r.record.end_ns), r.values.value(metric)?));
    let points: Vec<(f64, f64)> = at.point.rows().filter_map(ended).collect();
    if let Some(change) = significant(points) {
        let values = [metric.info().title.to_owned(), format!("{:+.0}", change * 100.0)];
        findings.add(Code::Drift, Some(&at.document.label), values);
    }
}

/// Resident memory of the engine while it was measured; warm-up may allocate as it likes.
pub(super) fn check_memory(evidence: &Evidence<'_>, findings: &mut Findings) {
    let trials = || evidence.measured.points.iter().flat_map(|p| &p.trials);
    let measuring = |t_ns| trials().any(|t| (t.start_ns..=t.end_ns).contains(&t_ns));
    // Points differ in load and so in memory: only a run of one point can tell growth from that.
    let measured_s: f64 = evidence.points.iter().map(|p| p.wall_s).sum();
    if evidence.points.len() != 1 || measured_s < SHORTEST_S {
        return;
    }
    let samples = evidence.log.iter().filter_map(|e| match e.fact {
        Fact::EngineSample { rss_bytes } if measuring(e.t_ns) => Some((seconds(e.t_ns), rss_bytes as f64)),
        _ => None,
    });
    if let Some(change) = significant(samples.collect()) {
        findings.add(Code::MemoryGrowth, None, [format!("{:+.0}", change * 100.0)]);
    }
}

/// The relative change along the line, when it is significant and large.
fn significant(mut points: Vec<(f64, f64)>) -> Option<f64> {
    points.sort_by(|a, b| a.0.total_cmp(&b.0));
    let trend = theil_sen(&points, LEVEL).ok().filter(Trend::is_significant)?;
    trend.relative_change().filter(|c| c.abs() > CHANGE)
}

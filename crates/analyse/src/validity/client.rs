//! Did the client keep up, and is its lateness in the numbers?

use stopwatt_core::Metric;
use stopwatt_core::ceiling::ClientCeiling;
use stopwatt_core::verdict::Code;
use stopwatt_stats::quantile::{quantile, sorted};

use super::{At, Findings};
use crate::client::{ceiling_share, cores};

/// Core of the client above which it may be the bottleneck: it reads on one thread.
const CORES: f64 = 0.9;
/// Share of its measured ceiling above which it may be.
const CEILING: f64 = 0.8;
/// Share of reads without the kernel's stamp from which their lateness matters.
const UNSTAMPED: f64 = 0.01;
/// Lateness that matters: this, and this share of the median time to the first token.
const LATE: (f64, f64) = (1e-3, 0.01);

pub(super) fn check(at: &At<'_>, ceiling: Option<&ClientCeiling>, clients: usize, findings: &mut Findings) {
    let label = Some(at.document.label.as_str());
    let largest = |of: &dyn Fn(&crate::measured::Trial<'_>) -> Option<f64>| {
        at.point.trials.iter().filter_map(of).fold(0.0, f64::max)
    };
    let busiest = largest(&|t| cores(t, clients));
    if busiest > CORES {
        findings.add(Code::ClientBound, label, [format!("{busiest:.2}")]);
    }
    let share = ceiling.map_or(0.0, |c| largest(&|t| ceiling_share(t, c, clients)));
    if share > CEILING {
        findings.add(Code::ClientCeiling, label, [format!("{:.0}", share * 100.0)]);
    }
    late(at, label, findings);
}

/// The client's own lateness is in the latencies where reads carry its own stamps. How late it was is known from those
/// reads that have both.
fn late(at: &At<'_>, label: Option<&str>, findings: &mut Findings) {
    let reads = || at.point.trials.iter().filter_map(|t| t.end?.reads);
    let (own, all) = reads().fold((0, 0), |(own, all), r| (own + r.user, all + r.user + r.kernel));
    let Some(lag) = reads().filter_map(|r| r.lag_p99_s).reduce(f64::max) else { return };
    let ttfts = sorted(&at.point.rows().filter_map(|r| r.values.value(Metric::Ttft)).collect::<Vec<_>>());
    if ttfts.is_empty() || own as f64 <= UNSTAMPED * all as f64 {
        return;
    }
    if lag > LATE.0 && lag > LATE.1 * quantile(&ttfts, 0.5) {
        let unstamped = 100.0 * own as f64 / all as f64;
        findings.add(Code::ClientLate, label, [format!("{unstamped:.0}"), format!("{:.2}", lag * 1e3)]);
    }
}

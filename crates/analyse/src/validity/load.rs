//! Was the load delivered as asked, and did requests succeed?

use stopwatt_core::Metric;
use stopwatt_core::verdict::Code;
use stopwatt_stats::quantile::{quantile, sorted};

use super::{At, Findings};

/// Share of its schedule that an open loop must send.
const DELIVERED: f64 = 0.98;
/// Share of failed requests above which latencies are those of a selection.
const FAILED: f64 = 0.05;
/// Share of requests stopped with their window above which latencies lack the long ones.
const STOPPED: f64 = 0.05;

pub(super) fn check(at: &At<'_>, findings: &mut Findings) {
    let label = Some(at.document.label.as_str());
    delivered(at, label, findings);
    lag(at, label, findings);
    let (failed, ended) = (at.point.failed(), at.point.ended());
    if failed as f64 > FAILED * ended as f64 {
        let values = [failed.to_string(), ended.to_string()];
        findings.add_weighted(Code::HighErrorRate, at.headline, label, values);
    }
    let (stopped, all) = (at.point.rows().filter(|r| !r.has_ended()).count(), at.point.rows().count());
    if stopped as f64 > STOPPED * all as f64 {
        findings.add(Code::CutByWindow, label, [stopped.to_string(), all.to_string()]);
    }
    if let Some(ratio) = at
        .document
        .metrics
        .get(Metric::Tlr.name())
        .and_then(|m| m.max.value.or(m.mean.value))
        .filter(|r| *r >= 2.0)
    {
        findings.add(Code::TailRatio, label, [format!("{ratio:.2}")]);
    }
}

fn delivered(at: &At<'_>, label: Option<&str>, findings: &mut Findings) {
    let (mut planned, mut sent) = (0, 0);
    for trial in &at.point.trials {
        if let Some(wanted) = trial.end.and_then(|e| e.planned) {
            planned += wanted;
            sent += trial.requests.iter().filter(|r| r.dispatched_ns.get().is_some()).count() as u64;
        }
    }
    if (sent as f64) < DELIVERED * planned as f64 {
        findings.add(Code::LoadNotDelivered, label, [sent.to_string(), planned.to_string()]);
    }
}

fn lag(at: &At<'_>, label: Option<&str>, findings: &mut Findings) {
    // A request that opened a connection is taken up while its socket is made: its lag is part of `connect`, not of
    // the pace that is judged here.
    let kept_alive = || at.point.rows().filter(|r| r.record.connected_ns.get().is_none());
    let values = |metric| sorted(&kept_alive().filter_map(|r| r.values.value(metric)).collect::<Vec<_>>());
    let (lags, ttfts) = (values(Metric::SendLag), values(Metric::Ttft));
    if lags.is_empty() || ttfts.is_empty() {
        return;
    }
    let (lag, ttft) = (quantile(&lags, 0.99), quantile(&ttfts, 0.5));
    if lag > 0.05 * ttft || (lag > 1e-3 && lag > 0.01 * ttft) {
        let ms = |s: f64| format!("{:.2}", s * 1e3);
        findings.add(Code::SendLag, label, [ms(lag), ms(ttft)]);
    }
}

//! Was the load delivered as asked, did the client keep up, and did requests succeed?

use stopwatt_core::Metric;
use stopwatt_stats::quantile::{quantile, sorted};

use super::{At, Findings};

/// Share of its schedule that an open loop must send.
const DELIVERED: f64 = 0.98;
/// Share of failed requests above which latencies are those of a selection.
const FAILED: f64 = 0.05;
/// Share of requests stopped with their window above which latencies lack the long ones.
const STOPPED: f64 = 0.05;
/// Core of the client above which it may be the bottleneck: it reads on one thread.
const CLIENT_CORES: f64 = 0.9;

pub(super) fn check(at: &At<'_>, findings: &mut Findings) {
    let label = Some(at.document.label.as_str());
    delivered(at, label, findings);
    lag(at, label, findings);
    let busiest =
        at.point.trials.iter().filter_map(|t| Some(t.end?.client_cpu_s? / t.window_s()?)).fold(0.0, f64::max);
    if busiest > CLIENT_CORES {
        findings.add("client_busy", true, label, format!("the client used {busiest:.2} cores"));
    }
    let (failed, ended) = (at.point.failed(), at.point.ended());
    if failed as f64 > FAILED * ended as f64 {
        let detail = format!("{failed} of {ended} requests failed");
        findings.add("high_error_rate", at.headline, label, detail);
    }
    let (stopped, all) = (at.point.rows().filter(|r| !r.has_ended()).count(), at.point.rows().count());
    if stopped as f64 > STOPPED * all as f64 {
        let detail = format!("{stopped} of {all} requests were still in flight when their window closed");
        findings.add("cut_by_window", false, label, detail);
    }
    if let Some(ratio) = at
        .document
        .metrics
        .get(Metric::Tlr.name())
        .and_then(|m| m.max.value.or(m.mean.value))
        .filter(|r| *r >= 2.0)
    {
        findings.add("tail_ratio", false, label, format!("p99/p50 of the end-to-end latency is {ratio:.2}"));
    }
}

fn delivered(at: &At<'_>, label: Option<&str>, findings: &mut Findings) {
    let (mut planned, mut sent) = (0, 0);
    for trial in &at.point.trials {
        if let Some(wanted) = trial.end.and_then(|e| e.planned) {
            planned += wanted;
            sent += trial.requests.iter().filter(|r| r.dispatched_ns.is_some()).count() as u64;
        }
    }
    if (sent as f64) < DELIVERED * planned as f64 {
        let detail = format!("{sent} of {planned} scheduled requests were sent");
        findings.add("load_not_delivered", true, label, detail);
    }
}

fn lag(at: &At<'_>, label: Option<&str>, findings: &mut Findings) {
    let values = |metric| sorted(&at.point.rows().filter_map(|r| r.values.value(metric)).collect::<Vec<_>>());
    let (lags, ttfts) = (values(Metric::SendLag), values(Metric::Ttft));
    if lags.is_empty() || ttfts.is_empty() {
        return;
    }
    let (lag, ttft) = (quantile(&lags, 0.99), quantile(&ttfts, 0.5));
    if lag > 0.05 * ttft || (lag > 1e-3 && lag > 0.01 * ttft) {
        let detail =
            format!("requests left up to {:.2} ms late (p99), TTFT p50 is {:.2} ms", lag * 1e3, ttft * 1e3);
        findings.add("send_lag", false, label, detail);
    }
}

//! Queueing: requests waited in the engine, were preempted, or filled its KV cache.

use stopwatt_core::Metric;
use stopwatt_core::cause::CauseCode;
use stopwatt_core::engine::{KV_USAGE, PREEMPTIONS, WAITING};
use stopwatt_core::metrics_doc::Point;

use super::{Case, Found, Look, POSSIBLE, is_latency, short, slower};

/// Share of the change below which waiting is not worth a word.
const SHARE: f64 = 0.05;
/// Use of the KV cache from which on requests can be held back, and the rise that counts.
const FULL: f64 = 0.9;
const RISE: f64 = 0.05;

pub(super) fn look(case: &Case<'_>) -> Look {
    let mut look = Look::default();
    let mut blind = true;
    for point in case.points() {
        let Some((a, b, _)) = case.both(point) else { continue };
        if gauge(a, WAITING).is_none() && total(a, PREEMPTIONS).is_none()
            || gauge(b, WAITING).is_none() && total(b, PREEMPTIONS).is_none()
        {
            continue;
        }
        blind = false;
        let latencies: Vec<f64> = case.here(point).filter(|s| is_latency(s)).filter_map(slower).collect();
        let agrees = |rise: f64| latencies.iter().any(|s| s * rise > 0.0);
        let found = [waiting(case, point, a, b), preempted(a, b, agrees), cache(a, b, agrees)];
        look.found.extend(found.into_iter().flatten().map(|f| f.at(point)));
    }
    look.blind = blind.then_some(CauseCode::NoEngineMetrics);
    look
}

/// By Little's law (Operations Research 9 (1961), 383–387) a mean of L waiting requests at λ requests a second is a mean
/// wait of L / λ; its rise is a part of the rise of the latency.
fn waiting(case: &Case<'_>, point: Option<&str>, a: &Point, b: &Point) -> Option<Found> {
    let (la, lb) = (gauge(a, WAITING)?, gauge(b, WAITING)?);
    let rate = case.row(Metric::RequestThroughput.name(), "mean", point)?;
    let (wa, wb) = (la / rate.baseline?, lb / rate.candidate?);
    // The wait ends before the first token: TTFT holds it whole, E2E too.
    let part = |metric: Metric| {
        let row = case.row(metric.name(), "mean", point)?;
        Some((wb - wa) / (row.candidate? - row.baseline?))
    };
    let changed = |metric: Metric| case.here(point).any(|s| s.metric == metric.name());
    let share = [Metric::Ttft, Metric::E2e]
        .into_iter()
        .filter(|m| changed(*m))
        .filter_map(part)
        .filter(|s| s.is_finite())
        .fold(0.0, f64::max);
    let values = [short(la), short(lb), short(wa * 1e3), short(wb * 1e3)];
    (share >= SHARE).then(|| Found::explaining(CauseCode::RequestsWaited, share, values))
}

fn preempted(a: &Point, b: &Point, agrees: impl Fn(f64) -> bool) -> Option<Found> {
    let per_thousand = |p: &Point| Some(total(p, PREEMPTIONS)? / p.requests.max(1) as f64 * 1e3);
    let (x, y) = (per_thousand(a)?, per_thousand(b)?);
    ((y - x).abs() >= 1.0 && agrees(y - x))
        .then(|| Found::ranked(CauseCode::Preempted, POSSIBLE, [short(x), short(y)]))
}

fn cache(a: &Point, b: &Point, agrees: impl Fn(f64) -> bool) -> Option<Found> {
    let most = |p: &Point| p.engine.gauges.get(KV_USAGE)?.max.value;
    let (x, y) = (most(a)?, most(b)?);
    let shown = |v: f64| format!("{:.0}", v * 100.0);
    (x.max(y) >= FULL && (y - x).abs() >= RISE && agrees(y - x))
        .then(|| Found::ranked(CauseCode::KvCacheFull, POSSIBLE / 2.0, [shown(x), shown(y)]))
}

fn gauge(point: &Point, key: &str) -> Option<f64> {
    point.engine.gauges.get(key)?.mean.value
}

fn total(point: &Point, key: &str) -> Option<f64> {
    point.engine.totals.get(key)?.value
}

//! A frame: the numbers of a moment, in one fixed order.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::history::{Quantiles, Values};

/// Names of the numbers of a frame, in their order. Units: seconds, shares of 1, watts, degrees Celsius, dollars.
pub(super) const KEYS: [&str; 28] = [
    "requests_per_s",
    "tokens_per_s",
    "in_flight",
    "ttft_p50",
    "ttft_p95",
    "ttft_p99",
    "itl_p50",
    "itl_p95",
    "itl_p99",
    "e2e_p50",
    "e2e_p95",
    "e2e_p99",
    "failed_share",
    "running",
    "waiting",
    "kv_usage",
    "prefix_hits",
    "gpu_use",
    "gpu_memory",
    "gpu_power",
    "gpu_temperature",
    "cpu",
    "memory",
    "bad_answers",
    "feedback",
    "dollars_per_hour",
    "dollars_per_mtok",
    "preemptions_per_s",
];

/// What a frame is made from.
pub(super) struct Moment<'a> {
    pub(super) at_unix_ns: i64,
    pub(super) now: &'a Values,
    /// The values so many seconds ago.
    pub(super) before: &'a Values,
    pub(super) seconds: f64,
    pub(super) ttft: Option<Quantiles>,
    pub(super) itl: Option<Quantiles>,
    pub(super) e2e: Option<Quantiles>,
}

/// `[ms, [numbers], {kind of failure: a second}]`; what is not known is null.
pub(super) fn frame(m: &Moment<'_>) -> Value {
    let rate = |name: &str| m.now.gained(m.before, name).filter(|_| m.seconds > 0.0).map(|n| n / m.seconds);
    let ended = m.now.gained_by(m.before, "stopwatt_requests_total", "end");
    let failed: BTreeMap<&str, f64> = ended
        .iter()
        .filter(|(end, n)| !matches!(end.as_str(), "answered" | "client_gone" | "") && **n > 0.0)
        .map(|(end, n)| (end.as_str(), round(n / m.seconds)))
        .collect();
    let failures: f64 = failed.values().sum::<f64>() * m.seconds;
    let judged = failures + ended.get("answered").copied().unwrap_or(0.0);
    // Every token is the first of its request or ends a gap, and both are counted as it comes.
    let tokens = match (rate("stopwatt_ttft_seconds_count"), rate("stopwatt_itl_seconds_count")) {
        (Some(a), Some(b)) => Some(a + b),
        _ => None,
    };
    let share = |part: &str, whole: &str| {
        let (part, whole) = (m.now.gained(m.before, part)?, m.now.gained(m.before, whole)?);
        (whole > 0.0).then(|| part / whole)
    };
    let bad = || {
        let by = m.now.gained_by(m.before, "stopwatt_answers_judged_total", "finding");
        let all: f64 = by.values().sum();
        let good = by.get("none").copied().unwrap_or(0.0);
        (all > 0.0).then(|| (all - good) / all)
    };
    let gpu_memory = || {
        let (used, free) = (m.now.sum("DCGM_FI_DEV_FB_USED")?, m.now.sum("DCGM_FI_DEV_FB_FREE")?);
        (used + free > 0.0).then(|| used / (used + free))
    };
    let memory = || {
        let (all, free) =
            (m.now.sum("stopwatt_memory_total_bytes")?, m.now.sum("stopwatt_memory_available_bytes")?);
        (all > 0.0).then(|| 1.0 - free / all)
    };
    let per_hour = m.now.sum("stopwatt_cost_dollars_per_hour");
    let q = |q: Option<Quantiles>| q.map_or([None; 3], |q| [q.p50, q.p95, q.p99]);
    let ([t50, t95, t99], [i50, i95, i99], [e50, e95, e99]) = (q(m.ttft), q(m.itl), q(m.e2e));
    let values: [Option<f64>; KEYS.len()] = [
        (m.seconds > 0.0 && !ended.is_empty()).then(|| ended.values().sum::<f64>() / m.seconds),
        tokens,
        m.now.sum("stopwatt_requests_in_flight"),
        t50,
        t95,
        t99,
        i50,
        i95,
        i99,
        e50,
        e95,
        e99,
        (judged > 0.0).then(|| failures / judged),
        m.now.sum("stopwatt_upstream_running"),
        m.now.sum("stopwatt_upstream_waiting"),
        m.now.max("stopwatt_upstream_kv_usage_ratio"),
        share("stopwatt_upstream_prefix_cache_hits_total", "stopwatt_upstream_prefix_cache_queries_total"),
        m.now.mean("DCGM_FI_DEV_GPU_UTIL").map(|p| p / 100.0),
        gpu_memory(),
        m.now.sum("DCGM_FI_DEV_POWER_USAGE"),
        m.now.max("DCGM_FI_DEV_GPU_TEMP"),
        m.now.mean("stopwatt_cpu_busy_ratio"),
        memory(),
        bad(),
        m.now.mean("stopwatt_feedback_mean"),
        per_hour,
        per_hour.zip(tokens.filter(|t| *t > 0.0)).map(|(d, t)| d / (t * 3600.0) * 1e6),
        rate("stopwatt_upstream_preemptions_total"),
    ];
    let values: Vec<Value> = values.iter().map(|v| v.map_or(Value::Null, |v| json!(round(v)))).collect();
    json!([m.at_unix_ns / 1_000_000, values, failed])
}

/// Five digits: more than a screen shows, and half the bytes.
fn round(value: f64) -> f64 {
    format!("{value:.4e}").parse().unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::of_page;

    fn values(page: &str) -> Values {
        let mut values = Values::default();
        of_page(page, 0).iter().for_each(|row| values.set(row));
        values
    }

    fn of(frame: &Value, key: &str) -> Option<f64> {
        frame[1][KEYS.iter().position(|k| *k == key).unwrap()].as_f64()
    }

    #[test]
    fn a_frame_by_hand() {
        let before = values(
            "stopwatt_requests_total{end=\"answered\"} 10\nstopwatt_ttft_seconds_count 5\nstopwatt_itl_seconds_count 100\n",
        );
        let now = values(
            "stopwatt_requests_total{end=\"answered\"} 16\nstopwatt_requests_total{end=\"reset\"} 2\n\
             stopwatt_ttft_seconds_count 15\nstopwatt_itl_seconds_count 190\nstopwatt_cost_dollars_per_hour 3.6\n\
             DCGM_FI_DEV_FB_USED{gpu=\"0\"} 30\nDCGM_FI_DEV_FB_FREE{gpu=\"0\"} 10\nDCGM_FI_DEV_GPU_UTIL{gpu=\"0\"} 50\n\
             stopwatt_memory_total_bytes 8\nstopwatt_memory_available_bytes 6\n",
        );
        let ttft = Quantiles { n: 3, p50: Some(0.123_456_789), p95: None, p99: None };
        let frame = frame(&Moment {
            at_unix_ns: 5_000_000_000,
            now: &now,
            before: &before,
            seconds: 2.0,
            ttft: Some(ttft),
            itl: None,
            e2e: None,
        });
        assert_eq!(frame[0], 5000);
        assert_eq!(frame[2], json!({"reset": 1.0}));
        for (key, value) in [
            ("requests_per_s", Some(4.0)),
            ("tokens_per_s", Some(50.0)),
            ("failed_share", Some(0.25)),
            ("ttft_p50", Some(0.12346)),
            ("ttft_p99", None),
            ("itl_p50", None),
            ("gpu_use", Some(0.5)),
            ("gpu_memory", Some(0.75)),
            ("gpu_power", None),
            ("memory", Some(0.25)),
            ("dollars_per_mtok", Some(20.0)), // 3.6 an hour at 50 tokens a second: 3.6 / 180 000 × 10⁶
        ] {
            assert_eq!(of(&frame, key), value, "{key}");
        }
    }
}

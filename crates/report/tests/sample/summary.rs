//! A simple summary of the made-up run: enough to draw.

use std::collections::BTreeMap;

use stopwatt_core::log::{Fact, LogEvent, PlannedPoint};
use stopwatt_core::metrics_doc::{
    ClientUse, Env, Estimate, Interval, IntervalKind, LatencyMs, MetricSummary, Metrics, MetricsDoc,
    Pipeline, Point, RunStatus, Validity,
};
use stopwatt_core::{EndKind, Metric, Phase, RequestRecord};

use super::Plan;

/// Values by trial.
type Trials = Vec<Vec<f64>>;

/// `metrics.json` of the made-up run.
pub fn summarise(
    plan: &Plan,
    run_id: String,
    points: &[PlannedPoint],
    log: &[LogEvent],
    requests: &[RequestRecord],
) -> MetricsDoc {
    let points: Vec<Point> =
        points.iter().enumerate().map(|(i, p)| point(plan, i as u32, p, log, requests)).collect();
    let best = |p: &Point| p.metrics[Metric::OutputThroughput.name()].mean.value.unwrap_or(0.);
    let headline =
        (0..points.len()).max_by(|&a, &b| best(&points[a]).total_cmp(&best(&points[b]))).unwrap_or(0);
    let metrics = points[headline].metrics.clone();
    let e2e = &metrics[Metric::E2e.name()];
    let ms = |e: &Estimate| e.value.map(|v| v * 1e3);
    MetricsDoc {
        format: "1.0".into(),
        run_id,
        status: RunStatus::Complete,
        env: Env { seed: 42, hash: "c0ffee12".into(), ..Env::default() },
        pipeline: Pipeline {
            mode: if points.len() > 1 { "bench:sweep" } else { "bench:single" }.into(),
            repeats: points.iter().map(|p| p.requests).sum(),
            warmup: requests.iter().filter(|r| r.phase == Phase::Warmup).count() as u64,
        },
        latency_ms: LatencyMs { mean: ms(&e2e.mean), p50: ms(&e2e.p50), p95: ms(&e2e.p95) },
        throughput_toks_s: metrics[Metric::OutputThroughput.name()].mean.value,
        l2_hit_pct: None,
        ept_j_per_tok: None,
        quality_delta_pct: None,
        reasons: BTreeMap::from([("l2_hit_pct".into(), "no GPU".into())]),
        metrics,
        headline_point: Some(headline as u64),
        points,
        client: ClientUse { cpu_s: Some(1.84), rss_bytes: Some(14 << 20) },
        validity: Validity { valid: true, reasons: vec![] },
    }
}

fn point(plan: &Plan, index: u32, planned: &PlannedPoint, log: &[LogEvent], all: &[RequestRecord]) -> Point {
    let of_trial =
        |t: u32| all.iter().filter(move |r| r.point == index && r.trial == t && r.phase == Phase::Measure);
    let each = |value: &dyn Fn(&RequestRecord) -> Vec<f64>| -> Trials {
        (0..plan.trials)
            .map(|t| of_trial(t).filter(|r| r.end == EndKind::Ok).flat_map(value).collect())
            .collect()
    };
    let s = |ns: i64| ns as f64 / 1e9;
    let first = |r: &RequestRecord| r.chunks[0].t_ns;
    let last = |r: &RequestRecord| r.chunks[r.chunks.len() - 1].t_ns;
    let began = |r: &RequestRecord| r.send_begin_ns().unwrap_or(0);
    let e2e = each(&|r| vec![s(last(r) - began(r))]);
    let mut metrics = Metrics::new();
    let mut put = |m: Metric, t: &Trials| drop(metrics.insert(m.name().into(), summary(m, t)));
    put(Metric::Ttft, &each(&|r| vec![s(first(r) - began(r))]));
    put(Metric::Tpot, &each(&|r| vec![s(last(r) - first(r)) / (r.chunks.len() - 1) as f64]));
    put(Metric::Itl, &each(&|r| r.chunks.windows(2).map(|w| s(w[1].t_ns - w[0].t_ns)).collect()));
    put(Metric::E2e, &e2e);
    put(Metric::InputTokens, &each(&|r| vec![f64::from(r.input_asked)]));
    put(Metric::OutputTokens, &each(&|r| vec![f64::from(r.output_asked)]));
    let per_trial =
        |value: &dyn Fn(u32) -> f64| -> Trials { (0..plan.trials).map(|t| vec![value(t)]).collect() };
    let ok = |t: u32| of_trial(t).filter(|r| r.end == EndKind::Ok);
    let tokens = |t: u32| ok(t).map(|r| f64::from(r.output_asked)).sum::<f64>();
    put(Metric::OutputThroughput, &per_trial(&|t| tokens(t) / plan.trial_s));
    put(
        Metric::TotalThroughput,
        &per_trial(&|t| (tokens(t) + ok(t).map(|r| f64::from(r.input_asked)).sum::<f64>()) / plan.trial_s),
    );
    put(Metric::RequestThroughput, &per_trial(&|t| ok(t).count() as f64 / plan.trial_s));
    let good =
        |t: u32| ok(t).filter(|r| s(first(r) - began(r)) < 0.5 && s(last(r) - began(r)) < 4.).count() as f64;
    put(Metric::Goodput, &per_trial(&|t| good(t) / plan.trial_s));
    let quantile_of = |v: &[f64], q: f64| quantile(&mut v.to_vec(), q);
    put(Metric::Tlr, &e2e.iter().map(|v| vec![quantile_of(v, 0.99) / quantile_of(v, 0.5)]).collect());
    let failed = |t: u32| of_trial(t).filter(|r| r.end.is_failure()).count() as f64;
    put(Metric::ErrorRate, &per_trial(&|t| failed(t) / of_trial(t).count().max(1) as f64));
    let facts = |f: &dyn Fn(&Fact) -> Option<f64>| -> Trials {
        log.iter().filter_map(|e| Some(vec![f(&e.fact)?])).collect()
    };
    put(
        Metric::EngineCpu,
        &facts(&|f| match f {
            Fact::TrialEnded { point, start_ns, end_ns, engine_cpu_s, .. } if *point == index => {
                Some((*engine_cpu_s)? / s(end_ns - start_ns))
            }
            _ => None,
        }),
    );
    put(
        Metric::EngineMemory,
        &facts(&|f| match f {
            Fact::TrialEnded { point, engine_rss_bytes, .. } if *point == index => {
                Some((*engine_rss_bytes)? as f64)
            }
            _ => None,
        }),
    );
    let hit = "the engine reports no prefix-cache counters";
    metrics.insert(Metric::KvHitRate.name().into(), MetricSummary::unavailable(Metric::KvHitRate, hit));

    let mut errors = BTreeMap::new();
    let ended = || (0..plan.trials).flat_map(of_trial).filter(|r| r.end != EndKind::Cancelled);
    for r in ended().filter(|r| r.end.is_failure()) {
        *errors.entry(r.end.name().to_owned()).or_default() += 1;
    }
    Point {
        label: planned.label.clone(),
        concurrency: planned.concurrency,
        rate_rps: None,
        input: planned.input.map(f64::from),
        output: planned.output.map(f64::from),
        wall_s: plan.trial_s * f64::from(plan.trials),
        requests: ended().count() as u64,
        errors,
        metrics,
    }
}

fn quantile(values: &mut [f64], q: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(((values.len().max(1) - 1) as f64 * q).round() as usize).copied().unwrap_or(f64::NAN)
}

fn summary(metric: Metric, trials: &Trials) -> MetricSummary {
    let mean = |v: &[f64]| v.iter().sum::<f64>() / v.len() as f64;
    let std = |v: &[f64]| {
        let centre = mean(v);
        (v.iter().map(|x| (x - centre).powi(2)).sum::<f64>() / (v.len().max(2) - 1) as f64).sqrt()
    };
    let all = || trials.concat();
    let n = all().len() as u64;
    let of = |statistic: &dyn Fn(&mut Vec<f64>) -> f64, skew: f64| {
        let by_trial: Vec<f64> =
            trials.iter().filter(|t| !t.is_empty()).map(|t| statistic(&mut t.clone())).collect();
        let half = 2.776 * std(&by_trial) / (by_trial.len() as f64).sqrt();
        let value = statistic(&mut all());
        let interval = (by_trial.len() > 1).then_some(Interval {
            kind: IntervalKind::Confidence,
            level: 0.95,
            lo: value - half * (1. - skew),
            hi: value + half * (1. + skew),
        });
        let reason = interval.is_none().then(|| "1 trial; an interval needs at least 2".to_owned());
        Estimate { value: (n > 0).then_some(value), n, trials: by_trial.len() as u64, interval, reason }
    };
    let bare = |statistic: &dyn Fn(&mut Vec<f64>) -> f64| Estimate {
        interval: None,
        reason: Some("an extreme of a sample has no interval".into()),
        ..of(statistic, 0.)
    };
    let mut p99 = of(&|v| quantile(v, 0.99), 0.3);
    if n < 300 && trials.iter().any(|t| t.len() > 1) {
        (p99.interval, p99.reason) = (None, Some(format!("p99 needs n ≥ 300, the run has {n}")));
    }
    MetricSummary {
        mean: of(&|v| mean(v), 0.),
        std: of(&|v| std(v), 0.),
        min: bare(&|v| quantile(v, 0.)),
        max: bare(&|v| quantile(v, 1.)),
        p50: of(&|v| quantile(v, 0.5), 0.),
        p95: of(&|v| quantile(v, 0.95), 0.3),
        p99,
        ..MetricSummary::unavailable(metric, "")
    }
}

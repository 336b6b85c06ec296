//! The best point of a sweep: the most goodput among the points whose objectives hold.

use stopwatt_core::Metric;
use stopwatt_core::metrics_doc::{Best, Estimate, MetricSummary, Point};

use crate::slo::{Slo, Statistic};

/// How an objective stands at a point.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Standing {
    Fails,
    /// The estimate meets it, its interval does not or is absent.
    Estimated,
    Confident,
}

/// The best of several points; `None` without objectives or with a single point.
pub(crate) fn best(points: &[Point], objectives: &[Slo]) -> Option<Best> {
    if points.len() < 2 || objectives.is_empty() {
        return None;
    }
    let none = |reason: String| Some(Best { point: None, confident: false, reason: Some(reason) });
    if let Some(odd) = objectives.iter().find(|o| o.statistic.is_some() && !in_summary(o)) {
        return none(format!("`{odd}` is not among the statistics of a point"));
    }
    let goodput =
        |i: usize| points[i].metrics.get(Metric::Goodput.name()).and_then(|m| m.mean.value).unwrap_or(0.0);
    let holding: Vec<(usize, Standing)> = (0..points.len())
        .map(|i| (i, objectives.iter().map(|o| stand(&points[i], o)).min().unwrap_or(Standing::Fails)))
        .filter(|(i, standing)| *standing > Standing::Fails && goodput(*i) > 0.0)
        .collect();
    let best = holding.into_iter().reduce(|a, b| if goodput(b.0) > goodput(a.0) { b } else { a });
    let Some((point, standing)) = best else {
        return none("the objectives hold at no point".to_owned());
    };
    let confident = standing == Standing::Confident;
    let reason = (!confident).then(|| "an interval does not clear its limit, or is absent".to_owned());
    Some(Best { point: Some(point as u64), confident, reason })
}

fn in_summary(objective: &Slo) -> bool {
    match objective.statistic {
        Some(Statistic::Percentile(p)) => [50.0, 95.0, 99.0, 99.9].contains(&p),
        Some(Statistic::Mean) | None => true,
    }
}

fn stand(point: &Point, objective: &Slo) -> Standing {
    let of = |m: &MetricSummary| -> Option<Estimate> {
        Some(match objective.statistic? {
            Statistic::Mean => m.mean.clone(),
            Statistic::Percentile(50.0) => m.p50.clone(),
            Statistic::Percentile(95.0) => m.p95.clone(),
            Statistic::Percentile(99.0) => m.p99.clone(),
            Statistic::Percentile(_) => m.p999.clone(),
        })
    };
    // An objective of single requests is what goodput counts by.
    if objective.statistic.is_none() {
        return Standing::Confident;
    }
    let Some(estimate) = point.metrics.get(objective.metric.name()).and_then(of) else {
        return Standing::Fails;
    };
    match (estimate.value, estimate.interval) {
        (Some(v), _) if v > objective.limit => Standing::Fails,
        (Some(_), Some(i)) if i.hi <= objective.limit => Standing::Confident,
        (Some(_), _) => Standing::Estimated,
        (None, _) => Standing::Fails,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use stopwatt_core::metrics_doc::{Interval, IntervalKind};

    use super::*;
    use crate::slo::parse;

    fn point(goodput: f64, p99: Option<(f64, f64)>) -> Point {
        let mut good = MetricSummary::unavailable(Metric::Goodput, "");
        good.mean.value = Some(goodput);
        let mut ttft = MetricSummary::unavailable(Metric::Ttft, "");
        ttft.p99.value = p99.map(|p| p.0);
        ttft.p99.interval =
            p99.map(|p| Interval { kind: IntervalKind::Confidence, level: 0.95, lo: 0.0, hi: p.1 });
        let metrics = [(Metric::Goodput, good), (Metric::Ttft, ttft)];
        Point {
            label: String::new(),
            concurrency: None,
            rate_rps: None,
            input: None,
            output: None,
            engine_settings: BTreeMap::new(),
            engine: Default::default(),
            power: Default::default(),
            trials: BTreeMap::new(),
            wall_s: 1.0,
            requests: 1,
            errors: BTreeMap::new(),
            metrics: metrics.map(|(m, s)| (m.name().to_owned(), s)).into(),
        }
    }

    fn check(points: &[Point], slo: &str, expected: Option<u64>, confident: bool) {
        let best = best(points, &parse(slo).unwrap()).unwrap();
        assert_eq!((best.point, best.confident), (expected, confident), "{best:?}");
        assert_eq!(best.reason.is_some(), !confident);
    }

    #[test]
    fn the_most_goodput_among_those_that_hold() {
        let points =
            [point(1.0, Some((0.1, 0.2))), point(3.0, Some((0.3, 0.4))), point(5.0, Some((0.8, 0.9)))];
        check(&points, "p99 ttft < 500ms", Some(1), true);
        check(&points, "p99 ttft < 350ms", Some(1), false);
        check(&points, "ttft < 500ms", Some(2), true);
        check(&points, "p99 ttft < 50ms", None, false);
        check(&points, "p90 ttft < 500ms", None, false);
        check(&[point(0.0, None), point(0.0, None)], "p99 ttft < 1s", None, false);
        assert_eq!(best(&points[..1], &parse("ttft < 1s").unwrap()), None);
        assert_eq!(best(&points, &[]), None);
    }
}

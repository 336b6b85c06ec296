//! Everything together: the document that becomes `metrics.json`.

use std::collections::BTreeMap;

use stopwatt_core::log::{Fact, LogEvent};
use stopwatt_core::metrics_doc::{
    Estimate, LatencyMs, MetricSummary, Metrics, MetricsDoc, Pipeline, Point, RunStatus,
};
use stopwatt_core::{FORMAT_MAJOR, FORMAT_MINOR, Metric, Nanos};

use crate::Input;
use crate::client;
use crate::cost::cost;
use crate::environment::environment;
use crate::imported;
use crate::measured::Measured;
use crate::validity::{Evidence, judge};

/// Builds the document.
pub(crate) fn build(input: &Input<'_>) -> MetricsDoc {
    let measured = Measured::sort(input.log, input.record);
    let imported = imported::find(input.log);
    let points: Vec<Point> = measured
        .points
        .iter()
        .map(|p| {
            let mut point = crate::point::document(p, input.settings);
            if let Some(imported) = imported {
                imported::complete(imported, p.index, &mut point, input.settings);
            }
            point
        })
        .collect();
    let headline = headline(&points);
    let end = Ending::of(input.log);
    let evidence =
        Evidence { log: input.log, measured: &measured, points: &points, headline, status: end.status };
    let cost = cost(&measured, &points, headline, input.settings, end.t0_unix_ns);
    let validity = judge(&evidence, input.settings, cost.as_ref());

    let metrics = headline.map_or_else(nothing, |h| points[h].metrics.clone());
    let env = environment(input.log, input.settings.seed);
    let mut reasons = Reasons::default();
    let e2e = metrics.get(Metric::E2e.name());
    let mut ms =
        |key: &str, of: fn(&MetricSummary) -> &Estimate| reasons.check(key, e2e.map(of)).map(|s| s * 1e3);
    let latency_ms = LatencyMs {
        mean: ms("latency_ms.mean", |m| &m.mean),
        p50: ms("latency_ms.p50", |m| &m.p50),
        p95: ms("latency_ms.p95", |m| &m.p95),
    };
    let throughput = metrics.get(Metric::OutputThroughput.name()).map(|m| &m.mean);
    let throughput_toks_s = reasons.check("throughput_toks_s", throughput);
    let l2 = metrics.get(Metric::L2HitRate.name()).map(|m| &m.mean);
    let l2_hit_pct = reasons.check("l2_hit_pct", l2).map(|share| share * 100.0);
    let energy = metrics.get(Metric::EnergyPerToken.name()).map(|m| &m.mean);
    let ept_j_per_tok = reasons.check("ept_j_per_tok", energy);
    let quality_delta_pct = match crate::quality::delta_told(input.log) {
        Some(delta) => reasons.check("quality_delta_pct", Some(&delta.pct)),
        None => {
            let untold = crate::quality::told(input.log).err();
            reasons.add(
                "quality_delta_pct",
                untold.unwrap_or("no baseline to compare the outputs with (`pair`, `compare`)"),
            );
            None
        }
    };
    if cost.is_none() {
        reasons.add("cost", "no price was given (--price)");
    }
    if imported.is_some() {
        reasons.add("env.gpu", imported::NOT_TOLD);
        reasons.add("env.driver", imported::NOT_TOLD);
    } else if env.gpu.is_none() {
        reasons.add("env.gpu", "no GPU was found");
        reasons.add("env.driver", "no GPU was found");
    } else if env.driver.is_none() {
        reasons.add("env.driver", "the driver did not tell its version");
    }
    if env.fixed_clock.is_none() {
        reasons.add("env.fixed_clock", "nothing tells whether clocks are fixed");
    }

    MetricsDoc {
        format: end.format,
        run_id: end.run_id,
        status: end.status,
        env,
        pipeline: Pipeline {
            mode: input.settings.mode.clone(),
            repeats: points.iter().map(|p| p.requests).sum(),
            warmup: measured.warmup_requests,
        },
        latency_ms,
        throughput_toks_s,
        l2_hit_pct,
        ept_j_per_tok,
        quality_delta_pct,
        reasons: reasons.0,
        metrics,
        custom: crate::custom::custom(input.log, input.settings),
        headline_point: headline.map(|h| h as u64),
        engines: input
            .log
            .iter()
            .filter_map(|e| match &e.fact {
                Fact::EngineEnded { engine } => Some(engine.clone()),
                _ => None,
            })
            .collect(),
        best: crate::best::best(&points, &input.settings.slos),
        search: crate::search::found(input.log, &points),
        capacity: input.log.iter().rev().find_map(|e| match e.fact {
            Fact::Capacity { capacity } => Some(capacity),
            _ => None,
        }),
        client: client::used(&measured, input.log, end.client_rss_bytes),
        reproduces: input.settings.reproduces.clone(),
        quality: crate::quality::summary(input.log, input.settings),
        cost,
        points,
        validity,
    }
}

/// The point with the highest output throughput; the first one where none has any.
fn headline(points: &[Point]) -> Option<usize> {
    let throughput =
        |p: &Point| p.metrics.get(Metric::OutputThroughput.name()).and_then(|m| m.mean.value).unwrap_or(0.0);
    // On a tie the earlier point stands: it gives as much at less load.
    (0..points.len())
        .reduce(|best, i| if throughput(&points[i]) > throughput(&points[best]) { i } else { best })
}

fn nothing() -> Metrics {
    Metric::ALL
        .iter()
        .map(|&m| (m.name().to_owned(), MetricSummary::unavailable(m, "no point was measured")))
        .collect()
}

/// What the first and the last line of the log say.
struct Ending {
    run_id: String,
    format: String,
    status: RunStatus,
    client_rss_bytes: Option<u64>,
    t0_unix_ns: Option<Nanos>,
}

impl Ending {
    /// Without a last line the run is incomplete.
    fn of(log: &[LogEvent]) -> Self {
        let mut end = Self {
            run_id: String::new(),
            format: format!("{FORMAT_MAJOR}.{FORMAT_MINOR}"),
            status: RunStatus::Incomplete,
            client_rss_bytes: None,
            t0_unix_ns: None,
        };
        for event in log {
            match &event.fact {
                Fact::RunStarted { run_id, format, clock } => {
                    end.t0_unix_ns = Some(clock.t0_unix_ns);
                    run_id.clone_into(&mut end.run_id);
                    format.clone_into(&mut end.format);
                }
                Fact::RunEnded { status, client_rss_bytes, .. } => {
                    end.status = *status;
                    end.client_rss_bytes = *client_rss_bytes;
                }
                _ => {}
            }
        }
        end
    }
}

/// Why keys are `null`, by key.
#[derive(Default)]
struct Reasons(BTreeMap<String, String>);

impl Reasons {
    fn add(&mut self, key: &str, reason: &str) {
        self.0.insert(key.to_owned(), reason.to_owned());
    }

    /// The value of an estimate; without one its reason is noted.
    fn check(&mut self, key: &str, estimate: Option<&Estimate>) -> Option<f64> {
        let value = estimate.and_then(|e| e.value);
        if value.is_none() {
            self.add(key, estimate.and_then(|e| e.reason.as_deref()).unwrap_or("not measured"));
        }
        value
    }
}

#[cfg(test)]
mod tests;

//! Runs that another tool measured: what its file holds instead of request rows.
//!
//! | the file has | becomes |
//! |---|---|
//! | values of each request | rows, analysed like any other |
//! | values without requests, by trial | estimates with intervals |
//! | only statistics | estimates with their n, without an interval, and the reason |
//! | nothing | `null`, and the reason |

use stopwatt_core::import::{Imported, ImportedAggregate};
use stopwatt_core::log::{Fact, LogEvent};
use stopwatt_core::metrics_doc::{Estimate, MetricSummary, Metrics, Point};
use stopwatt_core::{Metric, metric::Per};
use stopwatt_stats::Sample;

use crate::settings::Settings;
use crate::summary::{Range, of_observations, of_trials};

pub(crate) const NOT_TOLD: &str = "the imported file does not tell";
const ONLY_STATISTICS: &str = "the imported file holds the statistic alone, not the values behind it";
const NO_CHUNKS: &str = "the imported file holds no time of single tokens";

/// What was imported, if anything was.
pub(crate) fn find(log: &[LogEvent]) -> Option<&Imported> {
    log.iter().find_map(|e| match &e.fact {
        Fact::Imported { imported } => Some(imported),
        _ => None,
    })
}

/// Completes the point at `index` of the plan with what the file holds.
pub(crate) fn complete(imported: &Imported, index: u32, point: &mut Point, settings: &Settings) {
    for count in imported.counts.iter().filter(|c| c.point == index) {
        point.requests = count.completed + count.failed;
        point.errors = (count.failed > 0).then(|| ("unknown".to_owned(), count.failed)).into_iter().collect();
    }
    for &metric in Metric::ALL {
        metric_of(imported, index, metric, &mut point.metrics, settings);
    }
}

fn metric_of(imported: &Imported, index: u32, metric: Metric, metrics: &mut Metrics, settings: &Settings) {
    let name = metric.name();
    let Some(summary) = metrics.get_mut(name) else { return };
    // Without rows, what was computed from them (a throughput of nothing) says nothing.
    if imported.counts.iter().any(|c| c.point == index) {
        *summary = MetricSummary::unavailable(metric, NOT_TOLD);
    }
    let needs_gaps = matches!(metric, Metric::Itl | Metric::ChunkGap | Metric::Stalls | Metric::LongestGap);
    if needs_gaps && !imported.gaps {
        *summary = MetricSummary::unavailable(metric, NO_CHUNKS);
    }
    let samples: Vec<Vec<f64>> = imported
        .samples
        .iter()
        .filter(|s| s.point == index && s.metric == name)
        .map(|s| s.values.clone())
        .collect();
    if !samples.is_empty() {
        *summary = of_samples(metric, &samples, settings);
    }
    let told: Vec<&ImportedAggregate> =
        imported.aggregates.iter().filter(|a| a.point == index && a.metric == name).collect();
    let has_value = summary.statistics().iter().any(|(_, e)| e.value.is_some());
    if !has_value && told.is_empty() && !needs_gaps {
        *summary = MetricSummary::unavailable(metric, NOT_TOLD);
    }
    if !has_value && !told.is_empty() {
        *summary = MetricSummary::unavailable(metric, NOT_TOLD);
        for aggregate in told {
            let estimate = Estimate {
                value: Some(aggregate.value),
                n: aggregate.n,
                trials: 1,
                interval: None,
                reason: Some(ONLY_STATISTICS.to_owned()),
            };
            if let Some(place) = summary.statistic_mut(&aggregate.statistic) {
                *place = estimate;
            }
        }
    }
    if let Some(definition) = imported.definitions.get(name) {
        definition.clone_into(&mut summary.definition);
    }
}

/// One value a trial is a value of the trial; several are observations in it.
fn of_samples(metric: Metric, samples: &[Vec<f64>], settings: &Settings) -> MetricSummary {
    let single: Option<Vec<f64>> = samples
        .iter()
        .map(|values| match values[..] {
            [one] => Some(one),
            _ => None,
        })
        .collect();
    let share = metric.info().unit == "1" && metric.info().per == Per::Trial;
    match single {
        Some(values) => {
            let range =
                if share && values.iter().all(|v| *v <= 1.0) { Range::Share } else { Range::NotNegative };
            of_trials(metric, &values, range, settings, NOT_TOLD)
        }
        None => of_observations(metric, &Sample::of(samples), settings, NOT_TOLD),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use stopwatt_core::import::ImportedSample;
    use stopwatt_core::metrics_doc::MetricsDoc;

    use super::*;
    use crate::testing::{log, ok_request, trial_ended};
    use crate::{Input, Recorded, analyse};

    fn document(imported: Imported, requests: &[stopwatt_core::RequestRecord], trials: u32) -> MetricsDoc {
        let mut facts: Vec<Fact> = (0..trials).map(|t| trial_ended(0, t, 0, 1_000)).collect();
        facts.push(Fact::Imported { imported });
        facts.push(Fact::RunEnded {
            status: stopwatt_core::metrics_doc::RunStatus::Complete,
            reason: None,
            client_rss_bytes: None,
            wall_drift_ns: 0,
        });
        let settings = Settings { resamples: 100, ..Settings::default() };
        analyse(&Input { log: &log(&facts), record: &Recorded::of(requests), settings: &settings })
    }

    fn vllm() -> Imported {
        Imported { tool: "vllm".to_owned(), gaps: true, ..Imported::default() }
    }

    #[test]
    fn a_statistic_alone_has_its_n_and_no_interval() {
        let aggregate = |statistic: &str, value| ImportedAggregate {
            point: 0,
            metric: "ttft".to_owned(),
            statistic: statistic.to_owned(),
            value,
            n: 40,
        };
        let imported = Imported {
            aggregates: vec![aggregate("mean", 0.061), aggregate("p99", 0.08)],
            counts: vec![stopwatt_core::import::ImportedCount { point: 0, completed: 40, failed: 2 }],
            definitions: BTreeMap::from([("ttft".to_owned(), "vllm:ttft".to_owned())]),
            ..vllm()
        };
        let doc = document(imported, &[], 1);
        let ttft = &doc.metrics["ttft"];
        assert_eq!((ttft.mean.value, ttft.mean.n, ttft.mean.interval), (Some(0.061), 40, None));
        assert_eq!(ttft.mean.reason.as_deref(), Some(ONLY_STATISTICS));
        assert_eq!((ttft.p99.value, ttft.p50.value), (Some(0.08), None));
        assert_eq!(ttft.p50.reason.as_deref(), Some(NOT_TOLD));
        assert_eq!(doc.metrics["output_throughput"].mean.reason.as_deref(), Some(NOT_TOLD));
        assert_eq!(ttft.definition, "vllm:ttft");
        assert_eq!((doc.points[0].requests, doc.points[0].errors["unknown"]), (42, 2));
        assert!(doc.validity.valid, "{:?}", doc.validity);
        assert!(doc.validity.reasons.iter().any(|r| r.code == "imported"));
    }

    #[test]
    fn one_value_a_run_gets_an_interval_over_runs() {
        let sample = |trial, value| ImportedSample {
            point: 0,
            trial,
            metric: "output_throughput".to_owned(),
            values: vec![value],
        };
        let imported =
            Imported { samples: vec![sample(0, 10.0), sample(1, 12.0), sample(2, 14.0)], ..vllm() };
        let doc = document(imported, &[], 3);
        let i = doc.metrics["output_throughput"].mean.interval.unwrap();
        // 12 ± 4.302 65 × 2 / √3, as in `summary`.
        assert!((i.lo - 7.0317).abs() < 1e-3 && (i.hi - 16.9683).abs() < 1e-3, "{i:?}");
    }

    #[test]
    fn without_chunk_times_no_gap_is_made_up() {
        let requests = [ok_request(0, 0, &[50, 90])];
        let doc = document(Imported { gaps: false, ..vllm() }, &requests, 1);
        assert_eq!(doc.metrics["ttft"].mean.value, Some(0.05));
        for name in ["itl", "chunk_gap", "stalls", "longest_gap"] {
            assert_eq!(doc.metrics[name].mean.reason.as_deref(), Some(NO_CHUNKS), "{name}");
        }
    }

    #[test]
    fn the_machine_of_an_imported_run_is_not_ours() {
        let doc = document(vllm(), &[], 1);
        assert_eq!(doc.reasons["env.gpu"], NOT_TOLD);
    }
}

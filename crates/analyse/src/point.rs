//! Every metric of one point.

use std::collections::BTreeMap;

use stopwatt_core::engine::{PREFIX_CACHE_HITS_TOKENS, PREFIX_CACHE_QUERIES_TOKENS};
use stopwatt_core::metric::Per;
use stopwatt_core::metrics_doc::{self, Estimate, MetricSummary, Metrics, TrialValues};
use stopwatt_core::{Metric, RequestRow};
use stopwatt_stats::Sample;
use stopwatt_stats::quantile::{quantile, sort, supported};

use crate::engine_use::{engine_use, rise};
use crate::measured::{Point, Row, Trial};
use crate::power;
use crate::quality::of_items;
use crate::request::seconds;
use crate::settings::Settings;
use crate::summary::{Range, mean_of_trials, of_observations, of_trials, with_failures};

/// What the definition of a gap metric says where gaps were kept as histograms, see [`stopwatt_core::stream::gaps`]:
/// quantiles may be 0.05 % off; count, mean, standard deviation, minimum and maximum are exact.
const BINNED: &str = "; quantiles within 0.05 %";
const NO_WINDOW: &str = "no trial has a measuring window";
const NO_SUCCESS: &str = "no request ended well";
const NO_SLO: &str = "no objective was given (--slo)";
const NOT_OURS: &str = "only known for an engine that Stopwatt started";

/// The entry of a point in `metrics.json`.
pub(crate) fn document(point: &Point<'_>, settings: &Settings) -> metrics_doc::Point {
    let mut errors = BTreeMap::new();
    for row in point.rows().filter(|r| r.record.end.is_failure()) {
        *errors.entry(row.record.end.name().to_owned()).or_insert(0) += 1;
    }
    let asked = |of: fn(&RequestRow) -> u32| {
        let n = point.rows().count();
        (n > 0).then(|| point.rows().map(|r| f64::from(of(r.record))).sum::<f64>() / n as f64)
    };
    metrics_doc::Point {
        label: point.planned.label.clone(),
        concurrency: point.planned.concurrency,
        rate_rps: point.planned.rate_rps,
        input: asked(|r| r.input_asked),
        output: asked(|r| r.output_asked),
        engine_settings: point.planned.engine_settings.clone(),
        wall_s: point.trials.iter().map(|t| seconds(t.end_ns - t.start_ns)).sum(),
        requests: point.ended() as u64,
        errors,
        metrics: metrics(point, settings),
        engine: engine_use(point, settings),
        power: power::power_use(point),
        trials: trials(point, settings),
    }
}

fn metrics(point: &Point<'_>, settings: &Settings) -> Metrics {
    let mut known = Metrics::new();
    for &metric in Metric::ALL {
        let same = same_values(point, metric).and_then(|m| known.get(m.name()));
        let summary = match same.filter(|s| s.mean.value.is_some()) {
            Some(same) => relabel(same, metric),
            None => summary(point, metric, settings),
        };
        known.insert(metric.name().to_owned(), summary);
    }
    known
}

/// An earlier metric that has the same values at this point: there may be millions, so they are summarised once.
fn same_values(point: &Point<'_>, metric: Metric) -> Option<Metric> {
    let (gaps, trials) = point.gaps();
    let answers = |r: Row<'_>| r.record.stream.is_none_or(|s| s.first_answer_ns == Some(s.first_token_ns));
    match metric {
        Metric::ChunkGap if gaps.are_per_token(trials) => Some(Metric::Itl),
        Metric::TtftAnswer if point.rows().filter(Row::is_ok).all(answers) => Some(Metric::Ttft),
        Metric::E2eWithFailures if point.failed() == 0 => Some(Metric::E2e),
        _ => None,
    }
}

fn summary(point: &Point<'_>, metric: Metric, settings: &Settings) -> MetricSummary {
    match metric.info().per {
        Per::Request if metric == Metric::E2eWithFailures => {
            let e2e = per_request(point, Metric::E2e);
            with_failures(metric, &e2e, point.failed(), settings, NO_SUCCESS)
        }
        Per::Request => {
            let sample = Sample::of(&per_request(point, metric));
            of_observations(metric, &sample, settings, absent(point, metric))
        }
        Per::Gap => {
            let (gaps, trials) = point.gaps();
            let sample = gaps.sample(metric, trials);
            let mut s = of_observations(metric, &sample, settings, absent(point, metric));
            if gaps.are_binned() {
                s.definition.push_str(BINNED);
            }
            s
        }
        Per::Trial => per_trial(point, metric, settings),
    }
}

fn relabel(known: &MetricSummary, metric: Metric) -> MetricSummary {
    let info = metric.info();
    let binned = if known.definition.ends_with(BINNED) { BINNED } else { "" };
    MetricSummary {
        unit: info.unit.to_owned(),
        better: info.better,
        definition: format!("{}{binned}", info.definition),
        ..known.clone()
    }
}

fn per_request(point: &Point<'_>, metric: Metric) -> Vec<Vec<f64>> {
    point.trials.iter().map(|t| t.ok().filter_map(|r| r.values.value(metric)).collect()).collect()
}

/// Why no successful request has the value.
fn absent(point: &Point<'_>, metric: Metric) -> &'static str {
    if !point.rows().any(|r| r.is_ok()) {
        return NO_SUCCESS;
    }
    let any_chunk = point.rows().any(|r| r.record.stream.is_some());
    let any_gap = point.rows().any(|r| r.is_ok() && r.values.longest_gap.is_some());
    match metric {
        Metric::Connect => "every request used a connection that was already open",
        Metric::InputTokens => "the server sent no usage",
        Metric::OutputTokens => "neither the server's usage nor a tokenizer counted tokens",
        Metric::SendLag => "no request was dispatched",
        _ if !any_chunk && point.rows().all(|r| r.record.first_byte_ns.get().is_none()) => {
            "the target tells no token times"
        }
        _ if !any_chunk => "chunks were not recorded (--no-chunks)",
        Metric::TtftAnswer => "every token was reasoning",
        Metric::Tpot => "no request has two token chunks and a token count",
        Metric::Itl | Metric::ChunkGap | Metric::Stalls if any_gap => {
            "chunks were not recorded, and what summed them up is lost"
        }
        Metric::Itl | Metric::ChunkGap | Metric::Stalls | Metric::LongestGap => {
            "no request has two token chunks"
        }
        _ => "the stamps it needs are missing",
    }
}

fn per_trial(point: &Point<'_>, metric: Metric, settings: &Settings) -> MetricSummary {
    if metric == Metric::QualityLoss {
        let absent = || MetricSummary::unavailable(metric, "items are summed up by their mean");
        return match crate::quality::losses(point.quality) {
            Err(reason) => MetricSummary::unavailable(metric, &reason),
            Ok(losses) => MetricSummary { mean: of_items(&losses, Range::Share, settings), ..absent() },
        };
    }
    if let Some(Err(reason)) = power::values(point, metric) {
        return MetricSummary::unavailable(metric, &reason);
    }
    match values_per_trial(point, metric, settings) {
        Ok(values) => {
            let range = if metric.is_share() { Range::Share } else { Range::NotNegative };
            of_trials(metric, &values, range, settings, NO_WINDOW)
        }
        Err(_) if metric == Metric::Tlr => pooled_tail_ratio(point),
        Err(reason) => MetricSummary::unavailable(metric, reason),
    }
}

/// The value of each trial that has one, or why none has.
fn values_per_trial(
    point: &Point<'_>,
    metric: Metric,
    settings: &Settings,
) -> Result<Vec<f64>, &'static str> {
    let rate = |of: &dyn Fn(&Trial<'_>) -> f64| -> Vec<f64> {
        point.trials.iter().filter_map(|t| Some(of(t) / t.window_s()?)).collect()
    };
    let good = |r: &Row<'_>| settings.slos.iter().all(|s| s.met_by(&r.values));
    let some = |values: Vec<f64>, absent| if values.is_empty() { Err(absent) } else { Ok(values) };
    if let Some(Ok(values)) = power::values(point, metric) {
        return Ok(values);
    }
    match metric {
        Metric::Goodput | Metric::SloAttainment if settings.slos.is_empty() => Err(NO_SLO),
        Metric::Tlr => some(tail_ratios(point), NO_SUCCESS),
        Metric::Stalls => some(stalls(point, settings.stall_s), absent(point, metric)),
        Metric::LongestGap => some(longest_gaps(point), absent(point, metric)),
        Metric::OutputThroughput if !counts(point, Metric::OutputTokens) => {
            Err(absent(point, Metric::OutputTokens))
        }
        Metric::TotalThroughput
            if !counts(point, Metric::OutputTokens) || !counts(point, Metric::InputTokens) =>
        {
            Err("input or output tokens are not known for every request")
        }
        Metric::OutputThroughput => {
            some(rate(&|t| t.ok_in_window().filter_map(|r| r.values.output_tokens).sum()), NO_WINDOW)
        }
        Metric::TotalThroughput => {
            let tokens =
                |r: Row<'_>| r.values.output_tokens.unwrap_or(0.0) + r.values.input_tokens.unwrap_or(0.0);
            some(rate(&|t| t.ok_in_window().map(tokens).sum()), NO_WINDOW)
        }
        Metric::RequestThroughput => some(rate(&|t| t.ok_in_window().count() as f64), NO_WINDOW),
        Metric::Goodput => some(rate(&|t| t.ok_in_window().filter(good).count() as f64), NO_WINDOW),
        Metric::SloAttainment => some(of_ended(point, |t| t.ok().filter(good).count()), "no request ended"),
        Metric::ErrorRate => some(of_ended(point, |t| t.failed()), "no request ended"),
        Metric::KvHitRate => hit_rates(point),
        Metric::EngineCpu => {
            let cores = |t: &Trial<'_>| Some(t.end?.engine_cpu_s? / t.window_s()?);
            some(point.trials.iter().filter_map(cores).collect(), NOT_OURS)
        }
        Metric::EngineMemory => {
            let bytes = |t: &Trial<'_>| Some(t.end?.engine_rss_bytes? as f64);
            some(point.trials.iter().filter_map(bytes).collect(), NOT_OURS)
        }
        _ => Err("it has no value a trial"),
    }
}

/// What comparisons rest on: the statistics of each trial that has the metric.
fn trials(point: &Point<'_>, settings: &Settings) -> BTreeMap<String, TrialValues> {
    let (gaps, keys) = point.gaps();
    let values = |metric: Metric| match metric.info().per {
        // Its values are those of successful requests; failures would have to be infinite.
        Per::Request if metric == Metric::E2eWithFailures => TrialValues::default(),
        Per::Request => statistics(&Sample::of(&per_request(point, metric))),
        Per::Gap => statistics(&gaps.sample(metric, keys.clone())),
        Per::Trial => TrialValues {
            mean: values_per_trial(point, metric, settings)
                .unwrap_or_default()
                .into_iter()
                .map(Some)
                .collect(),
            ..TrialValues::default()
        },
    };
    let known = Metric::ALL.iter().map(|&m| (m.name().to_owned(), values(m)));
    known.filter(|(_, v)| !v.mean.is_empty()).collect()
}

fn statistics(sample: &Sample) -> TrialValues {
    let at = |p: f64| sample.quantiles_of_trials(p).map(|(n, q)| supported(n, p).then_some(q)).collect();
    TrialValues {
        mean: sample.means().into_iter().map(Some).collect(),
        p50: at(0.5),
        p95: at(0.95),
        p99: at(0.99),
    }
}

/// Gaps above the limit in each trial that has gaps.
fn stalls(point: &Point<'_>, limit_s: f64) -> Vec<f64> {
    let (gaps, trials) = point.gaps();
    let count = |trial| {
        let all = gaps.sample(Metric::ChunkGap, [trial]).ordered();
        (all.n() > 0).then(|| (all.n() - all.below(limit_s.next_up())) as f64)
    };
    trials.filter_map(count).collect()
}

/// The longest gap of each trial that has gaps.
fn longest_gaps(point: &Point<'_>) -> Vec<f64> {
    let longest = |t: &Trial<'_>| t.ok().filter_map(|r| r.values.longest_gap).reduce(f64::max);
    point.trials.iter().filter_map(longest).collect()
}

/// Output tokens and all tokens a second of the requests that met every objective.
pub(crate) fn good_tokens(point: &Point<'_>, settings: &Settings) -> (Estimate, Estimate) {
    let good = |r: &Row<'_>| settings.slos.iter().all(|s| s.met_by(&r.values));
    let rate = |of: &dyn Fn(&Row<'_>) -> f64, needed: &[Metric]| -> Estimate {
        if let Some(metric) = needed.iter().find(|m| !counts(point, **m)) {
            return Estimate::unavailable(absent(point, *metric));
        }
        let of_trial =
            |t: &Trial<'_>| Some(t.ok_in_window().filter(good).map(|r| of(&r)).sum::<f64>() / t.window_s()?);
        let rates: Vec<f64> = point.trials.iter().filter_map(of_trial).collect();
        mean_of_trials(&rates, Range::NotNegative, settings, NO_WINDOW)
    };
    let output = |r: &Row<'_>| r.values.output_tokens.unwrap_or(0.0);
    let total = |r: &Row<'_>| output(r) + r.values.input_tokens.unwrap_or(0.0);
    (rate(&output, &[Metric::OutputTokens]), rate(&total, &[Metric::OutputTokens, Metric::InputTokens]))
}

/// Whether every successful request has a count; a sum over some of them would be too small.
fn counts(point: &Point<'_>, metric: Metric) -> bool {
    point.rows().filter(|r| r.is_ok()).all(|r| r.values.value(metric).is_some())
}

/// A share of the ended requests of each trial that has any.
fn of_ended(point: &Point<'_>, part: impl Fn(&Trial<'_>) -> usize) -> Vec<f64> {
    let share = |t: &Trial<'_>| (t.ended() > 0).then(|| part(t) as f64 / t.ended() as f64);
    point.trials.iter().filter_map(share).collect()
}

/// p99/p50 of the end-to-end latency of each trial that supports a p99.
fn tail_ratios(point: &Point<'_>) -> Vec<f64> {
    per_request(point, Metric::E2e).into_iter().filter_map(tail_ratio).collect()
}

/// p99/p50; `None` where the sample supports no p99.
fn tail_ratio(mut values: Vec<f64>) -> Option<f64> {
    sort(&mut values);
    let ratio = quantile(&values, 0.99) / quantile(&values, 0.5);
    (supported(values.len(), 0.99) && ratio.is_finite()).then_some(ratio)
}

/// The ratio over all trials together, for trials too short for one each. It has no interval.
fn pooled_tail_ratio(point: &Point<'_>) -> MetricSummary {
    let mut summary = MetricSummary::unavailable(Metric::Tlr, "needs n >= 100 requests");
    let trials = point.trials.iter().filter(|t| t.ok().next().is_some()).count();
    let values: Vec<f64> = per_request(point, Metric::E2e).into_iter().flatten().collect();
    let n = values.len();
    if let Some(ratio) = tail_ratio(values) {
        summary.mean = Estimate {
            value: Some(ratio),
            n: n as u64,
            trials: trials as u64,
            interval: None,
            reason: Some("an interval needs trials of n >= 100 requests".to_owned()),
        };
    }
    summary
}

/// Prefix-cache hits per prompt token looked up: from the engine's counters, else from the usage of each request.
fn hit_rates(point: &Point<'_>) -> Result<Vec<f64>, &'static str> {
    let looked_up: Vec<((f64, u64), (f64, u64))> = point
        .trials
        .iter()
        .filter_map(|t| Some((rise(t, PREFIX_CACHE_HITS_TOKENS)?, rise(t, PREFIX_CACHE_QUERIES_TOKENS)?)))
        .collect();
    // A counter that fell was reset by a restart of the engine: its trial says nothing.
    let rates: Vec<f64> = looked_up
        .iter()
        .filter(|((_, fell), (queries, fell_too))| *queries > 0.0 && fell + fell_too == 0)
        .map(|((hits, _), (queries, _))| (hits / queries).min(1.0))
        .collect();
    if !rates.is_empty() {
        return Ok(rates);
    }
    let by_usage = |t: &Trial<'_>| {
        let counted = t.ok().filter_map(|r| Some((r.record.cached_usage?, r.record.input_usage?)));
        let (cached, input) = counted.fold((0.0, 0.0), |(c, i), (a, b)| (c + f64::from(a), i + f64::from(b)));
        (input > 0.0).then(|| (cached / input).min(1.0))
    };
    let rates: Vec<f64> = point.trials.iter().filter_map(by_usage).collect();
    match (rates.is_empty(), looked_up.is_empty()) {
        (false, _) => Ok(rates),
        (true, false) => Err("the engine looked nothing up in its prefix cache"),
        (true, true) => Err("the engine reports neither prefix-cache counters nor cached tokens"),
    }
}

//! What one replica carries, read from the record of a search.

use stopwatt_core::Metric;
use stopwatt_core::engine::{KV_USAGE, RUNNING, WAITING};
use stopwatt_core::metrics_doc::{Estimate, MetricsDoc, Point};
use stopwatt_core::search::FindKind;

use super::Source;

/// What replicas are added and removed by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// Requests in the engine's queue, for each replica.
    Waiting,
    /// Requests that the engine computes, for each replica.
    Running,
    /// 95th percentile of the time to the first token, in seconds, over all replicas.
    Ttft,
    /// Share of the KV cache in use, mean over replicas.
    Kv,
}

impl Signal {
    /// Name on the command line and in files.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Running => "running",
            Self::Ttft => "ttft",
            Self::Kv => "kv",
        }
    }

    /// Whether replicas share the value: a sum over them is divided by their number.
    pub const fn is_shared(self) -> bool {
        matches!(self, Self::Waiting | Self::Running)
    }

    /// The metric at the source.
    pub const fn metric(self, source: Source) -> &'static str {
        match (self, source) {
            (Self::Waiting, Source::Stopwatt) => "stopwatt_upstream_waiting",
            (Self::Running, Source::Stopwatt) => "stopwatt_upstream_running",
            (Self::Ttft, Source::Stopwatt) => "stopwatt_ttft_seconds_bucket",
            (Self::Kv, Source::Stopwatt) => "stopwatt_upstream_kv_usage_ratio",
            (Self::Waiting, Source::Vllm) => "vllm:num_requests_waiting",
            (Self::Running, Source::Vllm) => "vllm:num_requests_running",
            (Self::Ttft, Source::Vllm) => "vllm:time_to_first_token_seconds_bucket",
            (Self::Kv, Source::Vllm) => "vllm:kv_cache_usage_perc",
        }
    }

    fn at(self, point: &Point) -> Option<&Estimate> {
        let gauge = |key: &str| point.engine.gauges.get(key).map(|g| &g.mean);
        match self {
            Self::Waiting => gauge(WAITING),
            Self::Running => gauge(RUNNING),
            Self::Kv => gauge(KV_USAGE),
            Self::Ttft => point.metrics.get(Metric::Ttft.name()).map(|m| &m.p95),
        }
    }
}

/// A signal at the highest load whose objectives hold.
#[derive(Debug, Clone, PartialEq)]
pub struct Knee {
    /// The run.
    pub run_id: String,
    /// What is read.
    pub signal: Signal,
    /// Its value there, above zero, in the unit of the signal.
    pub value: f64,
    /// Where it comes from: load, objectives, interval, sample.
    pub from: Vec<String>,
    /// What makes it less sure than it looks.
    pub warnings: Vec<String>,
}

/// Why a run says nothing to scale by.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SignalsError {
    /// Not a search.
    #[error("the run {run_id} did not search for the highest load")]
    NoSearch {
        /// The run.
        run_id: String,
    },
    /// No load holds, or none fails.
    #[error("the run {run_id} did not find the edge: {reason}")]
    Unresolved {
        /// The run.
        run_id: String,
        /// What the search said.
        reason: String,
    },
    /// The signal was not read.
    #[error("the run {run_id} has no `{signal}` at its highest load: {reason}")]
    NoSignal {
        /// The run.
        run_id: String,
        /// The signal.
        signal: &'static str,
        /// Why.
        reason: String,
    },
    /// A threshold of zero would always be passed.
    #[error("`{signal}` is 0 at the highest load of the run {run_id}, which is no threshold")]
    Zero {
        /// The run.
        run_id: String,
        /// The signal.
        signal: &'static str,
    },
}

impl SignalsError {
    /// What to try.
    pub fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::NoSearch { .. } => {
                "make one with `stopwatt bench --url URL --find max-concurrency --slo …`"
            }
            Self::Unresolved { .. } => {
                "search on: a higher find.ceiling, more --requests, or objectives that some load holds and some fails"
            }
            Self::NoSignal { .. } => {
                "let the engine's metrics be read while it is measured (measure.scrape_s)"
            }
            Self::Zero { .. } => "nothing waits before the objectives fail: scale by --metric running",
        })
    }
}

impl Knee {
    /// Reads the signal where the search ended.
    ///
    /// # Errors
    /// No search, an edge that was not found, a signal that was not read or is zero.
    pub fn read(doc: &MetricsDoc, signal: Signal) -> Result<Self, SignalsError> {
        let run_id = doc.run_id.clone();
        let Some(search) = &doc.search else { return Err(SignalsError::NoSearch { run_id }) };
        let (Some(load), Some(edge)) = (search.found.value, search.found.interval) else {
            let reason = search.found.reason.clone().unwrap_or_else(|| "it does not say why".to_owned());
            return Err(SignalsError::Unresolved { run_id, reason });
        };
        // The second look at the load, with requests of its own, where there is one.
        let at_load = search.looks.iter().rev().find(|l| l.load == load);
        let point = at_load.and_then(|l| doc.points.get(l.point as usize));
        let estimate = point.and_then(|p| signal.at(p));
        let Some((estimate, value)) = estimate.and_then(|e| Some((e, e.value?))) else {
            let reason = estimate.and_then(|e| e.reason.clone());
            let reason = reason.unwrap_or_else(|| "it was not measured".to_owned());
            return Err(SignalsError::NoSignal { run_id, signal: signal.name(), reason });
        };
        if value <= 0.0 {
            return Err(SignalsError::Zero { run_id, signal: signal.name() });
        }
        let unit = match search.find {
            FindKind::MaxRate => "requests/s",
            FindKind::MaxConcurrency => "requests in flight",
        };
        let bounds = match (estimate.interval, &estimate.reason) {
            (Some(i), _) => {
                format!("[{}, {}] at {} %", number(i.lo), number(i.hi), number(i.level * 100.0))
            }
            (None, Some(reason)) => format!("no interval ({reason})"),
            (None, None) => "no interval".to_owned(),
        };
        let statistic = if signal == Signal::Ttft { "p95, seconds" } else { "mean" };
        let from = vec![
            format!(
                "run {run_id}: {} holds up to {} {unit} and fails at {}",
                search.objectives.join(", "),
                number(load),
                number(edge.hi)
            ),
            format!(
                "{} there ({statistic}): {} {bounds}, n = {}, {} trials",
                signal.name(),
                number(value),
                estimate.n,
                estimate.trials
            ),
        ];
        let mut warnings = Vec::new();
        if !search.confirmed {
            warnings.push(format!("the run {run_id} did not confirm its highest load by a second look"));
        }
        if !doc.validity.valid {
            warnings.push(format!("the run {run_id} is not valid: see its report"));
        }
        Ok(Self { run_id, signal, value, from, warnings })
    }
}

/// Four significant digits, without zeros at the end.
pub(super) fn number(value: f64) -> String {
    let rounded: f64 = format!("{value:.3e}").parse().unwrap_or(value);
    format!("{rounded}")
}

//! The shape of `metrics.json`.
//!
//! The keys of the measurement SOP stand literally at the top (`run_id`, `env`, `pipeline`, `latency_ms`, …);
//! every further number is an [`Estimate`] under `metrics` and `points`. Unavailable is `null` with a reason.
//!
//! The schema is strict where numbers stand, so that what is written is checked; reading is not, since a newer minor
//! version may add keys.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::cost::Cost;
use crate::engine::EngineUse;
use crate::engine_run::EngineRun;
use crate::log::ReadStamps;
use crate::metric::{Direction, Metric};
use crate::not_fixed::NotFixed;
use crate::power::PowerUse;
use crate::quality::QualitySummary;
use crate::search::Search;
use crate::verdict::Case;

/// What an interval means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum IntervalKind {
    /// Covers the true value in `level` of repetitions.
    Confidence,
    /// Covers the next observation in `level` of repetitions.
    Prediction,
    /// Bounds of the measuring instrument.
    Instrument,
}

/// An interval around an estimate.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Interval {
    /// What the interval means.
    pub kind: IntervalKind,
    /// Nominal coverage, for instance 0.95.
    pub level: f64,
    /// Lower bound.
    pub lo: f64,
    /// Upper bound.
    pub hi: f64,
}

/// A number that never travels without its sample size and interval.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Estimate {
    /// The value, in the unit of its metric; `None` when it is unavailable.
    pub value: Option<f64>,
    /// Observations behind it.
    pub n: u64,
    /// Independent trials behind it.
    pub trials: u64,
    /// `None` when it cannot be supported; `reason` says why.
    pub interval: Option<Interval>,
    /// Why the value or the interval is absent.
    pub reason: Option<String>,
}

impl Estimate {
    /// An estimate that could not be made.
    pub fn unavailable(reason: impl Into<String>) -> Self {
        Self { reason: Some(reason.into()), ..Self::default() }
    }
}

/// The statistics of one metric.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct MetricSummary {
    /// Unit of every value below.
    pub unit: String,
    /// Which direction is an improvement.
    pub better: Direction,
    /// Which definition was used, for instance `ttft_any/1`.
    pub definition: String,
    /// Arithmetic mean.
    pub mean: Estimate,
    /// Standard deviation between observations.
    pub std: Estimate,
    /// Smallest observation.
    pub min: Estimate,
    /// Largest observation.
    pub max: Estimate,
    /// Median.
    pub p50: Estimate,
    /// 95th percentile.
    pub p95: Estimate,
    /// 99th percentile.
    pub p99: Estimate,
    /// 99.9th percentile.
    #[serde(default)]
    #[schemars(required)]
    pub p999: Estimate,
}

impl MetricSummary {
    /// The named statistics, in reading order.
    pub fn statistics(&self) -> [(&'static str, &Estimate); 8] {
        [
            ("mean", &self.mean),
            ("std", &self.std),
            ("min", &self.min),
            ("max", &self.max),
            ("p50", &self.p50),
            ("p95", &self.p95),
            ("p99", &self.p99),
            ("p999", &self.p999),
        ]
    }

    /// One of the [`statistics`](Self::statistics) by its name.
    pub fn statistic_mut(&mut self, name: &str) -> Option<&mut Estimate> {
        Some(match name {
            "mean" => &mut self.mean,
            "std" => &mut self.std,
            "min" => &mut self.min,
            "max" => &mut self.max,
            "p50" => &mut self.p50,
            "p95" => &mut self.p95,
            "p99" => &mut self.p99,
            "p999" => &mut self.p999,
            _ => return None,
        })
    }

    /// A summary of a metric about which nothing is known.
    pub fn unavailable(metric: Metric, reason: &str) -> Self {
        let e = || Estimate::unavailable(reason);
        let i = metric.info();
        Self {
            unit: i.unit.to_owned(),
            better: i.better,
            definition: i.definition.to_owned(),
            mean: e(),
            std: e(),
            min: e(),
            max: e(),
            p50: e(),
            p95: e(),
            p99: e(),
            p999: e(),
        }
    }
}

/// Metrics by name, see [`Metric`].
pub type Metrics = BTreeMap<String, MetricSummary>;

/// The environment in the SOP's words.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
pub struct Env {
    /// GPU name; `None` without one.
    pub gpu: Option<String>,
    /// GPU driver version.
    pub driver: Option<String>,
    /// Whether clocks were fixed; `None` when nothing could tell.
    pub fixed_clock: Option<bool>,
    /// Seed of the workload.
    pub seed: u64,
    /// Hash over what two runs must share to be comparable.
    pub hash: String,
    /// What could not be held fixed, with the reason; empty also when nothing tells.
    #[serde(default)]
    pub not_fixed: Vec<NotFixed>,
}

/// The procedure in the SOP's words.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
pub struct Pipeline {
    /// What was run, for instance `bench:sweep`.
    pub mode: String,
    /// Iterations (requests) measured in all.
    pub repeats: u64,
    /// Iterations spent on warm-up.
    pub warmup: u64,
}

/// Mean and percentiles of the end-to-end latency, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
pub struct LatencyMs {
    /// Mean.
    pub mean: Option<f64>,
    /// Median.
    pub p50: Option<f64>,
    /// 95th percentile.
    pub p95: Option<f64>,
}

/// One setting of a sweep.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Point {
    /// Name for people, for instance `c=8 in=512 out=128`.
    pub label: String,
    /// Requests kept in flight; `None` in an open loop.
    pub concurrency: Option<u32>,
    /// Planned request rate; `None` in a closed loop.
    pub rate_rps: Option<f64>,
    /// Input tokens asked for, mean over the point's requests.
    pub input: Option<f64>,
    /// Output tokens asked for, mean over the point's requests.
    pub output: Option<f64>,
    /// Settings of the engine, where it was started with several.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub engine_settings: BTreeMap<String, String>,
    /// Measured time, summed over trials.
    pub wall_s: f64,
    /// Requests that ended inside trials, failures included.
    pub requests: u64,
    /// Failures by kind.
    pub errors: BTreeMap<String, u64>,
    /// Metrics of this point.
    pub metrics: Metrics,
    /// What the engine said of itself meanwhile.
    #[serde(default)]
    pub engine: EngineUse,
    /// What the sensors said meanwhile.
    #[serde(default)]
    pub power: PowerUse,
    /// The value of each trial, by metric: what comparisons rest on.
    #[serde(default)]
    pub trials: BTreeMap<String, TrialValues>,
}

/// Statistics of a metric in each trial, in order of the trials; `None` where a trial does not support one.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct TrialValues {
    /// Arithmetic mean; of a metric with one value a trial, that value.
    pub mean: Vec<Option<f64>>,
    /// Median; empty for a metric with one value a trial, like those below.
    pub p50: Vec<Option<f64>>,
    /// 95th percentile.
    pub p95: Vec<Option<f64>>,
    /// 99th percentile.
    pub p99: Vec<Option<f64>>,
}

/// How fast the engine completes requests when it never lacks work: where open-loop load begins to queue.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Capacity {
    /// Requests kept in flight.
    pub concurrency: u32,
    /// Completed requests per second, without the ramp at the begin and the drain at the end.
    pub rate_rps: f64,
    /// Completions that the rate rests on. They come from one stretch of load, so there is no interval.
    pub requests: u64,
}

/// The point with the highest goodput among those whose objectives hold.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Best {
    /// Index in `points`; `None` when the objectives hold at none.
    pub point: Option<u64>,
    /// Whether the objectives hold there with the confidence of the intervals, not only by the estimates.
    pub confident: bool,
    /// Why there is none, or why it is not confident.
    pub reason: Option<String>,
}

/// What the load client itself used.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
pub struct ClientUse {
    /// CPU seconds of the client while streaming.
    pub cpu_s: Option<f64>,
    /// Peak resident memory of the client.
    pub rss_bytes: Option<u64>,
    /// Largest share of a core in a trial. The client reads on one thread: 1 is the end.
    #[serde(default)]
    pub cores: Option<f64>,
    /// CPU seconds for a million events.
    #[serde(default)]
    pub cpu_s_per_million_events: Option<f64>,
    /// Largest share, in a trial, of what the client can do on this machine; `None` without a calibration.
    #[serde(default)]
    pub ceiling_share: Option<f64>,
    /// How what it read was stamped, and how late it was itself.
    #[serde(default)]
    pub reads: Option<ReadStamps>,
}

/// Whether the run can be trusted, and why not.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
pub struct Validity {
    /// `false` when any reason makes the numbers unusable for a gate.
    pub valid: bool,
    /// What makes the run invalid, and warnings that do not.
    pub reasons: Vec<ValidityReason>,
}

/// One finding of the validity check.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ValidityReason {
    /// Stable name, for instance `no_steady_state`.
    pub code: String,
    /// Whether it alone makes the run invalid.
    pub fatal: bool,
    /// The evidence, for people.
    pub detail: String,
    /// What to do about it; `None` for a code that the catalogue does not know.
    #[serde(default)]
    pub hint: Option<String>,
    /// Where it was found and with which figures, the first few.
    #[serde(default)]
    pub cases: Vec<Case>,
    /// How often it was found beyond those.
    #[serde(default)]
    pub more: u64,
}

/// `metrics.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct MetricsDoc {
    /// `MAJOR.MINOR` of the run format.
    pub format: String,
    /// Identifier of the run.
    pub run_id: String,
    /// `complete` or `incomplete`.
    pub status: RunStatus,
    /// Environment.
    pub env: Env,
    /// Procedure.
    pub pipeline: Pipeline,
    /// End-to-end latency of the headline point.
    pub latency_ms: LatencyMs,
    /// Output tokens per second of the headline point.
    pub throughput_toks_s: Option<f64>,
    /// L2 hit rate in percent.
    pub l2_hit_pct: Option<f64>,
    /// Energy per output token.
    pub ept_j_per_tok: Option<f64>,
    /// Quality change against a baseline.
    pub quality_delta_pct: Option<f64>,
    /// Why a key above is `null`, by key.
    pub reasons: BTreeMap<String, String>,
    /// Metrics of the headline point.
    pub metrics: Metrics,
    /// Values of the target's own, by name: the mean over trials of each trial's mean. `n` counts iterations.
    #[serde(default)]
    pub custom: BTreeMap<String, Estimate>,
    /// Index in `points` of the headline point: the only one, else the one with the highest output throughput.
    pub headline_point: Option<u64>,
    /// Every point that was measured.
    pub points: Vec<Point>,
    /// What the engine completes at most; `None` when the scenario did not need to know.
    #[serde(default)]
    pub capacity: Option<Capacity>,
    /// Engines that were started for the measurement, in order.
    #[serde(default)]
    pub engines: Vec<EngineRun>,
    /// The best point under the objectives; `None` without objectives or with a single point.
    #[serde(default)]
    pub best: Option<Best>,
    /// What a search over load found; `None` when none was asked for.
    #[serde(default)]
    pub search: Option<Search>,
    /// Cost of the load client.
    pub client: ClientUse,
    /// The run that this one repeats; `None` unless `stopwatt reproduce` made it.
    #[serde(default)]
    pub reproduces: Option<String>,
    /// How good the outputs are; `None` where that was not asked for, or could not be found out.
    #[serde(default)]
    pub quality: Option<QualitySummary>,
    /// What tokens cost; `None` without a price.
    #[serde(default)]
    pub cost: Option<Cost>,
    /// Verdict on the run itself.
    pub validity: Validity,
}

/// Whether a run came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RunStatus {
    /// Everything planned was measured.
    Complete,
    /// Interrupted, killed or out of disk; what was measured is there.
    Incomplete,
}

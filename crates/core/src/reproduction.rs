//! The shape of what `reproduce` says: a run measured again, and whether its numbers came out again.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Whether a number came out again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Reproduced {
    /// The change lies within the margin, with confidence.
    Reproduced,
    /// The whole interval of the change lies outside the margin.
    NotReproduced,
    /// The trials support neither; a reason says why.
    Inconclusive,
}

/// A metric that is judged, in the original and now.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ReproducedMetric {
    /// Label of the point in the original; `None` where there are none.
    pub point: Option<String>,
    /// Name of the metric.
    pub metric: String,
    /// Which statistic of each trial: `mean`, `p50`, `p95` or `p99`.
    pub statistic: String,
    /// Unit of `original` and `now`.
    pub unit: String,
    /// Mean over the original's trials.
    pub original: Option<f64>,
    /// Mean over the trials of the repetition.
    pub now: Option<f64>,
    /// Whether `delta` and `interval` are a difference in the unit (shares) instead of relative to the original.
    pub absolute: bool,
    /// Now against the original: 0.02 is 2 % more.
    pub delta: Option<f64>,
    /// Interval of `delta` at the level of the document.
    pub interval: Option<[f64; 2]>,
    /// Trials with a value, of the original and now.
    pub trials: [u64; 2],
    /// The judgement.
    pub verdict: Reproduced,
    /// Why it is not clear.
    pub reason: Option<String>,
}

/// A field that differs between the original and now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FieldDifference {
    /// Dotted name of the field.
    pub field: String,
    /// In the original; `None` when it was not known.
    pub original: Option<String>,
    /// Now; `None` when it is not known.
    pub now: Option<String>,
    /// Whether two runs must agree in it to be compared: it is part of `env.hash`.
    pub binding: bool,
}

/// Everything that a reproduction says: `reproduction.json` of the new run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ReproductionDoc {
    /// `MAJOR.MINOR` of the run format.
    pub format: String,
    /// Identifier of the original run.
    pub reproduces: String,
    /// Identifier of the new run.
    pub run_id: String,
    /// All metrics together.
    pub verdict: Reproduced,
    /// Why it is not reproduced, or not clear, beside the metrics.
    pub reasons: Vec<String>,
    /// Relative change that does not matter; for shares the same number of percentage points.
    pub margin: f64,
    /// Level of every interval.
    pub level: f64,
    /// Every judged metric that either run has.
    pub metrics: Vec<ReproducedMetric>,
    /// Every field of the fingerprint that differs.
    pub environment: Vec<FieldDifference>,
    /// Every setting that differs, as locked; nothing but what was given anew.
    pub settings: Vec<FieldDifference>,
}

//! What a run that another tool measured brings along, beside its request rows.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Everything that is known of an imported run and is not a request row.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
pub struct Imported {
    /// The tool that measured, for instance `vllm`.
    pub tool: String,
    /// Its version, when the file tells.
    pub version: Option<String>,
    /// SHA-256 of the file, in hexadecimal.
    pub sha256: String,
    /// When it was measured, as the file says it.
    pub measured: Option<String>,
    /// Whether the rows hold the time of every chunk; else gaps between tokens cannot be made from them.
    pub gaps: bool,
    /// The tool's name of the definition behind a metric, for instance `vllm:ttft`, by our metric.
    pub definitions: BTreeMap<String, String>,
    /// Requests of points that have no rows.
    pub counts: Vec<ImportedCount>,
    /// Statistics that the file holds instead of the values behind them.
    pub aggregates: Vec<ImportedAggregate>,
    /// Values that belong to no request.
    pub samples: Vec<ImportedSample>,
}

/// Requests of a point.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ImportedCount {
    /// Index of the point.
    pub point: u32,
    /// Requests that ended well.
    pub completed: u64,
    /// Requests that failed.
    pub failed: u64,
}

/// A statistic of a metric.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ImportedAggregate {
    /// Index of the point.
    pub point: u32,
    /// Our metric.
    pub metric: String,
    /// `mean`, `std`, `min`, `max`, `p50`, `p95`, `p99` or `p999`.
    pub statistic: String,
    /// Its value, in the unit of the metric.
    pub value: f64,
    /// Observations behind it.
    pub n: u64,
}

/// Values of a metric in one trial.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ImportedSample {
    /// Index of the point.
    pub point: u32,
    /// Index of the trial.
    pub trial: u32,
    /// Our metric.
    pub metric: String,
    /// Its values, in the unit of the metric.
    pub values: Vec<f64>,
}

//! What analysis must know besides the record; kept in the locked configuration of a run.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::slo::Slo;

/// Settings of the analysis. The same settings and record give the same document, byte for byte.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// What was run, for instance `bench:sweep`.
    pub mode: String,
    /// Seed of the workload, and of resampling.
    pub seed: u64,
    /// Coverage of every interval.
    pub level: f64,
    /// Resamples of a bootstrap interval.
    pub resamples: u32,
    /// A gap between token chunks above this many seconds is a stall.
    pub stall_s: f64,
    /// Thresholds of a good request; without any, goodput is unavailable.
    pub slos: Vec<Slo>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            mode: "bench".to_owned(),
            seed: 0,
            level: 0.95,
            resamples: 1000,
            stall_s: 1.0,
            slos: Vec::new(),
        }
    }
}

//! What analysis must know besides the record; kept in the locked configuration of a run.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use stopwatt_serving::price::Price;

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
    /// What was declared of the engine's prefix cache; `None` counts as cold and is not missed where it cannot be
    /// checked.
    pub cache: Option<CacheState>,
    /// Tokens that requests are meant to have; those outside are told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_ranges: Option<TokenRanges>,
    /// What the machine costs; without it there is no cost.
    pub cost: Option<CostSettings>,
    /// The run that this one repeats.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reproduces: Option<String>,
}

/// What an engine's prefix cache holds before a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum CacheState {
    /// Nothing of the run's prompts; what they share with each other on purpose may be found.
    #[default]
    Cold,
    /// The run's prompts.
    Warm,
    /// Anything.
    Any,
}

/// Least and most tokens of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenRanges {
    /// Of its prompt.
    pub input: [u32; 2],
    /// Of its answer.
    pub output: [u32; 2],
}

/// What the machine costs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CostSettings {
    /// The offer.
    pub price: Price,
    /// Other offers of the same accelerators.
    pub others: Vec<Price>,
    /// Share of time in which the machine is in use, above 0 and up to 1.
    pub utilisation: Option<f64>,
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
            cache: None,
            token_ranges: None,
            cost: None,
            reproduces: None,
        }
    }
}

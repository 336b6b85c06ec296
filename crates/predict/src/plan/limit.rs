//! What a service must keep to.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::simulate::{Statistic, Summary};

/// A latency.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Latency {
    /// To the first token.
    Ttft,
    /// Per token after the first.
    Tpot,
    /// Gaps between tokens.
    Itl,
    /// To the last token.
    E2e,
}

/// What of its values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Which {
    /// Arithmetic mean.
    Mean,
    /// Median.
    P50,
    /// 95th percentile.
    P95,
    /// 99th percentile.
    P99,
}

/// Most seconds that a statistic of a latency may be.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Limit {
    /// Which latency.
    pub latency: Latency,
    /// What of it.
    pub which: Which,
    /// Seconds.
    pub seconds: f64,
}

impl std::fmt::Display for Limit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let latency = match self.latency {
            Latency::Ttft => "TTFT",
            Latency::Tpot => "TPOT",
            Latency::Itl => "ITL",
            Latency::E2e => "E2E",
        };
        let which = match self.which {
            Which::Mean => "mean",
            Which::P50 => "p50",
            Which::P95 => "p95",
            Which::P99 => "p99",
        };
        write!(f, "{which} {latency} < {} ms", self.seconds * 1e3)
    }
}

impl Limit {
    /// The value that is limited; 0 where requests have one token and so no time after it.
    #[must_use]
    pub fn value(&self, summary: &Summary) -> f64 {
        let statistic: Option<Statistic> = match self.latency {
            Latency::Ttft => Some(summary.ttft),
            Latency::Tpot => summary.tpot,
            Latency::Itl => summary.itl,
            Latency::E2e => Some(summary.e2e),
        };
        statistic.map_or(0.0, |s| match self.which {
            Which::Mean => s.mean,
            Which::P50 => s.p50,
            Which::P95 => s.p95,
            Which::P99 => s.p99,
        })
    }
}

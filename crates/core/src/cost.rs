//! What a run cost, as `metrics.json` says it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::metrics_doc::Estimate;

/// What tokens cost at the price that was given. Money is in the currency of the price.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Cost {
    /// The price.
    pub price: PriceUsed,
    /// Share of time in which the machine is in use, as it was given.
    pub utilisation: Option<f64>,
    /// Where most requests met every objective; only their tokens count.
    pub peak_goodput: CostAt,
    /// At the headline point, all tokens of successful requests.
    pub measured: CostAt,
    /// At peak goodput, else as measured, with the time in which the machine waits for work.
    pub idle_inclusive: CostAt,
    /// As measured, point by point.
    pub points: Vec<CostAt>,
    /// Other offers of the same accelerators, at the measured load.
    pub alternatives: Vec<Alternative>,
}

/// The price of the machine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct PriceUsed {
    /// Name in the price table.
    pub id: String,
    /// Who sells it.
    pub provider: String,
    /// Name of the accelerator.
    pub accelerator: String,
    /// Accelerators in the offer.
    pub count: u32,
    /// `on-demand`, `spot`, `reserved` or `owned`.
    pub kind: String,
    /// Currency.
    pub currency: String,
    /// Cost of an hour of the whole offer.
    pub per_hour: f64,
    /// Day the price was read.
    pub date: String,
    /// Where it was read.
    pub source: String,
    /// Days between that day and the run; `None` when the run does not say when it was.
    pub age_days: Option<i64>,
}

/// Cost at one load.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct CostAt {
    /// Label of the point; `None` when there is none.
    pub label: Option<String>,
    /// Requests kept in flight; `None` in an open loop.
    pub concurrency: Option<u32>,
    /// Output tokens a second that the cost is divided by.
    pub output_tokens_s: Estimate,
    /// A million output tokens.
    pub output_per_1m: Estimate,
    /// A million tokens, input and output.
    pub total_per_1m: Estimate,
    /// Tokens a second that one user sees: 1 / TPOT.
    pub interactivity: Estimate,
    /// An hour of the machine for each request kept in flight.
    pub per_stream_hour: Option<f64>,
    /// Share of time in which the GPU was busy.
    pub gpu_utilisation: Estimate,
}

/// Another offer of the same accelerators.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Alternative {
    /// Name in the price table.
    pub id: String,
    /// `on-demand`, `spot`, `reserved` or `owned`.
    pub kind: String,
    /// Cost of an hour of the whole offer.
    pub per_hour: f64,
    /// That cost over the chosen one's.
    pub ratio: f64,
    /// A million output tokens at the measured load.
    pub output_per_1m: Estimate,
}

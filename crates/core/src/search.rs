//! What a search over load saw and found: lines of `run.log`, and the block `search` of `metrics.json`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::metrics_doc::Estimate;

/// What is searched for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum FindKind {
    /// The highest request rate whose objectives hold, in requests per second.
    MaxRate,
    /// The largest number of requests in flight whose objectives hold.
    MaxConcurrency,
}

impl FindKind {
    /// Name in files and on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::MaxRate => "max-rate",
            Self::MaxConcurrency => "max-concurrency",
        }
    }
}

/// Whether something holds, with the confidence asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It does.
    Holds,
    /// It does not.
    Fails,
    /// The sample does not tell.
    Unclear,
}

/// One look at one load.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct SearchLook {
    /// Index of the point whose trials it rests on.
    pub point: u32,
    /// Requests per second, or requests in flight.
    pub load: f64,
    /// Whether the load was looked at before; the verdict rests on new trials alone.
    pub again: bool,
    /// Trials that it rests on.
    pub trials: u64,
    /// Requests in them.
    pub requests: u64,
    /// What it says of the load.
    pub verdict: Verdict,
    /// What decided, where it was not an objective: `queue` or `failures`.
    pub veto: Option<String>,
    /// Every objective.
    pub objectives: Vec<ObjectiveLook>,
    /// Requests that stay behind for each one that arrives; `None` in a closed loop, or where it could not be tested.
    pub queue_growth: Option<f64>,
}

/// One objective at one load.
///
/// A percentile is judged by the share of values beyond its limit: `p99 < 500 ms` holds when it is certain that at
/// most 1 % are later. A failed request is beyond every limit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct ObjectiveLook {
    /// For instance `p99 ttft < 0.5s`.
    pub objective: String,
    /// The statistic; `None` where it falls on a failed request or nothing was measured.
    pub value: Option<f64>,
    /// What was tested: the share beyond the limit, or the mean.
    pub tested: Option<f64>,
    /// Lower bound of what was tested.
    pub lo: Option<f64>,
    /// Upper bound of what was tested.
    pub hi: Option<f64>,
    /// What it may be at most.
    pub allowed: f64,
    /// Whether it holds.
    pub verdict: Verdict,
}

/// What a search found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Search {
    /// What was searched for.
    pub find: FindKind,
    /// What had to hold.
    pub objectives: Vec<String>,
    /// The highest load shown to hold; its interval reaches to the lowest load shown to fail.
    pub found: Estimate,
    /// Whether a second look at `found`, with requests of its own, said the same.
    pub confirmed: bool,
    /// Loads between the bounds about which the budget did not tell.
    pub unresolved: Vec<f64>,
    /// Why the search ended before nothing was left to find out.
    pub stopped: Option<String>,
    /// Where throughput divided by mean latency is largest: beyond it, load buys more waiting than work (Kleinrock's
    /// power, ICC 1979). Its interval are the neighbouring loads that were measured.
    pub knee: Estimate,
    /// Every look, in order.
    pub looks: Vec<SearchLook>,
}

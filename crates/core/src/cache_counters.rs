//! The shape of `ncu.json`: what the caches and the memory of a GPU did, per kernel, and who says so.
//!
//! Only the types; `sensor` fills them. A document exists only when something was measured: there is no empty one.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where the counters come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum CounterSource {
    /// The `ncu` program of Nsight Compute.
    Ncu,
    /// The range profiler of CUPTI, in a process of Stopwatt.
    CuptiRange,
}

/// What happens to the caches before a kernel is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum CacheControl {
    /// Nothing: the state that the kernels before left. A replay sees what its own pass before left.
    #[default]
    None,
    /// Flushed before each pass: a cold cache.
    All,
}

/// How the work is repeated when the counters do not fit one pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ReplayMode {
    /// Each kernel again and again, its memory restored in between.
    #[default]
    Kernel,
    /// The whole program again and again.
    Application,
    /// A marked range of calls again and again.
    Range,
    /// The whole program again and again, counters over a marked range.
    AppRange,
    /// The caller repeats the work (CUPTI).
    User,
}

/// One quantity over all runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CounterValue {
    /// Name of the counter as the tool knows it; for ratios of sums, of the ratio's own counter.
    pub counter: String,
    /// Unit: `%`, `byte`, `sector`, `ns`.
    pub unit: String,
    /// Mean over the runs.
    pub mean: f64,
    /// Standard deviation over the runs; `null` with a single run.
    pub sd: Option<f64>,
    /// Runs that have it.
    pub runs: u32,
}

/// Counters of all launches of one kernel.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct KernelCounters {
    /// Name of the kernel.
    pub name: String,
    /// Launches in a run; the mean when runs differ.
    pub launches: f64,
    /// Values by quantity, for instance `l2_hit_pct`; sums over the launches of a run, ratios by sums.
    pub metrics: BTreeMap<String, CounterValue>,
}

/// What `ncu.json` holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct NcuDocument {
    /// Version of this shape.
    pub version: u32,
    /// Where the counters come from.
    pub source: CounterSource,
    /// Version of the tool as it names itself.
    pub tool: String,
    /// Name of the program that was profiled, without its path and arguments.
    pub program: String,
    /// Compute capability of the GPU, for instance `9.0`; `null` when not known.
    pub compute_capability: Option<String>,
    /// What happened to the caches before each kernel.
    pub cache_control: CacheControl,
    /// How the work was repeated.
    pub replay_mode: ReplayMode,
    /// Whether the tool locked the clocks: times are then not comparable with other measurements.
    pub clocks_locked: bool,
    /// Independent runs.
    pub runs: u32,
    /// By kernel, most time first where times are known.
    pub kernels: Vec<KernelCounters>,
    /// Over all kernels: sums, and ratios of sums.
    pub totals: BTreeMap<String, CounterValue>,
    /// Counters that the GPU or the tool does not have, with the reason.
    pub missing: BTreeMap<String, String>,
}

/// Version of [`NcuDocument`].
pub const NCU_VERSION: u32 = 1;

impl NcuDocument {
    /// L2 hit rate over all kernels, in per cent.
    pub fn l2_hit_pct(&self) -> Option<&CounterValue> {
        self.totals.get("l2_hit_pct")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_are_the_tools_own() {
        assert_eq!(serde_json::to_value(CounterSource::CuptiRange).unwrap(), "cupti-range");
        assert_eq!(serde_json::to_value(ReplayMode::AppRange).unwrap(), "app-range");
        assert_eq!(serde_json::to_value(CacheControl::None).unwrap(), "none");
    }
}

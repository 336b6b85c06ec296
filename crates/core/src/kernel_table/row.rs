//! One row of a kernel table: an operator, how it was run, and what it took.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Op;

/// Whose code computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Provider {
    /// Libraries and kernels that Stopwatt calls itself.
    Native,
    /// PyTorch, through the user's own Python.
    Torch,
    /// A table that somebody else measured.
    Imported,
}

/// What the caches hold when a call starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CacheState {
    /// Operands rotate through more memory than the last cache holds.
    Cold,
    /// The same operands every time.
    Warm,
}

/// How calls were issued.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Launch {
    /// One by one.
    Eager,
    /// Several as one graph.
    Graph,
}

/// Time of one call over the samples that were kept, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Sampled {
    /// Samples kept, over all rounds.
    pub n: u32,
    /// Calls in each sample; their time was divided by it.
    pub calls: u32,
    /// Samples discarded because the device was throttled or slow in clock.
    pub discarded: u32,
    /// Median of the rounds' medians.
    pub median_s: f64,
    /// Median of the absolute deviations from the median within a round.
    pub mad_s: f64,
    /// Arithmetic mean.
    pub mean_s: f64,
    /// Lower end of the 95 % interval of the median: over rounds where there are several, else over the samples of the
    /// one; `None` when the sample is too small for one.
    pub lo_s: Option<f64>,
    /// Upper end.
    pub hi_s: Option<f64>,
    /// The stop rule was met before the time limit, in every round.
    pub settled: bool,
    /// Rounds: times at which it was set up anew and sampled, with others measured in between.
    #[serde(default = "one")]
    pub rounds: u32,
    /// Standard deviation of the rounds' medians, relative to the median; `None` with one round.
    #[serde(default)]
    pub between: Option<f64>,
}

const fn one() -> u32 {
    1
}

/// Clocks and power while sampling; `None` where nothing reads them.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
pub struct Clocks {
    /// Compute clock, in MHz.
    pub sm_mhz: Option<f64>,
    /// Memory clock, in MHz.
    pub mem_mhz: Option<f64>,
    /// Power, in watts.
    pub power_w: Option<f64>,
    /// The power limit held the clock down.
    #[serde(default)]
    pub power_limited: Option<bool>,
}

/// What became of an operator that was asked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", tag = "outcome")]
pub enum Outcome {
    /// It ran, its result was right, and it was timed.
    Measured {
        /// The times.
        time: Sampled,
        /// Largest deviation from the double-precision result, relative to what the format allows (1 = the limit).
        deviation: f64,
    },
    /// It was not timed.
    Skipped {
        /// Why: out of memory, not supported by the device or library, a wrong result.
        reason: String,
    },
}

/// One row.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct KernelRow {
    /// What was run.
    pub op: Op,
    /// Whose code.
    pub provider: Provider,
    /// Name of the kernel or of the library's algorithm; `None` when it cannot be told.
    pub kernel: Option<String>,
    /// Blocks of the launch, all dimensions multiplied; `None` when it cannot be told or does not apply.
    pub grid: Option<u32>,
    /// Threads a block; threads in all on a CPU.
    pub block: Option<u32>,
    /// How calls were issued.
    pub launch: Launch,
    /// What the caches held.
    pub cache: CacheState,
    /// Clocks and power.
    pub clocks: Clocks,
    /// What came of it.
    pub outcome: Outcome,
    /// Why its rounds do not agree, for people; `None` where they do.
    #[serde(default)]
    pub unsteady: Option<String>,
}

/// A kernel table as a document: `--format json` of `stopwatt profile`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct KernelTable {
    /// Version of Stopwatt that measured it.
    pub stopwatt: String,
    /// Name of the run; `None` outside one.
    pub run_id: Option<String>,
    /// The rows, in the order in which they were measured.
    pub rows: Vec<KernelRow>,
}

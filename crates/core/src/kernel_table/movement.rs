//! What moved between two kernel tables: the same kernels, measured on two occasions.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{CacheState, Launch, Op};

/// Two kernel tables row by row: `--format json` of `stopwatt compare` for profiles.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct KernelMovement {
    /// Version of Stopwatt that compared them.
    pub stopwatt: String,
    /// Name of the first table.
    pub baseline: String,
    /// Name of the second one.
    pub candidate: String,
    /// Movement that does not matter, relative: the claim is that points move by less.
    pub within: f64,
    /// Kernels that take less than this in the first table are left out of the counts, in seconds.
    pub above_s: f64,
    /// Rows measured in both tables.
    pub rows: Vec<MovedRow>,
    /// Rows measured in the first table only.
    pub baseline_only: u64,
    /// Rows measured in the second table only.
    pub candidate_only: u64,
    /// The counts.
    pub points: MovedPoints,
}

/// Counts over the rows that take long enough.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
pub struct MovedPoints {
    /// How many they are.
    pub all: u64,
    /// Of these: moved by less than `within`.
    pub within: u64,
    /// Moved by more, and their intervals say that this may be chance or that they are not known so well.
    pub admitted: u64,
    /// Moved by more although their intervals exclude it.
    pub denied: u64,
    /// Rows that are marked as unsteady in either table.
    pub unsteady: u64,
    /// Rows that ran another kernel in the second table.
    pub other_kernel: u64,
    /// Median of the absolute movement, relative; `None` without rows.
    pub median: Option<f64>,
    /// 90th percentile of it.
    pub p90: Option<f64>,
    /// The largest.
    pub largest: Option<f64>,
}

/// A row of both tables.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct MovedRow {
    /// What was run.
    pub op: Op,
    /// How calls were issued.
    pub launch: Launch,
    /// What the caches held.
    pub cache: CacheState,
    /// Threads of a CPU.
    pub threads: Option<u32>,
    /// Median in the first table, in seconds.
    pub baseline_s: f64,
    /// Median in the second one.
    pub candidate_s: f64,
    /// Movement relative to the first.
    pub moved: f64,
    /// Lower end of its 95 % interval; `None` where either table has no interval.
    pub lo: Option<f64>,
    /// Upper end.
    pub hi: Option<f64>,
    /// What came of it.
    pub verdict: Moved,
    /// Why the rounds of either table do not agree.
    pub unsteady: Option<String>,
    /// Both tables ran the same kernel; `None` where one does not tell.
    pub same_kernel: Option<bool>,
}

/// Whether a row moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Moved {
    /// By less than what matters.
    Within,
    /// By more, which its interval admits.
    Admitted,
    /// By more, which its interval excludes or nothing tells about.
    Denied,
    /// It takes too little time to be counted.
    Short,
}

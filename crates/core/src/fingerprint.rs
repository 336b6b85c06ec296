//! What the machine and the software were when a run was made.
//!
//! Only the types; `sensor` fills them. No host names, users or paths.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::gpu::GpuFacts;
use crate::software::{MachineState, Software};

/// The environment of a run. `None` means it could not be read.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
pub struct Fingerprint {
    /// Version of Stopwatt.
    pub stopwatt: String,
    /// Operating system and kernel release.
    pub os: Option<String>,
    /// CPU model.
    pub cpu: Option<String>,
    /// CPUs this process may use.
    pub cpus: Option<u32>,
    /// Instruction sets that matter to the operators, for instance `avx2 avx512f`.
    pub cpu_features: Vec<String>,
    /// Memory of the machine.
    pub memory_bytes: Option<u64>,
    /// GPU names, one each.
    pub gpus: Vec<String>,
    /// What each of them is and how it is set.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gpu_facts: Vec<GpuFacts>,
    /// GPU driver.
    pub driver: Option<String>,
    /// Whether clocks are fixed; `None` when nothing can tell.
    pub fixed_clock: Option<bool>,
    /// What the engine said of itself: model, version, limits.
    pub engine: BTreeMap<String, String>,
    /// Source, programs, packages and libraries; `None` in records of before they were looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub software: Option<Software>,
    /// How the machine was set, and what else it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<MachineState>,
    /// Model and data set by hash or revision, and what else was declared of the input: batch, lengths, padding, KV cache.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub inputs: BTreeMap<String, String>,
    /// Why something of the above is not known, by the dotted name of its field.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub unknown: BTreeMap<String, String>,
}

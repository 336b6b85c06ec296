//! With what a run was measured, beside the machine: source, programs, packages, libraries, model and data.
//!
//! Only the types; `sensor` fills them. Names and versions, hashes instead of paths. `None` has its reason in
//! [`Fingerprint::unknown`](crate::fingerprint::Fingerprint::unknown).

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The software of a run.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Software {
    /// Commit that the target's working directory stands at.
    pub git_commit: Option<String>,
    /// Branch, where one is checked out.
    pub git_branch: Option<String>,
    /// Whether tracked files differ from the commit. Files that git does not track do not count.
    pub git_dirty: Option<bool>,
    /// First 16 hex digits of the SHA-256 of the difference; `None` without one.
    pub git_diff: Option<String>,
    /// SHA-256 of the program of Stopwatt that measured.
    pub stopwatt_sha256: Option<String>,
    /// SHA-256 of the target's program.
    pub target_sha256: Option<String>,
    /// SHA-256 of the script that the target's program runs.
    pub script_sha256: Option<String>,
    /// Kind of container, `none` outside one.
    pub container: Option<String>,
    /// First 16 hex digits of the image's identifier, where the container shows it.
    pub container_image: Option<String>,
    /// First 16 hex digits of the SHA-256 of the container's identifier: tells whether two runs shared one container.
    pub container_hash: Option<String>,
    /// Where the target's Python takes packages from: `conda`, `venv` or `system`.
    pub environment: Option<String>,
    /// First 16 hex digits of the SHA-256 of the environment's name.
    pub environment_hash: Option<String>,
    /// Version of the target's Python.
    pub python: Option<String>,
    /// Versions of the packages that matter to inference, by normalised name.
    pub packages: BTreeMap<String, String>,
    /// Versions of `cuda_runtime`, `cudnn` and `nccl`, from packages or from names of files.
    pub libraries: BTreeMap<String, String>,
}

/// How the machine was set, and what else it did, when the measurement began.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct MachineState {
    /// Governors of the CPU clock, for instance `performance`; several when CPUs differ.
    pub governors: Vec<String>,
    /// Whether CPUs may run above their rated clock.
    pub turbo: Option<bool>,
    /// Mean number of processes that wanted a CPU in the minute before.
    pub load_average: Option<f64>,
    /// Processes of others on the GPUs.
    pub gpu_processes: Option<u64>,
    /// GPU memory that they hold.
    pub gpu_process_memory_bytes: Option<u64>,
}

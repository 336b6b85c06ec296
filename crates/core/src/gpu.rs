//! What a GPU is and how it is set: the part of a run's fingerprint that comparisons of GPU results depend on.
//!
//! Only the type; `sensor` fills it. No serial number: the identifier is hashed.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One GPU as its driver describes it. `None` means that the driver does not say.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct GpuFacts {
    /// Position among this machine's GPUs, from 0.
    pub index: u32,
    /// Name, for instance `NVIDIA H100 80GB HBM3`.
    pub name: Option<String>,
    /// Architecture, for instance `Hopper`.
    pub architecture: Option<String>,
    /// Compute capability, for instance `9.0`.
    pub compute_capability: Option<String>,
    /// First 16 hex digits of the SHA-256 of the UUID: tells whether two runs used the same card.
    pub uuid_hash: Option<String>,
    /// Firmware of the board.
    pub vbios: Option<String>,
    /// Version of the driver.
    pub driver: Option<String>,
    /// Newest CUDA version that the driver supports, for instance `13.0`.
    pub cuda: Option<String>,
    /// Memory of the card.
    pub memory_bytes: Option<u64>,
    /// Error correction of the memory is on.
    pub ecc: Option<bool>,
    /// The driver stays loaded while nothing uses the card.
    pub persistence: Option<bool>,
    /// The card is split into slices (MIG). Power and energy are then those of the whole board.
    pub mig: Option<bool>,
    /// Power limit in force, in watts.
    pub power_limit_w: Option<f64>,
    /// Power limit as delivered, in watts.
    pub default_power_limit_w: Option<f64>,
    /// SM clock that applications ask for, in MHz.
    pub application_sm_clock_mhz: Option<u32>,
    /// The same as delivered.
    pub default_application_sm_clock_mhz: Option<u32>,
    /// Memory clock that applications ask for, in MHz.
    pub application_mem_clock_mhz: Option<u32>,
    /// Highest SM clock, in MHz.
    pub max_sm_clock_mhz: Option<u32>,
    /// Whether somebody fixed the clocks; `None` when it cannot be told.
    pub fixed_clock: Option<bool>,
    /// PCIe generation and lanes in use, for instance `5 x16`.
    pub pcie: Option<String>,
}

/// A setting of a GPU that was changed for a measurement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GpuSetting {
    /// Position of the GPU.
    pub gpu: u32,
    /// `persistence`, `power_limit_w` or `locked_sm_clock_mhz`.
    pub setting: String,
    /// What was there before; `None` of locked clocks, which a driver does not tell.
    pub from: Option<String>,
    /// What it was while measuring.
    pub to: String,
    /// Whether what was there was put back. Clocks are unlocked.
    pub restored: bool,
}

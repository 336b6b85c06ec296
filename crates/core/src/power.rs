//! What sensors said while a trial lasted: energy with its checks, and what the GPUs did.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Whose power it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PowerSource {
    /// The GPUs of this machine, together.
    Gpu,
    /// The CPU packages.
    Cpu,
    /// An external meter.
    Meter,
}

/// How a value of energy came about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EnergyMethod {
    /// Difference of the energy counter, with corrected edges.
    Counter,
    /// Trapezoid of instantaneous power, or of an external meter's.
    InstantTrapezoid,
    /// Trapezoid of averaged power over the window and what trails behind it.
    AverageTrapezoid,
}

/// A second opinion on an energy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct EnergyCheck {
    /// How it came about.
    pub method: EnergyMethod,
    /// Its joules.
    pub joules: Option<f64>,
    /// Its distance from the value, relative to the value.
    pub difference: Option<f64>,
    /// Why there is none.
    pub reason: Option<String>,
}

/// Energy of a trial's window.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TrialEnergy {
    /// Whose it is.
    pub source: PowerSource,
    /// How the value came about.
    pub method: EnergyMethod,
    /// All energy in the window, in joules.
    pub gross_j: f64,
    /// Length of the window, in seconds.
    pub duration_s: f64,
    /// Time between two updates of the instrument, in seconds.
    pub tick_s: f64,
    /// Standard uncertainty from the edges of the window, in joules.
    pub edge_j: f64,
    /// Standard uncertainty from the instrument's gain, in joules. It cancels between two runs on one device.
    pub gain_j: f64,
    /// What the other methods say.
    pub checks: Vec<EnergyCheck>,
    /// Whether a check differs by more than 5 %.
    pub disagreement: bool,
}

/// What the GPUs did while a trial lasted. `None` where no sensor says.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct GpuTrial {
    /// Largest memory in use of all GPUs together.
    pub memory_peak_bytes: Option<u64>,
    /// Mean share of time that the SMs were busy, over time and GPUs, 0 to 1.
    pub sm_use: Option<f64>,
    /// Mean share of the memory bandwidth that was used, 0 to 1.
    pub dram_use: Option<f64>,
    /// Mean SM clock, in MHz.
    pub sm_clock_mhz: Option<f64>,
    /// Lowest and highest SM clock, in MHz.
    pub sm_clock_range_mhz: Option<(u32, u32)>,
    /// Highest temperature, in °C.
    pub temperature_c: Option<u32>,
    /// Reasons for lowered clocks, with the share of readings that showed them. An idle GPU is none.
    pub throttle: Vec<(String, f64)>,
}

/// What the sensors said of a point, its trials together.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct PowerUse {
    /// Whose energy it is.
    pub source: Option<PowerSource>,
    /// How it came about.
    pub method: Option<EnergyMethod>,
    /// Power of the machine after the load, in watts; subtracted in net values.
    pub idle_w: Option<f64>,
    /// Largest distance of a check from the value, relative to it.
    pub largest_difference: Option<f64>,
    /// Whether a check differs by more than 5 %.
    pub disagreement: bool,
    /// Largest standard uncertainty from the edges of a window, relative to its energy.
    pub edge_share: Option<f64>,
    /// Standard uncertainty of the instrument's gain, relative. It cancels between two runs on one device and is not in
    /// the intervals, which are those of repetition.
    pub gain_share: Option<f64>,
    /// Why there is no energy of a trial, or of the idle machine.
    pub reasons: Vec<String>,
    /// What the GPUs did.
    pub gpu: Option<GpuTrial>,
}

/// A sensor that could not be used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MissingSensor {
    /// Its name.
    pub sensor: String,
    /// Why it is not there.
    pub reason: String,
}

/// What sampling cost.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
pub struct SamplingCost {
    /// CPU time of the sampling thread, in seconds.
    pub cpu_s: f64,
    /// Readings taken.
    pub readings: u64,
    /// Longest time between two readings, in seconds.
    pub longest_gap_s: f64,
}

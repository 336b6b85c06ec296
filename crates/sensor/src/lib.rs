//! Reads the machine: what it draws, how fast it is clocked, how full its memory is and what its caches do.
//!
//! ```text
//! nvml   rapl   perf   host ──► sampler ──► rows, power.csv ──► energy (pure) ──► joules of a window
//! ncu    cupti              ──► NcuDocument (L2 hits, DRAM bytes of kernels)
//! ```
//!
//! Invariants:
//!
//! - everything is opened at run time; a machine without it gives [`Unavailable`] with a reason, never a number;
//! - nothing here changes a setting of the machine, but [`control`], when that was asked for;
//! - stamps are [`stopwatt_core::clock`]'s, the requests' clock;
//! - of other people's processes nothing but their number and memory is read.
//!
//! What is read from where, and how to unlock what is locked, stands in `docs/sensors.md`.

#![allow(unsafe_code, reason = "NVML and CUPTI are C libraries; each block says why it is sound")]

pub mod control;
pub mod cupti;
pub mod energy;
pub mod host;
pub mod ncu;
pub mod nvml;
#[cfg(target_os = "linux")]
pub mod perf;
#[cfg(not(target_os = "linux"))]
#[path = "perf_elsewhere.rs"]
pub mod perf;
pub mod rapl;
pub mod sampler;
pub mod software;
pub mod survey;
mod unavailable;

pub use survey::{Sensor, State, survey};
pub use unavailable::Unavailable;

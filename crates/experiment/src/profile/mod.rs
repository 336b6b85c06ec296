//! `profile` and the measured part of `roofline`: what the hardware does, kernel by kernel and level by level.
//!
//! ```text
//! grid: [Op] ──► Device::prepare ──► check ──► timing ──► KernelRow ──► kernels.parquet
//! levels, peaks, staircases ────────────────────────────► Roofline  ──► roofline.json
//! ```
//!
//! Devices stand behind [`stopwatt_kernel::case::Device`]; nothing here knows which one it is. An operator that cannot
//! be measured is a row that says why, never the end of a profile.

mod config;
mod device;
mod error;
pub mod grid;
mod record;
pub mod roofline;
mod rounds;
mod run;

pub use config::{MethodConfig, ProfileConfig};
pub use device::DeviceName;
pub use error::ProfileError;
pub use record::Finished;
pub use run::{Event, Plan, Setup, load_rows, run};

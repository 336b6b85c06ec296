//! Where measurements live: the run directory, configuration layers, the catalogue of runs.
//!
//! ```text
//! Layers ──► Resolved ──► RunWriter ──► run.log, events/*.parquet ──► events.parquet ──► Run ──► analysis
//! (config)   (config.lock.json)         (while measuring)             (at the end)       (later)
//! ```
//!
//! A run is a directory, and nothing else is needed to read it: the catalogue is an index that is rebuilt from
//! the directories whenever it is missing or out of date.

pub mod aic;
pub mod artefacts;
pub mod catalogue;
pub mod config;
pub mod events;
pub mod expectations;
pub mod import;
pub mod kernel_table;
pub mod merge;
mod process;
pub mod redact;
pub mod remote;
pub mod run_dir;
pub mod schemas;
pub mod shipped;
mod storage;

pub use catalogue::{Catalogue, resolve};
pub use config::{ConfigError, Layers, Resolved};
pub use events::Chunks;
pub use run_dir::{Create, Run, RunError, RunId, RunWriter};

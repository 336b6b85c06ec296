//! Procedures that measure: what is started, warmed up, repeated and written down.
//!
//! ```text
//! settings ──► scenario ──► points ──► warm-up, trials ──► run directory
//!                             │             │
//!                          serving        load
//! ```
//!
//! `calibrate` turns the same client on a server that does nothing, to know what the client itself can do. Nothing here decides what a number means: that is `analyse`.

pub mod bench;
pub mod calibrate;
pub mod cuda;
pub mod fingerprint;
mod logits;
pub mod profile;
mod sensing;
pub mod sop;
pub mod targets;

pub use sensing::{check_gpus, gpus};

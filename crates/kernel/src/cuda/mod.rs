//! CUDA: libraries opened at run time, our own kernels compiled at run time, and how calls are timed.
//!
//! ```text
//! Op ──► plans (pure) ──► Plan: sources, grids, operands ──► plan_case ─┐
//!   └──► linear, convolution, recurrent, floor (NVIDIA's libraries) ────┴─► Issue ──► CudaCase: check, sample
//! Probe ──► probes (pure): what measures the machine                                 (graphs, events, rotation)
//! ```
//!
//! [`plan`], [`plans`] and [`probes`] need neither a GPU nor a library, so every kernel's geometry is tested and every
//! source is compiled without one. On the CPU the sources run in an emulation of blocks, warps and matrix
//! instructions, and are held against double precision there (`tests/cuda_emulated.rs`). Everything else answers with
//! a reason when a library, a function or a device is missing.
//!
//! Invariants:
//!
//! - no clock, power limit or setting of the device is changed;
//! - a status of a library is never ignored: it becomes a [`crate::case::CaseError`] with the call's name;
//! - the time of a call is that of the device's events; launching is hidden behind a held stream, unless launching
//!   is what is measured.

#![allow(unsafe_code, reason = "NVIDIA's libraries are C libraries; each block says why it is sound")]

mod check;
mod compile;
mod device;
mod ffi;
mod floor;
mod gpu;
mod issue;
mod linear;
mod memory;
mod numbers;
pub mod plan;
mod plan_case;
pub mod plans;
pub mod probes;
pub mod source;
mod timer;
mod unavailable;

pub use check::{Finding, check};
pub use device::{CudaDevice, open};
pub use gpu::Facts;
pub use unavailable::Unavailable;

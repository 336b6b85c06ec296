//! CUDA: libraries opened at run time, our own kernels compiled at run time, and how calls are timed.
//!
//! ```text
//! Op ─────► plans  (pure) ──► Plan: sources, grids, operands ──► plan_case ─┐
//! Probe ──► probes (pure) ──┘                                               ├─► Issue ──► CudaCase: check, sample
//! Op ─────► linear, convolution, recurrent, floor (NVIDIA's libraries) ─────┘             (graphs, events, rotation)
//! ```
//!
//! Plans, probes and sources need neither a GPU nor a library, so every kernel's geometry is tested and every source is
//! compiled without one; on the CPU they run in an emulation of blocks, warps and matrix instructions, and are held
//! against double precision there (`tests/cuda_emulated.rs`). Everything else answers with a reason when a library, a
//! function or a device is missing.
//!
//! Invariants:
//!
//! - no clock, power limit or setting of the device is changed;
//! - a status of a library is never ignored: it becomes a [`crate::case::CaseError`] with the call's name;
//! - the time of a call is that of the device's events; launching is hidden behind a held stream, unless launching
//!   is what is measured.

#![allow(unsafe_code, reason = "NVIDIA's libraries are C libraries; each block says why it is sound")]

mod all_reduce;
mod check;
mod compile;
mod contents;
mod convolution;
mod device;
mod dnn;
mod ffi;
mod floor;
mod gpu;
mod issue;
mod levels;
mod linear;
mod memory;
mod numbers;
mod observe;
pub mod plan;
mod plan_case;
pub mod plans;
pub mod probes;
mod recurrent;
mod sdpa;
pub mod source;
mod timer;
mod unavailable;

pub use check::{Finding, check_device, check_levels, check_libraries, check_torch};
pub use device::{CudaDevice, open};
pub use gpu::Facts;
pub use observe::{Observers, Reading};
pub use unavailable::Unavailable;

//! CUDA kernels of our own: what to compile and how to launch it.
//!
//! ```text
//! Op ──► plan (pure) ──► Plan: sources, grids, operands ──► the device runs it and checks it
//! ```
//!
//! [`plan`] needs neither a GPU nor a library, so every kernel's geometry is tested and every source is compiled
//! without one.

pub mod plan;

//! Kernels that run and are measured.
//!
//! [`cpu`] holds the operators of a Llama-architecture decoder. The built-in engine computes with exactly these
//! functions, and profiles measure exactly these functions, so a prediction made from a profile can be held against
//! what the engine does.

pub mod case;
pub mod cpu;
pub mod cuda;
pub mod timing;
pub mod torch;

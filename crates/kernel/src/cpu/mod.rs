//! CPU operators: plain functions over `f32` slices, with explicit shapes.
//!
//! ```text
//! embed ─► rms_norm ─► linear (q,k,v) ─► rotary ─► store_kv ─► paged_attention ─► linear_add ─┐
//!   ┌──────────────────────────────────────────────────────────────────────────────────────────┘
//!   └─► rms_norm ─► linear (gate,up) ─► silu_mul ─► linear_add ─► … ─► rms_norm ─► linear ─► logits
//! ```
//!
//! Every operator takes a [`Cpu`] first: the instruction set and the threads it may use, chosen by the caller, never
//! by a global. Matrices are row-major; activations are `f32`; weights keep the [`Precision`] they are stored in.
//!
//! Invariants, each held by a test:
//!
//! - each operator agrees with a plain `f64` loop on every instruction set that the machine has;
//! - a row's result depends neither on the number of threads nor on the other rows of the step, bit for bit;
//! - wrong lengths panic at the entry of an operator, never inside it: callers own the shapes.
//!
//! Not here: allocation of cache blocks, models, sampling.

mod activation;
mod attention;
mod embedding;
mod isa;
mod linear;
mod matrix;
mod memory;
mod norm;
mod rotary;
mod simd;
mod softmax;
mod threads;

pub use activation::silu_mul;
pub use attention::{KvLayer, KvLayerMut, KvShape, Span, paged_attention, store_kv};
pub use embedding::embed;
pub use isa::Isa;
pub use linear::{linear, linear_add};
pub use matrix::{Matrix, MatrixError, Precision};
pub use memory::{Arena, Buffer};
pub use norm::rms_norm;
pub use rotary::{Rotary, rotate};
pub use softmax::{argmax, softmax};
pub use threads::Cpu;

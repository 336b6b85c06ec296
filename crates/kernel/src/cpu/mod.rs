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
//! Besides the decoder's operators stand those that other models have ([`conv2d`], [`lstm`], [`gru`], [`layer_norm`],
//! [`gelu`], [`moe_experts`], …), so that they can be profiled. [`device`] offers all of them to profiles, and measures
//! the machine below them.
//!
//! Not here: allocation of cache blocks, models.

mod activation;
mod attention;
mod choice;
mod conv;
pub mod device;
mod embedding;
mod gather;
pub mod geometry;
mod isa;
mod levels;
mod linear;
mod matrix;
mod memory;
mod moe;
mod norm;
mod random;
mod recurrent;
mod rotary;
mod simd;
mod softmax;
mod threads;

pub use activation::{gelu, silu_mul};
pub use attention::{KvLayer, KvLayerMut, KvShape, Span, paged_attention, store_kv};
pub use choice::{ChoiceScratch, argmax_rows, top_k_top_p};
pub use conv::{ConvShape, conv2d};
pub use embedding::embed;
pub use gather::{Pages, gather_linear, page_attention};
pub use isa::Isa;
pub use linear::{linear, linear_add};
pub use matrix::{Matrix, MatrixError, Precision};
pub use memory::{Arena, Buffer};
pub use moe::{Expert, MoeScratch, Routes, moe_experts};
pub use norm::{add_rms_norm, layer_norm, rms_norm};
pub use recurrent::{RecurrentLayer, RecurrentScratch, gru, lstm};
pub use rotary::{Rotary, rotate};
pub use softmax::{argmax, softmax, softmax_rows};
pub use threads::Cpu;

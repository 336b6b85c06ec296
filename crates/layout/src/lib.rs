//! In which order the units of a tensor lie in memory, and what that costs.
//!
//! ```text
//! accesses ──► Trace ──► Graph ──► solver ──► Permutation ──► carrier: the same numbers, elsewhere
//!                │         │          ▲              │
//!                │         └─ Cost J ─┘ (surrogate)  │
//!                └──────────── objective ◄───────────┘ (expected misses, error, churn)
//!                                  ▲
//!                  transform S / Q / K: what is left out or rounded
//! ```
//!
//! A **unit** is what a permutation moves as a whole: a neuron, a channel, a token, a row, an expert. A **step** is what
//! one iteration of a kernel reads, a set of units. A **granule** is what memory moves at once: a cache line, a page.
//!
//! Invariants, each held by a test:
//!
//! - moving units changes no result of a carrier by more than rounding;
//! - the change of cost that a swap is said to make is the one that evaluating everything anew finds;
//! - one seed gives one permutation; a solver never returns something worse than where it began;
//! - a unit that fills whole granules cannot share them: no order changes how many are read.
//!
//! Pure: no files, no clock (a [`solver::Budget`] is handed one), no model.

pub mod carrier;
pub mod cost;
pub mod graph;
pub mod matrix;
pub mod misses;
pub mod permutation;
pub mod selection;
pub mod solver;
pub mod trace;
pub mod transform;

pub use cost::{Cost, CostParams};
pub use graph::{Graph, GraphError, Normalize};
pub use matrix::Dense;
pub use misses::Geometry;
pub use permutation::{Permutation, PermutationError};
pub use trace::{Trace, TraceError};

//! Procedures that measure: what is started, warmed up, repeated and written down.
//!
//! ```text
//! settings ──► scenario ──► points ──► warm-up, trials ──► run directory
//!                             │             │
//!                          serving        load
//! ```
//!
//! Only `bench` so far. Nothing here decides what a number means: that is `analyse`.

pub mod bench;

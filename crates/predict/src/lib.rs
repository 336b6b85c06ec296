//! What a model does on a device, without the device: operators, rooflines, memory, step times, simulated serving.
//!
//! ```text
//! config.json ──► ModelSpec ─┐
//!   (model)                  ├─► Deployment ──► calls of a step ──► time ──► StepModel ──► simulated serving
//! precision, TP, PP ─────────┘   (operators)         │
//! device (hardware) ─────────────────────────────────┴──► roofline, memory
//! ```
//!
//! Pure: no file is opened and no clock is read. A number says what it rests on: a measured row, a blend of measured
//! rows, or the figures of a data sheet.

pub mod built_in;
pub mod corrector;
pub mod engine;
pub mod fit;
pub mod grid;
pub mod hardware;
pub mod latency;
pub mod memory;
pub mod model;
pub mod observed;
pub mod operators;
pub mod plan;
pub mod precision;
pub mod predict;
pub mod regime;
pub mod roofline;
pub mod simulate;
pub mod step;
pub mod validate;

pub use hardware::Gpu;
pub use model::ModelSpec;
pub use operators::Deployment;
pub use precision::Precision;

//! A run in the file formats of other tools.

mod openmetrics;
mod trace_events;
mod vllm;

pub use openmetrics::to_openmetrics;
pub use trace_events::to_trace_events;
pub use vllm::{ExportError, Select, to_vllm};

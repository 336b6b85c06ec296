//! A run in the file formats of other tools.

mod openmetrics;
mod vllm;

pub use openmetrics::to_openmetrics;
pub use vllm::{ExportError, Select, to_vllm};

//! A run in the file formats of other tools.

mod vllm;

pub use vllm::{ExportError, Select, to_vllm};

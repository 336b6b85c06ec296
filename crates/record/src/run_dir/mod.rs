//! The run directory: one writer, any number of readers.

mod error;
mod id;
mod read;
mod write;

pub use error::RunError;
pub use id::RunId;
pub use read::{Requests, Run};
pub use write::{Create, RunWriter, write_atomically};

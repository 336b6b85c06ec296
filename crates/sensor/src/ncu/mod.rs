//! L2 and DRAM counters of a program's kernels, through the `ncu` program of Nsight Compute.
//!
//! ```text
//! find ──► command ──► run ncu (≥ 3 times) ──► ncu --import … --page raw --csv ──► raw ──► aggregate ──► NcuDocument
//! ```
//!
//! What it must not be used for: times. A profiled kernel runs with others' passes in between, and with locked clocks
//! unless told otherwise, so latency is measured in a run of its own.

mod aggregate;
mod command;
mod counters;
mod find;
mod messages;
pub(crate) mod process;
mod raw;
mod run;

pub use command::Options;
pub use counters::{Quantity, quantities};
pub use find::{Ncu, find};
pub use raw::{Launch, parse_raw};
pub use run::{measure, prefix, read};

pub(crate) use aggregate::document;
pub(crate) use counters::selected;

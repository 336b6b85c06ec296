//! Request rows in Parquet: one row a request, from the moment it ends.
//!
//! ```text
//! push ──► bounded channel ──► writer thread ─┬► events/0000.parquet, 0001, … ──► events.parquet
//!                                             │  (a closed part every ≤ 2 s)      (at a clean end)
//!                                             └► streams.parquet: histograms of gaps, tokens over time
//! ```
//!
//! Invariants, each held by a test:
//!
//! - a part appears under its final name only when it is complete and flushed to the disk, so whatever kills the
//!   process costs at most the last two seconds;
//! - the joined file replaces the parts only when it is complete;
//! - a disk that fills up loses nothing that was closed, and the caller hears of it at the next call;
//! - memory is bounded by one row group, however long the run.

mod decode;
mod encode;
mod join;
mod schema;
mod sink;
mod streams;

pub(crate) use decode::EventFile;
pub(crate) use join::parts;
pub(crate) use sink::EventSink;
pub(crate) use streams::{read_streams, write_streams};

/// Whether the stamps of chunks are read too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Chunks {
    /// Read them.
    Read,
    /// Leave `chunks` empty, which is many times faster.
    Skip,
}

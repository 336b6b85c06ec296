//! The run directory: one writer, any number of readers.
//!
//! ```text
//! {run}/config.lock.json   settings with their origins      written first
//!       run.log            one fact a line                  appended at once
//!       events/NNNN.parquet  closed parts                   every ≤ 2 s, gone at a clean end
//!       events.parquet     one row a request                at a clean end
//!       streams.parquet    histograms of gaps               at the end; made anew from the rows when missing
//!       metrics.json, report.html, …                        temporary name, then renamed
//!       tags               one tag a line                   see `catalogue`
//!       lock               while somebody writes
//! ```
//!
//! Whatever ends the writer, the directory is readable and says whether it is complete. What the facts mean is not
//! decided here: analysis reads them, reports render them.

mod error;
mod id;
mod lock;
mod log_file;
mod note;
mod read;
#[cfg(test)]
mod tests;
mod write;

pub use error::RunError;
pub use id::RunId;
pub use read::{Requests, Rows, Run, Stored};
pub use write::{Create, RunWriter, write_atomically};

#[cfg(feature = "object-store")]
pub(crate) use lock::NAME as LOCK;
pub(crate) use lock::writer;
pub(crate) use log_file::NAME as LOG;

/// File of the resolved settings.
pub(crate) const CONFIG: &str = "config.lock.json";
/// File of the summary.
pub(crate) const METRICS: &str = "metrics.json";
/// File of the request rows.
pub(crate) const EVENTS: &str = "events.parquet";
/// File of what the streams come to.
pub(crate) const STREAMS: &str = "streams.parquet";
/// Folder of the closed parts.
pub(crate) const PARTS: &str = "events";
/// File of the tags.
pub(crate) const TAGS: &str = "tags";

//! What the proxy saw, kept: request rows and once-a-second values in Parquet segments, incidents in SQLite.
//!
//! ```text
//! finished requests ─┐ bounded queue   ┌► segments/requests-FROM-UNTIL-ROWS.parquet ─┐
//! values of a page ──┼──► one thread ──┼► segments/samples-….parquet                 ├─► read: query, page
//! incidents ─────────┘                 └► catalogue.sqlite                           ┘
//! ```
//!
//! Invariants, each held by a test:
//!
//! - nobody waits for the store: a full queue drops the row and counts it;
//! - a segment appears under its name only when it is complete and flushed, so whatever kills the process costs at most
//!   the rows since the last one was closed, [`Settings::every`];
//! - a full disk costs rows only when it stays full for longer than [`WAITING_ROWS`] rows take to come, and they are
//!   counted;
//! - a reader needs no lock, and sees closed segments only.

mod catalogue;
mod read;
mod row;
mod table;
mod writer;

use std::path::PathBuf;
use std::time::Duration;

pub use read::Reader;
pub(crate) use row::of_page;
pub use row::{ANSWERED, CLIENT_GONE, GAP_BINS, RequestRow, SampleRow};
pub use writer::{Counts, Store, WAITING_ROWS};

/// How a store is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Folder; made when it is not there.
    pub dir: PathBuf,
    /// Segments whose last row is older go.
    pub keep: Duration,
    /// Bytes of all segments above which the oldest go.
    pub keep_bytes: u64,
    /// Longest time that a segment is open: what a sudden end costs at most.
    pub every: Duration,
}

impl Settings {
    /// A week and a gibibyte at most, a segment a minute.
    pub fn new(dir: PathBuf) -> Self {
        Self {
            dir,
            keep: Duration::from_secs(7 * 86_400),
            keep_bytes: 1 << 30,
            every: Duration::from_secs(60),
        }
    }
}

/// Why a store cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// There is none.
    #[error("there is no store in {}", dir.display())]
    NoStore {
        /// Where it was looked for.
        dir: PathBuf,
    },
    /// Another process writes to it.
    #[error("another process writes to the store in {}", dir.display())]
    InUse {
        /// The store.
        dir: PathBuf,
    },
    /// It was made by a later version.
    #[error("the store in {} was made by a later version of Stopwatt", dir.display())]
    Newer {
        /// The store.
        dir: PathBuf,
    },
    /// A file or folder.
    #[error("failed to use {}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The catalogue.
    #[error("failed to use the catalogue of the store")]
    Catalogue(#[from] rusqlite::Error),
    /// A segment.
    #[error("failed to read or make the segment {file}")]
    Segment {
        /// Its name.
        file: String,
        /// What is wrong with it.
        #[source]
        source: parquet::errors::ParquetError,
    },
}

impl StoreError {
    /// What to try.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::NoStore { .. } => Some("`stopwatt watch --store DIR` makes one"),
            Self::InUse { .. } => Some("give each proxy a store of its own"),
            Self::Newer { .. } => Some("name another folder"),
            _ => None,
        }
    }
}

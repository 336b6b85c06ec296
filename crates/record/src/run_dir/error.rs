//! Why a run could not be written or read.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parquet::errors::ParquetError;

/// Why a run could not be written or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The system refused.
    #[error("failed to {action} {}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The directory asked for is in use.
    #[error("{} is not empty", path.display())]
    NotEmpty {
        /// The directory.
        path: PathBuf,
    },
    /// Another process writes this run.
    #[error("the run in {} is being written by process {pid}", path.display())]
    Locked {
        /// The directory.
        path: PathBuf,
        /// The writer, as far as it is known.
        pid: u32,
    },
    /// The name of a file is not one that a run may hold, or is written by the run itself.
    #[error("`{name}` cannot be written as a file of a run")]
    FileName {
        /// The name.
        name: String,
    },
    /// Request rows could not be written to the disk.
    #[error("failed to store request rows ({lost_rows} lost so far)")]
    EventsNotStored {
        /// Rows that did not fit in memory while the disk failed.
        lost_rows: u64,
        /// Why the last attempt failed.
        #[source]
        source: Arc<RunError>,
    },
    /// The thread that writes request rows ended before its time.
    #[error("the thread that stores request rows is gone")]
    WriterGone,
    /// A file of request rows could not be encoded or decoded.
    #[error("failed to read or write request rows in {}", path.display())]
    Events {
        /// The file.
        path: PathBuf,
        /// What Parquet said.
        #[source]
        source: ParquetError,
    },
    /// A value could not be written as JSON.
    #[error("failed to write {what} as JSON")]
    Json {
        /// Which one.
        what: &'static str,
        /// What the serializer said.
        #[source]
        source: serde_json::Error,
    },
    /// The directory is not a run.
    #[error("{} is not a run", path.display())]
    NotARun {
        /// The directory.
        path: PathBuf,
    },
    /// A newer version of Stopwatt wrote the run.
    #[error("the run has format {found}, this version reads {supported}.x; {} wrote it and reads it", writer(written_by.as_deref()))]
    NewerFormat {
        /// `MAJOR.MINOR` of the run.
        found: String,
        /// Newest major that can be read.
        supported: u32,
        /// Version of Stopwatt that wrote it, when its configuration says so.
        written_by: Option<String>,
    },
    /// A file of the run does not have the expected shape.
    #[error("{} is damaged at line {line}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Line, from 1.
        line: usize,
        /// What the parser said.
        #[source]
        source: serde_json::Error,
    },
}

impl RunError {
    /// What to try next.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::NotEmpty { .. } => Some("choose a new directory with --out, or leave --out away"),
            Self::Locked { .. } => Some("wait until it ends, or choose a new directory with --out"),
            Self::EventsNotStored { source, .. } => source.hint(),
            Self::NotARun { .. } => {
                Some("`stopwatt runs list` shows every run; a run directory holds run.log")
            }
            Self::NewerFormat { .. } => Some("install that version of Stopwatt or a newer one"),
            Self::Io { .. } | Self::Events { .. } if self.is_full_disk() => Some(
                "free some space or write to another disk with --out; what was stored can be read with `stopwatt report`",
            ),
            Self::Io { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                Some("write to a directory of yours with --out")
            }
            _ => None,
        }
    }

    /// Whether the disk or a quota is full.
    pub fn is_full_disk(&self) -> bool {
        let full = |e: &io::Error| {
            use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
            matches!(e.kind(), StorageFull | QuotaExceeded | FileTooLarge)
        };
        match self {
            Self::Io { source, .. } => full(source),
            Self::EventsNotStored { source, .. } => source.is_full_disk(),
            Self::Events { source: ParquetError::External(e), .. } => e.downcast_ref().is_some_and(full),
            _ => false,
        }
    }

    /// For `map_err` on an I/O result.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { action, path: path.to_owned(), source }
    }

    /// For `map_err` on a Parquet result.
    pub(crate) fn events(path: &Path) -> impl FnOnce(ParquetError) -> Self {
        move |source| Self::Events { path: path.to_owned(), source }
    }
}

fn writer(version: Option<&str>) -> String {
    version.map_or_else(|| "a newer Stopwatt".to_owned(), |v| format!("Stopwatt {v}"))
}

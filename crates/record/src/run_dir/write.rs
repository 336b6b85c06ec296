//! Writing a run.

use std::path::{Path, PathBuf};

use stopwatt_core::log::Fact;
use stopwatt_core::{Clock, RequestRecord};

use super::{RunError, RunId};

/// How to create a run.
#[derive(Debug, Clone)]
pub struct Create {
    /// Where runs live, for instance `./stopwatt-runs`.
    pub root: PathBuf,
    /// An explicit directory, which must be absent or empty; `None` makes one under `root`.
    pub out: Option<PathBuf>,
    /// What the run is, for its name: `bench`.
    pub name: String,
    /// Zero of all stamps.
    pub clock: Clock,
    /// Whether the stamps of chunks are stored.
    pub keep_chunks: bool,
}

/// A run being written. Shared between threads by reference.
#[derive(Debug)]
pub struct RunWriter {}

impl RunWriter {
    /// Creates and locks the directory and writes `config.lock.json` and the first line of `run.log`.
    pub fn create(_options: Create, _config_lock: &serde_json::Value) -> Result<Self, RunError> {
        unimplemented!()
    }
    /// Name of the run.
    pub fn id(&self) -> &RunId {
        unimplemented!()
    }
    /// Its directory.
    pub fn path(&self) -> &Path {
        unimplemented!()
    }
    /// Appends one line to `run.log`.
    pub fn log(&self, _fact: Fact) -> Result<(), RunError> {
        unimplemented!()
    }
    /// Hands a request to the thread that writes events.
    pub fn push(&self, _record: RequestRecord) -> Result<(), RunError> {
        unimplemented!()
    }
    /// How often [`push`](Self::push) had to wait for the disk.
    pub fn push_waits(&self) -> u64 {
        unimplemented!()
    }
    /// Writes a file of the run under a temporary name and renames it.
    pub fn write_file(&self, _name: &str, _bytes: &[u8]) -> Result<(), RunError> {
        unimplemented!()
    }
    /// Closes the last part, joins the parts into `events.parquet` and releases the lock.
    pub fn finish(self) -> Result<(), RunError> {
        unimplemented!()
    }
}

/// Writes `path` under a temporary name beside it, flushes it to the disk and renames it.
pub fn write_atomically(_path: &Path, _bytes: &[u8]) -> Result<(), RunError> {
    unimplemented!()
}

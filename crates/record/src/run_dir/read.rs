//! Reading a run.

use std::path::Path;

use stopwatt_core::RequestRecord;
use stopwatt_core::log::LogEvent;
use stopwatt_core::metrics_doc::{MetricsDoc, RunStatus};

use super::{RunError, RunId};
use crate::events::Chunks;

/// A run on disk, complete or not.
#[derive(Debug)]
pub struct Run {}

impl Run {
    /// Opens a run directory and checks its format version.
    pub fn open(_path: &Path) -> Result<Self, RunError> {
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
    /// Every line of `run.log` in order; a torn last line is left out.
    pub fn log(&self) -> &[LogEvent] {
        unimplemented!()
    }
    /// `config.lock.json`.
    pub fn config(&self) -> Result<serde_json::Value, RunError> {
        unimplemented!()
    }
    /// `metrics.json`; `None` when it was not written.
    pub fn metrics(&self) -> Result<Option<MetricsDoc>, RunError> {
        unimplemented!()
    }
    /// Whether the run came to its end.
    pub fn status(&self) -> RunStatus {
        unimplemented!()
    }
    /// Whether a process is writing the run now.
    pub fn is_running(&self) -> bool {
        unimplemented!()
    }
    /// Every request in the order it ended, read group by group.
    pub fn requests(&self, _chunks: Chunks) -> Result<Requests, RunError> {
        unimplemented!()
    }
}

/// The requests of a run, read group by group.
#[derive(Debug)]
pub struct Requests {}

impl Iterator for Requests {
    type Item = Result<RequestRecord, RunError>;
    fn next(&mut self) -> Option<Self::Item> {
        unimplemented!()
    }
}

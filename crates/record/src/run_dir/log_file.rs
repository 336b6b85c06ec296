//! `run.log`: appending one line at a time, and reading what is there.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use stopwatt_core::log::{Fact, LogEvent};
use stopwatt_core::{FORMAT_MAJOR, FORMAT_MINOR};

use super::RunError;
use crate::storage::{Storage, StoredFile};

/// The file name.
pub(crate) const NAME: &str = "run.log";

/// `run.log` being written.
pub(crate) struct LogFile {
    path: PathBuf,
    file: Box<dyn StoredFile>,
    /// Bytes of whole lines.
    len: u64,
}

impl LogFile {
    pub(crate) fn create(storage: &dyn Storage, run: &Path) -> Result<Self, RunError> {
        let path = run.join(NAME);
        let file = storage.create(&path).map_err(RunError::io("create", &path))?;
        Ok(Self { path, file, len: 0 })
    }

    /// Writes a line to the file at once. A line that does not fit leaves nothing behind.
    pub(crate) fn append(&mut self, event: &LogEvent) -> Result<(), RunError> {
        let mut line = serde_json::to_vec(&storable(event))
            .map_err(|source| RunError::Json { what: "a line of run.log", source })?;
        line.push(b'\n');
        match self.file.write_all(&line) {
            Ok(()) => {
                self.len += line.len() as u64;
                Ok(())
            }
            Err(source) => {
                // A torn line in the middle would make the lines after it unreadable.
                let _ = self.file.truncate(self.len);
                Err(RunError::io("write", &self.path)(source))
            }
        }
    }

    pub(crate) fn sync(&mut self) -> Result<(), RunError> {
        self.file.sync().map_err(RunError::io("flush", &self.path))
    }
}

/// JSON has no NaN: a counter that an engine reports as NaN or infinite is as good as absent.
fn storable(event: &LogEvent) -> LogEvent {
    let mut event = event.clone();
    if let Fact::TrialEnded { counters_before, counters_after, .. } = &mut event.fact {
        counters_before.retain(|_, v| v.is_finite());
        counters_after.retain(|_, v| v.is_finite());
    }
    event
}

/// Reads `run.log`, checks the format version in its first line, and leaves out a torn last line and the events of
/// a newer minor version that this one does not know.
pub(crate) fn read(run: &Path) -> Result<Vec<LogEvent>, RunError> {
    let path = run.join(NAME);
    let bytes = match std::fs::read(&path) {
        Ok(bytes) => bytes,
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            return Err(RunError::NotARun { path: run.to_owned() });
        }
        Err(e) => return Err(RunError::io("read", &path)(e)),
    };
    let newer_minor = check_format(run, &bytes)?;
    let mut events = Vec::new();
    let mut lines = bytes.split(|&b| b == b'\n').enumerate().peekable();
    while let Some((i, line)) = lines.next() {
        let is_last = lines.peek().is_none();
        match serde_json::from_slice(line) {
            Ok(event) => events.push(event),
            Err(_) if is_last || (newer_minor && is_unknown_event(line)) => {}
            Err(source) => return Err(RunError::Damaged { path, line: i + 1, source }),
        }
    }
    Ok(events)
}

/// Every first line has had this shape and always will.
#[derive(Deserialize)]
struct FirstLine {
    fact: FirstFact,
}

#[derive(Deserialize)]
struct FirstFact {
    event: String,
    format: String,
}

/// Whether a newer minor version wrote the run; an error when it cannot be read.
fn check_format(run: &Path, log: &[u8]) -> Result<bool, RunError> {
    let not_a_run = || RunError::NotARun { path: run.to_owned() };
    let line = log.split(|&b| b == b'\n').next().unwrap_or_default();
    let FirstLine { fact } = serde_json::from_slice(line).map_err(|_| not_a_run())?;
    if fact.event != "run_started" {
        return Err(not_a_run());
    }
    let version =
        fact.format.split_once('.').and_then(|(a, b)| Some((a.parse::<u32>().ok()?, b.parse::<u32>().ok()?)));
    let (major, minor) = version.ok_or_else(not_a_run)?;
    if major > FORMAT_MAJOR {
        let written_by = writer_version(run);
        return Err(RunError::NewerFormat { found: fact.format, supported: FORMAT_MAJOR, written_by });
    }
    Ok(major == FORMAT_MAJOR && minor > FORMAT_MINOR)
}

/// Version of Stopwatt that wrote the run; this key is in the same place in every format.
fn writer_version(run: &Path) -> Option<String> {
    let config: serde_json::Value =
        serde_json::from_slice(&std::fs::read(run.join(super::CONFIG)).ok()?).ok()?;
    Some(config.get("versions")?.get("stopwatt")?.as_str()?.to_owned())
}

/// A line that is whole but tells of something that this version has no name for.
fn is_unknown_event(line: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Line {
        #[serde(rename = "t_ns")]
        _t_ns: i64,
        fact: Named,
    }
    #[derive(Deserialize)]
    struct Named {
        event: String,
    }
    serde_json::from_slice::<Line>(line).is_ok_and(|l| !l.fact.event.is_empty())
}

//! Reading a run, complete or not, also while it is written.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use stopwatt_core::log::{Fact, LogEvent};
use stopwatt_core::metrics_doc::{MetricsDoc, RunStatus};
use stopwatt_core::stream::Streams;
use stopwatt_core::{Clock, RequestRecord, RequestRow};

use super::{CONFIG, EVENTS, METRICS, PARTS, RunError, RunId, STREAMS, log_file};
use crate::events::{Chunks, EventFile, parts, read_streams, write_streams};
use crate::storage::{Disk, replace};

/// A run on disk, complete or not.
#[derive(Debug, Clone)]
pub struct Run {
    path: PathBuf,
    id: RunId,
    format: String,
    clock: Clock,
    log: Vec<LogEvent>,
}

impl Run {
    /// Opens a run directory, checks its format version and reads its log.
    pub fn open(path: &Path) -> Result<Self, RunError> {
        let log = log_file::read(path)?;
        let Some(Fact::RunStarted { run_id, format, clock }) = log.first().map(|e| &e.fact) else {
            return Err(RunError::NotARun { path: path.to_owned() });
        };
        let id = RunId::parse(run_id).ok_or_else(|| RunError::NotARun { path: path.to_owned() })?;
        Ok(Self { path: path.to_owned(), id, format: format.clone(), clock: *clock, log })
    }

    /// Name of the run.
    pub fn id(&self) -> &RunId {
        &self.id
    }

    /// Its directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// `MAJOR.MINOR` of its format.
    pub fn format(&self) -> &str {
        &self.format
    }

    /// Zero of its stamps.
    pub fn clock(&self) -> Clock {
        self.clock
    }

    /// Every line of `run.log` in order; a torn last line is left out.
    pub fn log(&self) -> &[LogEvent] {
        &self.log
    }

    /// `config.lock.json`.
    pub fn config(&self) -> Result<serde_json::Value, RunError> {
        self.json(CONFIG)?.ok_or_else(|| RunError::NotARun { path: self.path.clone() })
    }

    /// `metrics.json`; `None` when it was not written.
    pub fn metrics(&self) -> Result<Option<MetricsDoc>, RunError> {
        self.json(METRICS)
    }

    /// Whether the run came to its end. A run whose last line is missing is incomplete.
    pub fn status(&self) -> RunStatus {
        // What was noted about the run afterwards may stand behind its end.
        let noted = |f: &&Fact| {
            matches!(
                f,
                Fact::Decision { .. }
                    | Fact::GpuSettings { .. }
                    | Fact::Quality { .. }
                    | Fact::QualityUnavailable { .. }
                    | Fact::QualityDelta { .. }
            )
        };
        match self.log.iter().rev().map(|e| &e.fact).find(|f| !noted(f)) {
            Some(Fact::RunEnded { status, .. }) => *status,
            _ => RunStatus::Incomplete,
        }
    }

    /// Whether a process is writing the run now.
    pub fn is_running(&self) -> bool {
        super::writer(&self.path).is_some()
    }

    /// Every request in the order it ended, read group by group, so that a long run needs little memory. From the
    /// joined file when there is one, else from the closed parts.
    pub fn requests(&self, chunks: Chunks) -> Result<Requests, RunError> {
        Ok(Stored::over(
            self.files()?,
            match chunks {
                Chunks::Read => |file| file.next_group(Chunks::Read),
                Chunks::Skip => |file| file.next_group(Chunks::Skip),
            },
        ))
    }

    /// The same with what each stream comes to instead of the stream, many times faster.
    pub fn rows(&self) -> Result<Rows, RunError> {
        Ok(Stored::over(self.files()?, EventFile::next_rows))
    }

    /// Number of requests, from the file footers alone.
    pub fn request_count(&self) -> Result<u64, RunError> {
        self.files()?.iter().map(|f| Ok(EventFile::open(f)?.rows())).sum()
    }

    /// Histograms of the gaps between chunks, and tokens over time; `None` when they are missing or do not belong to
    /// the requests that are stored. They say nothing that the chunks do not.
    pub fn streams(&self) -> Result<Option<Streams>, RunError> {
        let rows = self.request_count()?;
        Ok(read_streams(&self.path.join(STREAMS), rows))
    }

    /// Stores them for the next reader, after they were made anew from the chunks.
    pub fn write_streams(&self, streams: &Streams) -> Result<(), RunError> {
        write_streams(&self.path.join(STREAMS), streams, self.request_count()?)
    }

    /// The files that hold requests, in their order.
    fn files(&self) -> Result<Vec<PathBuf>, RunError> {
        let joined = self.path.join(EVENTS);
        if joined.is_file() {
            return Ok(vec![joined]);
        }
        let parts = parts(&self.path.join(PARTS))?;
        // The writer may have joined and removed the parts between the two looks.
        Ok(if parts.is_empty() && joined.is_file() { vec![joined] } else { parts })
    }

    /// Writes a file of the run, for instance a report made again, under a temporary name and renames it.
    pub fn write_file(&self, name: &str, bytes: &[u8]) -> Result<(), RunError> {
        let path = self.path.join(super::write::file_name(name)?);
        replace(&Disk, &path, |file| file.write_all(bytes).map_err(RunError::io("write", &path)))
    }

    fn json<T: serde::de::DeserializeOwned>(&self, name: &str) -> Result<Option<T>, RunError> {
        let path = self.path.join(name);
        match std::fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|source| RunError::Damaged {
                line: source.line(),
                path,
                source,
            }),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(RunError::io("read", &path)(e)),
        }
    }
}

/// The requests of a run.
pub type Requests = Stored<RequestRecord>;
/// The requests of a run without their streams.
pub type Rows = Stored<RequestRow>;

/// How the next row group of a file is read.
type Next<T> = fn(&mut EventFile) -> Result<Option<Vec<T>>, RunError>;

/// What a run stored of its requests, read group by group. After an error there is nothing more.
pub struct Stored<T> {
    /// Files still to be read, last first.
    files: Vec<PathBuf>,
    file: Option<EventFile>,
    rows: std::vec::IntoIter<T>,
    next: Next<T>,
}

impl<T> fmt::Debug for Stored<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stored").field("files", &self.files).finish_non_exhaustive()
    }
}

impl<T> Stored<T> {
    fn over(mut files: Vec<PathBuf>, next: Next<T>) -> Self {
        files.reverse();
        Self { files, file: None, rows: Vec::new().into_iter(), next }
    }

    /// Brings the next rows in; false at the end.
    fn refill(&mut self) -> Result<bool, RunError> {
        loop {
            if let Some(file) = &mut self.file {
                if let Some(rows) = (self.next)(file)? {
                    self.rows = rows.into_iter();
                    return Ok(true);
                }
                self.file = None;
            }
            match self.files.pop() {
                Some(path) => self.file = Some(EventFile::open(&path)?),
                None => return Ok(false),
            }
        }
    }
}

impl<T> Iterator for Stored<T> {
    type Item = Result<T, RunError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(row) = self.rows.next() {
                return Some(Ok(row));
            }
            match self.refill() {
                Ok(true) => {}
                Ok(false) => return None,
                Err(error) => {
                    self.files.clear();
                    self.file = None;
                    return Some(Err(error));
                }
            }
        }
    }
}

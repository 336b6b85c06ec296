//! Writing a run.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use stopwatt_core::log::{Fact, LogEvent};
use stopwatt_core::{Clock, FORMAT_MAJOR, FORMAT_MINOR, Nanos, RequestRecord};

use super::lock::Lock;
use super::log_file::LogFile;
use super::{CONFIG, EVENTS, PARTS, RunError, RunId, STREAMS};
use crate::events::EventSink;
use crate::storage::{Disk, Storage, replace};

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
///
/// Dropped without [`finish`](Self::finish) it keeps its parts and no last line: an incomplete run.
pub struct RunWriter {
    id: RunId,
    path: PathBuf,
    clock: Clock,
    storage: Arc<dyn Storage>,
    log: Mutex<LogFile>,
    events: EventSink,
    // Last, so that the lock is released after everything is written.
    _lock: Lock,
}

impl fmt::Debug for RunWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunWriter").field("id", &self.id).field("path", &self.path).finish_non_exhaustive()
    }
}

impl RunWriter {
    /// Creates and locks the directory, writes `config.lock.json` and the first line of `run.log`.
    pub fn create(options: Create, config_lock: &serde_json::Value) -> Result<Self, RunError> {
        Self::create_in(Arc::new(Disk), options, config_lock)
    }

    pub(crate) fn create_in(
        storage: Arc<dyn Storage>,
        options: Create,
        config_lock: &serde_json::Value,
    ) -> Result<Self, RunError> {
        let (id, path) = make_directory(&options)?;
        let existed = options.out.is_some();
        let lock = Lock::take(&path)?;
        Self::begin(storage, options, config_lock, id, path.clone(), lock)
            .inspect_err(|_| clear_away(&path, existed))
    }

    fn begin(
        storage: Arc<dyn Storage>,
        options: Create,
        config_lock: &serde_json::Value,
        id: RunId,
        path: PathBuf,
        lock: Lock,
    ) -> Result<Self, RunError> {
        let mut config = serde_json::to_vec_pretty(config_lock)
            .map_err(|source| RunError::Json { what: CONFIG, source })?;
        config.push(b'\n');
        write_in(storage.as_ref(), &path.join(CONFIG), &config)?;

        let format = format!("{FORMAT_MAJOR}.{FORMAT_MINOR}");
        let notes = [
            ("stopwatt.format", format.clone()),
            ("stopwatt.run_id", id.to_string()),
            ("stopwatt.t0_unix_ns", options.clock.t0_unix_ns.to_string()),
            ("stopwatt.chunks_kept", options.keep_chunks.to_string()),
        ];
        let events = EventSink::start(
            Arc::clone(&storage),
            path.join(PARTS),
            path.join(EVENTS),
            path.join(STREAMS),
            &notes,
            options.keep_chunks,
        )?;
        let log = Mutex::new(LogFile::create(storage.as_ref(), &path)?);
        let run = Self { id, path, clock: options.clock, storage, log, events, _lock: lock };
        // The zero of all stamps, also where the clock is that of another machine.
        run.log_at(0, Fact::RunStarted { run_id: run.id.to_string(), format, clock: options.clock })?;
        Ok(run)
    }

    /// Name of the run.
    pub fn id(&self) -> &RunId {
        &self.id
    }

    /// Zero of its stamps.
    pub fn clock(&self) -> Clock {
        self.clock
    }

    /// Its directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Appends one line to `run.log`, stamped now; it is in the file when the call returns.
    ///
    /// Also fails when earlier request rows could not be stored, so that a run hears of a full disk wherever it is;
    /// the line is written all the same.
    pub fn log(&self, fact: Fact) -> Result<(), RunError> {
        {
            let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
            // Stamped under the lock, so that the lines are in order of time.
            log.append(&LogEvent { t_ns: self.clock.now(), fact })?;
        }
        self.events.check()
    }

    /// Appends one line with a stamp of its own, for facts of other runs; the caller keeps the order of time.
    pub(crate) fn log_at(&self, t_ns: Nanos, fact: Fact) -> Result<(), RunError> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).append(&LogEvent { t_ns, fact })
    }

    /// Hands a request to the thread that writes events.
    ///
    /// Fails when earlier rows could not be stored; this one is taken all the same, and written as soon as the disk
    /// permits. Waits when thousands of rows are queued already.
    pub fn push(&self, record: RequestRecord) -> Result<(), RunError> {
        self.events.push(record)
    }

    /// Waits until every row so far is on the disk, so that a line of the log may say so.
    pub fn settle(&self) -> Result<(), RunError> {
        self.events.close_part()
    }

    /// How often [`push`](Self::push) had to wait for the disk: more than zero may have disturbed the measurement.
    pub fn push_waits(&self) -> u64 {
        self.events.waits()
    }

    /// Writes a file of the run under a temporary name and renames it, so that a reader sees all of it or nothing.
    pub fn write_file(&self, name: &str, bytes: &[u8]) -> Result<(), RunError> {
        write_in(self.storage.as_ref(), &self.path.join(file_name(name)?), bytes)
    }

    /// Closes the last part, joins the parts into `events.parquet`, removes them and releases the lock.
    ///
    /// On an error the parts stay, and stay readable.
    pub fn finish(self) -> Result<(), RunError> {
        let Self { log, events, _lock, .. } = self;
        let joined = events.finish();
        let synced = log.into_inner().unwrap_or_else(PoisonError::into_inner).sync();
        joined.and(synced)
    }
}

/// Writes `path` under a temporary name beside it, flushes it to the disk and renames it.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<(), RunError> {
    write_in(&Disk, path, bytes)
}

fn write_in(storage: &dyn Storage, path: &Path, bytes: &[u8]) -> Result<(), RunError> {
    replace(storage, path, |file| file.write_all(bytes).map_err(RunError::io("write", path)))
}

/// Refuses names that leave the directory or belong to the run itself.
pub(super) fn file_name(name: &str) -> Result<&str, RunError> {
    let plain = !name.is_empty() && !name.starts_with('.') && !name.contains(['/', '\\', '\0']);
    let own = [super::LOG, super::lock::NAME, CONFIG, EVENTS, PARTS, STREAMS, super::TAGS].contains(&name);
    if plain && !own { Ok(name) } else { Err(RunError::FileName { name: name.to_owned() }) }
}

/// Takes back what a failed beginning made. The first error is the one to report.
fn clear_away(run: &Path, keep_directory: bool) {
    for name in [CONFIG, super::LOG] {
        let _ = std::fs::remove_file(run.join(name));
    }
    let _ = std::fs::remove_dir(run.join(PARTS));
    if !keep_directory {
        let _ = std::fs::remove_dir(run);
    }
}

fn make_directory(options: &Create) -> Result<(RunId, PathBuf), RunError> {
    let new_id = || RunId::new(&options.name, options.clock.t0_unix_ns);
    if let Some(out) = &options.out {
        std::fs::create_dir_all(out).map_err(RunError::io("create", out))?;
        if let Some(pid) = super::writer(out) {
            return Err(RunError::Locked { path: out.clone(), pid });
        }
        let mut entries = std::fs::read_dir(out).map_err(RunError::io("list", out))?;
        if entries.next().is_some() {
            return Err(RunError::NotEmpty { path: out.clone() });
        }
        return Ok((new_id(), out.clone()));
    }
    std::fs::create_dir_all(&options.root).map_err(RunError::io("create", &options.root))?;
    loop {
        let id = new_id();
        let path = options.root.join(id.as_str());
        match std::fs::create_dir(&path) {
            Ok(()) => return Ok((id, path)),
            // Another run of this second drew the same digits.
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
            Err(e) => return Err(RunError::io("create", &path)(e)),
        }
    }
}

//! The thread that writes request rows while the run goes on.

use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, TrySendError, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use stopwatt_core::clock::monotonic_raw;
use stopwatt_core::{Nanos, RequestRecord};

use super::encode::{FileFormat, Group};
use super::join::{PartSink, join, parts};
use super::streams::StreamsWriter;
use crate::run_dir::RunError;
use crate::storage::{Storage, replace};

/// Most records between the threads that measure and the one that writes.
const QUEUE: usize = 4_096;
/// A part is closed at least this often.
const PART_EVERY_NS: Nanos = 2_000_000_000;
/// After a failed write, how long until the next attempt.
const RETRY_EVERY_NS: Nanos = 1_000_000_000;
/// While the disk fails, rows wait in memory up to this many groups.
const WAITING_GROUPS: usize = 4;

/// Hands rows to the writer thread. Shared between threads by reference.
pub(crate) struct EventSink {
    sender: Option<SyncSender<Message>>,
    thread: Option<JoinHandle<()>>,
    shared: Arc<Shared>,
    files: Files,
}

/// What the writer thread is told.
#[expect(
    clippy::large_enum_variant,
    reason = "nearly all are rows, and a box would be an allocation for each"
)]
enum Message {
    Row(RequestRecord),
    /// Close the part, then answer.
    Close(Sender<()>),
}

/// Where the rows go.
#[derive(Clone)]
struct Files {
    storage: Arc<dyn Storage>,
    /// Folder of the parts.
    parts: PathBuf,
    /// The joined file.
    joined: PathBuf,
    /// Histograms of the streams.
    streams: PathBuf,
    format: FileFormat,
}

/// What the writer thread tells the others.
#[derive(Debug, Default)]
struct Shared {
    /// Set while `failure` is: read on the path that pushes, without a lock.
    failed: AtomicBool,
    failure: Mutex<Option<Arc<RunError>>>,
    lost_rows: AtomicU64,
    waits: AtomicU64,
}

impl Shared {
    fn failure(&self) -> Option<Arc<RunError>> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set_failure(&self, failure: Option<RunError>) {
        self.failed.store(failure.is_some(), Ordering::Release);
        *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = failure.map(Arc::new);
    }
}

impl fmt::Debug for EventSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventSink").field("parts", &self.files.parts).finish_non_exhaustive()
    }
}

impl EventSink {
    /// Creates the folder of parts and starts the thread. `notes` are stored in each file.
    pub(crate) fn start(
        storage: Arc<dyn Storage>,
        parts: PathBuf,
        joined: PathBuf,
        streams: PathBuf,
        notes: &[(&str, String)],
        keep_chunks: bool,
    ) -> Result<Self, RunError> {
        std::fs::create_dir(&parts).map_err(RunError::io("create", &parts))?;
        let format = FileFormat::new(notes, keep_chunks).map_err(RunError::events(&joined))?;
        let files = Files { storage, parts, joined, streams, format };
        let (sender, receiver) = sync_channel(QUEUE);
        let shared = Arc::new(Shared::default());
        let writer = Writer {
            files: files.clone(),
            shared: Arc::clone(&shared),
            group: Group::default(),
            streams: StreamsWriter::new(Arc::clone(&files.storage), files.streams.clone()),
            since: 0,
            part: 0,
            retry_at: None,
        };
        let thread = std::thread::Builder::new()
            .name("events".to_owned())
            .spawn(move || writer.run(&receiver))
            .map_err(RunError::io("start a thread for", &files.parts))?;
        Ok(Self { sender: Some(sender), thread: Some(thread), shared, files })
    }

    /// Hands a row over; waits while the queue is full. The row is taken even when the error of an earlier one is
    /// returned.
    pub(crate) fn push(&self, record: RequestRecord) -> Result<(), RunError> {
        let sender = self.sender.as_ref().expect("the sender is there until the sink is finished");
        let sent = match sender.try_send(Message::Row(record)) {
            Ok(()) => true,
            Err(TrySendError::Full(row)) => {
                self.shared.waits.fetch_add(1, Ordering::Relaxed);
                sender.send(row).is_ok()
            }
            Err(TrySendError::Disconnected(_)) => false,
        };
        if !sent {
            return Err(RunError::WriterGone);
        }
        self.check()
    }

    /// Waits until every row so far is in a closed part.
    pub(crate) fn close_part(&self) -> Result<(), RunError> {
        let sender = self.sender.as_ref().expect("the sender is there until the sink is finished");
        let (done, closed) = channel();
        if sender.send(Message::Close(done)).is_err() || closed.recv().is_err() {
            return Err(RunError::WriterGone);
        }
        self.check()
    }

    /// The error of an earlier row, as long as it stands.
    pub(crate) fn check(&self) -> Result<(), RunError> {
        if !self.shared.failed.load(Ordering::Acquire) {
            return Ok(());
        }
        match self.shared.failure() {
            Some(source) => Err(self.failed(source)),
            None => Ok(()),
        }
    }

    /// How often a push had to wait.
    pub(crate) fn waits(&self) -> u64 {
        self.shared.waits.load(Ordering::Relaxed)
    }

    /// Writes what is left, joins the parts and removes them.
    pub(crate) fn finish(mut self) -> Result<(), RunError> {
        let clean = self.close();
        if let Some(source) = self.shared.failure() {
            return Err(self.failed(source));
        }
        if !clean {
            return Err(RunError::WriterGone);
        }
        let files = &self.files;
        let closed = parts(&files.parts)?;
        join(files.storage.as_ref(), &closed, &files.joined, &files.format)?;
        // The joined file counts from here on, so a left-over part does no harm.
        let _ = std::fs::remove_dir_all(&files.parts);
        Ok(())
    }

    /// Ends the thread after its last part; false when it had panicked.
    fn close(&mut self) -> bool {
        drop(self.sender.take());
        self.thread.take().is_none_or(|t| t.join().is_ok())
    }

    fn failed(&self, source: Arc<RunError>) -> RunError {
        RunError::EventsNotStored { lost_rows: self.shared.lost_rows.load(Ordering::Relaxed), source }
    }
}

impl Drop for EventSink {
    /// A run that ends without `finish` keeps its parts.
    fn drop(&mut self) {
        self.close();
    }
}

/// State of the writer thread.
struct Writer {
    files: Files,
    shared: Arc<Shared>,
    group: Group,
    streams: StreamsWriter,
    /// When the first row of the group came, raw.
    since: Nanos,
    /// Number of the next part.
    part: u64,
    /// Set while writing fails.
    retry_at: Option<Nanos>,
}

impl Writer {
    fn run(mut self, receiver: &Receiver<Message>) {
        loop {
            match self.next(receiver) {
                Ok(Message::Row(record)) => self.take(record),
                Ok(Message::Close(done)) => {
                    self.close_part();
                    // Whoever asked may have gone.
                    let _ = done.send(());
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            if self.is_due() {
                self.close_part();
            }
        }
        self.close_part();
        if self.retry_at.is_some() {
            self.lose(self.group.len() as u64);
        }
        self.streams.finish();
    }

    fn next(&self, receiver: &Receiver<Message>) -> Result<Message, RecvTimeoutError> {
        match self.deadline() {
            None => receiver.recv().map_err(|_| RecvTimeoutError::Disconnected),
            Some(at) => {
                let wait = u64::try_from(at - monotonic_raw()).unwrap_or(0);
                receiver.recv_timeout(Duration::from_nanos(wait))
            }
        }
    }

    fn take(&mut self, record: RequestRecord) {
        if self.group.is_empty() {
            self.since = monotonic_raw();
        }
        if self.group.len() >= WAITING_GROUPS * Group::MAX_ROWS
            || self.group.chunks() >= WAITING_GROUPS * Group::MAX_CHUNKS
        {
            self.lose(1);
        } else {
            self.streams.take(&record);
            self.group.push(record);
        }
    }

    fn lose(&self, rows: u64) {
        self.shared.lost_rows.fetch_add(rows, Ordering::Relaxed);
    }

    /// When the part must be written at the latest; `None` without rows.
    fn deadline(&self) -> Option<Nanos> {
        (!self.group.is_empty()).then(|| self.retry_at.unwrap_or(self.since + PART_EVERY_NS))
    }

    fn is_due(&self) -> bool {
        (self.retry_at.is_none() && self.group.is_full())
            || self.deadline().is_some_and(|at| monotonic_raw() >= at)
    }

    fn close_part(&mut self) {
        if self.group.is_empty() {
            return;
        }
        match self.write_part() {
            Ok(()) => {
                self.part += 1;
                self.group.clear();
                if self.retry_at.take().is_some() && self.shared.lost_rows.load(Ordering::Relaxed) == 0 {
                    // The disk has room again and nothing was lost: the failure is over.
                    self.shared.set_failure(None);
                }
            }
            Err(error) => {
                self.retry_at = Some(monotonic_raw() + RETRY_EVERY_NS);
                self.shared.set_failure(Some(error));
            }
        }
    }

    fn write_part(&self) -> Result<(), RunError> {
        let path = self.files.parts.join(format!("{:04}.parquet", self.part));
        replace(self.files.storage.as_ref(), &path, |file| {
            let mut out = self.files.format.begin(PartSink(file)).map_err(RunError::events(&path))?;
            self.files.format.write_group(&mut out, &self.group).map_err(RunError::events(&path))?;
            out.close().map_err(RunError::events(&path))?;
            Ok(())
        })
    }
}

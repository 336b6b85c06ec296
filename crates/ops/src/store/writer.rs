//! The thread that writes.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use stopwatt_core::Nanos;
use stopwatt_core::clock::{monotonic_raw, unix_now};

use super::catalogue::{Catalogue, Segment};
use super::row::{RequestRow, SampleRow};
use super::table::{Table, encode};
use super::{Settings, StoreError};
use crate::exposition::Page;
use crate::history::Incident;

/// Messages that wait for the thread.
const QUEUE: usize = 8192;
/// Rows of a segment after which it is closed.
const SEGMENT_ROWS: usize = 50_000;
/// Rows of a kind that are held while the disk is full.
pub const WAITING_ROWS: usize = 400_000;
/// Pause after a write that failed.
const RETRY_AFTER: Duration = Duration::from_secs(5);
/// Time between two notes that the process is alive.
const ALIVE_EVERY: Duration = Duration::from_secs(10);

/// What became of rows.
#[derive(Debug, Default)]
pub struct Counts {
    /// Rows that never got to the disk: the queue was full, or the disk for too long.
    pub lost: AtomicU64,
    /// Writes that failed; they are tried again.
    pub failed: AtomicU64,
    /// Rows that are in closed segments.
    pub written: AtomicU64,
    /// Bytes of all segments.
    pub bytes: AtomicU64,
}

impl Counts {
    /// Writes them on the exporter's page.
    pub fn render(&self, page: &mut Page) {
        let families = [
            (
                "stopwatt_store_rows_written_total",
                "counter",
                "Rows in closed segments of the store.",
                &self.written,
            ),
            (
                "stopwatt_store_rows_lost_total",
                "counter",
                "Rows that the store could not take or write.",
                &self.lost,
            ),
            (
                "stopwatt_store_write_failures_total",
                "counter",
                "Writes of the store that failed.",
                &self.failed,
            ),
            ("stopwatt_store_bytes", "gauge", "Bytes of all segments of the store.", &self.bytes),
        ];
        for (name, kind, help, value) in families {
            page.head(name, kind, help);
            page.line(name, "", value.load(Relaxed) as f64);
        }
    }
}

enum Message {
    Request(Box<RequestRow>),
    Samples(Vec<SampleRow>),
    Incident(Box<Incident>),
}

/// A store that is written to until it is dropped.
#[derive(Debug)]
pub struct Store {
    queue: Option<SyncSender<Message>>,
    thread: Option<JoinHandle<()>>,
    counts: Arc<Counts>,
}

/// Puts a file under its name, complete.
type Put = Box<dyn FnMut(&Path, &[u8]) -> io::Result<()> + Send>;

impl Store {
    /// Opens or makes a store, mends what a crash left, and starts the thread.
    ///
    /// # Errors
    /// The folder cannot be used, or another process writes to it.
    pub fn open(settings: Settings) -> Result<Self, StoreError> {
        Self::open_with(settings, Box::new(put))
    }

    fn open_with(settings: Settings, put: Put) -> Result<Self, StoreError> {
        let io = |source| StoreError::Io { path: settings.dir.clone(), source };
        std::fs::create_dir_all(&settings.dir).map_err(io)?;
        let lock = File::create(settings.dir.join("lock")).map_err(io)?;
        if lock.try_lock().is_err() {
            return Err(StoreError::InUse { dir: settings.dir });
        }
        let catalogue = Catalogue::open(&settings.dir)?;
        catalogue.mend()?;
        catalogue.end_open()?;
        let counts = Arc::new(Counts::default());
        let (queue, messages) = sync_channel(QUEUE);
        let mut writer = Writer {
            settings: settings.clone(),
            catalogue,
            put,
            counts: Arc::clone(&counts),
            requests: Open::default(),
            samples: Open::default(),
            unlisted: Vec::new(),
            incidents: Vec::new(),
            retry_at: None,
            alive_at: 0,
            _lock: lock,
        };
        writer.retain(unix_now());
        let thread = std::thread::Builder::new()
            .name("store".to_owned())
            .spawn(move || writer.run(&messages))
            .map_err(|source| StoreError::Io { path: settings.dir, source })?;
        Ok(Self { queue: Some(queue), thread: Some(thread), counts })
    }

    /// Takes a request.
    pub fn request(&self, row: RequestRow) {
        self.send(Message::Request(Box::new(row)), 1);
    }

    /// Takes the values of a moment.
    pub fn samples(&self, rows: Vec<SampleRow>) {
        let n = rows.len() as u64;
        self.send(Message::Samples(rows), n);
    }

    /// Takes an incident that began, or ended.
    pub fn incident(&self, incident: Incident) {
        self.send(Message::Incident(Box::new(incident)), 1);
    }

    /// What became of rows.
    pub fn counts(&self) -> Arc<Counts> {
        Arc::clone(&self.counts)
    }

    fn send(&self, message: Message, rows: u64) {
        if self.queue.as_ref().is_none_or(|q| q.try_send(message).is_err()) {
            self.counts.lost.fetch_add(rows, Relaxed);
        }
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        drop(self.queue.take());
        if let Some(thread) = self.thread.take() {
            // It closes what is open and ends.
            let _ = thread.join();
        }
    }
}

/// Writes under a temporary name, flushes and renames; a failure leaves no trace.
fn put(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = path.with_extension("tmp");
    let attempt = || {
        let mut file = File::create(&temporary)?;
        file.write_all(bytes)?;
        file.sync_data()?;
        std::fs::rename(&temporary, path)
    };
    attempt().inspect_err(|_| {
        // The first error is the one that counts; a left-over goes at the next start.
        let _ = std::fs::remove_file(&temporary);
    })
}

/// Rows that wait for their segment to be closed.
struct Open<R> {
    rows: Vec<R>,
    since: Nanos,
}

impl<R> Default for Open<R> {
    fn default() -> Self {
        Self { rows: Vec::new(), since: 0 }
    }
}

impl<R> Open<R> {
    fn push(&mut self, row: R, counts: &Counts) {
        if self.rows.len() >= WAITING_ROWS {
            counts.lost.fetch_add(1, Relaxed);
            return;
        }
        if self.rows.is_empty() {
            self.since = monotonic_raw();
        }
        self.rows.push(row);
    }
}

struct Writer {
    settings: Settings,
    catalogue: Catalogue,
    put: Put,
    counts: Arc<Counts>,
    requests: Open<RequestRow>,
    samples: Open<SampleRow>,
    /// Segments that are on the disk and not yet in the catalogue.
    unlisted: Vec<Segment>,
    /// Incidents that are not yet in the catalogue.
    incidents: Vec<Incident>,
    retry_at: Option<Nanos>,
    alive_at: Nanos,
    _lock: File,
}

fn nanos(time: Duration) -> Nanos {
    Nanos::try_from(time.as_nanos()).unwrap_or(Nanos::MAX)
}

impl Writer {
    fn run(&mut self, messages: &Receiver<Message>) {
        // What changes of a value within a segment is all that is written of it.
        let mut last: std::collections::BTreeMap<(Arc<str>, Arc<str>), f64> = Default::default();
        loop {
            match messages.recv_timeout(Duration::from_millis(500)) {
                Ok(Message::Request(row)) => self.requests.push(*row, &self.counts),
                Ok(Message::Samples(rows)) => {
                    if self.samples.rows.is_empty() {
                        last.clear();
                    }
                    for row in rows {
                        let (Some(name), Some(labels)) = (&row.name, &row.labels) else { continue };
                        let key = (Arc::clone(name), Arc::clone(labels));
                        if last.insert(key, row.value) != Some(row.value) {
                            self.samples.push(row, &self.counts);
                        }
                    }
                }
                Ok(Message::Incident(incident)) => {
                    self.incidents.push(*incident);
                    self.list();
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    self.close(true);
                    self.retain(unix_now());
                    return;
                }
            }
            self.close(false);
        }
    }

    fn close(&mut self, all: bool) {
        let now = monotonic_raw();
        if now - self.alive_at >= nanos(ALIVE_EVERY) {
            self.alive_at = now;
            // A note that cannot be made is made later.
            let _ = self.catalogue.set_alive(unix_now());
        }
        if !all && self.retry_at.is_some_and(|at| now < at) {
            return;
        }
        let every = nanos(self.settings.every);
        let due =
            |rows: usize, since: Nanos| rows > 0 && (all || rows >= SEGMENT_ROWS || now - since >= every);
        let (requests, samples) = (
            due(self.requests.rows.len(), self.requests.since),
            due(self.samples.rows.len(), self.samples.since),
        );
        if !requests && !samples && self.retry_at.is_none() {
            return;
        }
        let mut well = true;
        if requests {
            well &= self.segment(|w| &mut w.requests);
        }
        if samples {
            well &= self.segment(|w| &mut w.samples);
        }
        well &= self.list();
        self.retry_at = (!well).then(|| now + nanos(RETRY_AFTER));
        self.retain(unix_now());
    }

    /// Closes the open segment of a kind; whether that went well.
    fn segment<R: Table>(&mut self, open: fn(&mut Self) -> &mut Open<R>) -> bool {
        let rows = std::mem::take(&mut open(self).rows);
        let (from, until) =
            rows.iter().fold((i64::MAX, i64::MIN), |(a, b), r| (a.min(r.at()), b.max(r.at())));
        let written = encode(&rows).map_err(io::Error::other).and_then(|bytes| {
            let segment = Segment::new(R::NAME, from, until, rows.len() as u64, bytes.len() as u64);
            (self.put)(&self.catalogue.path(&segment), &bytes).map(|()| segment)
        });
        match written {
            Ok(segment) => {
                self.counts.written.fetch_add(segment.rows, Relaxed);
                self.unlisted.push(segment);
                true
            }
            Err(_) => {
                self.counts.failed.fetch_add(1, Relaxed);
                open(self).rows = rows;
                false
            }
        }
    }

    /// Brings the catalogue up to date; whether that went well.
    fn list(&mut self) -> bool {
        let Self { catalogue, unlisted, incidents, .. } = self;
        unlisted.retain(|segment| catalogue.add(segment).is_err());
        let mut failed = false;
        // In order: the end of an incident must not be written before its begin.
        incidents.retain(|incident| {
            failed = failed || catalogue.put(incident).is_err();
            failed
        });
        let well = unlisted.is_empty() && !failed;
        if !well {
            self.counts.failed.fetch_add(1, Relaxed);
        }
        well
    }

    /// Lets go of what is too old or too much.
    fn retain(&self, now_unix: i64) {
        let oldest = now_unix.saturating_sub(nanos(self.settings.keep));
        let Ok(segments) = self.catalogue.segments(None, i64::MIN, i64::MAX) else { return };
        let mut total: u64 = segments.iter().map(|s| s.bytes).sum();
        for segment in &segments {
            if segment.until >= oldest && total <= self.settings.keep_bytes {
                break;
            }
            // The row goes last: a file without one would be found again, a row without a file is dropped.
            match std::fs::remove_file(self.catalogue.path(segment)) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => continue,
                _ => {}
            }
            if self.catalogue.forget(segment).is_ok() {
                total -= segment.bytes;
            }
        }
        let _ = self.catalogue.forget_incidents(oldest);
        self.counts.bytes.store(total, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use super::super::Reader;
    use super::*;
    use crate::history::IncidentKind;

    fn row(at: i64) -> RequestRow {
        RequestRow { received_unix_ns: at, tokens: 1, end: Some("answered".into()), ..RequestRow::default() }
    }

    fn settings(dir: &Path) -> Settings {
        Settings {
            every: Duration::from_millis(1),
            keep: Duration::from_secs(1 << 32),
            ..Settings::new(dir.to_owned())
        }
    }

    fn stamps(dir: &Path) -> Vec<i64> {
        let mut seen = Vec::new();
        Reader::open(dir).unwrap().requests(0, i64::MAX, |r| seen.push(r.received_unix_ns)).unwrap();
        seen.sort_unstable();
        seen
    }

    #[track_caller]
    fn wait(what: &str, mut is: impl FnMut() -> bool) {
        for _ in 0..1000 {
            if is() {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("waited for {what}");
    }

    #[test]
    fn what_is_written_can_be_read_while_more_is_written() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(settings(dir.path())).unwrap();
        assert!(matches!(Store::open(settings(dir.path())), Err(StoreError::InUse { .. })));
        store.request(row(10));
        wait("a segment", || stamps(dir.path()) == [10]);
        store.request(row(20));
        drop(store);
        assert_eq!(stamps(dir.path()), [10, 20]);
        let reader = Reader::open(dir.path()).unwrap();
        let mut inside = 0;
        reader.requests(11, 20, |_| inside += 1).unwrap();
        assert_eq!((inside, reader.extent().unwrap()), (0, Some((10, 20))));
    }

    #[test]
    fn a_value_that_stands_still_is_written_once() {
        let dir = tempfile::tempdir().unwrap();
        let store =
            Store::open(Settings { every: Duration::from_secs(600), ..settings(dir.path()) }).unwrap();
        let value =
            |at, value| SampleRow { at_unix_ns: at, name: Some("x".into()), labels: Some("".into()), value };
        for (at, v) in [(1, 5.0), (2, 5.0), (3, 6.0), (4, 6.0)] {
            store.samples(vec![value(at, v)]);
        }
        drop(store);
        let mut seen = Vec::new();
        Reader::open(dir.path()).unwrap().samples(0, 9, |s| seen.push((s.at_unix_ns, s.value))).unwrap();
        assert_eq!(seen, [(1, 5.0), (3, 6.0)]);
    }

    #[test]
    fn a_full_disk_delays_rows_and_loses_none_that_can_wait() {
        let dir = tempfile::tempdir().unwrap();
        let full = Arc::new(AtomicBool::new(true));
        let is_full = Arc::clone(&full);
        let disk: Put = Box::new(move |path, bytes| match is_full.load(Relaxed) {
            true => Err(io::ErrorKind::StorageFull.into()),
            false => put(path, bytes),
        });
        let store = Store::open_with(settings(dir.path()), disk).unwrap();
        let counts = store.counts();
        (1..=3).for_each(|at| store.request(row(at)));
        wait("a failure", || counts.failed.load(Relaxed) > 0);
        assert!(stamps(dir.path()).is_empty());
        full.store(false, Relaxed);
        drop(store);
        assert_eq!(stamps(dir.path()), [1, 2, 3]);
        assert_eq!(counts.lost.load(Relaxed), 0);
        let mut page = Page::new();
        counts.render(&mut page);
        assert!(page.finish().contains("stopwatt_store_rows_written_total 3\n"));
    }

    #[test]
    fn what_a_crash_leaves_is_mended() {
        let dir = tempfile::tempdir().unwrap();
        let incident = Incident {
            kind: IncidentKind::Upstream,
            subject: "a".into(),
            reason: "stalled".into(),
            began_unix_ns: 5,
            ended_unix_ns: None,
            cut: false,
        };
        let store = Store::open(settings(dir.path())).unwrap();
        store.request(row(7));
        store.incident(incident.clone());
        drop(store);
        // The catalogue is gone, a file is half written, and another is no segment.
        let segments = dir.path().join("segments");
        std::fs::write(segments.join("requests-1-2-3.tmp"), b"PAR1").unwrap();
        std::fs::write(segments.join("notes.parquet"), b"x").unwrap();
        let listed = rusqlite::Connection::open(dir.path().join("catalogue.sqlite")).unwrap();
        listed.execute("DELETE FROM segments", []).unwrap();
        drop(listed);
        drop(Store::open(settings(dir.path())).unwrap());
        assert_eq!(stamps(dir.path()), [7]);
        assert!(!segments.join("requests-1-2-3.tmp").exists());
        let seen = Reader::open(dir.path()).unwrap().incidents(0, i64::MAX).unwrap();
        assert_eq!(seen.len(), 1);
        assert!(seen[0].cut && seen[0].ended_unix_ns.is_some(), "nobody saw its end: {seen:?}");
    }

    #[test]
    fn old_segments_go_and_so_do_the_oldest_of_too_many() {
        let dir = tempfile::tempdir().unwrap();
        let now = unix_now();
        for at in [now - 100_000_000_000, now - 2, now - 1] {
            let store = Store::open(settings(dir.path())).unwrap();
            store.request(row(at));
        }
        assert_eq!(stamps(dir.path()).len(), 3);
        drop(Store::open(Settings { keep: Duration::from_secs(50), ..settings(dir.path()) }).unwrap());
        assert_eq!(stamps(dir.path()), [now - 2, now - 1]);
        let one = std::fs::read_dir(dir.path().join("segments")).unwrap().next().unwrap().unwrap();
        let keep_bytes = one.metadata().unwrap().len() + 1;
        drop(Store::open(Settings { keep_bytes, ..settings(dir.path()) }).unwrap());
        assert_eq!(stamps(dir.path()), [now - 1]);
    }

    #[test]
    fn a_full_queue_drops_and_counts() {
        let dir = tempfile::tempdir().unwrap();
        let slow: Put = Box::new(|path, bytes| {
            std::thread::sleep(Duration::from_millis(300));
            put(path, bytes)
        });
        let store = Store::open_with(settings(dir.path()), slow).unwrap();
        let sent = QUEUE as u64 * 3;
        (0..sent).for_each(|at| store.request(row(at as i64)));
        let counts = store.counts();
        drop(store);
        let (lost, written) = (counts.lost.load(Relaxed), counts.written.load(Relaxed));
        assert!(lost > 0 && lost + written == sent, "{lost} lost, {written} written");
    }
}

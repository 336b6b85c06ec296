//! Where the truth goes: a file, written by a thread of its own, and the memory of an in-process server.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use super::truth::TruthRecord;
use crate::error::ServeError;

/// Records kept in memory.
#[derive(Debug, Clone, Default)]
pub(super) struct Memory {
    inner: Arc<(Mutex<Vec<TruthRecord>>, Condvar)>,
}

impl Memory {
    fn push(&self, record: TruthRecord) {
        self.inner.0.lock().unwrap_or_else(PoisonError::into_inner).push(record);
        self.inner.1.notify_all();
    }

    pub(super) fn all(&self) -> Vec<TruthRecord> {
        self.inner.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits for `n` records, for `timeout` at most; returns what is there.
    pub(super) fn wait_for(&self, n: usize, timeout: Duration) -> Vec<TruthRecord> {
        let guard = self.inner.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (records, _) = self
            .inner
            .1
            .wait_timeout_while(guard, timeout, |r| r.len() < n)
            .unwrap_or_else(PoisonError::into_inner);
        records.clone()
    }
}

/// Where the truth goes.
#[derive(Debug, Default)]
pub(super) struct TruthLog {
    memory: Option<Memory>,
    file: Option<(Sender<TruthRecord>, JoinHandle<io::Result<()>>)>,
}

impl TruthLog {
    pub(super) fn open(file: Option<&Path>, memory: Option<Memory>) -> Result<Self, ServeError> {
        let file = file
            .map(|path| {
                let file = File::create(path)?;
                let (sender, receiver) = channel();
                let write = move || write_all(BufWriter::with_capacity(1 << 20, file), &receiver);
                Ok((sender, std::thread::Builder::new().name("truth-log".to_owned()).spawn(write)?))
            })
            .transpose()
            .map_err(ServeError::TruthLog)?;
        Ok(Self { memory, file })
    }

    /// Whether anybody wants records.
    pub(super) fn is_wanted(&self) -> bool {
        self.memory.is_some() || self.file.is_some()
    }

    pub(super) fn push(&self, record: TruthRecord) {
        if let Some((sender, _)) = &self.file {
            // The writer is gone only after an error, which `close` reports.
            let _ = sender.send(record.clone());
        }
        if let Some(memory) = &self.memory {
            memory.push(record);
        }
    }

    /// Waits until everything is in the file.
    pub(super) fn close(self) -> Result<(), ServeError> {
        let Some((sender, thread)) = self.file else { return Ok(()) };
        drop(sender);
        match thread.join() {
            Ok(result) => result.map_err(ServeError::TruthLog),
            Err(_) => Err(ServeError::Panicked("truth log")),
        }
    }
}

/// Writes what comes; hands it to the system whenever there is a pause, so that a reader of the file keeps up.
fn write_all(mut out: BufWriter<File>, records: &Receiver<TruthRecord>) -> io::Result<()> {
    while let Ok(record) = records.recv() {
        write_line(&mut out, &record)?;
        while let Ok(record) = records.try_recv() {
            write_line(&mut out, &record)?;
        }
        out.flush()?;
    }
    out.flush()
}

fn write_line(out: &mut impl Write, record: &TruthRecord) -> io::Result<()> {
    serde_json::to_writer(&mut *out, record)?;
    out.write_all(b"\n")
}

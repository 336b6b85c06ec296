//! A run to a store.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use bytes::Bytes;
use object_store::buffered::BufWriter;
use object_store::{Error, ObjectStoreExt as _, PutMode, PutOptions};
use tokio::io::AsyncWriteExt as _;

use super::store::Place;
use super::{Address, RemoteError};
use crate::run_dir::{LOCK, LOG, METRICS, PARTS, Run, RunError, writer};

/// Bytes of a file that are in memory at a time; the writer holds some parts of them.
const PIECE: usize = 1 << 20;

/// An address that is kept for one run, from before it is measured.
#[derive(Debug)]
pub struct Reserved(Place);

impl Reserved {
    /// Keeps the address for a run that is about to be measured, by an object `lock`. So an address in use, a wrong
    /// bucket and missing permissions are told before the measurement, not after it.
    pub fn new(address: &Address) -> Result<Self, RemoteError> {
        Self::at(Place::open(address)?)
    }

    pub(super) fn at(place: Place) -> Result<Self, RemoteError> {
        let address = place.address.to_string();
        if place.address.prefix().is_empty() {
            return Err(RemoteError::WholeBucket { address });
        }
        let found = place.list("")?;
        if !found.objects.is_empty() || !found.common_prefixes.is_empty() {
            return Err(RemoteError::NotEmpty { address });
        }
        let lock = place.key(LOCK);
        let content = Bytes::from_static(b"a run is measured for this address\n");
        let only_if_absent = PutOptions::from(PutMode::Create);
        match place.ask(place.store.put_opts(&lock, content.clone().into(), only_if_absent)) {
            Ok(_) => {}
            Err(Error::AlreadyExists { .. } | Error::Precondition { .. }) => {
                return Err(RemoteError::NotEmpty { address });
            }
            // Some stores cannot write on condition; the list above was empty a moment ago.
            Err(Error::NotImplemented { .. } | Error::NotSupported { .. }) => {
                place.wait("write to", place.store.put(&lock, content.into()))?;
            }
            Err(error) => place.wait("write to", async { Err(error) })?,
        }
        Ok(Self(place))
    }

    /// Copies the run to the address and takes the `lock` away.
    pub fn push(&self, run: &Path) -> Result<(), RemoteError> {
        send(&self.0, run)
    }

    /// Gives the address back.
    pub fn release(self) -> Result<(), RemoteError> {
        unlock(&self.0)
    }
}

/// Copies a run to an address where no whole run is; what an attempt before has left there is replaced.
pub fn push(run: &Path, to: &Address) -> Result<(), RemoteError> {
    push_to(&Place::open(to)?, run)
}

pub(super) fn push_to(place: &Place, run: &Path) -> Result<(), RemoteError> {
    let address = || place.address.to_string();
    if place.address.prefix().is_empty() {
        return Err(RemoteError::WholeBucket { address: address() });
    }
    if place.has_run()? {
        return Err(RemoteError::NotEmpty { address: address() });
    }
    send(place, run)
}

fn send(place: &Place, run: &Path) -> Result<(), RemoteError> {
    Run::open(run)?;
    if let Some(pid) = writer(run) {
        return Err(RunError::Locked { path: run.to_owned(), pid }.into());
    }
    let files = files(run)?;
    // What an attempt before has left and this run does not have would become a part of it.
    for (name, object) in place.files()? {
        if name != LOCK && !files.contains(&name) {
            place.wait("clear", place.store.delete(&object.location))?;
        }
    }
    for name in &files {
        send_file(place, &run.join(name), name)?;
    }
    unlock(place)
}

/// The files of a run as names below it, in the order to send them: what says that the run is there comes last.
fn files(run: &Path) -> Result<Vec<String>, RunError> {
    let mut names = Vec::new();
    for folder in ["", PARTS] {
        let path = run.join(folder);
        let entries = match std::fs::read_dir(&path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound && !folder.is_empty() => continue,
            entries => entries.map_err(RunError::io("list", &path))?,
        };
        for entry in entries {
            let entry = entry.map_err(RunError::io("list", &path))?;
            let is_file = entry.file_type().map_err(RunError::io("look at", &path))?.is_file();
            let Some(name) = entry.file_name().to_str().map(str::to_owned) else { continue };
            let passing = name == LOCK || name.starts_with('.') || name.ends_with(".tmp");
            if is_file && !passing {
                names.push(if folder.is_empty() { name } else { format!("{folder}/{name}") });
            }
        }
    }
    let rank = |name: &str| match name {
        LOG => 2,
        METRICS => 1,
        _ => 0,
    };
    names.sort_by(|a, b| rank(a).cmp(&rank(b)).then_with(|| a.cmp(b)));
    Ok(names)
}

/// Sends a file in pieces. A small one becomes one request, a large one is seen only when its last part is there.
fn send_file(place: &Place, path: &Path, name: &str) -> Result<(), RemoteError> {
    let mut file = File::open(path).map_err(RunError::io("open", path))?;
    let mut writer = BufWriter::new(place.store.clone(), place.key(name));
    loop {
        let mut piece = Vec::new();
        let read = (&mut file).take(PIECE as u64).read_to_end(&mut piece);
        match read {
            Ok(0) => break,
            Ok(_) => place.wait("write to", writer.put(piece.into()))?,
            Err(error) => {
                // The first error is the one to report; a store forgets parts that were never put together.
                let _ = place.ask(writer.abort());
                return Err(RunError::io("read", path)(error).into());
            }
        }
    }
    place.wait("write to", async { writer.shutdown().await.map_err(into_store_error) })
}

/// The writer wraps the error of the store for the standard trait.
fn into_store_error(error: io::Error) -> Error {
    let text = error.to_string();
    match error.into_inner().map(|e| e.downcast::<Error>()) {
        Some(Ok(error)) => *error,
        Some(Err(source)) => Error::Generic { store: "object store", source },
        None => Error::Generic { store: "object store", source: text.into() },
    }
}

fn unlock(place: &Place) -> Result<(), RemoteError> {
    match place.ask(place.store.delete(&place.key(LOCK))) {
        Ok(()) | Err(Error::NotFound { .. }) => Ok(()),
        Err(error) => place.wait("take the lock from", async { Err(error) }),
    }
}

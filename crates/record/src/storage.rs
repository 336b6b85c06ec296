//! The few file operations that writing a run needs, behind a trait, so that tests can fill the disk.

use std::fmt::Debug;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::run_dir::RunError;

/// A file being written.
pub(crate) trait StoredFile: Write + Send {
    /// Flushes content to the disk.
    fn sync(&mut self) -> io::Result<()>;
    /// Cuts the file to `len` bytes; later writes go to its end.
    fn truncate(&mut self, len: u64) -> io::Result<()>;
}

impl StoredFile for File {
    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }
    fn truncate(&mut self, len: u64) -> io::Result<()> {
        self.set_len(len)
    }
}

/// Where files are written.
pub(crate) trait Storage: Send + Sync + Debug {
    /// Creates or empties a file, opened for appending.
    fn create(&self, path: &Path) -> io::Result<Box<dyn StoredFile>>;
}

/// The file system.
#[derive(Debug)]
pub(crate) struct Disk;

impl Storage for Disk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn StoredFile>> {
        match std::fs::remove_file(path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            _ => {}
        }
        Ok(Box::new(OpenOptions::new().append(true).create_new(true).open(path)?))
    }
}

/// Writes a file under a temporary name beside `path`, flushes it and renames it; a failure leaves no trace.
pub(crate) fn replace(
    storage: &dyn Storage,
    path: &Path,
    fill: impl FnOnce(&mut dyn StoredFile) -> Result<(), RunError>,
) -> Result<(), RunError> {
    let temporary = temporary_name(path);
    let attempt = || {
        let mut file = storage.create(&temporary).map_err(RunError::io("create", &temporary))?;
        fill(file.as_mut())?;
        file.sync().map_err(RunError::io("flush", path))?;
        drop(file);
        std::fs::rename(&temporary, path).map_err(RunError::io("rename to", path))
    };
    attempt().inspect_err(|_| {
        // The first error is the one to report; a left-over is ignored by readers and replaced by the next attempt.
        let _ = std::fs::remove_file(&temporary);
    })?;
    sync_folder(path);
    Ok(())
}

/// `report.html` → `report.html.tmp`.
pub(crate) fn temporary_name(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".tmp");
    name.into()
}

/// Makes a rename survive a power cut where the file system permits; it is complete and visible without.
fn sync_folder(path: &Path) {
    if let Some(folder) = path.parent().and_then(|p| File::open(p).ok()) {
        let _ = folder.sync_all();
    }
}

#[cfg(test)]
pub(crate) mod full_disk {
    //! A disk with a given number of bytes left.

    use std::sync::Arc;
    use std::sync::atomic::{AtomicI64, Ordering};

    use super::*;

    /// A disk that runs full.
    #[derive(Debug, Clone)]
    pub(crate) struct FullDisk(Arc<AtomicI64>);

    impl FullDisk {
        pub(crate) fn with_bytes_left(bytes: i64) -> Self {
            Self(Arc::new(AtomicI64::new(bytes)))
        }
        pub(crate) fn set_bytes_left(&self, bytes: i64) {
            self.0.store(bytes, Ordering::SeqCst);
        }
    }

    impl Storage for FullDisk {
        fn create(&self, path: &Path) -> io::Result<Box<dyn StoredFile>> {
            Ok(Box::new(Limited { file: Disk.create(path)?, left: Arc::clone(&self.0) }))
        }
    }

    struct Limited {
        file: Box<dyn StoredFile>,
        left: Arc<AtomicI64>,
    }

    impl Write for Limited {
        fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
            let left = usize::try_from(self.left.load(Ordering::SeqCst)).unwrap_or(0);
            if left == 0 && !buf.is_empty() {
                return Err(io::ErrorKind::StorageFull.into());
            }
            let n = self.file.write(&buf[..buf.len().min(left)])?;
            self.left.fetch_sub(n as i64, Ordering::SeqCst);
            Ok(n)
        }
        fn flush(&mut self) -> io::Result<()> {
            self.file.flush()
        }
    }

    impl StoredFile for Limited {
        fn sync(&mut self) -> io::Result<()> {
            self.file.sync()
        }
        fn truncate(&mut self, len: u64) -> io::Result<()> {
            self.file.truncate(len)
        }
    }
}

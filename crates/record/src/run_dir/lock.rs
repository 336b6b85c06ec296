//! One writer a run: an advisory lock on the file `lock`, which ends with the process whatever kills it.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::RunError;

/// The file name.
pub(crate) const NAME: &str = "lock";

/// Held while a run is written; the file is removed at the end.
#[derive(Debug)]
pub(crate) struct Lock {
    path: PathBuf,
    _file: File,
}

impl Lock {
    /// Takes the lock of a run directory.
    pub(crate) fn take(run: &Path) -> Result<Self, RunError> {
        let path = run.join(NAME);
        let open = OpenOptions::new().write(true).create_new(true).open(&path);
        let mut file = match open {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
                let pid = read_pid(&path).unwrap_or(0);
                return Err(RunError::Locked { path: run.to_owned(), pid });
            }
            Err(e) => return Err(RunError::io("create", &path)(e)),
        };
        // A reader asking whether the run is alive holds a shared lock for a moment.
        for _ in 0..50 {
            match file.try_lock() {
                Err(TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(2)),
                // Without locks on this file system the process id in the file must do.
                Ok(()) | Err(TryLockError::Error(_)) => break,
            }
        }
        writeln!(file, "{}", std::process::id()).map_err(RunError::io("write", &path))?;
        Ok(Self { path, _file: file })
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // A left-over file is recognised as dead, since nobody holds its lock.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Process that writes the run now; `None` when there is none or it died.
pub(crate) fn writer(run: &Path) -> Option<u32> {
    let path = run.join(NAME);
    let file = File::open(&path).ok()?;
    let pid = || read_pid(&path).unwrap_or(0);
    match file.try_lock_shared() {
        Ok(()) => None,
        Err(TryLockError::WouldBlock) => Some(pid()),
        Err(TryLockError::Error(_)) => Some(pid()).filter(|&pid| crate::process::is_alive(pid)),
    }
}

fn read_pid(path: &Path) -> Option<u32> {
    std::fs::read_to_string(path).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_writer_at_a_time_and_a_dead_one_is_recognised() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(writer(dir.path()), None);
        let lock = Lock::take(dir.path()).unwrap();
        assert_eq!(writer(dir.path()), Some(std::process::id()));
        assert!(
            matches!(Lock::take(dir.path()), Err(RunError::Locked { pid, .. }) if pid == std::process::id())
        );
        drop(lock);
        assert_eq!(writer(dir.path()), None);
        // What a killed writer leaves: the file, and nobody who holds it.
        std::fs::write(dir.path().join(NAME), "1\n").unwrap();
        assert_eq!(writer(dir.path()), None);
    }
}

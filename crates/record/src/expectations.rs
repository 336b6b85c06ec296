//! `expectations_{hardware_key}.json`: read, and changed by one process at a time.
//!
//! A file is written under a temporary name and renamed, so readers see the old or the new one. Who changes it holds a
//! lock on its folder from reading to renaming: two pipelines that store different targets at once lose neither.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use stopwatt_core::expectations::{Expectation, Expectations};
use stopwatt_core::{FORMAT_MAJOR, FORMAT_MINOR};

use crate::run_dir::{RunError, write_atomically};

/// Why expectations could not be read or stored.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExpectationsError {
    /// The file or its folder.
    #[error("failed to {what} {path}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The file is not what Stopwatt writes.
    #[error("{path} does not hold expectations (line {line})")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where reading stopped.
        line: usize,
        /// What the parser said.
        #[source]
        source: serde_json::Error,
    },
    /// A newer major version wrote it.
    #[error("{path} has format {format}; this version reads {FORMAT_MAJOR}.x")]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format.
        format: String,
    },
    /// The file belongs to other hardware: it was copied or renamed.
    #[error("{path} holds expectations of {found}")]
    OtherHardware {
        /// The file.
        path: PathBuf,
        /// Whose.
        found: String,
    },
    /// It could not be written.
    #[error(transparent)]
    Write(#[from] RunError),
}

impl ExpectationsError {
    /// What to try next.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Io { .. } => None,
            Self::Damaged { .. } => Some("take the file from version control, or remove it and store anew"),
            Self::Newer { .. } => Some("read it with the version of Stopwatt that wrote it, or a newer one"),
            Self::OtherHardware { .. } => Some("do not rename these files: store anew on this hardware"),
            Self::Write(error) => error.hint(),
        }
    }
}

/// The file for some hardware in a folder.
pub fn path(folder: &Path, hardware_key: &str) -> PathBuf {
    folder.join(format!("expectations_{hardware_key}.json"))
}

/// What is expected of some hardware; `None` when nothing was stored.
///
/// # Errors
/// The file cannot be read, is damaged, newer, or of other hardware.
pub fn read(folder: &Path, hardware_key: &str) -> Result<Option<Expectations>, ExpectationsError> {
    let path = path(folder, hardware_key);
    let bytes = match std::fs::read(&path) {
        Ok(bytes) => bytes,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(ExpectationsError::Io { what: "read", path, source }),
    };
    let stored: Expectations = serde_json::from_slice(&bytes)
        .map_err(|source| ExpectationsError::Damaged { path: path.clone(), line: source.line(), source })?;
    let major = stored.format.split('.').next().and_then(|m| m.parse::<u32>().ok());
    if major.is_none_or(|m| m > FORMAT_MAJOR) {
        return Err(ExpectationsError::Newer { path, format: stored.format });
    }
    if stored.hardware_key != hardware_key {
        return Err(ExpectationsError::OtherHardware { path, found: stored.hardware_key });
    }
    Ok(Some(stored))
}

/// Stores what is expected of some targets; those of other targets stay. Makes the folder where there is none.
///
/// # Errors
/// As [`read`], and when the folder or file cannot be written.
pub fn update(
    folder: &Path,
    hardware_key: &str,
    targets: impl IntoIterator<Item = (String, Expectation)>,
) -> Result<PathBuf, ExpectationsError> {
    let failed = |what| {
        let path = folder.to_owned();
        move |source| ExpectationsError::Io { what, path, source }
    };
    std::fs::create_dir_all(folder).map_err(failed("create"))?;
    // Held until the end of this function.
    let lock = File::open(folder).map_err(failed("open"))?;
    match lock.lock() {
        // A file system without locks has one writer at a time anyway, or none that can be kept apart.
        Err(e) if e.kind() != io::ErrorKind::Unsupported => return Err(failed("lock")(e)),
        _ => {}
    }
    let mut all = read(folder, hardware_key)?.unwrap_or_default();
    all.format = format!("{FORMAT_MAJOR}.{FORMAT_MINOR}");
    all.hardware_key = hardware_key.to_owned();
    all.targets.extend(targets);
    let mut text = serde_json::to_vec_pretty(&all).expect("expectations have only string keys");
    text.push(b'\n');
    let path = path(folder, hardware_key);
    write_atomically(&path, &text)?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expectation(run: &str) -> Expectation {
        Expectation { run_id: run.to_owned(), ..Expectation::default() }
    }

    #[test]
    fn what_is_stored_is_read_and_other_targets_stay() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("ci/expectations");
        assert_eq!(read(&folder, "cpu").unwrap(), None);
        update(&folder, "cpu", [("chat".to_owned(), expectation("1"))]).unwrap();
        update(&folder, "cpu", [("document".to_owned(), expectation("2"))]).unwrap();
        let path = update(&folder, "cpu", [("chat".to_owned(), expectation("3"))]).unwrap();
        assert_eq!(path.file_name().unwrap(), "expectations_cpu.json");
        let stored = read(&folder, "cpu").unwrap().unwrap();
        let runs: Vec<_> = stored.targets.iter().map(|(t, e)| (t.as_str(), e.run_id.as_str())).collect();
        assert_eq!(runs, [("chat", "3"), ("document", "2")]);
        assert_eq!(read(&folder, "gpu").unwrap(), None);
        assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 1, "nothing temporary is left");
    }

    #[test]
    fn writers_at_once_lose_nothing() {
        let dir = tempfile::tempdir().unwrap();
        std::thread::scope(|s| {
            for i in 0..16 {
                let folder = dir.path();
                s.spawn(move || update(folder, "cpu", [(format!("t{i}"), expectation("r"))]).unwrap());
            }
        });
        assert_eq!(read(dir.path(), "cpu").unwrap().unwrap().targets.len(), 16);
    }

    #[test]
    fn a_file_of_another_kind_is_refused_and_kept() {
        let dir = tempfile::tempdir().unwrap();
        let file = path(dir.path(), "cpu");
        for (text, expected) in [
            ("{\n oops", "does not hold expectations (line 2)"),
            (r#"{"format":"9.0","hardware_key":"cpu","targets":{}}"#, "has format 9.0"),
            (r#"{"format":"1.0","hardware_key":"gpu","targets":{}}"#, "holds expectations of gpu"),
        ] {
            std::fs::write(&file, text).unwrap();
            let error = update(dir.path(), "cpu", [("t".to_owned(), expectation("r"))]).unwrap_err();
            assert!(error.to_string().contains(expected) && error.hint().is_some(), "{error}");
            assert_eq!(std::fs::read_to_string(&file).unwrap(), text);
        }
    }
}

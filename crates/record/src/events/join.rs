//! Joins the closed parts of a run into one file, in flat memory.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::EventFile;
use super::encode::{FileFormat, Group};
use crate::run_dir::RunError;
use crate::storage::{Storage, StoredFile, replace};

/// The closed parts in a folder, in the order they were written.
pub(crate) fn parts(folder: &Path) -> Result<Vec<PathBuf>, RunError> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(RunError::io("list", folder)(e)),
    };
    let mut parts = Vec::new();
    for entry in entries {
        let path = entry.map_err(RunError::io("list", folder))?.path();
        let number = path
            .file_name()
            .and_then(|n| n.to_str())
            .and_then(|n| n.strip_suffix(".parquet"))
            .and_then(|n| n.parse::<u64>().ok());
        if let Some(number) = number {
            parts.push((number, path));
        }
    }
    parts.sort();
    Ok(parts.into_iter().map(|(_, path)| path).collect())
}

/// Writes every row of `parts` to `target`, in their order. Small row groups are merged, since readers are slow on
/// thousands of them; large ones are copied as they are.
pub(super) fn join(
    storage: &dyn Storage,
    parts: &[PathBuf],
    target: &Path,
    format: &FileFormat,
) -> Result<(), RunError> {
    replace(storage, target, |file| {
        let failed = || RunError::events(target);
        let mut out = format.begin(PartSink(file)).map_err(failed())?;
        let mut group = Group::default();
        for part in parts {
            let mut part = EventFile::open(part)?;
            loop {
                if part.has_large_group() {
                    if !group.is_empty() {
                        format.write_group(&mut out, &group).map_err(failed())?;
                        group.clear();
                    }
                    part.copy_group(&mut out).map_err(failed())?;
                    continue;
                }
                let Some(rows) = part.next_summed()? else { break };
                for (row, summary) in rows {
                    group.push_summed(row, summary);
                    if group.is_full() {
                        format.write_group(&mut out, &group).map_err(failed())?;
                        group.clear();
                    }
                }
            }
        }
        if !group.is_empty() {
            format.write_group(&mut out, &group).map_err(failed())?;
        }
        out.close().map_err(failed())?;
        Ok(())
    })
}

/// Lends a stored file to the Parquet writer.
pub(super) struct PartSink<'a>(pub(super) &'a mut dyn StoredFile);

impl Write for PartSink<'_> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.0.write(buf)
    }
    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

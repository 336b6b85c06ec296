//! Deletes a run, and nothing that is not one.

use std::path::Path;

use super::{CatalogueError, Entry};
use crate::run_dir::{LOG, PARTS, Run, RunError};

/// Deletes the directory of a run after making sure that it is one, that nobody writes it, and that it holds no
/// folders or hidden files that no run makes.
pub(super) fn run(entry: &Entry) -> Result<(), CatalogueError> {
    let path = &entry.path;
    // Read again: the entry may be older than the directory.
    let run = Run::open(path)?;
    if run.id().as_str() != entry.id {
        return Err(RunError::NotARun { path: path.clone() }.into());
    }
    if let Some(pid) = crate::run_dir::writer(path) {
        return Err(CatalogueError::Running { id: entry.id.clone(), pid });
    }
    let names = names(path)?;
    let foreign: Vec<String> = names.iter().filter(|n| is_foreign(path, n)).cloned().collect();
    if !foreign.is_empty() {
        return Err(CatalogueError::Foreign { path: path.clone(), names: foreign });
    }
    // The log goes last, so that what an interruption leaves is still a run and can be deleted again.
    for name in names.iter().filter(|n| *n != LOG) {
        delete(&path.join(name))?;
    }
    delete(&path.join(LOG))?;
    std::fs::remove_dir(path).map_err(RunError::io("remove", path))?;
    Ok(())
}

fn names(path: &Path) -> Result<Vec<String>, RunError> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(path).map_err(RunError::io("list", path))? {
        let entry = entry.map_err(RunError::io("list", path))?;
        names.push(entry.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

/// A run writes plain files and one folder; a `.git`, a `src` or a link says that the directory is used for more.
fn is_foreign(run: &Path, name: &str) -> bool {
    let kind = std::fs::symlink_metadata(run.join(name)).map(|m| m.file_type());
    let plain = kind.is_ok_and(|k| if name == PARTS { k.is_dir() } else { k.is_file() });
    name.starts_with('.') || !plain
}

fn delete(path: &Path) -> Result<(), RunError> {
    let done = if path.is_dir() { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) };
    done.map_err(RunError::io("remove", path))
}

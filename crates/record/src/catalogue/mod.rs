//! The catalogue: an index of the runs under one root, in `catalogue.sqlite` beside them.
//!
//! Invariants, each held by a test:
//!
//! - everything in it stands in the run directories, tags included, so deleting the file loses nothing: it is
//!   rebuilt when it is missing, damaged or of another version, and kept in memory where it cannot be written;
//! - opening it brings it up to date: new runs appear, runs deleted by hand disappear, changed ones are read again;
//! - only a directory that is a run, and that nobody writes, is ever deleted.
//!
//! A run outside the root (made with `--out`) is remembered by a symbolic link in the root, named like the run.

mod entry;
mod error;
mod index;
mod remove;
mod tags;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use stopwatt_core::metrics_doc::RunStatus;

pub use entry::Entry;
pub use error::CatalogueError;
use index::Index;

use crate::remote::{self, Address};
use crate::run_dir::{LOG, Run, RunError};

/// The index of the runs under one root.
#[derive(Debug)]
pub struct Catalogue {
    root: PathBuf,
    index: Index,
    unreadable: Vec<(PathBuf, RunError)>,
}

impl Catalogue {
    /// Opens the catalogue of `root` and brings it up to date with the directories. A root that does not exist is
    /// empty.
    pub fn open(root: &Path) -> Result<Self, CatalogueError> {
        let mut catalogue = Self { root: root.to_owned(), index: Index::open(root)?, unreadable: Vec::new() };
        catalogue.refresh()?;
        Ok(catalogue)
    }

    /// Remembers a run, wherever it is.
    pub fn add(&mut self, run: &Path) -> Result<(), CatalogueError> {
        let opened = Run::open(run)?;
        let target = run.canonicalize().map_err(RunError::io("find", run))?;
        if !self.root.is_dir() {
            std::fs::create_dir_all(&self.root).map_err(RunError::io("create", &self.root))?;
            self.index = Index::open(&self.root)?;
        }
        let root = self.root.canonicalize().map_err(RunError::io("find", &self.root))?;
        if target.parent() != Some(&root) {
            let link = self.root.join(opened.id().as_str());
            match std::os::unix::fs::symlink(&target, &link) {
                Err(e) if e.kind() != io::ErrorKind::AlreadyExists => {
                    return Err(RunError::io("create", &link)(e).into());
                }
                _ => {}
            }
        }
        self.refresh()
    }

    /// Every run, newest first.
    pub fn list(&self) -> Result<Vec<Entry>, CatalogueError> {
        let mut all = self.index.all(&self.root)?;
        for entry in &mut all {
            entry.running =
                entry.status == RunStatus::Incomplete && crate::run_dir::writer(&entry.path).is_some();
        }
        Ok(all)
    }

    /// Directories that look like runs and could not be read, with the reason.
    pub fn unreadable(&self) -> &[(PathBuf, RunError)] {
        &self.unreadable
    }

    /// One run of this machine by path, `latest`, id, tag, or the begin of an id.
    pub fn find(&self, name: &str) -> Result<Entry, CatalogueError> {
        if let Some(address) = Address::of(name)? {
            return Err(CatalogueError::Elsewhere { address: address.to_string() });
        }
        if let Some(path) = as_path(name) {
            return Ok(Entry::read(&path)?);
        }
        let all = self.list()?;
        if name == LATEST {
            return all.into_iter().next().ok_or_else(|| CatalogueError::Empty { root: self.root.clone() });
        }
        let rules: [&dyn Fn(&Entry) -> bool; 3] =
            [&|e| e.id == name, &|e| e.tags.iter().any(|t| t == name), &|e| {
                !name.is_empty() && e.id.starts_with(name)
            }];
        for rule in rules {
            let found: Vec<&Entry> = all.iter().filter(|e| rule(e)).collect();
            match found[..] {
                [] => {}
                [one] => return Ok(one.clone()),
                _ => {
                    let runs = found.iter().map(|e| e.id.clone()).collect();
                    return Err(CatalogueError::Ambiguous { name: name.to_owned(), runs });
                }
            }
        }
        Err(CatalogueError::unknown(name, &all))
    }

    /// Adds a tag.
    pub fn tag(&mut self, name: &str, tag: &str) -> Result<Entry, CatalogueError> {
        tags::check(tag)?;
        let entry = self.find(name)?;
        tags::change(&entry.path, |tags| tags.push(tag.to_owned()))?;
        self.refresh()?;
        Ok(Entry::read(&entry.path)?)
    }

    /// Takes a tag away.
    pub fn untag(&mut self, name: &str, tag: &str) -> Result<Entry, CatalogueError> {
        let entry = self.find(name)?;
        if !entry.tags.iter().any(|t| t == tag) {
            let problem = format!("run {} does not have it", entry.id);
            return Err(CatalogueError::Tag { tag: tag.to_owned(), problem });
        }
        tags::change(&entry.path, |tags| tags.retain(|t| t != tag))?;
        self.refresh()?;
        Ok(Entry::read(&entry.path)?)
    }

    /// Deletes a run and everything in it.
    pub fn remove(&mut self, name: &str) -> Result<Entry, CatalogueError> {
        let entry = self.find(name)?;
        remove::run(&entry)?;
        let link = self.root.join(&entry.id);
        if link.is_symlink() && !link.exists() {
            std::fs::remove_file(&link).map_err(RunError::io("remove", &link))?;
        }
        self.refresh()?;
        Ok(entry)
    }

    /// Brings the index up to date with the directories.
    fn refresh(&mut self) -> Result<(), CatalogueError> {
        let known = self.index.stamps()?;
        let mut fresh = Vec::new();
        let mut seen = BTreeMap::new();
        self.unreadable.clear();
        for (name, path) in directories(&self.root)? {
            let stamp = entry::stamp(&path);
            if known.get(&name) != Some(&stamp) {
                match Entry::read(&path) {
                    Ok(entry) => fresh.push((name.clone(), stamp.clone(), entry)),
                    Err(error) => {
                        self.unreadable.push((path, error));
                        continue;
                    }
                }
            }
            seen.insert(name, stamp);
        }
        let gone: Vec<&String> = known.keys().filter(|name| !seen.contains_key(*name)).collect();
        if !fresh.is_empty() || !gone.is_empty() {
            self.index.update(&fresh, &gone)?;
        }
        Ok(())
    }
}

/// Directory of the run called `name`: a run id, a unique begin of one, a tag, a path, or `latest`.
/// An address in an object store is copied here first.
pub fn resolve(root: &Path, name: &str) -> Result<PathBuf, CatalogueError> {
    if let Some(address) = Address::of(name)? {
        return Ok(remote::copy(&address)?);
    }
    match as_path(name) {
        Some(path) => Ok(path),
        None => Ok(Catalogue::open(root)?.find(name)?.path),
    }
}

/// Name of the newest run.
const LATEST: &str = "latest";

/// A name that is the path of a run, or can only be meant as a path.
fn as_path(name: &str) -> Option<PathBuf> {
    let path = Path::new(name);
    let is_path = name.contains('/') || matches!(name, "." | "..") || path.join(LOG).is_file();
    is_path.then(|| path.to_owned())
}

/// Directories in the root that hold a `run.log`, links followed, by the name they have there.
fn directories(root: &Path) -> Result<Vec<(String, PathBuf)>, CatalogueError> {
    let entries = match std::fs::read_dir(root) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(RunError::io("list", root)(e).into()),
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.map_err(RunError::io("list", root))?;
        let path = entry.path();
        if let Ok(name) = entry.file_name().into_string()
            && !name.starts_with('.')
            && path.join(LOG).is_file()
        {
            found.push((name, path));
        }
    }
    Ok(found)
}

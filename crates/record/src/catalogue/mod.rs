//! The catalogue: an index of the runs under one root.

use std::path::{Path, PathBuf};

use stopwatt_core::metrics_doc::RunStatus;

/// A line of the catalogue.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// Name of the run.
    pub id: String,
    /// Its directory.
    pub path: PathBuf,
    /// UNIX nanoseconds of its start.
    pub started_unix_ns: i64,
    /// Whether it came to its end.
    pub status: RunStatus,
    /// Whether it is being written.
    pub running: bool,
    /// What it is, for instance `bench`.
    pub kind: String,
    /// Model, when known.
    pub model: Option<String>,
    /// Verdict on the run itself; `None` when it was not judged.
    pub valid: Option<bool>,
    /// Headline numbers by `metric.statistic`, for instance `ttft.p50`, in SI units.
    pub headline: std::collections::BTreeMap<String, f64>,
    /// Tags, sorted.
    pub tags: Vec<String>,
}

/// Why the catalogue could not answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CatalogueError {}

impl CatalogueError {
    /// What to try next.
    pub fn hint(&self) -> Option<&'static str> {
        None
    }
}

/// The index of the runs under one root.
#[derive(Debug)]
pub struct Catalogue {}

impl Catalogue {
    /// Opens the catalogue of `root` and brings it up to date with the directories.
    pub fn open(_root: &Path) -> Result<Self, CatalogueError> {
        unimplemented!()
    }
    /// Remembers a run outside the root (one made with `--out`).
    pub fn add(&mut self, _run: &Path) -> Result<(), CatalogueError> {
        unimplemented!()
    }
    /// Every run, newest first.
    pub fn list(&self) -> Result<Vec<Entry>, CatalogueError> {
        unimplemented!()
    }
    /// One run by id, unique prefix, tag, path or `latest`.
    pub fn find(&self, _name: &str) -> Result<Entry, CatalogueError> {
        unimplemented!()
    }
    /// Adds a tag.
    pub fn tag(&mut self, _name: &str, _tag: &str) -> Result<Entry, CatalogueError> {
        unimplemented!()
    }
    /// Takes a tag away.
    pub fn untag(&mut self, _name: &str, _tag: &str) -> Result<Entry, CatalogueError> {
        unimplemented!()
    }
    /// Deletes a run.
    pub fn remove(&mut self, _name: &str) -> Result<Entry, CatalogueError> {
        unimplemented!()
    }
}

/// Directory of the run called `name`: a run id, a unique prefix of one, a tag, a path, or `latest`.
pub fn resolve(_root: &Path, _name: &str) -> Result<PathBuf, CatalogueError> {
    unimplemented!()
}

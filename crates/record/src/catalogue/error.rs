//! Why the catalogue could not answer.

use std::path::PathBuf;

use super::Entry;
use crate::remote::RemoteError;
use crate::run_dir::RunError;

/// Why the catalogue could not answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CatalogueError {
    /// The index failed.
    #[error("failed to use the index of runs")]
    Index {
        /// What SQLite said.
        #[from]
        source: rusqlite::Error,
    },
    /// A run could not be read or changed.
    #[error(transparent)]
    Run(#[from] RunError),
    /// The run at an address could not be copied here.
    #[error("the run cannot be read")]
    Remote(#[from] RemoteError),
    /// The run is in an object store, and would be changed or sent.
    #[error("{address} is not on this machine")]
    Elsewhere {
        /// Its address.
        address: String,
    },
    /// There are no runs at all.
    #[error("there are no runs in {}", root.display())]
    Empty {
        /// Where runs live.
        root: PathBuf,
    },
    /// No run of this name.
    #[error("there is no run called `{name}`{}", nearest.as_ref().map(|n| format!("; did you mean `{n}`?")).unwrap_or_default())]
    Unknown {
        /// What was asked for.
        name: String,
        /// A name that is near.
        nearest: Option<String>,
    },
    /// Several runs fit.
    #[error("`{name}` fits {} runs: {}", runs.len(), runs.join(", "))]
    Ambiguous {
        /// What was asked for.
        name: String,
        /// Those that fit, newest first.
        runs: Vec<String>,
    },
    /// A tag that cannot be given or taken.
    #[error("tag `{tag}`: {problem}")]
    Tag {
        /// The tag.
        tag: String,
        /// What is wrong.
        problem: String,
    },
    /// The run is being written.
    #[error("run {id} is being written by process {pid}")]
    Running {
        /// The run.
        id: String,
        /// Who writes.
        pid: u32,
    },
    /// The directory of the run holds what no run writes.
    #[error("{} holds more than a run: {}", path.display(), names.join(", "))]
    Foreign {
        /// The directory.
        path: PathBuf,
        /// What no run writes.
        names: Vec<String>,
    },
}

impl CatalogueError {
    /// What to try next.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Run(error) => error.hint(),
            Self::Remote(error) => error.hint(),
            Self::Elsewhere { .. } => Some("copy it here with `stopwatt runs pull`"),
            Self::Empty { .. } => Some("`stopwatt bench` makes one"),
            Self::Unknown { .. } => Some("`stopwatt runs list` shows every run"),
            Self::Ambiguous { .. } => Some("give more of the name, or the path of the directory"),
            Self::Running { .. } => Some("wait until it ends, or stop it with Ctrl-C"),
            Self::Foreign { .. } => {
                Some("nothing was deleted; move those away, or delete the directory by hand")
            }
            Self::Index { .. } => Some("delete catalogue.sqlite beside the runs; it is made again from them"),
            Self::Tag { .. } => None,
        }
    }

    pub(super) fn unknown(name: &str, all: &[Entry]) -> Self {
        let names = all.iter().flat_map(|e| e.tags.iter().chain([&e.id]));
        let nearest = names
            .map(|known| (strsim::normalized_damerau_levenshtein(name, known), known))
            .filter(|(score, _)| *score > 0.6)
            .max_by(|a, b| a.0.total_cmp(&b.0))
            .map(|(_, known)| known.clone());
        Self::Unknown { name: name.to_owned(), nearest }
    }
}

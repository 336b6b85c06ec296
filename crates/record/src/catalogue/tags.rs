//! Tags of a run: the file `tags` in its directory, one a line, sorted.

use std::io;
use std::path::Path;

use super::{CatalogueError, LATEST};
use crate::run_dir::{RunError, RunId, TAGS, write_atomically};

/// Longest tag, in characters.
const LONGEST: usize = 64;

/// Refuses what could be taken for something else where a run is named.
pub(super) fn check(tag: &str) -> Result<(), CatalogueError> {
    let plain = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | '+');
    let problem = if tag.is_empty() || tag.starts_with(['.', '-']) || !tag.chars().all(plain) {
        "use letters, digits, `-`, `_`, `.` and `+`, and begin with a letter or digit"
    } else if tag.chars().count() > LONGEST {
        "longer than 64 characters"
    } else if tag == LATEST || RunId::parse(tag).is_some() {
        "already names a run"
    } else {
        return Ok(());
    };
    Err(CatalogueError::Tag { tag: tag.to_owned(), problem: problem.to_owned() })
}

/// Tags of a run; none when there is no file.
pub(super) fn read(run: &Path) -> Result<Vec<String>, RunError> {
    let path = run.join(TAGS);
    match std::fs::read_to_string(&path) {
        Ok(text) => {
            Ok(sorted(text.lines().map(str::trim).filter(|l| !l.is_empty()).map(str::to_owned).collect()))
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(e) => Err(RunError::io("read", &path)(e)),
    }
}

/// Changes the tags of a run.
pub(super) fn change(run: &Path, edit: impl FnOnce(&mut Vec<String>)) -> Result<(), RunError> {
    let mut tags = read(run)?;
    edit(&mut tags);
    let text: String = sorted(tags).into_iter().map(|t| t + "\n").collect();
    write_atomically(&run.join(TAGS), text.as_bytes())
}

fn sorted(mut tags: Vec<String>) -> Vec<String> {
    tags.sort();
    tags.dedup();
    tags
}

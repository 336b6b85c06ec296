//! What a model or a data set is: the hash of its files, or its name and revision on a hub.

use std::io;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::{digest, entries, name};

/// Up to this size every byte is hashed; beyond it, names, sizes and the ends of files.
const WHOLE: u64 = 4 << 30;
/// Bytes at each end of a file, where not all are hashed.
const ENDS: u64 = 1 << 20;

/// What a model or a data set is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// Fixed: a hash, or a name with the revision that it stood at.
    Fixed(String),
    /// Its name, and why its revision is not known.
    Named(String, String),
}

/// What `given` is: a file or folder, or `owner/name[@revision]` on the hub whose downloads lie in `hub`.
///
/// # Errors
/// The files cannot be read.
pub fn content(given: &str, hub: Option<&Path>) -> io::Result<Content> {
    let path = Path::new(given);
    if path.exists() {
        return of_files(path).map(Content::Fixed);
    }
    let (id, revision) = given.split_once('@').map_or((given, None), |(id, revision)| (id, Some(revision)));
    let plain =
        |part: &str| !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c));
    if !id.split_once('/').is_some_and(|(owner, name)| plain(owner) && plain(name)) {
        let problem = "it is neither a file or folder nor owner/name[@revision]";
        return Err(io::Error::new(io::ErrorKind::NotFound, problem));
    }
    let stored = || {
        let hub = hub?;
        let kinds = ["models", "datasets"].map(|kind| format!("{kind}--{}", id.replace('/', "--")));
        kinds.iter().find_map(|k| std::fs::read_to_string(hub.join(k).join("refs/main")).ok())
    };
    Ok(match revision.map(str::to_owned).or_else(stored) {
        Some(revision) => Content::Fixed(format!("{id}@{}", revision.trim())),
        None => Content::Named(id.to_owned(), "write owner/name@revision; none is stored here".to_owned()),
    })
}

/// Hash over the names, sizes and bytes of every file.
fn of_files(path: &Path) -> io::Result<String> {
    let mut files = Vec::new();
    collect(path, String::new(), &mut files)?;
    let total: u64 = files.iter().map(|(.., size)| size).sum();
    let ends = (total > WHOLE).then_some(ENDS);
    let mut hash = Sha256::new();
    for (relative, file, size) in &files {
        hash.update(format!("{relative}\0{size}\0"));
        digest::add(&mut hash, file, ends)?;
    }
    let kind = if ends.is_some() { "sha256-ends" } else { "sha256" };
    Ok(format!("{kind}:{}", digest::hex(&hash.finalize())))
}

/// Every file below, by its name relative to `path`, in order; hidden ones are not part of a model.
fn collect(path: &Path, relative: String, files: &mut Vec<(String, PathBuf, u64)>) -> io::Result<()> {
    let meta = std::fs::metadata(path)?;
    if !meta.is_dir() {
        files.push((relative, path.to_owned(), meta.len()));
        return Ok(());
    }
    for entry in entries(path) {
        let below = name(&entry);
        // A folder that is a link may lead around in a circle.
        let circle = entry.is_symlink() && entry.is_dir();
        if !below.starts_with('.') && !circle {
            collect(&entry, format!("{relative}/{below}"), files)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_known_by_names_and_bytes() {
        let root = tempfile::tempdir().unwrap();
        let model = root.path().join("model");
        std::fs::create_dir_all(model.join("sub")).unwrap();
        std::fs::write(model.join("a"), "1").unwrap();
        std::fs::write(model.join("sub/b"), "2").unwrap();
        let hash = || match content(model.to_str().unwrap(), None).unwrap() {
            Content::Fixed(hash) => hash,
            other => panic!("{other:?}"),
        };
        let first = hash();
        assert!(first.starts_with("sha256:") && first.len() == 71, "{first}");
        std::fs::write(model.join(".cache"), "x").unwrap();
        assert_eq!(hash(), first);
        std::fs::write(model.join("sub/b"), "3").unwrap();
        assert_ne!(hash(), first);
        std::fs::write(model.join("sub/b"), "2").unwrap();
        std::fs::rename(model.join("a"), model.join("c")).unwrap();
        assert_ne!(hash(), first);
        let copy = root.path().join("copy");
        std::fs::rename(&model, &copy).unwrap();
        std::fs::rename(copy.join("c"), copy.join("a")).unwrap();
        assert_eq!(content(copy.to_str().unwrap(), None).unwrap(), Content::Fixed(first), "its place is not");
    }

    #[test]
    fn names_on_a_hub_have_a_revision_or_a_reason() {
        let hub = tempfile::tempdir().unwrap();
        let fixed = |given: &str| content(given, Some(hub.path()));
        assert_eq!(fixed("a/b@v1").unwrap(), Content::Fixed("a/b@v1".to_owned()));
        assert!(matches!(fixed("a/b").unwrap(), Content::Named(id, _) if id == "a/b"));
        std::fs::create_dir_all(hub.path().join("models--a--b/refs")).unwrap();
        std::fs::write(hub.path().join("models--a--b/refs/main"), "0123abcd\n").unwrap();
        assert_eq!(fixed("a/b").unwrap(), Content::Fixed("a/b@0123abcd".to_owned()));
        for wrong in ["/nowhere/at/all", "plain", "a/b/c", "a b/c"] {
            assert!(fixed(wrong).is_err(), "{wrong}");
        }
    }
}

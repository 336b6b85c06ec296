//! Where a run goes: a folder, by its path or its address, or an object store.

use std::path::{Path, PathBuf};

use stopwatt_record::remote::{Address, Reserved, push};

use super::failure::{Failure, complaint};
use crate::exit::Outcome;

/// Where a run goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// A folder.
    Folder(PathBuf),
    /// An object store; the run is measured into a folder of its own first.
    Store(Address),
}

/// A path, a `file:///…` address of one, or an address of an object store.
pub(super) fn parse(text: &str) -> Result<Place, String> {
    match Address::of(text) {
        Ok(Some(address)) => Ok(Place::Store(address)),
        Ok(None) => folder(text).map(Place::Folder),
        Err(error) => Err(format!("{error}; {}", error.hint().unwrap_or_default())),
    }
}

/// A path, or a `file:///…` address of one. Other addresses are refused.
pub(super) fn folder(text: &str) -> Result<PathBuf, String> {
    let Some((scheme, rest)) = text.split_once("://") else { return Ok(PathBuf::from(text)) };
    match scheme {
        "file" => {
            let path = rest.strip_prefix("localhost").unwrap_or(rest);
            if !path.starts_with('/') {
                return Err("a file address names a folder of this machine: write file:///DIR".to_owned());
            }
            decoded(path).map(PathBuf::from).ok_or_else(|| "it is not a valid address".to_owned())
        }
        "s3" | "gs" | "az" => {
            Err(format!("{scheme}:// is no folder; write to one, then `stopwatt runs push`"))
        }
        _ => Err(format!("`{scheme}` is no place for a run; write a folder or file:///DIR")),
    }
}

/// `%20` and the like replaced.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digit = |b: Option<u8>| char::from(b?).to_digit(16);
        bytes.push((digit(rest.next())? * 16 + digit(rest.next())?) as u8);
    }
    String::from_utf8(bytes).ok().filter(|t| !t.contains('\0'))
}

/// A run that is being made for a place.
#[derive(Debug)]
pub(super) struct Delivery(Option<(Address, Reserved)>);

impl Delivery {
    /// Keeps the place, and says which folder the run is made in; `None` is a folder of its id.
    pub(super) fn prepare(place: Option<&Place>) -> anyhow::Result<(Self, Option<PathBuf>)> {
        Ok(match place {
            None => (Self(None), None),
            Some(Place::Folder(folder)) => (Self(None), Some(folder.clone())),
            Some(Place::Store(address)) => (Self(Some((address.clone(), Reserved::new(address)?))), None),
        })
    }

    /// There will be no run: gives the place back, and hands the reason on.
    pub(super) fn give_back(self, reason: anyhow::Error) -> anyhow::Error {
        if let Self(Some((address, reserved))) = self
            && let Err(error) = reserved.release()
        {
            eprintln!("warning: the object `lock` at {address} stays behind: {error}");
        }
        reason
    }

    /// Brings the run, complete or not, to its place.
    pub(super) fn send(self, run: &Path) -> anyhow::Result<()> {
        let Some((address, reserved)) = self.0 else { return Ok(()) };
        reserved.push(run).map_err(|error| not_sent(run, &address, &error.into()))?;
        eprintln!("copied to {address}");
        Ok(())
    }
}

/// Copies a run to an address.
pub(super) fn send(run: &Path, address: &Address) -> anyhow::Result<()> {
    Ok(push(run, address)?)
}

/// The run is safe where it is: says where, and how to try again.
fn not_sent(run: &Path, address: &Address, error: &anyhow::Error) -> anyhow::Error {
    let error = anyhow::anyhow!(
        "the run is whole in {run} but was not copied: {reason}; copy it with `stopwatt runs push {run} {address}`",
        run = run.display(),
        reason = complaint(error),
    );
    Failure::new(Outcome::Usage, error).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_by_path_and_by_address() {
        for (text, path) in [
            ("runs/a", "runs/a"),
            ("/runs/50%", "/runs/50%"),
            ("file:///runs/a%20b", "/runs/a b"),
            ("file://localhost/runs", "/runs"),
        ] {
            assert_eq!(folder(text), Ok(PathBuf::from(path)));
            assert_eq!(parse(text), Ok(Place::Folder(PathBuf::from(path))));
        }
        for text in
            ["file://host/runs", "file:///a%2", "file:///a%zz", "s3://bucket/run", "gs://b/r", "ftp://a/b"]
        {
            assert!(folder(text).is_err(), "{text}");
        }
    }

    #[test]
    fn object_stores_by_address() {
        for text in ["s3://bucket/run", "gs://b/r", "az://c/r"] {
            assert!(matches!(parse(text), Ok(Place::Store(a)) if a.to_string() == text));
        }
        for text in ["s3://", "s3://key:secret@b/r", "ftp://a/b"] {
            assert!(parse(text).is_err_and(|e| !e.contains("secret")), "{text}");
        }
    }
}

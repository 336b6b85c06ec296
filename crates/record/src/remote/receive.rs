//! A run from a store.

use std::fmt::Write as _;
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use object_store::path::Path as Key;
use object_store::{GetOptions, ObjectMeta, ObjectStore};
use sha2::{Digest as _, Sha256};

use super::store::Place;
use super::{Address, RemoteError};
use crate::config::environment;
use crate::run_dir::{LOCK, LOG, PARTS, Run, RunError};

/// Bytes asked for at once.
const PIECE: u64 = 8 << 20;

/// Copies the run at an address into the cache folder of this user and says where. What is there already and has not
/// changed is not copied again.
pub fn copy(from: &Address) -> Result<PathBuf, RemoteError> {
    let folder = environment::cache_folder().unwrap_or_else(|| std::env::temp_dir().join("stopwatt"));
    copy_into(&Place::open(from)?, &folder.join("remote"))
}

pub(super) fn copy_into(place: &Place, folder: &Path) -> Result<PathBuf, RemoteError> {
    let files = run_files(place)?;
    let mut name = String::new();
    for byte in &Sha256::digest(place.address.to_string())[..12] {
        let _ = write!(name, "{byte:02x}");
    }
    let (run, seen) = (folder.join(&name), folder.join(format!("{name}.objects")));
    let now = state(&files);
    if std::fs::read_to_string(&seen).is_ok_and(|before| before == now) && run.join(LOG).is_file() {
        return Ok(run);
    }
    let fresh = Fresh::new(folder)?;
    fetch(place, &files, &fresh.0)?;
    match std::fs::remove_dir_all(&run) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            return Err(RunError::io("replace", &run)(e).into());
        }
        _ => {}
    }
    fresh.move_to(&run)?;
    std::fs::write(&seen, now).map_err(RunError::io("write", &seen))?;
    Ok(run)
}

/// Copies the run at an address into `out`, or into a folder of its id under `root`, and says where.
pub fn copy_here(from: &Address, root: &Path, out: Option<&Path>) -> Result<PathBuf, RemoteError> {
    copy_here_from(&Place::open(from)?, root, out)
}

pub(super) fn copy_here_from(place: &Place, root: &Path, out: Option<&Path>) -> Result<PathBuf, RemoteError> {
    let files = run_files(place)?;
    let beside = out.and_then(Path::parent).filter(|p| !p.as_os_str().is_empty());
    let beside = beside.unwrap_or(if out.is_some() { Path::new(".") } else { root });
    let fresh = Fresh::new(beside)?;
    fetch(place, &files, &fresh.0)?;
    let run = match out {
        Some(out) => out.to_owned(),
        None => root.join(Run::open(&fresh.0)?.id().as_str()),
    };
    // A rename replaces an empty folder, and nothing else.
    if std::fs::read_dir(&run).is_ok_and(|mut entries| entries.next().is_some()) {
        return Err(RunError::NotEmpty { path: run }.into());
    }
    fresh.move_to(&run)?;
    Ok(run)
}

/// The runs at an address: itself, or those one level below, in the order of their names.
pub fn runs(at: &Address) -> Result<Vec<Address>, RemoteError> {
    runs_of(&Place::open(at)?)
}

pub(super) fn runs_of(place: &Place) -> Result<Vec<Address>, RemoteError> {
    let here = place.list("")?;
    if here.objects.iter().any(|o| o.location.filename() == Some(LOG)) {
        return Ok(vec![place.address.clone()]);
    }
    let mut found = Vec::new();
    for folder in here.common_prefixes.iter().filter_map(Key::filename).filter(|name| *name != PARTS) {
        let below = place.list(folder)?.objects;
        if below.iter().any(|o| o.location.filename() == Some(LOG)) {
            found.push(place.address.below(folder)?);
        } else if !below.is_empty() {
            // To go on without it would look like a share that was never there.
            return Err(RemoteError::NotWhole { address: place.address.below(folder)?.to_string() });
        }
    }
    let address = || place.address.to_string();
    match (found.is_empty(), here.objects.is_empty()) {
        (false, _) => Ok(found),
        (true, false) => Err(RemoteError::NotWhole { address: address() }),
        (true, true) => Err(RemoteError::NoRun { address: address() }),
    }
}

/// The objects of a whole run.
fn run_files(place: &Place) -> Result<Vec<(String, ObjectMeta)>, RemoteError> {
    let address = || place.address.to_string();
    let mut files = place.files()?;
    match (files.is_empty(), files.iter().any(|(name, _)| name == LOG)) {
        (true, _) => return Err(RemoteError::NoRun { address: address() }),
        (false, false) => return Err(RemoteError::NotWhole { address: address() }),
        (false, true) => files.retain(|(name, _)| name != LOCK),
    }
    let plain = |name: &str| {
        let name = name.strip_prefix(PARTS).and_then(|n| n.strip_prefix('/')).unwrap_or(name);
        !name.is_empty() && !name.starts_with('.') && !name.contains(['/', '\\', '\0'])
    };
    if files.iter().all(|(name, _)| plain(name)) {
        Ok(files)
    } else {
        Err(RemoteError::ObjectName { address: address() })
    }
}

/// Changes whenever one of the objects does.
fn state(files: &[(String, ObjectMeta)]) -> String {
    let mut text = String::new();
    for (name, object) in files {
        let _ = writeln!(text, "{name} {} {:?} {}", object.size, object.e_tag, object.last_modified);
    }
    text
}

fn fetch(place: &Place, files: &[(String, ObjectMeta)], to: &Path) -> Result<(), RemoteError> {
    for (name, object) in files {
        let path = to.join(name);
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(RunError::io("create", folder))?;
        }
        let mut file = File::create(&path).map_err(RunError::io("create", &path))?;
        let mut at = 0;
        while at < object.size {
            let range = at..object.size.min(at + PIECE);
            at = range.end;
            // All pieces of the object that was listed, or an error.
            let options = GetOptions {
                range: Some(range.into()),
                if_match: object.e_tag.clone(),
                ..GetOptions::default()
            };
            let piece = place.wait("read", async {
                place.store.get_opts(&object.location, options).await?.bytes().await
            })?;
            file.write_all(&piece).map_err(RunError::io("write", &path))?;
        }
    }
    Ok(())
}

/// A folder that is filled and then gets its name, or goes away.
struct Fresh(PathBuf);

impl Fresh {
    fn new(beside: &Path) -> Result<Self, RunError> {
        let path = beside.join(format!(".copy-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).map_err(RunError::io("create", &path))?;
        Ok(Self(path))
    }

    fn move_to(self, path: &Path) -> Result<(), RunError> {
        std::fs::rename(&self.0, path).map_err(RunError::io("rename to", path))
    }
}

impl Drop for Fresh {
    fn drop(&mut self) {
        // Gone already when it was moved.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

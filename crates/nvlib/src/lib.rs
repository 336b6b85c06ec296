//! Finds and opens NVIDIA's libraries at run time: beside a toolkit, or inside the packages that PyTorch brings along.
//!
//! ```text
//! PATH ──► library_folders ──► find (file names of CUDA 12 and 13) ──► open ──► functions by name
//! ```
//!
//! Nothing is linked, so one binary runs with and without a GPU. A library is opened for everybody (`RTLD_GLOBAL`), so
//! that libraries that open each other by name find what was opened here by its path; whoever needs several opens them
//! in the order of their dependencies ([`open_with`]).
//!
//! Libraries stay open until the process ends or the handle is dropped; the driver's may never be closed while a context
//! lives.

#![allow(unsafe_code, reason = "opening a library runs its initialisers; each block says why it is sound")]

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

pub use libloading::Library;

/// A library that could not be opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{library} was not found in {looked_in} ({detail})")]
pub struct Missing {
    /// Name without version, for instance `libcublasLt`.
    pub library: String,
    /// Folders that were searched, and the loader's own places.
    pub looked_in: String,
    /// What the loader said last.
    pub detail: String,
}

/// Folders that may hold CUDA libraries: those given, the `nvidia/*/lib` folders of each Python on `search_path` (the
/// variable PATH), and the toolkits under `/usr/local`, in this order.
#[must_use]
pub fn library_folders(given: &[PathBuf], search_path: Option<&OsStr>) -> Vec<PathBuf> {
    folders_in(Path::new("/"), given, search_path)
}

fn folders_in(root: &Path, given: &[PathBuf], search_path: Option<&OsStr>) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = given.to_vec();
    for bin in search_path.into_iter().flat_map(std::env::split_paths) {
        if !bin.join("python3").exists() {
            continue;
        }
        let Some(prefix) = bin.parent() else { continue };
        for python in ["lib", "local/lib"].into_iter().flat_map(|lib| entries(&prefix.join(lib), "python3")) {
            for packages in ["site-packages", "dist-packages"] {
                found.extend(entries(&python.join(packages).join("nvidia"), "").map(|p| p.join("lib")));
            }
        }
        // Debian keeps packages of all versions in one folder.
        found.extend(entries(&prefix.join("lib/python3/dist-packages/nvidia"), "").map(|p| p.join("lib")));
    }
    for toolkit in entries(&root.join("usr/local"), "cuda") {
        found.extend(["lib64", "extras/CUPTI/lib64"].map(|lib| toolkit.join(lib)));
    }
    found.retain(|p| p.is_dir());
    let mut unique: Vec<PathBuf> = Vec::new();
    for folder in found {
        if !unique.contains(&folder) {
            unique.push(folder);
        }
    }
    unique
}

/// Folders within `path` whose name begins with `prefix`, newest name first.
fn entries(path: &Path, prefix: &str) -> std::vec::IntoIter<PathBuf> {
    let mut all: Vec<PathBuf> = std::fs::read_dir(path)
        .into_iter()
        .flatten()
        .filter_map(|e| Some(e.ok()?.path()))
        .filter(|p| p.file_name().and_then(OsStr::to_str).is_some_and(|n| n.starts_with(prefix)))
        .collect();
    all.sort_by(|a, b| b.cmp(a));
    all.into_iter()
}

/// Versions in the names of libraries that the loader is asked for: those of CUDA 13 and 12, of cuDNN 9, of NCCL 2, of
/// the driver.
const VERSIONS: [&str; 5] = ["13", "12", "9", "2", "1"];

/// Where the library `stem` (for instance `libcupti`) may be: the newest file of each of `folders` whose name begins with
/// `stem.so`; then its usual names, which the loader looks for in its own places.
#[must_use]
pub fn find(stem: &str, folders: &[PathBuf]) -> Vec<PathBuf> {
    let prefix = format!("{stem}.so");
    let mut found: Vec<PathBuf> = folders.iter().flat_map(|f| entries(f, &prefix).take(1)).collect();
    found.extend(VERSIONS.map(|n| PathBuf::from(format!("{prefix}.{n}"))));
    found.push(PathBuf::from(prefix));
    found
}

/// A library and the file it came from.
#[derive(Debug)]
pub struct Opened {
    /// The open library.
    pub library: Library,
    /// Its file, or the name by which the loader found it.
    pub path: PathBuf,
}

/// Opens a library so that others which are opened later find it by its name.
///
/// # Errors
///
/// [`Missing`] when none of its files can be opened.
pub fn open(stem: &str, folders: &[PathBuf]) -> Result<Opened, Missing> {
    let mut last = String::new();
    for path in find(stem, folders) {
        // SAFETY: opening runs the library's initialisers; these are NVIDIA's own libraries, which expect to be opened
        // at any time.
        let opened = unsafe {
            libloading::os::unix::Library::open(
                Some(&path),
                libloading::os::unix::RTLD_NOW | libloading::os::unix::RTLD_GLOBAL,
            )
        };
        match opened {
            Ok(library) => return Ok(Opened { library: library.into(), path }),
            // What is wrong with a file that is there tells more than that a name is unknown.
            Err(e) if last.is_empty() || path.is_absolute() => last = e.to_string(),
            Err(_) => {}
        }
    }
    let mut places: Vec<String> = folders.iter().map(|f| f.display().to_string()).collect();
    places.push("the loader's own places".to_owned());
    Err(Missing { library: stem.to_owned(), looked_in: places.join(", "), detail: last })
}

/// Opens what `stem` opens by name at run time (`before`, in this order, where present; kept open for good), then `stem`.
///
/// # Errors
///
/// [`Missing`] when `stem` cannot be opened; whether the others could shows when it is used.
pub fn open_with(before: &[&str], stem: &str, folders: &[PathBuf]) -> Result<Opened, Missing> {
    for other in before {
        if let Ok(opened) = open(other, folders) {
            std::mem::forget(opened.library);
        }
    }
    open(stem, folders)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn packages_of_python_come_before_toolkits() {
        let root = tempfile::tempdir().unwrap();
        let make = |path: &str| {
            let path = root.path().join(path);
            std::fs::create_dir_all(&path).unwrap();
            path
        };
        let wheel = make("venv/lib/python3.12/site-packages/nvidia/cu13/lib");
        let toolkit = make("usr/local/cuda-13.0/extras/CUPTI/lib64");
        let bin = make("venv/bin");
        std::fs::write(bin.join("python3"), "").unwrap();
        let given = make("given");
        let found = folders_in(root.path(), std::slice::from_ref(&given), Some(bin.as_os_str()));
        assert_eq!(found, [given, wheel.clone(), toolkit]);
        std::fs::write(wheel.join("libcupti.so.13"), "").unwrap();
        assert_eq!(find("libcupti", &found)[0], wheel.join("libcupti.so.13"));
    }

    #[test]
    fn libraries_of_both_generations_are_asked_for() {
        let names = find("libcublasLt", &[]);
        assert!(names.contains(&PathBuf::from("libcublasLt.so.13")));
        assert!(names.contains(&PathBuf::from("libcublasLt.so.12")));
        assert!(find("libnccl", &[]).contains(&PathBuf::from("libnccl.so.2")));
    }

    #[test]
    fn a_library_that_is_not_there_is_told_with_the_places() {
        let folder = tempfile::tempdir().unwrap();
        let missing = open("libstopwatt-does-not-exist", &[folder.path().to_owned()]).unwrap_err();
        assert!(missing.to_string().contains(&folder.path().display().to_string()), "{missing}");
    }

    #[test]
    fn a_file_that_is_no_library_is_told_in_the_loaders_words() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("libstopwatt-broken.so.13");
        std::fs::write(&file, "not a library").unwrap();
        let missing = open("libstopwatt-broken", &[folder.path().to_owned()]).unwrap_err();
        assert!(missing.detail.contains("libstopwatt-broken.so.13"), "{missing}");
    }
}

//! Where NVIDIA's libraries are: beside a toolkit, or inside the packages that PyTorch brings along.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use crate::Unavailable;

/// Folders that may hold CUDA libraries: those given, the `nvidia/*/lib` folders of each Python on `search_path` (the
/// variable PATH), and the toolkits under `/usr/local`, in this order.
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

/// The library `stem` (for instance `libcupti`): the newest file in `folders` whose name begins with `stem.so`; else the
/// loader is left to find one of its usual names.
pub fn find(stem: &str, folders: &[PathBuf]) -> Vec<PathBuf> {
    let prefix = format!("{stem}.so");
    let mut found: Vec<PathBuf> = folders.iter().flat_map(|f| entries(f, &prefix).take(1)).collect();
    found.extend(["13", "12", "1"].map(|n| PathBuf::from(format!("{prefix}.{n}"))));
    found.push(PathBuf::from(prefix));
    found
}

/// Opens a library so that others which are opened later find it by its name.
pub(super) fn open(stem: &str, folders: &[PathBuf]) -> Result<libloading::Library, Unavailable> {
    let mut last = String::new();
    for path in find(stem, folders) {
        // SAFETY: opening runs the library's initialisers; these are NVIDIA's own libraries, which expect to be opened
        // at any time. They are never closed by us before the process ends (see `session`).
        let opened = unsafe {
            libloading::os::unix::Library::open(
                Some(&path),
                libloading::os::unix::RTLD_NOW | libloading::os::unix::RTLD_GLOBAL,
            )
        };
        match opened {
            Ok(library) => return Ok(library.into()),
            Err(e) => last = e.to_string(),
        }
    }
    Err(Unavailable::Library { library: stem.to_owned(), detail: last })
}

#[cfg(test)]
mod tests {
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
    fn a_library_that_is_not_there_is_a_reason() {
        let reason = open("libstopwatt-does-not-exist", &[]).unwrap_err();
        assert!(matches!(reason, Unavailable::Library { .. }), "{reason:?}");
    }
}

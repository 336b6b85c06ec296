//! Where `ncu` is, and which version.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::Unavailable;

/// A usable `ncu`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ncu {
    /// The program.
    pub path: PathBuf,
    /// Its version as it names itself, for instance `2025.3.1.0`.
    pub version: String,
}

/// Finds `ncu`: the path given, else the folders of `search_path` (the variable PATH), else where NVIDIA installs it,
/// newest first.
pub fn find(given: Option<&Path>, search_path: Option<&OsStr>) -> Result<Ncu, Unavailable> {
    if let Some(path) = given {
        // What was asked for is used or refused, never replaced.
        return version(path).map(|version| Ncu { path: path.to_owned(), version });
    }
    let in_path = search_path.into_iter().flat_map(std::env::split_paths).map(|d| d.join("ncu"));
    let mut last = None;
    for path in in_path.chain(installed(Path::new("/"))).filter(|p| p.is_file()) {
        match version(&path) {
            Ok(version) => return Ok(Ncu { path, version }),
            Err(reason) => last = Some(reason),
        }
    }
    Err(last.unwrap_or_else(|| Unavailable::Program {
        program: "ncu",
        places: "PATH, /opt/nvidia/nsight-compute and /usr/local/cuda*".to_owned(),
    }))
}

fn installed(root: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> =
        folders(&root.join("opt/nvidia/nsight-compute")).map(|d| d.join("ncu")).collect();
    found.extend(
        folders(&root.join("usr/local"))
            .filter(|d| d.file_name().and_then(OsStr::to_str).is_some_and(|n| n.starts_with("cuda")))
            .map(|d| d.join("bin/ncu")),
    );
    // Versions are years: names sort by age within one place.
    found.sort_by(|a, b| b.cmp(a));
    found
}

fn folders(path: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    std::fs::read_dir(path).into_iter().flatten().filter_map(|e| Some(e.ok()?.path())).filter(|p| p.is_dir())
}

fn version(path: &Path) -> Result<String, Unavailable> {
    let output = Command::new(path).arg("--version").stdin(Stdio::null()).output();
    let output =
        output.map_err(|e| Unavailable::Failed { program: "ncu".to_owned(), detail: e.to_string() })?;
    let text = String::from_utf8_lossy(&output.stdout);
    version_in(&text).ok_or_else(|| Unavailable::Unreadable {
        what: "the answer of `ncu --version`".to_owned(),
        detail: text.lines().next().unwrap_or("nothing").chars().take(80).collect(),
    })
}

/// The line `Version 2025.3.1.0 (build 36398880) (public-release)`.
fn version_in(text: &str) -> Option<String> {
    let line = text.lines().find_map(|l| l.trim().strip_prefix("Version "))?;
    line.split_ascii_whitespace().next().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_line_is_read() {
        // After the form that Nsight Compute prints; written by hand.
        let text = "NVIDIA (R) Nsight Compute Command Line Profiler\nCopyright (c) 2018-2025\nVersion 2025.3.1.0 (build 1) (public-release)\n";
        assert_eq!(version_in(text).as_deref(), Some("2025.3.1.0"));
        assert_eq!(version_in("ncu: not found"), None);
    }

    #[test]
    fn the_newest_installation_comes_first() {
        let root = tempfile::tempdir().unwrap();
        for folder in [
            "opt/nvidia/nsight-compute/2024.1.1",
            "opt/nvidia/nsight-compute/2025.3.1",
            "usr/local/cuda-12.4/bin",
            "usr/local/share",
        ] {
            std::fs::create_dir_all(root.path().join(folder)).unwrap();
        }
        let found = installed(root.path());
        let names: Vec<_> =
            found.iter().map(|p| p.strip_prefix(root.path()).unwrap().to_str().unwrap()).collect();
        assert_eq!(
            names,
            [
                "usr/local/cuda-12.4/bin/ncu",
                "opt/nvidia/nsight-compute/2025.3.1/ncu",
                "opt/nvidia/nsight-compute/2024.1.1/ncu"
            ]
        );
    }

    #[test]
    fn a_given_path_is_used_or_refused() {
        let reason = find(Some(Path::new("/nowhere/ncu")), None).unwrap_err();
        assert!(matches!(reason, Unavailable::Failed { .. }), "{reason:?}");
    }
}

//! Versions of CUDA's libraries, from packages or from names of files: nothing is loaded.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use super::{entries, name};

/// Name here, begin of the package's name, begin of the file's name.
const LIBRARIES: [(&str, &str, &str); 3] = [
    ("cuda_runtime", "nvidia-cuda-runtime", "libcudart.so."),
    ("cudnn", "nvidia-cudnn", "libcudnn.so."),
    ("nccl", "nvidia-nccl", "libnccl.so."),
];

/// Versions of the packages that bring the libraries along.
pub(super) fn of_packages(packages: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let version = |package: &str| {
        packages.iter().find(|(name, _)| name.starts_with(package)).map(|(_, version)| version.clone())
    };
    LIBRARIES.iter().filter_map(|(name, package, _)| Some(((*name).to_owned(), version(package)?))).collect()
}

/// Folders of toolkits and of the system's own libraries.
pub(super) fn system_folders(search: Option<&OsStr>) -> Vec<PathBuf> {
    let mut folders = stopwatt_nvlib::library_folders(&[], search);
    let system = ["/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib64", "/usr/local/lib"];
    folders.extend(system.map(PathBuf::from));
    folders
}

/// The most exact version that the names of files tell: `libcudnn.so.9.14.0`, also behind a link. A name with the major
/// number alone says little more than nothing and is left out.
pub(super) fn of_files(folders: &[PathBuf]) -> BTreeMap<String, String> {
    let version = |begin: &str| {
        let files = folders.iter().flat_map(|f| entries(f)).filter(|p| name(p).starts_with(begin));
        let real = |path: PathBuf| path.canonicalize().unwrap_or(path);
        let told = |path: PathBuf| number(&real(path), begin);
        files.filter_map(told).max_by_key(|v| v.split('.').count())
    };
    LIBRARIES.iter().filter_map(|(name, _, begin)| Some(((*name).to_owned(), version(begin)?))).collect()
}

fn number(file: &Path, begin: &str) -> Option<String> {
    let version = name(file).strip_prefix(begin)?;
    let whole = version.contains('.') && version.chars().all(|c| c.is_ascii_digit() || c == '.');
    whole.then(|| version.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_files_tell_versions_also_behind_links() {
        let root = tempfile::tempdir().unwrap();
        let make = |file: &str| std::fs::write(root.path().join(file), "").unwrap();
        make("libcudnn.so.9.14.0");
        make("libcudart.so.13");
        make("libcudnn_ops.so.9.1.0");
        std::os::unix::fs::symlink("libcudnn.so.9.14.0", root.path().join("libcudnn.so.9")).unwrap();
        let found = of_files(&[root.path().to_owned(), root.path().join("gone")]);
        assert_eq!(found, BTreeMap::from([("cudnn".to_owned(), "9.14.0".to_owned())]));
    }

    #[test]
    fn packages_tell_versions() {
        let packages = [("nvidia-nccl-cu13", "2.28.3"), ("torch", "2.11.0")];
        let packages = packages.map(|(k, v)| (k.to_owned(), v.to_owned())).into();
        assert_eq!(of_packages(&packages), BTreeMap::from([("nccl".to_owned(), "2.28.3".to_owned())]));
    }
}

//! A Python environment as its files show it: kind, name, version, packages. Nothing is run.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};

use super::{entries, name};

/// Packages that an inference result depends on, beside every `nvidia-…`.
const MATTER: [&str; 26] = [
    "accelerate",
    "autoawq",
    "bitsandbytes",
    "cupy-cuda12x",
    "cupy-cuda13x",
    "deepspeed",
    "flash-attn",
    "flashinfer-python",
    "jax",
    "jaxlib",
    "llama-cpp-python",
    "lmdeploy",
    "numpy",
    "onnxruntime",
    "onnxruntime-gpu",
    "openvino",
    "optimum",
    "safetensors",
    "sgl-kernel",
    "sglang",
    "tensorrt-llm",
    "tokenizers",
    "torch",
    "transformers",
    "triton",
    "vllm",
];

/// Where a Python looks for its packages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Environment {
    /// `venv`, `conda` or `system`.
    pub(super) kind: &'static str,
    /// Name of the environment's folder; `None` of the system's.
    pub(super) name: Option<String>,
    pub(super) version: Option<String>,
    /// Folders of packages; the first that has one counts.
    pub(super) folders: Vec<PathBuf>,
}

/// The environment of an interpreter, by its path as it is written: a link in `bin` of an environment means that one.
pub(super) fn environment(interpreter: &Path, home: Option<&Path>) -> Environment {
    let prefix = interpreter.parent().and_then(Path::parent).unwrap_or(Path::new("/"));
    let config = std::fs::read_to_string(prefix.join("pyvenv.cfg")).ok();
    let real = interpreter.canonicalize().unwrap_or_else(|_| interpreter.to_owned());
    let real_prefix = real.parent().and_then(Path::parent).unwrap_or(Path::new("/")).to_owned();
    let folder_name = |path: &Path| Some(name(path).to_owned()).filter(|n| !n.is_empty());
    let mut found = if let Some(config) = &config {
        let key = |key: &str| {
            let mut lines = config.lines().filter_map(|l| l.split_once('='));
            lines.find(|(k, _)| k.trim() == key).map(|(_, v)| v.trim().to_owned())
        };
        let mut folders = site_packages(prefix);
        if key("include-system-site-packages").as_deref() == Some("true") {
            folders.extend(user_and_system(&real_prefix, home));
        }
        let version = key("version").or_else(|| key("version_info"));
        // `3.12.3.final.0` of virtualenv is 3.12.3.
        let version = version.map(|v| v.split('.').take(3).collect::<Vec<_>>().join("."));
        Environment { kind: "venv", name: folder_name(prefix), version, folders }
    } else if real_prefix.join("conda-meta").is_dir() {
        let folders = site_packages(&real_prefix);
        Environment { kind: "conda", name: folder_name(&real_prefix), version: None, folders }
    } else {
        let folders = user_and_system(&real_prefix, home);
        Environment { kind: "system", name: None, version: None, folders }
    };
    found.version = found.version.or_else(|| {
        // The name of the program, or of its folder of packages: `python3.12`.
        let digits = |text: &str| text.strip_prefix("python").filter(|v| v.contains('.')).map(str::to_owned);
        let folders = found.folders.iter().filter_map(|f| digits(name(f.parent()?)));
        digits(name(&real)).or_else(|| folders.into_iter().next())
    });
    found
}

/// `lib/pythonX.Y/{site,dist}-packages` below a prefix.
fn site_packages(prefix: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for lib in ["lib", "lib64", "local/lib"] {
        for python in entries(&prefix.join(lib)).into_iter().rev().filter(|p| name(p).starts_with("python3"))
        {
            found.extend(["site-packages", "dist-packages"].map(|d| python.join(d)));
        }
    }
    found.retain(|p| p.is_dir());
    found
}

fn user_and_system(prefix: &Path, home: Option<&Path>) -> Vec<PathBuf> {
    let user = home.map(|h| site_packages(&h.join(".local"))).unwrap_or_default();
    user.into_iter().chain(site_packages(prefix)).collect()
}

/// Versions of the packages that matter, by normalised name.
pub(super) fn packages(folders: &[PathBuf]) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for entry in folders.iter().flat_map(|f| entries(f)) {
        let (stem, file) = match name(&entry).rsplit_once('.') {
            Some((stem, "dist-info")) => (stem, "METADATA"),
            Some((stem, "egg-info")) => (stem, "PKG-INFO"),
            _ => continue,
        };
        let package = normal(stem.split('-').next().unwrap_or_default());
        let matters = MATTER.contains(&package.as_str()) || package.starts_with("nvidia-");
        if !matters || found.contains_key(&package) {
            continue;
        }
        if let Some(version) = version(&entry.join(file)) {
            found.insert(package, version);
        }
    }
    found
}

/// `Version:` of a package's metadata.
fn version(metadata: &Path) -> Option<String> {
    let lines = BufReader::new(std::fs::File::open(metadata).ok()?).lines().map_while(Result::ok);
    // The header ends at the first empty line.
    let mut header = lines.take_while(|l| !l.is_empty()).take(200);
    header.find_map(|l| l.strip_prefix("Version:").map(|v| v.trim().to_owned())).filter(|v| !v.is_empty())
}

/// A package's name as PEP 503 writes it.
fn normal(name: &str) -> String {
    let parts: Vec<&str> = name.split(['-', '_', '.']).filter(|p| !p.is_empty()).collect();
    parts.join("-").to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn make(root: &Path, path: &str, text: &str) -> PathBuf {
        let path = root.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path
    }

    #[test]
    fn each_kind_of_environment_is_told_apart() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        let system = make(root, "usr/bin/python3.11", "");
        make(root, "usr/lib/python3/dist-packages/numpy-1.26.4.egg-info/PKG-INFO", "Version: 1.26.4\n");
        let found = environment(&system, None);
        assert_eq!((found.kind, &found.name, found.version.as_deref()), ("system", &None, Some("3.11")));
        assert_eq!(packages(&found.folders)["numpy"], "1.26.4");

        let conda = make(root, "opt/conda/envs/infer/bin/python3.10", "");
        make(root, "opt/conda/envs/infer/conda-meta/history", "");
        let found = environment(&conda, None);
        assert_eq!((found.kind, found.name.as_deref()), ("conda", Some("infer")));

        let inside = make(root, "v/bin/python", "");
        make(root, "v/pyvenv.cfg", "version_info = 3.12.3.final.0\ninclude-system-site-packages = false\n");
        let found = environment(&inside, None);
        assert_eq!((found.kind, found.version.as_deref()), ("venv", Some("3.12.3")));
    }

    #[test]
    fn the_first_folder_that_has_a_package_counts() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        for (folder, version) in [("a", "2.0"), ("b", "1.0")] {
            make(
                root,
                &format!("{folder}/Flash_Attn-{version}.dist-info/METADATA"),
                &format!("Version: {version}\n"),
            );
        }
        make(root, "b/torch-1.dist-info/METADATA", "Name: torch\n\nVersion: 9 of the description\n");
        let found = packages(&[root.join("a"), root.join("b")]);
        assert_eq!(found, BTreeMap::from([("flash-attn".to_owned(), "2.0".to_owned())]));
    }
}

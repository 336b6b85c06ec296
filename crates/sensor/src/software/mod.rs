//! With what a run is measured: source, programs, Python packages, CUDA libraries, model and data.
//!
//! Nothing of it is loaded or run, apart from `git`; versions come from names of files and folders. What cannot be told
//! has a reason by the name of its field.

mod content;
mod digest;
mod git;
mod libraries;
mod program;
mod python;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use stopwatt_core::software::Software;

pub use content::{Content, content};

/// What is looked at.
#[derive(Debug, Clone)]
pub struct Subject {
    /// The target's program and its arguments, or why there is none to look at.
    pub command: Result<Vec<String>, String>,
    /// Its working directory.
    pub folder: PathBuf,
    /// The variable PATH.
    pub search_path: Option<std::ffi::OsString>,
    /// Home directory of the user, where Python may keep packages.
    pub home: Option<PathBuf>,
}

/// Reasons by the name of the field that is not known.
pub type Unknown = BTreeMap<String, String>;

/// Looks at the software of a target and of this program.
pub fn look(subject: &Subject) -> (Software, Unknown) {
    let mut found = Software::default();
    let mut unknown = Unknown::new();
    let mut miss = |field: &str, why: &str| {
        unknown.insert(format!("software.{field}"), why.to_owned());
    };
    match std::env::current_exe().and_then(|path| digest::file(&path)) {
        Ok(hash) => found.stopwatt_sha256 = Some(hash),
        Err(error) => miss("stopwatt_sha256", &error.to_string()),
    }
    container(&mut found, &mut miss);
    match &subject.command {
        Ok(words) => {
            source(subject, &mut found, &mut miss);
            programs(subject, words, &mut found, &mut miss);
        }
        Err(why) => {
            for field in ["git_commit", "target_sha256", "environment", "packages", "libraries"] {
                miss(field, why);
            }
        }
    }
    (found, unknown)
}

fn container(found: &mut Software, miss: &mut dyn FnMut(&str, &str)) {
    let kind = crate::host::container();
    let word = serde_json::to_value(kind).ok().and_then(|v| v.as_str().map(str::to_owned));
    found.container = word;
    if kind == crate::host::Container::None {
        return;
    }
    let marks = crate::host::container_marks();
    found.container_image = marks.image.map(|id| digest::short(id.as_bytes()));
    found.container_hash = marks.container.map(|id| digest::short(id.as_bytes()));
    if found.container_image.is_none() {
        miss("container_image", "the container does not show the image it was made from");
    }
}

fn source(subject: &Subject, found: &mut Software, miss: &mut dyn FnMut(&str, &str)) {
    match git::look(&subject.folder) {
        Ok(state) => {
            found.git_commit = Some(state.commit);
            found.git_branch = state.branch;
            found.git_dirty = Some(state.diff.is_some());
            found.git_diff = state.diff;
        }
        Err(why) => miss("git_commit", &why),
    }
}

fn programs(subject: &Subject, words: &[String], found: &mut Software, miss: &mut dyn FnMut(&str, &str)) {
    let Subject { folder, search_path, home, .. } = subject;
    let search = search_path.as_deref();
    match program::resolve(words.first().map_or("", String::as_str), folder, search) {
        // The built-in engine is this very program.
        Some(path) if std::env::current_exe().is_ok_and(|own| own == path) => {
            found.target_sha256.clone_from(&found.stopwatt_sha256);
        }
        Some(path) => match digest::file(&path) {
            Ok(hash) => found.target_sha256 = Some(hash),
            Err(error) => miss("target_sha256", &error.to_string()),
        },
        None => miss("target_sha256", "the program was not found"),
    }
    found.script_sha256 = program::script(words, folder).and_then(|path| digest::file(&path).ok());
    let Some(interpreter) = program::python(words, folder, search) else {
        miss("packages", "the target is not a Python program");
        found.libraries = libraries::of_files(&libraries::system_folders(None));
        return;
    };
    let environment = python::environment(&interpreter, home.as_deref());
    found.environment = Some(environment.kind.to_owned());
    found.environment_hash = environment.name.as_deref().map(|name| digest::short(name.as_bytes()));
    found.python = environment.version.clone();
    found.packages = python::packages(&environment.folders);
    if found.packages.is_empty() {
        let why = "no package that matters to inference is installed where the target's Python looks";
        miss("packages", why);
    }
    found.libraries = libraries::of_packages(&found.packages);
    for (name, version) in libraries::of_files(&libraries::system_folders(search)) {
        found.libraries.entry(name).or_insert(version);
    }
    if found.libraries.is_empty() {
        miss("libraries", "no CUDA library was found beside the packages or in a toolkit");
    }
}

/// Entries of a folder, sorted by name; empty where there is none.
fn entries(folder: &Path) -> Vec<PathBuf> {
    let mut all: Vec<PathBuf> =
        std::fs::read_dir(folder).into_iter().flatten().filter_map(|e| Some(e.ok()?.path())).collect();
    all.sort();
    all
}

/// The last part of a path as text.
fn name(path: &Path) -> &str {
    path.file_name().and_then(OsStr::to_str).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_python_program_in_its_environment_is_described_without_running_it() {
        let root = tempfile::tempdir().unwrap();
        let make = |path: &str, text: &str| {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        make("envs/mine/pyvenv.cfg", "home = /usr/bin\nversion = 3.12.3\n");
        make("envs/mine/bin/python3", "not a program: it is never run");
        let site = "envs/mine/lib/python3.12/site-packages";
        make(
            &format!("{site}/torch-2.11.0+cu130.dist-info/METADATA"),
            "Name: torch\nVersion: 2.11.0+cu130\n\n",
        );
        make(
            &format!("{site}/nvidia_cudnn_cu13-9.19.0.56.dist-info/METADATA"),
            "Metadata-Version: 2.1\nName: nvidia-cudnn-cu13\nVersion: 9.19.0.56\n",
        );
        make(&format!("{site}/left_pad-1.0.dist-info/METADATA"), "Name: left_pad\nVersion: 1.0\n");
        make("target.py", "print(1)\n");
        let python = root.path().join("envs/mine/bin/python3").display().to_string();
        let subject = Subject {
            command: Ok(vec![python, "-u".to_owned(), "target.py".to_owned()]),
            folder: root.path().to_owned(),
            search_path: None,
            home: None,
        };
        let (found, unknown) = look(&subject);
        let packages: Vec<_> = found.packages.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        assert_eq!(packages, [("nvidia-cudnn-cu13", "9.19.0.56"), ("torch", "2.11.0+cu130")]);
        assert_eq!(found.libraries.get("cudnn").map(String::as_str), Some("9.19.0.56"));
        assert_eq!((found.environment.as_deref(), found.python.as_deref()), (Some("venv"), Some("3.12.3")));
        // SHA-256 of "mine" and of the script's nine bytes.
        assert_eq!(found.environment_hash, Some(digest::short(b"mine")));
        assert_eq!(found.script_sha256.as_deref().map(str::len), Some(64));
        assert!(found.target_sha256.is_some() && found.stopwatt_sha256.is_some());
        let told = serde_json::to_string(&(&found, &unknown)).unwrap();
        assert!(!told.contains(root.path().to_str().unwrap()) && !told.contains("mine"), "{told}");
    }

    #[test]
    fn what_is_not_ours_has_a_reason_instead() {
        let command = Err("the engine was not started by Stopwatt".to_owned());
        let subject = Subject { command, folder: PathBuf::new(), search_path: None, home: None };
        let (found, unknown) = look(&subject);
        assert_eq!((found.git_commit, found.target_sha256), (None, None));
        assert!(unknown["software.git_commit"].contains("not started"));
    }
}

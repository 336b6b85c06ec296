//! Holds the documentation to the program: the reference is made from it, and what the pages tell one to type is
//! understood.
//!
//! `UPDATE_DOCS=1 cargo test -p stopwatt documentation` writes the reference anew.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod commands;
mod links;
mod reference;
mod typed;

use std::path::{Path, PathBuf};

/// The top folder of the repository.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// All Markdown files of a folder and below it, as paths from the top folder, in order.
fn pages(folder: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(root().join(folder)).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        let path = if folder == "." { name.clone() } else { format!("{folder}/{name}") };
        if entry.file_type().unwrap().is_dir() {
            if folder != "." {
                found.extend(pages(&path));
            }
        } else if name.ends_with(".md") {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// Every page that a reader may meet: of the top folder, the documentation, and beside what it describes.
fn every_page() -> Vec<String> {
    let folders = [".", "docs", "deploy", "benchmarks", "examples", "crates"];
    folders.iter().filter(|f| root().join(f).exists()).flat_map(|f| pages(f)).collect()
}

fn read(page: &str) -> String {
    std::fs::read_to_string(root().join(page)).unwrap_or_else(|e| panic!("{page}: {e}"))
}

/// Holds a page to what the program says; `UPDATE_DOCS=1` writes it.
#[track_caller]
fn check(page: &str, text: &str) {
    let path = root().join(page);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
    }
    let stored = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(stored == text, "{page} is stale: UPDATE_DOCS=1 cargo test -p stopwatt documentation");
}

//! Holds the shape of the workspace: dependencies between our crates point down (ARCHITECTURE.md, "The parts").

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Every edge that may exist. Adding one is a design decision: change ARCHITECTURE.md with it.
const ALLOWED: &[(&str, &[&str])] = &[
    ("core", &[]),
    ("stats", &[]),
    ("nvlib", &[]),
    ("layout", &[]),
    ("wire", &["core"]),
    ("serving", &["core"]),
    ("record", &["core"]),
    ("kernel", &["core", "stats", "nvlib"]),
    ("sensor", &["core", "stats", "nvlib"]),
    ("load", &["core", "wire"]),
    ("model", &["kernel"]),
    ("analyse", &["core", "stats", "serving"]),
    ("predict", &["core", "stats", "serving"]),
    ("quality", &["stats"]),
    ("engine", &["core", "wire", "serving", "kernel", "model"]),
    (
        "experiment",
        &[
            "core", "stats", "wire", "serving", "record", "load", "sensor", "kernel", "nvlib", "analyse",
            "layout", "model",
        ],
    ),
    ("ocr", &["core", "stats", "wire", "serving", "load", "quality"]),
    ("ops", &["core", "stats", "wire", "serving", "record", "load", "sensor", "quality"]),
    ("report", &["core", "stats", "record", "analyse"]),
];

fn dependencies(manifest: &str) -> BTreeSet<String> {
    let mut wanted = false;
    let mut found = BTreeSet::new();
    for line in manifest.lines().map(str::trim) {
        if line.starts_with('[') {
            wanted =
                line == "[dependencies]" || line.starts_with("[target.") && line.ends_with(".dependencies]");
        } else if let Some(rest) = line.strip_prefix("stopwatt-").filter(|_| wanted) {
            let end = rest.find(['.', ' ', '=']).unwrap_or(rest.len());
            found.insert(rest[..end].to_owned());
        }
    }
    found
}

#[test]
fn dependencies_point_down() {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let allowed: BTreeMap<_, BTreeSet<_>> =
        ALLOWED.iter().map(|(k, v)| (*k, v.iter().map(|s| (*s).to_owned()).collect())).collect();
    let mut seen = BTreeSet::new();
    for entry in std::fs::read_dir(crates).unwrap() {
        let dir = entry.unwrap().path();
        let name = dir.file_name().unwrap().to_str().unwrap().to_owned();
        let found = dependencies(&std::fs::read_to_string(dir.join("Cargo.toml")).unwrap());
        if name == "stopwatt" {
            assert!(found.contains("core"), "the scan of manifests found nothing");
            continue; // the binary may use everything
        }
        let may = allowed.get(name.as_str()).unwrap_or_else(|| panic!("{name} is not in the table"));
        let extra: Vec<_> = found.difference(may).collect();
        assert!(extra.is_empty(), "{name} must not depend on {extra:?}");
        seen.insert(name);
    }
    assert_eq!(seen.len(), ALLOWED.len(), "the table names a crate that does not exist");
}

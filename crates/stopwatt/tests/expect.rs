//! `stopwatt expect` from the outside: store, meet, regress, and say when nothing is known.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use common::{Exact, Place, follows};
use serde_json::Value;

/// A run of the exact engine with this TTFT, under `name`.
fn measured(place: &Place, name: &str, ttft: &str) {
    let exact = Exact::start(&["--ttft", ttft, "--itl", "2ms"]);
    let settings =
        ["--requests", "6", "--repeats", "4", "--concurrency", "1", "--input", "16", "--output", "16"];
    let args = [&["bench", "--url", &exact.url, "--warmup", "4", "--out", name][..], &settings].concat();
    place.run(&args).expect(0);
}

#[test]
fn a_run_is_judged_by_what_was_stored() {
    let place = Place::new();
    measured(&place, "first", "80ms");
    let judge = ["expect", "first", "--file-dir", "known", "--format", "json", "--primary", "ttft p50"];
    // Nothing is stored yet, and judging stores nothing.
    let doc = place.run(&judge).expect(11).json();
    assert_eq!((&doc["state"], &doc["judged"][0]["comparison"]), (&"inconclusive".into(), &Value::Null));
    assert!(!place.path("known").exists());

    let store = ["expect", "first", "--file-dir", "known", "--update-expectations"];
    let said = place.run(&store).expect(0).stderr;
    assert!(said.contains("stored `bench:batch"), "{said}");
    let files: Vec<_> = std::fs::read_dir(place.path("known")).unwrap().map(|e| e.unwrap().path()).collect();
    let [file] = files.as_slice() else { panic!("{files:?}") };
    let name = file.file_name().unwrap().to_str().unwrap();
    assert!(name.starts_with("expectations_") && name.ends_with(".json"), "{name}");
    let stored = std::fs::read_to_string(file).unwrap();
    follows("expectations.schema.json", &serde_json::from_str(&stored).unwrap());

    // The stored run meets itself; 40 ms more is a regression, half of it is fine.
    let doc = place.run(&judge).expect(0).json();
    assert_eq!(doc["judged"][0]["comparison"]["gates"][0]["gate"], "ttft p50 <= +5%");
    follows("expectation-report.schema.json", &doc);
    for (run, ttft, code) in [("slower", "120ms", 10), ("faster", "40ms", 0)] {
        measured(&place, run, ttft);
        let args = ["expect", run, "--file-dir", "known", "--primary", "ttft p50"];
        place.run(&args).expect(code);
    }
    assert_eq!(std::fs::read_to_string(file).unwrap(), stored, "only the flag writes");

    // Another target of the same hardware stands beside the first one.
    let other = [&store[..], &["--target", "mine"]].concat();
    place.run(&other).expect(0);
    let both: Value = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    assert_eq!(both["targets"].as_object().unwrap().len(), 2);
    let two = ["expect", "first", "slower", "--file-dir", "known", "--target", "mine"];
    assert!(place.run(&two).expect(1).stderr.contains("--target names one target"));

    std::fs::write(file, "{").unwrap();
    let damaged = place.run(&judge).expect(1).stderr;
    assert!(damaged.contains("does not hold expectations") && damaged.contains("hint:"), "{damaged}");
}

//! The recipe of `examples/ci-gate` against an engine that gets slower, and the action that calls it.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use std::path::{Path, PathBuf};
use std::process::Command;

use common::{Ended, Exact, Place, STOPWATT};

fn example(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/ci-gate").join(file)
}

/// Runs the recipe in a place, with the load of its settings file made small.
fn gate(place: &Place, ttft: &str, out: &str, variables: &[(&str, &str)]) -> Ended {
    let exact = Exact::start(&["--ttft", ttft, "--itl", "2ms"]);
    let mut command = Command::new(example("gate.sh"));
    command.current_dir(place.dir.path()).env("STOPWATT", STOPWATT).env("OUT", out);
    command.env("XDG_CACHE_HOME", place.path("cache")).env("STOPWATT_RUNS", place.path("runs"));
    command.envs(variables.iter().copied());
    command.args(["--url", &exact.url, "-c"]).arg(example("bench.yaml"));
    command.args(["--repeats", "4", "--requests", "6", "--concurrency", "1", "--warmup", "4"]);
    Ended::from(command.output().unwrap())
}

#[test]
fn the_recipe_passes_fails_and_does_not_know() {
    let place = Place::new();
    let ttft = [("PRIMARY", "ttft p50 ; ttft mean"), ("MARGIN", "30%")];
    // Nothing is expected yet.
    gate(&place, "80ms", "none", &ttft).expect(11);
    let comment = std::fs::read_to_string(place.path("stopwatt-gate.md")).unwrap();
    assert!(comment.starts_with("### Stopwatt: inconclusive"), "{comment}");

    gate(&place, "80ms", "known", &[("UPDATE", "1")]).expect(0);
    assert!(place.path("expectations").exists());
    gate(&place, "80ms", "same", &ttft).expect(0);
    let slower = gate(&place, "160ms", "slower", &ttft).expect(10);
    let comment = std::fs::read_to_string(place.path("stopwatt-gate.md")).unwrap();
    assert!(comment.contains("something got worse"), "{comment}");
    let table = comment.split("```text\n").nth(1).and_then(|t| t.split("```").next()).unwrap();
    assert!(table.contains("✗ regressed") && slower.stdout.contains(table.trim_end()), "{comment}");

    // A run is never written over, and a measurement that fails is no verdict.
    assert!(gate(&place, "80ms", "same", &ttft).expect(1).stderr.contains("is there already"));
    let mut dead = Command::new(example("gate.sh"));
    dead.current_dir(place.dir.path()).env("STOPWATT", STOPWATT).env("OUT", "dead");
    let dead = dead.args(["--url", "http://127.0.0.1:9", "--requests", "1"]).output().unwrap();
    assert!(!matches!(dead.status.code(), Some(0 | 10 | 11)), "{dead:?}");
}

#[test]
fn the_action_calls_the_recipe_and_hands_inputs_over_as_variables() {
    let action = std::fs::read_to_string(example("../../action.yml")).unwrap();
    assert!(action.contains("$GITHUB_ACTION_PATH/examples/ci-gate/gate.sh"));
    // An expression inside a script is text of the script: whoever sets an input could write commands.
    let mut script = None;
    for line in action.lines() {
        let indent = line.len() - line.trim_start().len();
        if line.trim_start().starts_with("run: |") {
            script = Some(indent);
        } else if script.is_some_and(|depth| indent <= depth && !line.trim().is_empty()) {
            script = None;
        }
        assert!(script.is_none() || !line.contains("${{"), "an expression inside a script: {line}");
    }
}

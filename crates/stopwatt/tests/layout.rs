//! Layouts from the outside: the commands of the measurement procedure, on a model small enough for a test.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use std::path::Path;

use common::{Ended, Place};
use serde_json::Value;

const SMALL: [&str; 10] = [
    "target.layout.preset=tiny",
    "target.layout.layer=0",
    "target.layout.steps=60",
    "target.layout.working_set_mib=0.5",
    "solver.refine_steps=2000",
    "pipeline.repeats=60",
    "pipeline.trials=3",
    "pipeline.warmup_iter=10",
    "pipeline.warmup_max_s=0.5",
    "measure.power_enable=false",
];

fn run(place: &Place, overrides: &[&str], out: &str) -> Ended {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/examples/layout.yaml");
    std::fs::copy(docs, place.path("config.yaml")).unwrap();
    let mut args = vec!["run", "-c", "config.yaml", "--out", out, "--format", "json"];
    for pair in SMALL.iter().chain(overrides) {
        args.extend(["--override", pair]);
    }
    place.run(&args)
}

fn read(place: &Place, name: &str) -> Value {
    serde_json::from_slice(&std::fs::read(place.path(name)).unwrap()).unwrap()
}

#[test]
fn linear_and_iterative_are_measured_and_compared() {
    let place = Place::new();
    let text = "One and one are two, two and two are four, and so it goes on for a while. ".repeat(60);
    std::fs::write(place.path("text"), text).unwrap();
    for mode in ["linear", "iterative"] {
        let mode_key = format!("pipeline.mode={mode}");
        let out = format!("runs/{mode}");
        let doc =
            run(&place, &[&mode_key, "quality.text=text", "quality.max_samples=30"], &out).expect(0).json();
        assert_eq!((&doc["pipeline"]["mode"], &doc["status"]), (&mode.into(), &"complete".into()));
        assert!(doc["latency_ms"]["mean"].as_f64() > Some(0.0));
        assert!(doc["custom"]["blocks_read"]["value"].as_f64() > Some(0.0), "{}", doc["custom"]);
        let quality = &doc["quality"];
        assert_eq!((&quality["method"], &quality["items"]), (&"perplexity".into(), &30.into()));
        assert!(
            quality["kl_nats"]["value"].as_f64() >= Some(0.0) && quality["reference"]["value"].is_number()
        );
        let log = std::fs::read_to_string(place.path(&out).join("run.log")).unwrap();
        for stage in ["W_BUILT", "PERMUTED", "TRANSFORMED"] {
            assert!(log.contains(stage), "{stage}");
        }
        assert_eq!(log.contains("REPERMUTED"), mode == "iterative");
        let (before, after) = (
            read(&place, &format!("{out}/perm_before.json")),
            read(&place, &format!("{out}/perm_after.json")),
        );
        assert_eq!((before["d"].as_u64(), after["pi"].as_array().map(Vec::len)), (Some(160), Some(160)));
        if mode == "linear" {
            assert_eq!(before["sha256"], after["sha256"]);
        }
        let arms = read(&place, &format!("{out}/arms.json"));
        let names: Vec<&str> =
            arms["arms"].as_array().unwrap().iter().map(|a| a["arm"].as_str().unwrap()).collect();
        assert_eq!(names, ["identity", "random", "linear", "once", "iterative"]);
        for file in ["W.csr.json", "w.meta.json", "stats_before.json", "stats_after.json", "matrix_after.png"]
        {
            assert!(place.path(&out).join(file).is_file(), "{file}");
        }
    }
    let compared =
        place.run(&["compare", "runs/linear", "runs/iterative", "--format", "json"]).expect(0).json();
    let rows = compared["comparisons"].as_array().unwrap();
    assert!(rows.iter().any(|r| r["metric"] == "e2e" && r["ci95"].is_array()), "{rows:?}");
}

#[test]
fn a_permutation_of_another_run_is_taken_over_and_bad_ones_are_refused() {
    let place = Place::new();
    run(&place, &["pipeline.mode=random", "pipeline.no_measure=true"], "a").expect(0);
    run(&place, &["pipeline.reuse_perm=a/perm_after.json", "pipeline.no_measure=true"], "b").expect(0);
    assert_eq!(read(&place, "a/perm_after.json"), read(&place, "b/perm_after.json"));
    std::fs::write(place.path("bad.json"), "[0, 0, 1]").unwrap();
    let refused = run(&place, &["pipeline.reuse_perm=bad.json"], "c").expect(2);
    assert!(refused.stderr.contains("3 units where 160 are permuted"), "{}", refused.stderr);
    let unknown = run(&place, &["pipeline.mode=sideways"], "d").expect(2);
    assert!(unknown.stderr.contains("iterative"), "{}", unknown.stderr);
    let block = run(&place, &["target.layout.block=48"], "e").expect(2);
    assert!(block.stderr.contains("target.layout.block"), "{}", block.stderr);
}

#[test]
fn a_solver_without_time_measures_the_best_so_far_and_exits_with_5() {
    let place = Place::new();
    let ended = run(&place, &["pipeline.mode=iterative", "solver.time_budget_s=0"], "r").expect(5);
    assert!(ended.json()["latency_ms"]["mean"].as_f64() > Some(0.0));
    let log = std::fs::read_to_string(place.path("r/run.log")).unwrap();
    assert!(log.contains("solver_timeout"));
}

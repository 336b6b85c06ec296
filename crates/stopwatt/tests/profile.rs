//! `profile` and `roofline` on this machine's processor: what is written, what is refused.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use common::{Place, follows};
use serde_json::Value;

/// A profile of one tiny kernel.
const TINY: [&str; 13] = [
    "profile",
    "--op",
    "rms_norm",
    "--shape",
    "rows=4,cols=64",
    "--threads",
    "1",
    "--warmup",
    "1",
    "--iterations",
    "8",
    "--cache",
    "warm",
];

#[test]
fn a_profile_is_a_run_with_a_table() {
    let place = Place::new();
    let ended = place.run(&[&TINY[..], &["--out", "run", "--format", "json"]].concat()).expect(0);
    follows("kernel-table.schema.json", &ended.json());
    let table: Value = serde_json::from_str(&ended.stdout).unwrap();
    let row = &table["rows"][0];
    assert_eq!((&row["op"]["kind"], &row["block"]), (&"rms_norm".into(), &1.into()));
    assert_eq!(row["outcome"]["time"]["n"], 8);
    let file = |name: &str| std::fs::read(place.path("run").join(name)).unwrap();
    let metrics = String::from_utf8(file("metrics.json")).unwrap();
    follows("metrics.schema.json", &serde_json::from_str(&metrics).unwrap());
    let metrics: Value = serde_json::from_str(&metrics).unwrap();
    assert_eq!((&metrics["status"], &metrics["throughput_toks_s"]), (&"complete".into(), &Value::Null));
    assert!(metrics["reasons"]["throughput_toks_s"].is_string());
    assert_eq!(metrics["validity"]["valid"], true, "{}", metrics["validity"]);
    assert!(file("kernels.parquet").starts_with(b"PAR1"));
    assert!(String::from_utf8(file("report.html")).unwrap().contains("id=\"hardware\""));

    // What is there already is not measured again.
    let more = ["--shape", "rows=5,cols=64", "--resume", "run", "--out", "more", "--format", "csv"];
    let ended = place.run(&[&TINY[..], &more].concat()).expect(0);
    assert_eq!(ended.stdout.lines().count(), 3, "{}", ended.stdout);
    let log = std::fs::read_to_string(place.path("more").join("run.log")).unwrap();
    assert!(log.contains("\"resumed\":1"), "{log}");
}

#[test]
fn what_makes_no_sense_is_told_before_anything_is_measured() {
    let place = Place::new();
    let refuse = |args: &[&str], code: i32, words: &str| {
        let ended = place.run(args).expect(code);
        assert!(ended.stderr.contains(words), "{args:?}: {}", ended.stderr);
    };
    refuse(&["profile", "--op", "linear", "--shape", "m=1,n=2"], 2, "`k`");
    refuse(&["profile", "--op", "linear", "--family", "memory"], 2, "nothing to measure");
    refuse(&["profile", "--device", "cuda:999"], 3, "cuda:999");
    refuse(&["roofline", "--device", "cuda"], 3, "cuda");
    refuse(&["profile", "--op", "matmul"], 1, "linear");
    refuse(&["profile", "--shape", "m=1"], 1, "--op");
    refuse(&["profile", "--resume", "nothing-here"], 1, "nothing-here");
    assert!(!place.path("runs").exists());
}

#[test]
fn a_kernel_is_a_target_of_run() {
    let place = Place::new();
    let settings = "target:\n  kind: kernel\n  kernel: { op: softmax, shape: { rows: 8, cols: 256 }, threads: 1, calls: 4 }\n";
    std::fs::write(place.path("kernel.yaml"), settings).unwrap();
    let flags =
        ["run", "-c", "kernel.yaml", "--repeats", "60", "--trials", "3", "--warmup", "20", "--out", "run"];
    place.run(&flags).expect(0);
    let text = std::fs::read_to_string(place.path("run").join("metrics.json")).unwrap();
    follows("metrics.schema.json", &serde_json::from_str(&text).unwrap());
    let metrics: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(metrics["pipeline"]["repeats"], 60);
    assert!(metrics["latency_ms"]["p50"].as_f64().is_some_and(|ms| ms > 0.0));
}

//! Engines that `bench` starts itself, searches, and runs that are resumed.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use std::path::Path;

use common::{Exact, Place, STOPWATT, only_run, wait_for};
use serde_json::Value;

const SHORT: [&str; 8] = ["--requests", "4", "--repeats", "2", "--output", "4", "--warmup", "0"];

fn serve(rest: &str) -> String {
    format!("{STOPWATT} serve --kind exact --port {{port}} {rest}")
}

fn engines(doc: &Value) -> Vec<(String, String)> {
    let word = |v: &Value| v.as_str().unwrap_or_default().to_owned();
    let of = |e: &Value| (word(&e["settings"]["itl"]), word(&e["outcome"]));
    let mut found: Vec<_> = doc["engines"].as_array().unwrap().iter().map(of).collect();
    found.sort();
    found
}

fn is_valid(doc: &Value) {
    let schema: Value = serde_json::from_str(include_str!("../../../schemas/metrics.schema.json")).unwrap();
    let problems: Vec<_> =
        jsonschema::validator_for(&schema).unwrap().iter_errors(doc).map(|e| e.to_string()).collect();
    assert!(problems.is_empty(), "{problems:?}");
}

/// Processes whose command line holds `mark`.
fn with_mark(mark: &str) -> usize {
    let of = |p: std::path::PathBuf| std::fs::read(p.join("cmdline")).unwrap_or_default();
    let all = std::fs::read_dir("/proc").unwrap().map(|e| of(e.unwrap().path()));
    all.filter(|c| String::from_utf8_lossy(c).contains(mark) && !c.starts_with(b"bench")).count()
}

#[test]
fn each_setting_gets_an_engine_and_one_that_dies_is_a_result() {
    let place = Place::new();
    let command = serve("--itl {itl} --model-name mark-sweep-7f3a");
    let args =
        ["bench", "--serve-cmd", &command, "--sweep", "itl=1ms,3ms,soon", "--sweep", "concurrency=1,2"];
    let more = ["--input", "8", "--slo", "ttft < 1s", "--format", "json"];
    let doc = place.run(&[&args[..], &SHORT, &more].concat()).expect(0).json();
    is_valid(&doc);
    let expected = [("1ms", "measured"), ("3ms", "measured"), ("soon", "died")];
    assert_eq!(engines(&doc), expected.map(|(a, b)| (a.to_owned(), b.to_owned())));
    let dead = doc["engines"].as_array().unwrap().iter().find(|e| e["outcome"] == "died").unwrap();
    assert_eq!((dead["exit"].as_str(), dead["cause"].as_str()), (Some("exit status 1"), Some("arguments")));
    assert!(dead["log"]["lines"].as_u64().unwrap() > 0 && dead["log"]["tail"].is_null());
    let points = doc["points"].as_array().unwrap();
    assert_eq!(points.len(), 4);
    for point in points {
        let tpot = point["metrics"]["tpot"]["mean"]["value"].as_f64().unwrap();
        let asked = if point["engine_settings"]["itl"] == "1ms" { 0.001 } else { 0.003 };
        assert!(tpot > 0.5 * asked, "{} {tpot}", point["label"]);
        assert!(point["metrics"]["engine_memory"]["max"]["value"].as_f64().unwrap() > 1e6);
    }
    assert!(doc["best"]["point"].is_u64(), "{}", doc["best"]);
    assert_eq!(with_mark("mark-sweep-7f3a"), 0, "an engine is left");
}

#[test]
fn an_engine_ends_when_the_benchmark_is_killed() {
    let place = Place::new();
    let command = serve("--itl 1ms --model-name mark-kill-2c81");
    let args = ["bench", "--serve-cmd", &command, "--input", "8", "--output", "4", "--duration", "60s"];
    let mut bench = place.command(&args).stderr(std::process::Stdio::null()).spawn().unwrap();
    let log = || std::fs::read_to_string(only_run(&place.path("runs")).join("run.log")).unwrap_or_default();
    wait_for("a trial", || {
        place.path("runs").is_dir() && has_run(&place.path("runs")) && log().contains("warmup_ended")
    });
    // The engine, its guard, and the benchmark that names it.
    assert!(with_mark("mark-kill-2c81") >= 3);
    bench.kill().unwrap();
    bench.wait().unwrap();
    wait_for("the engine to end", || with_mark("mark-kill-2c81") == 0);
}

fn has_run(root: &Path) -> bool {
    std::fs::read_dir(root).is_ok_and(|mut d| d.any(|e| e.is_ok_and(|e| e.path().join("run.log").is_file())))
}

#[test]
fn commands_are_shown_and_foreign_ones_are_refused() {
    let place = Place::new();
    let shown = place.run(&[
        "bench",
        "--serve-cmd",
        "vllm serve 'a b' --port {port} -u {util}",
        "--sweep",
        "util=0.7,0.8",
        "--dry-run",
    ]);
    let shown = shown.expect(0).stdout;
    assert!(shown.contains(r#"command: "vllm" "serve" "a b" "--port" "PORT" "-u" "0.7""#), "{shown}");
    std::fs::write(place.path("bench.yaml"), "serve:\n  command: 'touch {port} made'\n").unwrap();
    let refused = place.run(&["bench", "-c", "bench.yaml"]).expect(2);
    assert!(refused.stderr.contains("--allow-commands"), "{}", refused.stderr);
    assert!(!place.path("made").exists());
    let unknown = place.run(&["bench", "--serve-cmd", "x --port {port}", "--sweep", "util=1"]).expect(2);
    assert!(unknown.stderr.contains("`util`"), "{}", unknown.stderr);
}

#[test]
fn an_interrupted_run_goes_on_where_it_stopped() {
    let place = Place::new();
    let exact = Exact::start(&["--ttft", "20ms", "--itl", "2ms"]);
    let args = [
        "bench",
        "--url",
        &exact.url,
        "--scenario",
        "sweep",
        "--concurrency",
        "1,2",
        "--input",
        "8,16,24,32",
    ];
    let mut bench =
        place.command(&[&args[..], &SHORT].concat()).stderr(std::process::Stdio::null()).spawn().unwrap();
    let runs = place.path("runs");
    let ended = || {
        std::fs::read_to_string(only_run(&runs).join("run.log"))
            .unwrap_or_default()
            .matches("trial_ended")
            .count()
    };
    wait_for("two points", || has_run(&runs) && ended() >= 4);
    bench.kill().unwrap();
    bench.wait().unwrap();
    let first = only_run(&runs);
    let done = ended() / 2;
    assert!(done < 8, "it was too fast to be interrupted");
    let run = first.to_str().unwrap();
    let other = place.run(&["bench", "--resume", run, "--output", "9"]).expect(2);
    assert!(other.stderr.contains("workload.output"), "{}", other.stderr);
    let doc = place.run(&["bench", "--resume", run, "--format", "json"]).expect(0).json();
    is_valid(&doc);
    assert_eq!((doc["points"].as_array().unwrap().len(), doc["status"].as_str()), (8, Some("complete")));
    assert!(doc["points"].as_array().unwrap().iter().all(|p| p["requests"] == 8), "{}", doc["points"]);
    let second = std::fs::read_dir(&runs)
        .unwrap()
        .map(|e| e.unwrap().path())
        .find(|p| p.join("run.log").is_file() && *p != first)
        .unwrap();
    let log = std::fs::read_to_string(second.join("run.log")).unwrap();
    assert!(log.contains(&format!("\"points\":{done}")), "{log}");
    let complete = place.run(&["bench", "--resume", second.to_str().unwrap()]).expect(2);
    assert!(complete.stderr.contains("nothing to resume"), "{}", complete.stderr);
}

#[test]
fn the_highest_concurrency_is_found() {
    let place = Place::new();
    // It answers any number at once, so the ceiling is what ends the search.
    let exact = Exact::start(&["--ttft", "5ms", "--itl", "5ms"]);
    let args = [
        "bench",
        "--url",
        &exact.url,
        "--find",
        "max-concurrency",
        "--slo",
        "mean tpot < 1s",
        "--override",
        "find.ceiling=4",
    ];
    let more = [
        "--requests",
        "8",
        "--repeats",
        "3",
        "--input",
        "8",
        "--output",
        "4",
        "--warmup",
        "0",
        "--format",
        "json",
    ];
    let doc = place.run(&[&args[..], &more].concat()).expect(0).json();
    is_valid(&doc);
    let search = &doc["search"];
    assert_eq!(
        (search["found"]["value"].as_f64(), search["confirmed"].as_bool()),
        (Some(4.0), Some(true)),
        "{search}"
    );
    assert!(search["found"]["reason"].as_str().unwrap().contains("higher"));
    let bare =
        place.run(&["bench", "--url", &exact.url, "--find", "max-rate", "--slo", "ttft < 1s"]).expect(2);
    assert!(bare.stderr.contains("p99 ttft"), "{}", bare.stderr);
    let html = std::fs::read_to_string(only_run(&place.path("runs")).join("report.html")).unwrap();
    assert!(html.contains("id=\"search\""));
}

//! Engines that `bench` starts itself, searches, and runs that are resumed.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use std::path::Path;

use common::{Exact, Place, STOPWATT, follows, only_run, wait_for};
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
    follows("metrics.schema.json", &doc);
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
    follows("metrics.schema.json", &doc);
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
    follows("metrics.schema.json", &doc);
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

/// Two engines in turns, small enough for a test; further arguments come after.
fn pair_engines(place: &Place, more: &[&str]) -> common::Ended {
    let less = ["pair", "--repeats", "18", "--trials", "3", "--warmup", "8", "--format", "json"];
    let mut args: Vec<&str> = less.to_vec();
    let keys = [
        "target.bench.load.concurrency=1",
        "target.bench.workload.input=16",
        "target.bench.workload.output=4",
        "pipeline.warmup_max_s=1",
        "gates.l2_hit=null",
        "gates.ept=null",
        "gates.quality=null",
        "rollback.retry_budget=0",
    ];
    keys.iter().for_each(|key| args.extend(["--override", key]));
    args.extend(more);
    place.run(&args)
}

fn verdicts(doc: &Value) -> Vec<(String, String)> {
    let word = |v: &Value| v.as_str().unwrap_or_default().to_owned();
    let rows = doc["comparisons"].as_array().unwrap().iter().filter(|c| c["primary"] == true);
    rows.map(|c| (word(&c["metric"]), word(&c["verdict"]))).collect()
}

#[test]
fn two_engines_are_measured_in_turns_and_the_faster_one_is_found() {
    let place = Place::new();
    let (slow, fast) = (
        serve("--ttft 80ms --itl 10ms --model-name mark-pair-91c4"),
        serve("--ttft 40ms --itl 5ms --model-name mark-pair-91c4"),
    );
    let doc = pair_engines(&place, &["--serve-cmd", &slow, "--candidate-serve-cmd", &fast, "--out", "c"]);
    let doc = doc.expect(0).json();
    assert!(verdicts(&doc).contains(&("e2e".to_owned(), "improved".to_owned())), "{:?}", verdicts(&doc));
    let e2e = doc["comparisons"].as_array().unwrap().iter().find(|c| c["metric"] == "e2e").unwrap();
    // 80 + 3 · 10 ms against 40 + 3 · 5 ms, and what the client and the machine add to both.
    let ci = &e2e["ci95"];
    assert!(ci[0].as_f64() > Some(-0.8) && ci[1].as_f64() < Some(-0.1), "{ci}");
    assert_eq!(doc["design"], "paired");
    assert_eq!(with_mark("mark-pair-91c4"), 0, "an engine is left");
    // Each trial had an engine of its own, and each side is a run of its own.
    let mut windows = Vec::new();
    for side in ["baseline", "candidate"] {
        let run: Value =
            serde_json::from_slice(&std::fs::read(place.path("c").join(side).join("metrics.json")).unwrap())
                .unwrap();
        follows("metrics.schema.json", &run);
        assert_eq!(
            (run["engines"].as_array().map(Vec::len), run["status"].as_str()),
            (Some(3), Some("complete"))
        );
        assert_eq!(run["points"][0]["requests"], 18);
        let log = std::fs::read_to_string(place.path("c").join(side).join("run.log")).unwrap();
        let lines: Vec<Value> =
            log.lines().map(|l| serde_json::from_str::<Value>(l).unwrap()["fact"].clone()).collect();
        let t0 = lines[0]["clock"]["t0_monotonic_ns"].as_i64().unwrap();
        let ended = lines.iter().filter(|f| f["event"] == "trial_ended");
        windows.push(ended.map(|f| f["start_ns"].as_i64().unwrap() + t0).collect::<Vec<_>>());
    }
    let in_turn = [windows[0][0], windows[1][0], windows[1][1], windows[0][1], windows[0][2], windows[1][2]];
    assert!(in_turn.windows(2).all(|w| w[0] < w[1]), "{in_turn:?}");
    // What was changed stands among the differences, and forbids nothing.
    let changed =
        doc["differences"].as_array().unwrap().iter().find(|d| d["what"] == "serve.command").unwrap();
    assert_eq!(changed["forbids"], false);
}

#[test]
fn an_engine_against_itself_is_not_called_faster() {
    let place = Place::new();
    let engine = serve("--ttft 80ms --itl 10ms");
    let doc = pair_engines(
        &place,
        &["--serve-cmd", &engine, "--self-test", "--margin", "15%", "--primary", "e2e", "--out", "aa"],
    );
    assert_eq!(verdicts(&doc.expect(0).json()), [("e2e".to_owned(), "equivalent".to_owned())]);
}

#[test]
fn engines_that_run_already_are_paired_and_answers_that_change_by_themselves_judge_nothing() {
    let place = Place::new();
    let (a, b) = (
        Exact::start(&["--ttft", "60ms", "--itl", "2ms"]),
        Exact::start(&["--ttft", "20ms", "--itl", "2ms"]),
    );
    let prompts: String = (0..5).map(|i| format!("{{\"prompt\":\"secret question {i}\"}}\n")).collect();
    std::fs::write(place.path("p.jsonl"), prompts).unwrap();
    // The exact engine writes other words each time.
    let quality = ["--override", "quality.prompts=p.jsonl", "--override", "quality.max_tokens=8"];
    let gate = ["--gate", "quality_loss mean <= +60pp", "--primary", "e2e", "--out", "c"];
    let urls = ["--url", &a.url, "--candidate-url", &b.url];
    let doc = pair_engines(&place, &[&urls[..], &gate, &quality].concat()).expect(11).json();
    assert_eq!(verdicts(&doc), [("e2e".to_owned(), "improved".to_owned())]);
    assert!(doc["gates"].to_string().contains("when it is asked again"), "{}", doc["gates"]);
    let log = std::fs::read_to_string(place.path("c/candidate/run.log")).unwrap();
    assert!(log.contains("quality_unavailable") && !log.contains("secret question"));
}

#[test]
fn equal_answers_are_counted_without_being_kept() {
    let place = Place::new();
    let (a, b) = (Exact::of_kind("real", &["--threads", "1"]), Exact::of_kind("real", &["--threads", "1"]));
    let prompts: String = (0..6).map(|i| format!("{{\"prompt\":\"secret question {i}\"}}\n")).collect();
    std::fs::write(place.path("p.jsonl"), prompts).unwrap();
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/targets/told.py");
    let told = format!("python3 {} 1", target.display());
    let (ours, theirs) = (format!("quality.url={}", a.url), format!("quality.url={}", b.url));
    let mut args =
        vec!["pair", "--command", &told, "--repeats", "30", "--trials", "3", "--warmup", "10", "--out", "c"];
    for key in ["quality.prompts=p.jsonl", "quality.max_tokens=8", "quality.max_samples=4", &ours] {
        args.extend(["--override", key]);
    }
    for key in ["gates.latency=null", "gates.l2_hit=null", "gates.ept=null"] {
        args.extend(["--override", key]);
    }
    args.extend(["--candidate", &theirs, "--override", "rollback.retry_budget=0", "--format", "json"]);
    // Four equal answers are far too few for 0.1 pp.
    let doc = place.run(&args).expect(11).json();
    assert!(doc["gates"].to_string().contains("3838"), "{}", doc["gates"]);
    let candidate: Value =
        serde_json::from_slice(&std::fs::read(place.path("c/candidate/metrics.json")).unwrap()).unwrap();
    follows("metrics.schema.json", &candidate);
    assert_eq!((&candidate["quality"]["items"], &candidate["quality"]["different"]), (&4.into(), &0.into()));
    assert_eq!(candidate["quality_delta_pct"], 0.0);
    for side in ["baseline", "candidate"] {
        let log = std::fs::read_to_string(place.path("c").join(side).join("run.log")).unwrap();
        assert!(!log.contains("secret question") && log.contains("\"answer\""), "{side}");
    }
}

#[test]
fn an_engine_that_does_not_start_ends_the_pair_with_its_reason() {
    let place = Place::new();
    let (good, bad) = (serve("--ttft 1ms"), serve("--ttft soon"));
    let ended =
        pair_engines(&place, &["--serve-cmd", &good, "--candidate-serve-cmd", &bad, "--out", "c"]).expect(4);
    assert!(
        ended.stderr.contains("the candidate failed") && ended.stderr.contains("argument"),
        "{}",
        ended.stderr
    );
    let baseline: Value =
        serde_json::from_slice(&std::fs::read(place.path("c/baseline/metrics.json")).unwrap()).unwrap();
    assert_eq!(
        (baseline["status"].as_str(), &baseline["points"][0]["requests"]),
        (Some("incomplete"), &6.into())
    );
    let find = ["--serve-cmd", &good, "--candidate-serve-cmd", &good, "--out", "f"];
    // Without a load of its own, this scenario measures the engine's capacity first.
    let of_capacity =
        ["--override", "target.bench.scenario=stress", "--override", "target.bench.load.concurrency=[]"];
    let stress = [&find[..], &of_capacity].concat();
    assert!(pair_engines(&place, &stress).expect(2).stderr.contains("scenario"));
}

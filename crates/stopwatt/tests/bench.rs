//! `stopwatt bench` from the outside, against the exact engine, whose latencies are known.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use common::{Exact, Place, follows, only_run};
use serde_json::Value;

const SHORT: [&str; 12] = [
    "--requests",
    "6",
    "--repeats",
    "2",
    "--concurrency",
    "2",
    "--input",
    "16",
    "--output",
    "16",
    "--warmup",
    "4",
];

fn bench(place: &Place, url: &str, more: &[&str]) -> common::Ended {
    let mut args = vec!["bench", "--url", url];
    args.extend(SHORT);
    args.extend(more);
    place.run(&args)
}

fn number(doc: &Value, metric: &str, statistic: &str) -> f64 {
    let estimate = &doc["metrics"][metric][statistic];
    estimate["value"].as_f64().unwrap_or_else(|| panic!("{metric}.{statistic}: {estimate}"))
}

#[test]
fn the_scripted_latencies_are_measured() {
    let place = Place::new();
    let exact = Exact::start(&["--ttft", "60ms", "--itl", "8ms"]);
    let doc = bench(&place, &exact.url, &["--format", "json"]).expect(0).json();
    // The client can only be later than the script; on a loaded machine by much, but never earlier.
    let (ttft, tpot) = (number(&doc, "ttft", "p50"), number(&doc, "tpot", "mean"));
    assert!((0.060..0.200).contains(&ttft), "TTFT {ttft}");
    assert!((0.0075..0.030).contains(&tpot), "TPOT {tpot}");
    assert_eq!(number(&doc, "output_tokens", "mean"), 16.0);
    assert_eq!(number(&doc, "input_tokens", "mean"), 16.0);
    assert_eq!(number(&doc, "error_rate", "mean"), 0.0);
    assert_eq!(doc["metrics"]["ttft"]["mean"]["n"], 12);
    assert_eq!(doc["metrics"]["ttft"]["mean"]["trials"], 2);
    assert!(doc["metrics"]["ttft"]["mean"]["interval"].is_object());
    assert_eq!(doc["status"], "complete");

    follows("metrics.schema.json", &doc);

    let run = only_run(&place.path("runs"));
    for file in ["config.lock.json", "run.log", "metrics.json", "events.parquet", "report.html", "report.csv"]
    {
        assert!(run.join(file).is_file(), "{file} is missing");
    }
}

#[test]
fn reports_are_rebuilt_byte_for_byte() {
    let place = Place::new();
    let exact = Exact::start(&["--ttft", "5ms", "--itl", "1ms"]);
    bench(&place, &exact.url, &[]).expect(0);
    let run = only_run(&place.path("runs"));
    let files = ["metrics.json", "report.html", "report.csv"];
    let before = files.map(|f| std::fs::read(run.join(f)).unwrap());
    for file in files {
        std::fs::remove_file(run.join(file)).unwrap();
    }
    place.run(&["report", "latest"]).expect(0);
    assert!(before == files.map(|f| std::fs::read(run.join(f)).unwrap()));
}

#[test]
fn a_run_without_chunks_keeps_what_they_came_to() {
    let place = Place::new();
    let exact = Exact::start(&["--ttft", "5ms", "--itl", "1ms"]);
    let doc = bench(&place, &exact.url, &["--no-chunks", "--format", "json"]).expect(0).json();
    assert!(doc["metrics"]["ttft"]["p50"]["value"].is_f64());
    assert!(doc["metrics"]["itl"]["p50"]["value"].is_f64());
    assert!(doc["metrics"]["itl"]["definition"].as_str().unwrap().ends_with("within 0.05 %"));
}

#[test]
fn reporting_on_a_path_makes_no_folder_of_runs() {
    let place = Place::new();
    let exact = Exact::start(&["--ttft", "5ms", "--itl", "1ms"]);
    bench(&place, &exact.url, &[]).expect(0);
    let run = only_run(&place.path("runs"));
    let moved = place.path("elsewhere");
    std::fs::rename(&run, &moved).unwrap();
    std::fs::remove_dir_all(place.path("runs")).unwrap();
    place.run(&["report", moved.to_str().unwrap()]).expect(0);
    assert!(!place.path("runs").exists() && !place.path("stopwatt-runs").exists());
}

#[test]
fn a_run_that_cannot_be_read_is_named() {
    let place = Place::new();
    let exact = Exact::start(&["--ttft", "5ms", "--itl", "1ms"]);
    bench(&place, &exact.url, &[]).expect(0);
    let broken = place.path("runs").join("broken");
    std::fs::create_dir(&broken).unwrap();
    std::fs::write(broken.join("run.log"), "no JSON\n").unwrap();
    for action in ["list", "show"] {
        let ended = place.run(&["runs", action]).expect(0);
        assert!(ended.stderr.contains("broken is left out"), "{}", ended.stderr);
    }
}

#[test]
fn every_fault_is_counted_by_its_kind() {
    for (fault, kind) in [
        ("faults.http_500=1.0", "http"),
        ("faults.reset=1.0", "truncated"),
        ("faults.cut=1.0", "truncated"),
        ("faults.garbled=1.0", "malformed"),
        ("faults.error_event=1.0", "stream_error"),
        ("faults.stall=1.0", "idle_timeout"),
    ] {
        let place = Place::new();
        // Probing must succeed, so only long answers fail: the script strikes in the middle of the output.
        let exact = Exact::start(&["--ttft", "2ms", "--itl", "1ms", "--set", &fault.replace("1.0", "0.5")]);
        let ended =
            bench(&place, &exact.url, &["--format", "json", "--idle-timeout", "400ms", "--warmup", "0"]);
        // The probe itself may be struck; a struck probe is a clear error and not a hang.
        if ended.code == Some(0) || !ended.stdout.is_empty() {
            let doc = ended.json();
            let errors = doc["points"][0]["errors"].as_object().unwrap();
            assert!(errors.keys().all(|k| k == kind), "{fault}: {errors:?}");
            let (requests, failed) = (
                doc["points"][0]["requests"].as_u64().unwrap(),
                errors.values().map(|v| v.as_u64().unwrap()).sum::<u64>(),
            );
            assert_eq!(requests, 12, "{fault}");
            assert!(failed > 0 && failed <= 12, "{fault}: {failed} of {requests}");
        } else {
            assert!(ended.stderr.starts_with("error:"), "{fault}: {}", ended.stderr);
        }
    }
}

#[test]
fn open_loops_deliver_their_load() {
    let place = Place::new();
    let exact = Exact::start(&["--ttft", "5ms", "--itl", "1ms"]);
    let args = [
        "bench",
        "--url",
        &exact.url,
        "--rate",
        "50",
        "--arrival",
        "constant",
        "--requests",
        "50",
        "--repeats",
        "2",
    ];
    let doc = place
        .run(&[&args[..], &["--input", "8", "--output", "4", "--warmup", "4", "--format", "json"]].concat())
        .expect(0)
        .json();
    assert_eq!(doc["points"][0]["requests"], 100);
    assert_eq!(doc["points"][0]["rate_rps"], 50.0);
    // 50 requests at 50/s take 0.98 s from the first to the last; never less.
    let wall = doc["points"][0]["wall_s"].as_f64().unwrap();
    assert!((1.96..6.0).contains(&wall), "{wall}");
}

#[test]
fn a_sweep_has_one_point_for_each_setting() {
    let place = Place::new();
    let exact = Exact::start(&["--ttft", "2ms", "--itl", "0"]);
    let args = [
        "bench",
        "--url",
        &exact.url,
        "--scenario",
        "sweep",
        "--concurrency",
        "1,3",
        "--input",
        "8,16",
        "--output",
        "4",
    ];
    let doc = place
        .run(
            &[&args[..], &["--requests", "4", "--repeats", "2", "--warmup", "0", "--format", "json"]]
                .concat(),
        )
        .expect(0)
        .json();
    let points: Vec<_> = doc["points"]
        .as_array()
        .unwrap()
        .iter()
        .map(|p| (p["input"].as_f64().unwrap(), p["concurrency"].as_u64().unwrap()))
        .collect();
    assert_eq!(points, [(8.0, 1), (8.0, 3), (16.0, 1), (16.0, 3)]);
    let codes: Vec<_> =
        doc["validity"]["reasons"].as_array().unwrap().iter().map(|r| r["code"].as_str().unwrap()).collect();
    assert!(codes.contains(&"warmup_skipped"), "{codes:?}");
}

#[test]
fn the_built_in_engine_is_measured_and_ends() {
    let place = Place::new();
    let args = [
        "bench",
        "--requests",
        "3",
        "--repeats",
        "2",
        "--concurrency",
        "2",
        "--input",
        "24",
        "--output",
        "6",
        "--warmup",
        "2",
    ];
    let doc = place.run(&[&args[..], &["--format", "json"]].concat()).expect(0).json();
    assert_eq!(number(&doc, "output_tokens", "mean"), 6.0);
    assert_eq!(number(&doc, "input_tokens", "mean"), 24.0);
    assert!(number(&doc, "engine_memory", "mean") > 1e6);
    assert!(number(&doc, "output_throughput", "mean") > 0.0);
    let log = std::fs::read_to_string(only_run(&place.path("runs")).join("run.log")).unwrap();
    assert!(log.contains("\"token_ids\":\"yes\""), "{log}");
}

#[test]
fn no_secret_and_no_text_is_kept() {
    let place = Place::new();
    let exact = Exact::start(&["--ttft", "2ms", "--itl", "1ms", "--set", "shape.text=korean"]);
    let mut command =
        place.command(&["bench", "--url", &exact.url, "--endpoint", "chat", "--api-key-env", "CANARY_KEY"]);
    command
        .args(SHORT)
        .args(["--header", "x-canary: canary-header-value"])
        .env("CANARY_KEY", "sk-canary-7f3a");
    command.env("HOME", "/home/canary-user").env("USER", "canary-user");
    let ended = common::Ended::from(command.output().unwrap()).expect(0);
    let run = only_run(&place.path("runs"));
    let mut haystack = ended.stdout.into_bytes();
    haystack.extend(ended.stderr.into_bytes());
    for entry in std::fs::read_dir(run).unwrap() {
        haystack.extend(std::fs::read(entry.unwrap().path()).unwrap_or_default());
    }
    let temporary = place.dir.path().to_str().unwrap();
    let contains = |needle: &[u8]| haystack.windows(needle.len()).any(|w| w == needle);
    for canary in ["sk-canary-7f3a", "canary-header-value", "canary-user"] {
        assert!(!contains(canary.as_bytes()), "{canary} is in an artefact");
    }
    // The summary names the run's folder to the user who made it; the files themselves do not know it.
    let files: Vec<u8> = std::fs::read_dir(only_run(&place.path("runs")))
        .unwrap()
        .flat_map(|e| std::fs::read(e.unwrap().path()).unwrap_or_default())
        .collect();
    assert!(!files.windows(temporary.len()).any(|w| w == temporary.as_bytes()), "a path is in an artefact");
    assert!(contains(b"sha") || !contains("가".as_bytes()), "answer text is in an artefact");
}

#[test]
fn a_heavy_run_states_how_near_the_client_came_to_its_ceiling() {
    let place = Place::new();
    let exact = Exact::start(&["--ttft", "5ms", "--itl", "1ms"]);
    let heavy =
        ["--concurrency", "64", "--requests", "64", "--repeats", "1", "--warmup", "0", "--format", "json"];
    let mut args = vec!["bench", "--url", &exact.url, "--input", "8", "--output", "8"];
    args.extend(heavy);
    let first = place.run(&args).expect(0).json();
    let second = place.run(&args).expect(0).json();
    for doc in [&first, &second] {
        let client = &doc["client"];
        assert!(client["ceiling_share"].as_f64().unwrap() > 0.0, "{client}");
        assert!(client["reads"]["pieces"].as_u64().unwrap() >= 64 * 8, "{client}");
    }
    // The calibration was made once and kept.
    let kept: Vec<_> = std::fs::read_dir(place.path("cache").join("stopwatt")).unwrap().collect();
    assert_eq!(kept.len(), 1);
    let when = |doc: &Value| {
        let log = place.path("runs").join(doc["run_id"].as_str().unwrap()).join("run.log");
        let log = std::fs::read_to_string(log).unwrap();
        let line = log.lines().find(|l| l.contains("client_ceiling")).unwrap().to_owned();
        serde_json::from_str::<Value>(&line).unwrap()["fact"]["ceiling"]["measured_unix_ns"].clone()
    };
    assert_eq!(when(&first), when(&second));
}

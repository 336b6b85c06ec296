//! Bad input gets a clear error, and whatever ends a run leaves it readable.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use std::process::Stdio;

use common::{Exact, Place, only_run, wait_for};

#[test]
fn an_unreachable_engine_leaves_nothing_behind() {
    let place = Place::new();
    let ended = place.run(&["bench", "--url", "http://127.0.0.1:1"]).expect(1);
    assert!(ended.stderr.contains("cannot be reached"), "{}", ended.stderr);
    assert!(ended.stderr.contains("hint:"), "{}", ended.stderr);
    assert!(!place.path("runs").exists());
}

#[test]
fn a_wrong_model_name_lists_the_right_ones() {
    let place = Place::new();
    let exact = Exact::start(&[]);
    let ended = place.run(&["bench", "--url", &exact.url, "--model", "nope"]).expect(3);
    assert!(ended.stderr.contains("nope") && ended.stderr.contains("stopwatt-exact"), "{}", ended.stderr);
}

#[test]
fn settings_that_make_no_sense_are_refused_before_anything_starts() {
    let place = Place::new();
    for (args, code, part) in [
        (&["--requests", "0"][..], 2, "0 requests"),
        (&["--repeats", "0"], 2, "0 trials"),
        (&["--concurrency", "0"], 2, "0 requests in flight"),
        (&["--rate=-1"], 2, "rate"),
        (&["--output", "0"], 2, "workload.output"),
        (&["--input", "9000", "--override", "engine.max_context=4096"], 2, "context of 4096"),
        (&["--slo", "ttft < fast"], 2, "slo"),
        (&["--workload", "chatt"], 2, "chatt"),
        (&["--url", "ftp://host"], 2, "scheme"),
        (&["--api-key-env", "STOPWATT_TEST_NO_SUCH_KEY"], 2, "STOPWATT_TEST_NO_SUCH_KEY"),
        (&["--override", "measure.repeat=3"], 2, "repeats"),
        (&["--timeout", "soon"], 1, "soon"),
    ] {
        let ended = place.run(&[&["bench"][..], args].concat()).expect(code);
        assert!(ended.stderr.contains(part), "{args:?}: {}", ended.stderr);
    }
}

#[test]
fn an_unknown_key_is_shown_with_its_line_and_the_nearest_key() {
    let place = Place::new();
    std::fs::write(place.path("bench.yaml"), "measure:\n  warmupp: 3\n").unwrap();
    let ended = place.run(&["bench", "-c", "bench.yaml"]).expect(2);
    assert!(ended.stderr.contains("2 |   warmupp: 3"), "{}", ended.stderr);
    assert!(ended.stderr.contains("`warmup`"), "{}", ended.stderr);
}

#[test]
fn an_existing_folder_is_not_written_over() {
    let place = Place::new();
    let exact = Exact::start(&["--ttft", "1ms", "--itl", "0"]);
    std::fs::create_dir(place.path("taken")).unwrap();
    std::fs::write(place.path("taken/precious.txt"), "mine").unwrap();
    let ended = place.run(&["bench", "--url", &exact.url, "--out", "taken"]).expect(1);
    assert!(ended.stderr.contains("taken"), "{}", ended.stderr);
    assert_eq!(std::fs::read_dir(place.path("taken")).unwrap().count(), 1);
}

/// Starts a long benchmark and waits until requests of a trial are on the disk.
fn long_benchmark(place: &Place, exact: &Exact) -> std::process::Child {
    let args = ["bench", "--url", &exact.url, "--duration", "60s", "--repeats", "2", "--concurrency", "4"];
    let child = place
        .command(&[&args[..], &["--input", "8", "--output", "8", "--warmup", "2"]].concat())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    wait_for("a closed part", || {
        std::fs::read_dir(place.path("runs")).is_ok_and(|runs| {
            runs.flatten().any(|run| {
                let log = std::fs::read_to_string(run.path().join("run.log")).unwrap_or_default();
                let parts = std::fs::read_dir(run.path().join("events")).map_or(0, |d| {
                    d.flatten().filter(|e| e.path().extension().is_some_and(|x| x == "parquet")).count()
                });
                log.contains("trial_started") && parts >= 2
            })
        })
    });
    child
}

#[test]
fn kill_9_leaves_a_run_that_can_be_reported() {
    let place = Place::new();
    let exact = Exact::start(&["--ttft", "5ms", "--itl", "1ms"]);
    let mut child = long_benchmark(&place, &exact);
    child.kill().unwrap();
    child.wait().unwrap();
    let doc = place.run(&["report", "latest", "--format", "json"]).expect(0).json();
    assert_eq!(doc["status"], "incomplete");
    assert!(doc["metrics"]["ttft"]["p50"]["value"].as_f64().unwrap() >= 0.005);
    assert!(only_run(&place.path("runs")).join("report.html").is_file());
}

#[test]
fn ctrl_c_closes_the_run_and_says_130() {
    let place = Place::new();
    let exact = Exact::start(&["--ttft", "5ms", "--itl", "1ms"]);
    let child = long_benchmark(&place, &exact);
    let pid = rustix::process::Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let ended = common::Ended::from(child.wait_with_output().unwrap()).expect(130);
    assert!(!ended.stdout.is_empty(), "what was measured is shown: {}", ended.stderr);
    let run = only_run(&place.path("runs"));
    let log = std::fs::read_to_string(run.join("run.log")).unwrap();
    assert!(log.lines().last().unwrap().contains("\"incomplete\""), "{log}");
    assert!(run.join("events.parquet").is_file() && !run.join("events").exists());
    let rows = stopwatt_record::run_dir::Run::open(&run)
        .unwrap()
        .requests(stopwatt_record::events::Chunks::Skip)
        .unwrap();
    let ends: std::collections::BTreeSet<_> = rows.map(|r| r.unwrap().end.name()).collect();
    assert!(ends.contains("interrupted") && ends.contains("ok"), "{ends:?}");
}

#[test]
fn runs_can_be_listed_tagged_and_removed() {
    let place = Place::new();
    let exact = Exact::start(&["--ttft", "1ms", "--itl", "0"]);
    for _ in 0..2 {
        let args = [
            "bench",
            "--url",
            &exact.url,
            "--requests",
            "4",
            "--repeats",
            "2",
            "--input",
            "8",
            "--output",
            "4",
            "--warmup",
            "0",
        ];
        place.run(&args).expect(0);
    }
    let listed = place.run(&["runs", "list", "--format", "json"]).expect(0).json();
    let ids: Vec<_> =
        listed.as_array().unwrap().iter().map(|e| e["id"].as_str().unwrap().to_owned()).collect();
    assert_eq!(ids.len(), 2);
    place.run(&["runs", "tag", &ids[1], "first"]).expect(0);
    let shown = place.run(&["runs", "show", "first", "--format", "json"]).expect(0).json();
    assert_eq!(shown["id"], ids[1].as_str());
    place.run(&["runs", "rm", "first"]).expect(0);
    let left = place.run(&["runs", "list", "--format", "json"]).expect(0).json();
    assert_eq!(left.as_array().unwrap().len(), 1);
    assert!(!place.path("runs").join(&ids[1]).exists());
    place.run(&["runs", "show", "first"]).expect(1);
}

#[test]
fn the_doctor_answers_in_every_format() {
    let place = Place::new();
    let doc = place.run(&["doctor", "--format", "json"]).expect(0).json();
    let names: Vec<_> =
        doc["checks"].as_array().unwrap().iter().map(|c| c["name"].as_str().unwrap()).collect();
    for name in ["cpu", "memory", "clock", "open files", "nvml", "ncu", "cpu_energy"] {
        assert!(names.contains(&name), "{name} is not in {names:?}");
    }
    assert!(place.run(&["doctor"]).expect(0).stdout.contains("CLOCK_MONOTONIC"));
    assert!(
        place.run(&["doctor", "--format", "csv"]).expect(0).stdout.starts_with("name,state,found,advice\n")
    );
}

#[cfg(not(feature = "object-store"))]
#[test]
fn object_stores_name_their_feature_where_they_are_not_built_in() {
    let place = Place::new();
    let exact = Exact::start(&["--ttft", "1ms", "--itl", "1ms"]);
    for args in [
        &["bench", "--url", &exact.url, "--requests", "2", "--out", "s3://bucket/a"][..],
        &["report", "gs://bucket/a"],
        &["merge", "az://container/a"],
        &["compare", "s3://bucket/a", "s3://bucket/b"],
        &["runs", "pull", "s3://bucket/a"],
    ] {
        let ended = place.run(args).expect(3);
        assert!(ended.stderr.contains("without the feature `object-store`"), "{}", ended.stderr);
        assert!(ended.stderr.contains("hint: build with"), "{}", ended.stderr);
    }
    assert!(!place.path("runs").exists(), "nothing was measured");
    for args in [&["runs", "rm", "s3://bucket/a"][..], &["bench", "--resume", "s3://bucket/a"]] {
        let ended = place.run(args).expect(1);
        assert!(ended.stderr.contains("hint: copy it here with `stopwatt runs pull`"), "{}", ended.stderr);
    }
    let wrong = place.run(&["bench", "--out", "s3://key:hunter2@bucket/a"]).expect(1);
    assert!(wrong.stderr.contains("s3://BUCKET/PREFIX"), "{}", wrong.stderr);
}

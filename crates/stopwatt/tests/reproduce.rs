//! `stopwatt reproduce` from the outside: on programs whose times are known, and on the exact engine.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use std::path::Path;

use common::{Ended, Exact, Place, follows};
use serde_json::Value;

/// A program that tells known times, in the folder of the test, so that it can be changed.
fn program(place: &Place) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/targets/told.py");
    std::fs::copy(script, place.path("told.py")).unwrap();
}

const COMMAND: [&str; 3] = ["run", "--command", "python3 told.py 1"];
const SHORT: [&str; 6] = ["--repeats", "60", "--trials", "3", "--warmup", "10"];

fn measured(place: &Place) {
    program(place);
    place.run(&[&COMMAND[..], &SHORT, &["--out", "a"]].concat()).expect(0);
}

fn read(place: &Place, name: &str) -> Value {
    serde_json::from_slice(&std::fs::read(place.path(name)).unwrap()).unwrap()
}

fn log(place: &Place, run: &str) -> String {
    std::fs::read_to_string(place.path(run).join("run.log")).unwrap()
}

fn reproduce(place: &Place, more: &[&str]) -> Ended {
    place.run(&[&["reproduce", "a", "--format", "json"], more].concat())
}

#[test]
fn a_run_comes_out_again_from_its_lock_alone() {
    let place = Place::new();
    measured(&place);
    // Nothing is run, and nothing written, before the command was looked at.
    let refused = reproduce(&place, &["--out", "b"]).expect(2);
    assert!(refused.stderr.contains(r#"command: "python3" "told.py" "1""#), "{}", refused.stderr);
    assert!(refused.stderr.contains("--allow-commands") && !place.path("b").exists());

    // What stands in the environment is not what was measured.
    let mut command =
        place.command(&["reproduce", "a", "--allow-commands", "--out", "b", "--format", "json"]);
    let doc = Ended::from(command.env("STOPWATT_SEED", "5").output().unwrap()).expect(0).json();
    assert_eq!(doc["verdict"], "reproduced", "{doc:#}");
    follows("reproduction.schema.json", &doc);
    let e2e = doc["metrics"].as_array().unwrap().iter().find(|m| m["metric"] == "e2e").unwrap();
    let [lo, hi] = [0, 1].map(|i| e2e["interval"][i].as_f64().unwrap());
    assert!(lo <= 0.0 && hi >= 0.0 && lo > -0.05 && hi < 0.05, "{e2e}");
    assert_eq!(doc["settings"], Value::Array(vec![]));

    assert_eq!(read(&place, "b/reproduction.json"), doc);
    let (a, b) = (read(&place, "a/metrics.json"), read(&place, "b/metrics.json"));
    assert_eq!((&b["reproduces"], &a["reproduces"]), (&a["run_id"], &Value::Null));
    // How many iterations warm up until it is steady is found anew.
    for key in ["mode", "repeats"] {
        assert_eq!(b["pipeline"][key], a["pipeline"][key]);
    }
    assert_eq!(b["env"]["seed"], 0);
    let text = place.run(&["report", "b"]).expect(0).stdout;
    assert!(text.contains(a["run_id"].as_str().unwrap()), "{text}");
    // The repetition is an ordinary run, and can be repeated in its turn.
    place.run(&["reproduce", "b", "--dry-run"]).expect(0);
}

#[test]
fn a_program_that_became_slower_is_not_reproduced() {
    let place = Place::new();
    measured(&place);
    let script = std::fs::read_to_string(place.path("told.py")).unwrap();
    let slower = script.replace("* 1e-3\nFAULT", "* 1.3e-3\nFAULT").replace("sleep(1.1e-3)", "sleep(1.5e-3)");
    std::fs::write(place.path("told.py"), slower).unwrap();
    let doc = reproduce(&place, &["--allow-commands"]).expect(10).json();
    assert_eq!(doc["verdict"], "not_reproduced");
    let engine = doc["environment"].as_array().unwrap().iter().find(|d| d["field"] == "engine.base_s");
    assert_eq!(engine.unwrap()["original"], "0.001", "{doc:#}");
    let words = place.run(&["reproduce", "a", "--allow-commands", "--lang", "ko"]).expect(10).stdout;
    assert!(words.contains("재현되지 않음") && words.contains("engine.base_s: 0.001 → 0.0013"), "{words}");
}

#[test]
fn a_side_of_a_pair_gets_a_new_process_for_each_trial_again() {
    let place = Place::new();
    program(&place);
    let pair = ["pair", "--command", "python3 told.py 1", "--self-test", "--out", "p"];
    place.run(&[&pair[..], &SHORT].concat()).expect(0);
    let args = ["reproduce", "p/baseline", "--allow-commands", "--out", "b", "--format", "csv"];
    let csv = place.run(&args).expect(0).stdout;
    assert!(csv.lines().any(|l| l.starts_with("metric,") && l.ends_with(",reproduced")), "{csv}");
    assert_eq!(log(&place, "b").matches("\"target_ended\"").count(), 3);
}

#[test]
fn what_cannot_be_measured_again_is_refused_with_the_reason() {
    let place = Place::new();
    measured(&place);
    let refused = |said: &str| {
        let ended = reproduce(&place, &["--allow-commands"]).expect(2);
        assert!(ended.stderr.contains(said), "{}", ended.stderr);
    };
    let whole = log(&place, "a");
    let last = whole.trim_end().rfind('\n').unwrap();
    std::fs::write(place.path("a/run.log"), &whole[..=last]).unwrap();
    refused("incomplete");
    std::fs::write(place.path("a/run.log"), &whole).unwrap();

    let lock = std::fs::read_to_string(place.path("a/config.lock.json")).unwrap();
    std::fs::write(place.path("a/config.lock.json"), lock.replace("told.py 1", "told.py 2")).unwrap();
    refused("changed afterwards");

    std::fs::write(place.path("t.csv"), "run,value\na,0.2\nb,0.2\n").unwrap();
    let imported = place.run(&["import", "t.csv", "--metric", "ttft", "--out", "i"]);
    assert_eq!(imported.code, Some(0), "{}", imported.stderr);
    let ended = place.run(&["reproduce", "i"]).expect(2);
    assert!(ended.stderr.contains("another tool"), "{}", ended.stderr);
    place.run(&["reproduce", "nowhere"]).expect(1);
}

#[test]
fn an_engine_is_measured_again_with_the_secrets_given_anew() {
    let place = Place::new();
    let exact = Exact::start(&["--ttft", "30ms", "--itl", "4ms"]);
    let args = "--requests 4 --repeats 3 --concurrency 1 --input 16 --output 8 --warmup 2";
    let mut bench = vec!["bench", "--url", &exact.url, "--header", "X-Api-Key: canary-4711", "--out", "a"];
    bench.extend(args.split(' '));
    place.run(&bench).expect(0);

    let dry = place.run(&["reproduce", "a", "--dry-run"]).expect(0).stdout;
    assert!(dry.contains("needs the environment variable STOPWATT_TARGET__HEADERS"), "{dry}");
    let refused = reproduce(&place, &["--out", "b"]).expect(2);
    assert!(refused.stderr.contains("STOPWATT_TARGET__HEADERS") && !place.path("b").exists());

    let args = ["reproduce", "a", "--out", "b", "--format", "json", "--margin", "50%"];
    let mut command = place.command(&args);
    let ended =
        Ended::from(command.env("STOPWATT_TARGET__HEADERS", "X-Api-Key: canary-4711").output().unwrap());
    // How steady this machine is now is not what is tested.
    assert!(matches!(ended.code, Some(0 | 11)), "{}", ended.stderr);
    let doc = ended.json();
    assert_eq!(doc["reproduces"], read(&place, "a/metrics.json")["run_id"]);
    // TTFT, TPOT and throughput; four requests have no 95th percentile.
    assert_eq!(doc["metrics"].as_array().unwrap().len(), 3, "{doc:#}");
    for file in ["config.lock.json", "run.log", "reproduction.json", "report.html"] {
        assert!(!std::fs::read_to_string(place.path("b").join(file)).unwrap().contains("canary"), "{file}");
    }

    // Another address is a setting that was given anew, and is told.
    let other = Exact::start(&["--ttft", "90ms", "--itl", "12ms"]);
    let mut command = place.command(&["reproduce", "a", "--url", &other.url, "--format", "json"]);
    let ended =
        Ended::from(command.env("STOPWATT_TARGET__HEADERS", "X-Api-Key: canary-4711").output().unwrap());
    let doc = ended.expect(10).json();
    assert_eq!(doc["settings"][0]["field"], "target.url", "{doc:#}");
    assert_eq!(doc["settings"][0]["now"], other.url);
}

//! `stopwatt targets` from the outside: built-in pairs, and programs whose times and faults are known.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use std::path::Path;

use common::{Ended, Place, follows};
use serde_json::Value;

const SMALL: [&str; 8] = ["--small", "--iterations", "5", "--warmup", "2", "--trials", "3", "--quiet"];

/// A file for a pair of the tests with a fault.
fn pair(place: &Place, fault: &str) -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/targets/twice.py");
    let text = format!(
        "name: twice\ncommand: python3 {} {fault}\nmodes: [slow, fast]\nvariable: the speed\ntolerance: 0.001\n",
        script.display()
    );
    let name = format!("pair-{fault}.yaml");
    std::fs::write(place.path(&name), text).unwrap();
    name
}

fn external(place: &Place, fault: &str, more: &[&str]) -> Ended {
    let file = pair(place, fault);
    let args = ["targets", "run", "--external", &file, "--allow-commands", "--format", "json"];
    let out: &[&str] = if more.contains(&"--out") { &[] } else { &["--out", "visit"] };
    place.run(&[&args[..], &SMALL[1..], out, more].concat())
}

fn checks(pair: &Value) -> Vec<(&str, bool)> {
    let all = pair["checks"].as_array().unwrap().iter();
    all.map(|c| (c["name"].as_str().unwrap(), c["passed"].as_bool().unwrap())).collect()
}

#[test]
fn every_pair_of_this_program_is_verified_on_a_cpu() {
    let place = Place::new();
    // Programs need PyTorch, and are skipped where there is none.
    let args = ["targets", "run", "ch16", "--device", "cpu", "--format", "json", "--out", "visit"];
    let python = ["--python", "no-such-python"];
    let ended = place.run(&[&args[..], &SMALL, &python].concat());
    // On a busy machine a run may find no steady state; then the pair says so, with another exit code.
    assert!(matches!(ended.code, Some(0 | 10)), "{ended:?}");
    let doc = ended.json();
    follows("targets.schema.json", &doc);
    let of = |form: &str| -> Vec<&Value> {
        doc["pairs"].as_array().unwrap().iter().filter(|p| p["form"] == form).collect()
    };
    let [load] = of("own command")[..] else { panic!("{doc}") };
    assert_eq!((&load["target"], &load["speedup"]), (&"ch16:load_test".into(), &Value::Null));
    let names: Vec<&str> = checks(load).iter().map(|(name, _)| *name).collect();
    assert!(checks(load).contains(&("no request failed", true)), "{load}");
    assert_eq!(names, ["no request failed", "validity of the run", "stable after warm-up"]);
    assert!(load["optimised"]["metrics"]["ttft_s"]["value"].as_f64().unwrap() > 0.0);
    let without = of("program").into_iter().find(|p| p["target"] == "ch16:regional_compilation").unwrap();
    assert_eq!((&without["state"], &without["speedup"]), (&"skipped".into(), &Value::Null));
    let built_in: Vec<&Value> =
        of("built-in").into_iter().filter(|p| p["target"] != "ch16:perplexity").collect();
    assert!(built_in.len() >= 5);
    let unsteady = |p: &Value| p["reason"].as_str().is_some_and(|r| r.contains("no_steady_state"));
    let all = built_in.iter().copied().chain([load]);
    assert_eq!(ended.code, Some(if all.clone().any(|p| p["state"] == "failed") { 10 } else { 0 }));
    for pair in built_in {
        // Whether times were steady is the machine's business; outputs are right on any.
        for name in ["one variable", "outputs on fresh inputs", "outputs of timed iterations"] {
            assert!(checks(pair).contains(&(name, true)), "{name}: {pair}");
        }
        if unsteady(pair) {
            continue;
        }
        assert_eq!((&pair["state"], &pair["small"]), (&"verified".into(), &true.into()), "{pair}");
        let names: Vec<&str> = checks(pair).iter().map(|(name, _)| *name).collect();
        for name in [
            "one variable",
            "outputs on fresh inputs",
            "outputs of timed iterations",
            "validity of both runs",
        ] {
            assert!(names.contains(&name), "{name} is not among {names:?}");
        }
        let speedup = &pair["speedup"];
        assert_eq!(speedup["trials"].as_array().unwrap().len(), 3);
        assert!(speedup["interval"]["lo"].as_f64().unwrap() <= speedup["value"].as_f64().unwrap());
        for side in ["baseline", "optimised"] {
            let folder = place.path("visit").join(pair[side]["run"].as_str().unwrap());
            assert!(folder.join("metrics.json").is_file() && folder.join("events.parquet").is_file());
        }
    }
    let stored = std::fs::read(place.path("visit/targets.json")).unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&stored).unwrap(), doc);
    // Sides differ in their mode and in nothing else.
    let lock = |side: &str| -> Value {
        let path = place.path(&format!("visit/ch16-moe/{side}/config.lock.json"));
        serde_json::from_slice::<Value>(&std::fs::read(path).unwrap()).unwrap()["settings"].clone()
    };
    let (mut a, mut b) = (lock("baseline"), lock("candidate"));
    assert!(a != b);
    for side in [&mut a, &mut b] {
        side["pipeline.mode"] = Value::Null;
    }
    assert!(a == b, "the settings of both sides");
}

#[test]
fn a_program_that_is_twice_as_fast_is_told_as_such_and_stored_and_judged() {
    let place = Place::new();
    let store = ["--file-dir", "expected", "--update-expectations"];
    let doc = external(&place, "", &store).expect(0).json();
    let pair = &doc["pairs"][0];
    assert_eq!(pair["target"], "external:twice");
    let speedup = &pair["speedup"];
    assert!((speedup["value"].as_f64().unwrap() - 2.0).abs() < 0.02, "{speedup}");
    assert_eq!(speedup["verdict"], "improved");
    assert_eq!(
        (&pair["baseline"]["memory_bytes"], &pair["optimised"]["memory_bytes"]),
        (&2048.0.into(), &1024.0.into())
    );
    // 0.5 s are earned back by 1 ms an iteration; the interval is that of the speed-up.
    let earned = &pair["break_even_interval"];
    assert!(earned["lo"].as_f64().unwrap() > 480.0 && earned["hi"].as_f64().unwrap() < 520.0, "{earned}");
    let earned = pair["break_even_iterations"].as_f64().unwrap();
    assert!((490.0..510.0).contains(&earned), "{earned}");
    // The same again: as expected, and no change between the visits.
    let again = external(&place, "", &["--file-dir", "expected", "--out", "again"]).expect(0).json();
    assert_eq!(again["pairs"][0]["expected"]["state"], "passed");
    let compared = place.run(&["targets", "compare", "visit", "again/targets.json", "--format", "json"]);
    let compared = compared.expect(0).json();
    follows("targets-compare.schema.json", &compared);
    let (_, change) = compared["pairs"].as_object().unwrap().iter().next().unwrap();
    assert_eq!(change["same"], true);
    // A visit whose speed-up was less: worse than expected, and changed.
    let path = place.path("again/targets.json");
    let mut doc = again;
    for ratio in doc["pairs"][0]["speedup"]["trials"].as_array_mut().unwrap() {
        *ratio = (ratio.as_f64().unwrap() * 0.5).into();
    }
    std::fs::write(&path, doc.to_string()).unwrap();
    let table = place.run(&["targets", "compare", "visit", "again"]).expect(10).stdout;
    assert!(table.contains("changed") && table.contains("-50."), "{table}");
}

#[test]
fn wrong_outputs_are_caught_whatever_is_wrong_with_them() {
    let place = Place::new();
    for (fault, says) in [
        ("differs", "outputs differ by"),
        ("nan", "left 1 numbers of its output"),
        ("constant", "does not depend on the input"),
        ("versions", "the sides differ in torch"),
        ("cheats", "in a timed iteration, outputs differ"),
    ] {
        let doc = external(&place, fault, &["--out", fault]).expect(10).json();
        let pair = &doc["pairs"][0];
        assert_eq!((&pair["state"], &pair["speedup"]), (&"failed".into(), &Value::Null), "{fault}");
        let reason = pair["reason"].as_str().unwrap();
        assert!(reason.contains(says), "{fault}: {reason}");
        assert!(checks(pair).iter().any(|(_, passed)| !passed), "{fault}");
    }
}

#[test]
fn a_program_that_crashes_or_says_nonsense_is_a_failed_measurement_and_one_that_lacks_something_is_skipped() {
    let place = Place::new();
    for (fault, says) in [
        ("dies", "ended when asked for its outputs"),
        ("garbage", "is not what was expected"),
        ("short", "says 64 values and wrote 63"),
    ] {
        let doc = external(&place, fault, &["--out", fault]).expect(4).json();
        let reason = doc["pairs"][0]["reason"].as_str().unwrap();
        assert!(reason.contains(says), "{fault}: {reason}");
        assert!(!reason.contains("shard"), "{reason}");
    }
    let doc = external(&place, "lacks", &["--out", "lacks"]).expect(3).json();
    let pair = &doc["pairs"][0];
    assert_eq!((&pair["state"], &pair["speedup"]), (&"skipped".into(), &Value::Null));
    assert_eq!(pair["reason"], "this machine has no flux capacitor");
}

#[test]
fn bad_words_and_files_are_named() {
    let place = Place::new();
    let ended = place.run(&["targets", "run", "ch16:flash_spd"]).expect(2);
    assert!(ended.stderr.contains("did you mean `ch16:flash_sdp`?"), "{}", ended.stderr);
    place.run(&["targets", "explain", "no_such_thing"]).expect(2);
    place.run(&["targets", "list", "--chapter", "ch3"]).expect(2);
    place.run(&["targets", "run", "moe", "--device", "tpu"]).expect(2);
    place.run(&["targets", "run", "moe", "--trials", "2"]).expect(1);
    let file = pair(&place, "");
    let ended = place.run(&["targets", "run", "--external", &file]).expect(2);
    assert!(ended.stderr.contains("--allow-commands"), "{}", ended.stderr);
    std::fs::write(place.path("one.yaml"), "name: one\ncommand: x\nmodes: [a]\nvariable: v\ntolerance: 0\n")
        .unwrap();
    let ended = place.run(&["targets", "run", "--external", "one.yaml", "--allow-commands"]).expect(2);
    assert!(ended.stderr.contains("names two sides"), "{}", ended.stderr);
    std::fs::write(place.path("other.json"), "{}").unwrap();
    place.run(&["targets", "compare", "other.json", "other.json"]).expect(2);
    std::fs::create_dir(place.path("full")).unwrap();
    std::fs::write(place.path("full/file"), "").unwrap();
    place.run(&["targets", "run", "moe", "--out", "full"]).expect(1);
}

#[test]
fn the_words_of_the_course_work_too() {
    let place = Place::new();
    let list = place.run(&["targets", "list", "--format", "csv"]).expect(0).stdout;
    assert_eq!(place.run(&["bench", "list-targets", "--format", "csv"]).expect(0).stdout, list);
    let args =
        ["bench", "run", "--targets", "ch16:moe", "--profile", "none", "--device", "cpu", "--out", "visit"];
    let table = place.run(&[&args[..], &SMALL].concat()).expect(0).stdout;
    assert!(table.contains("ch16:moe") && table.contains("verified"), "{table}");
    let text = place.run(&["targets", "explain", "ch16:moe"]).expect(0).stdout;
    assert!(text.contains("Formula") && text.contains("MegaBlocks"), "{text}");
}

#[test]
fn expectations_of_other_things_are_not_taken_for_ones_own() {
    let place = Place::new();
    let doc = external(&place, "", &["--file-dir", "none-yet"]).expect(11).json();
    let judged = &doc["pairs"][0]["expected"];
    assert_eq!(judged["state"], "inconclusive");
    assert!(judged["reason"].as_str().unwrap().contains("--update-expectations"));
}

#[test]
fn a_test_of_one_side_has_no_speedup_to_expect_and_the_table_tells_what_differs() {
    let place = Place::new();
    let args = ["targets", "run", "load_test", "paged_attention", "--device", "cpu"];
    let store = ["--file-dir", "expected", "--update-expectations", "--out", "one"];
    let first = place.run(&[&args[..], &SMALL, &store].concat());
    // On a busy machine a run may find no steady state, and nothing is stored of it.
    assert!(matches!(first.code, Some(0 | 10)), "{first:?}");
    assert!(
        first.stdout.contains("copied_bytes") && first.stdout.contains("kv_used_share"),
        "{}",
        first.stdout
    );
    assert!(first.stdout.contains("ttft_s"), "{}", first.stdout);
    let judge = ["--file-dir", "expected", "--out", "two", "--format", "json"];
    let doc = place.run(&[&args[..], &SMALL, &judge].concat()).json();
    assert_eq!(doc["pairs"][0]["expected"], Value::Null);
    assert_ne!(doc["pairs"][1]["expected"], Value::Null);
    let compared = place.run(&["targets", "compare", "one", "two"]).stdout;
    assert!(compared.contains("it is a test of one side"), "{compared}");
}

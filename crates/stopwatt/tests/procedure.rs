//! `stopwatt run` and `stopwatt pair` from the outside, on programs whose times are known.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use std::path::Path;

use common::{Ended, Place, follows, wait_for};
use serde_json::Value;

/// A script of the tests, as a command.
fn told(milliseconds: &str, fault: &str) -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/targets/told.py");
    format!("python3 {} {milliseconds} {fault}", script.display()).trim().to_owned()
}

fn run(place: &Place, command: &str, more: &[&str]) -> Ended {
    let args = ["run", "--command", command, "--repeats", "60", "--trials", "3", "--warmup", "10"];
    let out: &[&str] = if more.contains(&"--out") { &[] } else { &["--out", "r"] };
    place.run(&[&args[..], out, more].concat())
}

fn read(place: &Place, name: &str) -> Value {
    serde_json::from_slice(&std::fs::read(place.path(name)).unwrap()).unwrap()
}

/// The lines of `run.log` of one kind.
fn facts(place: &Place, run: &str, event: &str) -> Vec<Value> {
    let log = std::fs::read_to_string(place.path(run).join("run.log")).unwrap();
    let lines = log.lines().map(|l| serde_json::from_str::<Value>(l).unwrap()["fact"].clone());
    lines.filter(|f| f["event"] == event).collect()
}

#[track_caller]
fn near(value: &Value, expected: f64, by: f64) {
    let got = value.as_f64().unwrap_or_else(|| panic!("{value}"));
    assert!((got - expected).abs() <= by, "{got} is not {expected} ± {by}");
}

#[test]
fn a_program_that_tells_its_times_is_measured_as_it_is_in_every_mode() {
    let place = Place::new();
    for mode in ["linear", "iterative"] {
        let (mode_key, out) = (format!("pipeline.mode={mode}"), format!("runs-{mode}"));
        let more = ["--override", &mode_key, "--format", "json", "--out", &out];
        let args = ["run", "--command", &told("1", ""), "--repeats", "60", "--trials", "3", "--warmup", "10"];
        let doc = place.run(&[&args[..], &more].concat()).expect(0).json();
        // The mean of uniform noise of ±1 % over 60 values; a factor of 0.98 would stand out.
        near(&doc["latency_ms"]["mean"], 1.0, 0.003);
        near(&doc["throughput_toks_s"], 8000.0, 24.0);
        assert_eq!((&doc["pipeline"]["mode"], &doc["pipeline"]["repeats"]), (&mode.into(), &60.into()));
        assert_eq!(
            (doc["status"].as_str(), doc["validity"]["valid"].as_bool()),
            (Some("complete"), Some(true))
        );
        near(&doc["custom"]["loss"]["value"], 1.999, 1e-12);
        assert_eq!((&doc["custom"]["loss"]["n"], &doc["custom"]["loss"]["trials"]), (&60.into(), &3.into()));
        // What was not measured is null, with a reason.
        for key in ["l2_hit_pct", "ept_j_per_tok", "quality_delta_pct"] {
            assert!(doc[key].is_null() && doc["reasons"][key].is_string(), "{key}");
        }
        follows("metrics.schema.json", &doc);
        for stage in ["fingerprint", "stabilise", "measure", "outputs"] {
            assert!(facts(&place, &out, "stage").iter().any(|f| f["stage"] == stage), "{stage}");
        }
        assert_eq!(facts(&place, &out, "trial_ended").len(), 3);
        assert_eq!(facts(&place, &out, "target_ended")[0]["exit"], "exit status 0");
        assert!(
            place.path(&out).join("report.html").is_file() && place.path(&out).join("report.csv").is_file()
        );
    }
    let text = place.run(&["report", "runs-linear"]).expect(0).stdout;
    assert!(text.contains("loss") && text.contains("told.py"), "{text}");
}

#[test]
fn the_example_of_the_documentation_works() {
    let place = Place::new();
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/examples");
    for file in ["target.py", "run.yaml"] {
        std::fs::copy(docs.join(file), place.path(file)).unwrap();
    }
    assert!(
        include_str!("../../../docs/run.md")
            .contains(include_str!("../../../docs/examples/target.py").trim_end()),
        "docs/run.md shows another program"
    );
    // How steady this machine is now is not what is tested.
    let soon = "pipeline.warmup_max_s=0.5";
    let less = ["--repeats", "60", "--trials", "3", "--warmup", "10", "--override", soon];
    let config = ["run", "-c", "run.yaml", "--out", "r"];
    // A command out of a file is run only when that is allowed.
    let refused = place.run(&[&config[..], &less].concat()).expect(2);
    assert!(refused.stderr.contains("--allow-commands"), "{}", refused.stderr);
    assert!(!place.path("r").exists());
    let run = place.run(&[&config[..], &less, &["--allow-commands", "--format", "json"]].concat()).expect(0);
    let doc = run.json();
    let metrics = &doc["points"][0]["metrics"];
    assert!(metrics["ttft"]["mean"]["value"].as_f64() < metrics["e2e"]["mean"]["value"].as_f64());
    assert!(metrics["tpot"]["mean"]["value"].as_f64() > Some(0.0), "{metrics}");
    assert!(doc["custom"]["rounds_per_s"]["value"].as_f64() > Some(0.0));
    let outputs = facts(&place, "r", "outputs");
    assert_eq!(outputs[0]["sha256"].as_str().map(str::len), Some(64));
    let told = facts(&place, "r", "fingerprint");
    assert_eq!(told[0]["fingerprint"]["engine"]["rounds"], "400");
}

#[test]
fn any_program_is_timed_from_start_to_exit() {
    let place = Place::new();
    let args = ["run", "--protocol", "wall", "--command", "sh -c 'sleep 0.01; echo $STOPWATT_SEED {seed}'"];
    let less =
        ["--repeats", "9", "--trials", "3", "--warmup", "8", "--seed", "5", "--out", "r", "--format", "json"];
    let keys = ["--override", "target.tokens=2", "--override", "pipeline.warmup_max_s=0.3"];
    let doc = place.run(&[&args[..], &less, &keys].concat()).expect(0).json();
    let ms = doc["latency_ms"]["mean"].as_f64().unwrap();
    assert!((10.0..200.0).contains(&ms), "{ms}");
    assert_eq!(doc["points"][0]["requests"], 9);
    assert!(doc["throughput_toks_s"].as_f64() > Some(1.0));
    let reason = &doc["points"][0]["metrics"]["ttft"]["mean"]["reason"];
    assert_eq!(reason, "the target tells no token times");
    let output = facts(&place, "r", "outputs")[0]["sha256"].clone();
    // printf '5 5\n' | sha256sum
    assert_eq!(output, "7ccdd490f6b3380bf5ef76529f8a33c3d0d324062b190d63706eaa7ffd0ce85a");
    let failing = ["run", "--protocol", "wall", "--command", "sh -c 'exit 3'", "--out", "f"];
    let failed = place.run(&[&failing[..], &less[..6]].concat()).expect(4);
    assert!(failed.stderr.contains("exit status 3"), "{}", failed.stderr);
    place.run(&["run", "--protocol", "wall", "--command", "no-such-program-at-all", "--out", "n"]).expect(3);
}

#[test]
fn a_target_that_dies_in_the_loop_leaves_what_was_measured() {
    let place = Place::new();
    let ended = run(&place, &told("1", "dies"), &[]).expect(4);
    assert!(
        ended.stderr.contains("exit status 7") && ended.stderr.contains("in the loop"),
        "{}",
        ended.stderr
    );
    let doc = read(&place, "r/metrics.json");
    assert_eq!((doc["status"].as_str(), &doc["points"][0]["requests"]), (Some("incomplete"), &14.into()));
    near(&doc["points"][0]["metrics"]["e2e"]["mean"]["value"], 0.001, 1e-5);
    let gone = &facts(&place, "r", "target_ended")[0];
    assert_eq!((&gone["exit"], &gone["log"]["lines"]), (&"exit status 7".into(), &1.into()));
    // What it wrote is counted and hashed, and kept only where that is asked for.
    assert!(gone["log"]["tail"].is_null() && !place.path("r/engine.log").exists());
    let kept = run(&place, &told("1", "dies"), &["--out", "k", "--keep-engine-log"]);
    assert_eq!(kept.code, Some(4));
    assert!(std::fs::read_to_string(place.path("k/engine.log")).unwrap().contains("secret"));
}

#[test]
fn a_line_that_is_not_of_the_protocol_is_named_and_not_quoted() {
    let place = Place::new();
    let ended = run(&place, &told("1", "garbage"), &[]).expect(4);
    // The line of `ready`, 24 iterations with two `done`, then this one of 27 characters.
    assert!(ended.stderr.contains("(27 bytes)"), "{}", ended.stderr);
    let log = std::fs::read_to_string(place.path("r/run.log")).unwrap();
    assert!(!ended.stderr.contains("secret") && !log.contains("secret"), "{}", ended.stderr);
}

#[test]
fn a_target_that_gives_no_answer_is_ended() {
    let place = Place::new();
    for (fault, key) in [("hangs", "target.prepare_timeout_s=0.3"), ("slow", "target.iterate_timeout_s=0.3")]
    {
        let more = ["--override", key, "--override", "target.end_timeout_s=0.2", "--out", fault];
        let ended = run(&place, &told("1", fault), &more).expect(4);
        assert!(ended.stderr.contains("within 0.3 s"), "{}", ended.stderr);
        assert_eq!(facts(&place, fault, "target_ended")[0]["killed"], true);
    }
}

#[test]
fn ctrl_c_ends_the_target_and_keeps_the_run() {
    let place = Place::new();
    let command = told("1", "");
    let args = [
        "run",
        "--command",
        &command,
        "--repeats",
        "100000",
        "--trials",
        "3",
        "--warmup",
        "10",
        "--out",
        "r",
    ];
    let child = place
        .command(&args)
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let log = place.path("r/run.log");
    wait_for("the first trial", || std::fs::read_to_string(&log).is_ok_and(|l| l.contains("trial_started")));
    std::thread::sleep(std::time::Duration::from_millis(50));
    let pid = rustix::process::Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    Ended::from(child.wait_with_output().unwrap()).expect(130);
    let doc = read(&place, "r/metrics.json");
    assert_eq!(doc["status"], "incomplete");
    assert!(doc["points"][0]["requests"].as_u64() > Some(3));
    assert!(facts(&place, "r", "target_ended")[0]["exit"].is_string());
}

fn pair(place: &Place, baseline: &str, more: &[&str]) -> Ended {
    let args = ["pair", "--command", baseline, "--repeats", "60", "--trials", "3", "--warmup", "10"];
    // Latency is what these programs have.
    let gates = [
        "--override",
        "gates.l2_hit=null",
        "--override",
        "gates.ept=null",
        "--override",
        "gates.quality=null",
    ];
    place.run(&[&args[..], &gates, more].concat())
}

fn verdict(doc: &Value, metric: &str) -> String {
    let rows = doc["comparisons"].as_array().unwrap();
    let row = rows.iter().find(|c| c["metric"] == metric && c["statistic"] == "mean").unwrap();
    row["verdict"].as_str().unwrap().to_owned()
}

#[test]
fn a_change_that_is_really_faster_is_accepted_and_put_into_use() {
    let place = Place::new();
    std::fs::write(place.path("active.yaml"), "pipeline: {mode: old}\n").unwrap();
    let faster = format!("target.command={}", told("0.7", ""));
    let more = [
        "--candidate",
        &faster,
        "--override",
        "rollback.active=active.yaml",
        "--out",
        "c",
        "--format",
        "json",
    ];
    let doc = pair(&place, &told("1", ""), &more).expect(0).json();
    assert_eq!((verdict(&doc, "e2e").as_str(), doc["gate"].as_str()), ("improved", Some("passed")));
    assert_eq!((doc["design"].as_str(), &doc), (Some("paired"), &read(&place, "c/compare.json")));
    follows("comparison.schema.json", &doc);
    let decision = read(&place, "c/decision.json");
    assert_eq!((&decision["decision"], &decision["in_use"]), (&"accepted".into(), &"candidate".into()));
    let active = std::fs::read_to_string(place.path("active.yaml")).unwrap();
    assert!(active.contains("told.py 0.7"), "{active}");
    // The configuration in use can be measured as it stands.
    place.run(&["run", "-c", "active.yaml", "--dry-run"]).expect(0);
    assert_eq!(facts(&place, "c/candidate", "decision")[0]["decision"], "accepted");
    // Each side is a run of its own, with a process for each trial, in turns.
    let windows = |side: &str| -> Vec<(i64, i64)> {
        let log = std::fs::read_to_string(place.path(side).join("run.log")).unwrap();
        let first: Value = serde_json::from_str(log.lines().next().unwrap()).unwrap();
        let t0 = first["fact"]["clock"]["t0_monotonic_ns"].as_i64().unwrap();
        let at = |f: &Value, key: &str| f[key].as_i64().unwrap() + t0;
        facts(&place, side, "trial_ended").iter().map(|f| (at(f, "start_ns"), at(f, "end_ns"))).collect()
    };
    let (a, b) = (windows("c/baseline"), windows("c/candidate"));
    let in_turn = [a[0], b[0], b[1], a[1], a[2], b[2]];
    assert!(in_turn.windows(2).all(|w| w[0].1 <= w[1].0), "{in_turn:?}");
    assert_eq!(facts(&place, "c/baseline", "target_ended").len(), 3);
    let shown =
        place.run(&["compare", "c/baseline", "c/candidate", "--paired", "--gate", "e2e mean <= -20%"]);
    assert!(shown.expect(0).stdout.contains("improved"));
}

#[test]
fn a_change_that_misses_is_measured_once_more_and_rolled_back() {
    let place = Place::new();
    let slower = format!("target.command={}", told("0.9", ""));
    let more = ["--candidate", &slower, "--override", "rollback.active=active.yaml", "--out", "c"];
    let ended = pair(&place, &told("1", ""), &more).expect(10);
    assert!(
        ended.stdout.contains("measuring once more") && ended.stdout.contains("rolled back"),
        "{}",
        ended.stdout
    );
    let decision = read(&place, "c/decision.json");
    assert_eq!(
        (&decision["decision"], decision["attempts"].as_array().unwrap().len()),
        (&"rolled_back".into(), 2)
    );
    assert!(place.path("c/retry-1/compare.json").is_file());
    let active = std::fs::read_to_string(place.path("active.yaml")).unwrap();
    assert!(active.contains("told.py 1"), "{active}");
}

#[test]
fn equal_things_are_called_equal() {
    let place = Place::new();
    // Other noise around the same time.
    let same = format!("target.command={}", told("1.0", ""));
    let more =
        ["--candidate", &same, "--out", "c", "--format", "json", "--override", "rollback.retry_budget=0"];
    let doc = pair(&place, &told("1.0001", ""), &more).json();
    assert!(matches!(verdict(&doc, "e2e").as_str(), "equivalent" | "inconclusive"), "{doc}");
    assert_eq!(doc["gate"], "failed");
    let itself = pair(&place, &told("1", ""), &["--self-test", "--out", "aa"]).expect(0);
    assert!(itself.stdout.contains("no difference is called"), "{}", itself.stdout);
}

#[test]
fn a_gate_without_a_number_never_passes() {
    let place = Place::new();
    let faster = format!("target.command={}", told("0.7", ""));
    let args = ["pair", "--command", &told("1", ""), "--repeats", "30", "--trials", "3", "--warmup", "10"];
    let more = ["--candidate", &faster, "--out", "c", "--format", "json"];
    let doc = place.run(&[&args[..], &more].concat()).expect(11).json();
    assert_eq!(doc["gate"], "inconclusive");
    let decision = read(&place, "c/decision.json");
    assert_eq!((&decision["decision"], decision["attempts"].as_array().unwrap().len()), (&"kept".into(), 1));
    assert!(decision["why"].as_str().unwrap().contains("l2_hit_rate"), "{decision}");
}

#[test]
fn settings_of_parts_that_are_not_built_name_their_key() {
    let place = Place::new();
    std::fs::write(
        place.path("icd.yaml"),
        "pipeline: {mode: iterative, repeats: 1000, warmup_iter: 50, fixed_clock: true}\n\
         measure: {ncu_enable: false, power_enable: false, power_sample_hz: 10}\n\
         report: {out_dir: runs/mock_iter}\n",
    )
    .unwrap();
    place.run(&["run", "-c", "icd.yaml", "--dry-run", "--command", "true"]).expect(0);
    for key in [
        "graph.correlation.enable=true",
        "solver.k_blocks=4",
        "transform.sparsity.rate=0.5",
        "quality.task=sst2",
        "cache.enable=true",
        "pair.baseline_methods=[linear]",
        "pipeline.runner=icd.runner",
        "pipeline.repermute_on_delta=true",
        "measure.nvtx_enable=true",
        "gates.iter_vs_linear_latency_factor=0.9",
    ] {
        let ended = place.run(&["run", "-c", "icd.yaml", "--override", key, "--command", "true"]).expect(2);
        let name = key.split(['=', '.']).take(2).collect::<Vec<_>>().join(".");
        assert!(
            ended.stderr.contains("not available in this version") && ended.stderr.contains(&name),
            "{}",
            ended.stderr
        );
    }
    // What only a layout has does nothing elsewhere, so that it is refused there.
    for key in ["graph.source=mock", "solver.time_budget_s=1.0", "cost.alpha=2", "rollback.epsilon_J=0.02"] {
        let ended = place.run(&["run", "-c", "icd.yaml", "--override", key, "--command", "true"]).expect(2);
        assert!(ended.stderr.contains("target.kind=layout"), "{}", ended.stderr);
    }
    std::fs::write(place.path("typo.yaml"), "pipeline:\n  warmup_iters: 50\n").unwrap();
    let typo = place.run(&["run", "-c", "typo.yaml", "--command", "true"]).expect(2);
    assert!(typo.stderr.contains("2 |") && typo.stderr.contains("`warmup_iter`"), "{}", typo.stderr);
    let few = place.run(&["run", "--trials", "2", "--command", "true"]).expect(2);
    assert!(few.stderr.contains("at least 3"), "{}", few.stderr);
    place.run(&["run"]).expect(2);
    let schema = place.run(&["run", "--print-schema"]).expect(0).json();
    assert!(schema["properties"]["rollback"].is_object());
}

#[test]
fn nothing_is_measured_when_that_is_asked_for() {
    let place = Place::new();
    let doc = run(&place, &told("1", ""), &["--no-measure", "--format", "json"]).expect(0).json();
    assert_eq!((doc["status"].as_str(), doc["points"].as_array().map(Vec::len)), (Some("complete"), Some(0)));
    assert_eq!(facts(&place, "r", "outputs").len(), 1);
}

#[test]
fn an_engine_is_a_target_too() {
    let place = Place::new();
    let exact = common::Exact::start(&["--ttft", "5ms", "--itl", "1ms"]);
    let url = format!("target.bench.target.url={}", exact.url);
    let keys =
        ["target.kind=bench", &url, "target.bench.load.concurrency=1", "target.bench.workload.input=16"];
    let mut args =
        vec!["run", "--repeats", "18", "--trials", "3", "--warmup", "8", "--out", "r", "--format", "json"];
    for key in keys.iter().chain([&"target.bench.workload.output=4"]) {
        args.extend(["--override", key]);
    }
    let doc = place.run(&args).expect(0).json();
    assert_eq!((&doc["pipeline"]["mode"], &doc["pipeline"]["repeats"]), (&"bench:batch".into(), &18.into()));
    near(&doc["points"][0]["metrics"]["ttft"]["p50"]["value"], 0.005, 0.003);
}

#[test]
fn the_program_answers_under_another_name() {
    let place = Place::new();
    std::os::unix::fs::symlink(common::STOPWATT, place.path("icd")).unwrap();
    let icd = |args: &[&str]| {
        let output = std::process::Command::new(place.path("icd")).args(args).output().unwrap();
        Ended::from(output)
    };
    assert!(icd(&["run", "--help"]).expect(0).stdout.contains("Usage: icd run"));
    icd(&["run", "--command", "true", "--dry-run"]).expect(0);
}

/// A command that prints a score an item: of `n` items the first `wrong` are wrong.
fn scores(n: usize, wrong: usize) -> String {
    format!(
        "quality.command=python3 -c \"[print('{{\\\"score\\\": %d}}' % (i >= {wrong})) for i in range({n})]\""
    )
}

#[test]
fn quality_of_both_sides_is_paired_item_by_item_and_gated_by_its_bound() {
    let place = Place::new();
    let faster = format!("target.command={}", told("0.7", ""));
    let args = ["pair", "--command", &told("1", ""), "--repeats", "30", "--trials", "3", "--warmup", "10"];
    let gates = ["--override", "gates.l2_hit=null", "--override", "gates.ept=null", "--format", "json"];
    let measured = |wrong: [usize; 2], out: &str, code: i32| {
        let (base, cand) = (scores(4000, wrong[0]), scores(4000, wrong[1]));
        let more = ["--override", &base, "--candidate", &faster, "--candidate", &cand, "--out", out];
        place.run(&[&args[..], &gates, &more].concat()).expect(code).json()
    };
    // The same items are right: the interval reaches to less than 0.1 pp.
    let same = measured([40, 40], "same", 0);
    assert_eq!(same["gate"], "passed", "{}", same["gates"]);
    let doc = read(&place, "same/candidate/metrics.json");
    assert_eq!(doc["quality_delta_pct"], 0.0);
    let delta = &doc["quality"]["delta"]["pct"];
    assert!(delta["n"] == 4000 && delta["interval"]["hi"].as_f64() < Some(0.1), "{delta}");
    near(&doc["metrics"]["quality_loss"]["mean"]["value"], 0.01, 1e-12);
    follows("metrics.schema.json", &doc);
    follows("comparison.schema.json", &same);
    assert!(read(&place, "same/baseline/metrics.json")["reasons"]["quality_delta_pct"].is_string());
    // Ten more wrong answers of 4000 are 0.25 pp: beyond the limit as a whole.
    let worse = measured([40, 80], "worse", 10);
    assert!(worse["gates"].to_string().contains("misses the limit"), "{}", worse["gates"]);
    near(&read(&place, "worse/candidate/metrics.json")["quality_delta_pct"], 1.0, 1e-9);
    // A comparison of the finished runs says the same, without any command.
    let again = place.run(&[
        "compare",
        "worse/baseline",
        "worse/candidate",
        "--gate",
        "quality_loss mean <= +0.1pp",
        "--format",
        "json",
    ]);
    let again = again.expect(10).json();
    let row =
        again["comparisons"].as_array().unwrap().iter().find(|c| c["metric"] == "quality_loss").unwrap();
    near(&row["delta"], 0.01, 1e-12);
}

#[test]
fn quality_that_could_not_be_found_out_says_why_and_never_passes() {
    let place = Place::new();
    let faster = format!("target.command={}", told("0.7", ""));
    let args = ["pair", "--command", &told("1", ""), "--repeats", "30", "--trials", "3", "--warmup", "10"];
    let gates = ["--override", "gates.l2_hit=null", "--override", "gates.ept=null", "--format", "json"];
    let fails =
        ["--override", "quality.command=sh -c 'echo secret; exit 3'", "--candidate", &faster, "--out", "c"];
    let doc = place.run(&[&args[..], &gates, &fails].concat()).expect(11).json();
    assert!(doc["gates"].to_string().contains("exit status 3"), "{}", doc["gates"]);
    for file in ["c/candidate/run.log", "c/candidate/metrics.json", "c/compare.json"] {
        let text = std::fs::read_to_string(place.path(file)).unwrap();
        assert!(!text.contains("\"secret") && !text.contains("secret\\n"), "{file}");
    }
    let run = run(&place, &told("1", ""), &["--override", "quality.command=echo 0.8", "--format", "json"]);
    let run = run.expect(0).json();
    near(&run["metrics"]["quality_loss"]["mean"]["value"], 0.2, 1e-12);
    assert!(run["metrics"]["quality_loss"]["mean"]["interval"].is_null());
    // A command out of a file is run only when that is allowed.
    std::fs::write(place.path("q.yaml"), "quality: {command: touch made}\n").unwrap();
    let foreign = ["run", "-c", "q.yaml", "--command", "true"];
    assert!(place.run(&foreign).expect(2).stderr.contains("quality.command"));
    assert!(!place.path("made").exists());
}

#[test]
fn a_profiler_that_is_not_there_leaves_no_file() {
    let place = Place::new();
    let doc = run(&place, &told("1", ""), &["--override", "measure.ncu_enable=true", "--format", "json"]);
    // Where there is one, it finds no kernel in this program.
    let doc = doc.expect(0).json();
    assert!(doc["l2_hit_pct"].is_null() && doc["metrics"]["dram_bytes"]["mean"]["value"].is_null());
    assert!(doc["reasons"]["l2_hit_pct"].as_str().is_some_and(|why| !why.is_empty()));
    assert!(!place.path("r/ncu.json").exists());
    assert!(!std::fs::read_to_string(place.path("r/metrics.json")).unwrap().contains("NaN"));
    // The CPU's counters are there with a number, or with a reason.
    let l1d = &doc["metrics"]["l1d_hit_rate"]["mean"];
    assert!(l1d["value"].is_number() || l1d["reason"].is_string(), "{l1d}");
    assert_eq!(facts(&place, "r", "trial_cpu").len(), 3);
}

#[test]
fn what_a_target_launches_while_it_gets_ready_is_in_no_counter() {
    let place = Place::new();
    let profiler = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/targets/profiler");
    let path = std::env::join_paths(
        std::iter::once(profiler).chain(std::env::split_paths(&std::env::var_os("PATH").unwrap())),
    );
    let path = path.unwrap();
    let measured = |out: &str, more: &[&str]| {
        let args = [
            "run",
            "--command",
            &told("1", ""),
            "--repeats",
            "60",
            "--trials",
            "3",
            "--warmup",
            "10",
            "--out",
            out,
        ];
        let ncu = ["--override", "measure.ncu_enable=true", "--format", "json"];
        let mut command = place.command(&[&args[..], &ncu, more].concat());
        Ended::from(command.env("PATH", &path).output().unwrap()).expect(0).json()
    };
    // 300 of 1000 sectors hit, 6400 + 1600 bytes an iteration; with the two fills it would be 70 % and 11,000 bytes.
    for iterations in ["1", "4"] {
        let (out, n) = (format!("whole-{iterations}"), format!("measure.ncu_iterations={iterations}"));
        let doc = measured(&out, &["--override", &n]);
        near(&doc["metrics"]["l2_hit_rate"]["mean"]["value"], 0.3, 1e-12);
        near(&doc["metrics"]["dram_bytes"]["mean"]["value"], 8000.0, 1e-9);
        let kernels = &read(&place, &format!("{out}/ncu.json"))["kernels"];
        assert_eq!(kernels.as_array().unwrap().len(), 1, "{kernels}");
        assert_eq!(
            (&kernels[0]["name"], kernels[0]["launches"].to_string()),
            (&"work".into(), format!("{iterations}.0"))
        );
    }
    // A part that was chosen is counted as chosen, and is no iteration.
    let doc = measured("part", &["--override", "measure.ncu_launch_count=3"]);
    near(&doc["metrics"]["l2_hit_rate"]["mean"]["value"], 0.7, 1e-12);
    let bytes = &doc["metrics"]["dram_bytes"]["mean"];
    assert!(bytes["value"].is_null() && bytes["reason"].to_string().contains("ncu_launch_count"), "{bytes}");
}

#[test]
fn every_defect_of_the_original_has_its_test() {
    let page = include_str!("../../../docs/compare.md");
    let table = page.split("## What went wrong before").nth(1).unwrap();
    let names: Vec<&str> = table
        .lines()
        .filter(|l| l.starts_with("| ") && !l.starts_with("| there"))
        .flat_map(|l| l.rsplit('|').nth(1).unwrap().split('`').skip(1).step_by(2))
        .collect();
    assert!(names.len() > 13, "{names:?}");
    let mut code = String::new();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("..")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()) {
            if entry.is_dir() {
                folders.push(entry);
            } else if entry.extension().is_some_and(|e| e == "rs") {
                code += &std::fs::read_to_string(entry).unwrap();
            }
        }
    }
    for name in names {
        assert!(code.contains(&format!("fn {name}()")), "{name} is no test");
    }
}

#[test]
fn gpus_that_are_not_there_are_refused_before_anything_is_measured_or_set() {
    let place = Place::new();
    // No machine has a GPU of this name, so nothing is set wherever this runs.
    let flags = ["--gpus", "GPU-none", "--lock-clocks", "max", "--persistence", "--power-limit", "300"];
    let refused = run(&place, &told("1", ""), &flags).expect(3);
    assert!(refused.stderr.contains("--gpus") && refused.stderr.contains("hint:"), "{}", refused.stderr);
    assert!(!place.path("r").exists() && !place.path("runs/gpu-settings.json").exists());
    let none = place.run(&["doctor", "--restore-gpu"]).expect(0).stdout;
    assert!(none.contains("no measurement left"), "{none}");
}

#[test]
fn the_fingerprint_says_what_was_measured_and_what_was_not_fixed() {
    let place = Place::new();
    let declared = ["--override", "input.batch=8", "--override", "input.model=owner/m@v1"];
    let doc = run(&place, &told("1", ""), &[&declared[..], &["--format", "json"]].concat()).expect(0).json();
    let fingerprint = &facts(&place, "r", "fingerprint")[0]["fingerprint"];
    let software = &fingerprint["software"];
    for hash in ["stopwatt_sha256", "target_sha256", "script_sha256"] {
        assert_eq!(software[hash].as_str().map(str::len), Some(64), "{hash}: {software:#}");
    }
    assert_eq!(
        (&fingerprint["inputs"]["batch"], &fingerprint["inputs"]["model"]),
        (&"8".into(), &"owner/m@v1".into())
    );
    // The folder of the test is no repository, and that is said.
    assert!(software["git_commit"].is_null() && fingerprint["unknown"]["software.git_commit"].is_string());
    let codes: Vec<&str> =
        doc["env"]["not_fixed"].as_array().unwrap().iter().filter_map(|n| n["code"].as_str()).collect();
    assert!(codes.contains(&"no_commit"), "{codes:?}");
    let page = std::fs::read_to_string(place.path("r/report.html")).unwrap();
    assert!(page.contains("Not fixed") && page.contains("no commit names the source"));
    let other =
        run(&place, &told("1", ""), &["--override", "input.batch=4", "--format", "json", "--out", "s"]);
    assert_ne!(other.expect(0).json()["env"]["hash"], doc["env"]["hash"]);
}

//! `stopwatt compare` from the outside: engines whose difference is known, and tables of samples.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use common::{Exact, Place, follows};
use serde_json::Value;

/// A run of the exact engine with this TTFT, under `name`.
fn measured(place: &Place, name: &str, ttft: &str) {
    measured_with(place, name, ttft, "16");
}

/// The same with this many input tokens.
fn measured_with(place: &Place, name: &str, ttft: &str, input: &str) {
    let exact = Exact::start(&["--ttft", ttft, "--itl", "2ms"]);
    place
        .run(&[
            "bench",
            "--url",
            &exact.url,
            "--requests",
            "6",
            "--repeats",
            "4",
            "--concurrency",
            "1",
            "--input",
            input,
            "--output",
            "16",
            "--warmup",
            "4",
            "--out",
            name,
        ])
        .expect(0);
}

fn row<'a>(doc: &'a Value, metric: &str, statistic: &str) -> &'a Value {
    let rows = doc["comparisons"].as_array().unwrap();
    rows.iter().find(|c| c["metric"] == metric && c["statistic"] == statistic).unwrap()
}

#[test]
fn a_known_change_is_found_with_its_size() {
    let place = Place::new();
    measured(&place, "before", "80ms");
    measured(&place, "after", "40ms");
    let gate = ["--gate", "ttft p50 <= -20%"];
    let args = ["compare", "before", "after", "--format", "json", gate[0], gate[1]];
    let doc = place.run(&args).expect(0).json();
    let ttft = row(&doc, "ttft", "p50");
    assert_eq!(ttft["verdict"], "improved", "{ttft}");
    let [lo, hi] = [0, 1].map(|i| ttft["ci95"][i].as_f64().unwrap());
    // The client's lateness adds to both sides, so the true change of −50 % is seen a little smaller.
    assert!(lo < -0.3 && hi < -0.2, "{ttft}");
    assert_eq!(doc["gate"], "passed");

    follows("comparison.schema.json", &doc);

    let text = place.run(&["compare", "before", "after"]).expect(0).stdout;
    assert!(text.contains("✓ improved") && text.contains("TTFT p50"), "{text}");
    // The other way round it is a regression, and the same gate fails.
    let back = ["compare", "after", "before", "--format", "json", gate[0], gate[1]];
    let doc = place.run(&back).expect(10).json();
    assert_eq!((&row(&doc, "ttft", "p50")["verdict"], &doc["gate"]), (&"regressed".into(), &"failed".into()));
    // A metric that nobody measured never passes.
    place.run(&["compare", "before", "after", "--prd-gates"]).expect(11);
    // Without fixed clocks nothing passes in a pipeline, unless that is allowed.
    let ci = [&args[..], &["--ci"]].concat();
    place.run(&ci).expect(11);
    place.run(&[&ci[..], &["--allow-unfixed-clock"]].concat()).expect(0);
}

#[test]
fn causes_are_named_and_a_page_is_written() {
    let place = Place::new();
    measured_with(&place, "before", "40ms", "16");
    measured_with(&place, "after", "80ms", "64");
    let args = ["compare", "before", "after", "--format", "json", "--html", "page.html"];
    let ended = place.run(&args).expect(0);
    assert!(ended.stderr.contains("wrote page.html"), "{}", ended.stderr);
    let doc = ended.json();
    let input = doc["causes"].as_array().unwrap().iter().find(|c| c["kind"] == "input").unwrap();
    let said: Vec<&str> =
        input["evidence"].as_array().unwrap().iter().map(|e| e["detail"].as_str().unwrap()).collect();
    assert!(said.contains(&"workload.input: 16 → 64"), "{said:?}");
    assert!(said.iter().any(|s| s.starts_with("input tokens of a request: 16.0 → 64.0")), "{said:?}");
    let page = std::fs::read_to_string(place.path("page.html")).unwrap();
    assert!(page.contains("workload.input") && page.contains("id=\"checklist\""));
    let korean = place.run(&["compare", "before", "after", "--lang", "ko"]).expect(0).stdout;
    assert!(korean.contains("원인 분석") && korean.contains("workload.input: 16 → 64"), "{korean}");
    // A run against itself changed nothing, so nothing is explained. Judged by a count: the noise of a time on a busy
    // machine would ask for more trials, and rightly.
    let same = ["compare", "before", "before", "--primary", "output_tokens mean"];
    let same = place.run(&same).expect(0).stdout;
    assert!(same.contains("No cause found"), "{same}");
}

#[test]
fn a_change_is_accepted_over_two_workloads() {
    let place = Place::new();
    for (name, ttft, input) in
        [("a1", "80ms", "16"), ("b1", "40ms", "16"), ("a2", "80ms", "32"), ("b2", "40ms", "32")]
    {
        measured_with(&place, name, ttft, input);
    }
    let gate = ["--gate", "ttft p50 <= -20%", "--format", "json"];
    let accept = |runs: &[&str], more: &[&str]| place.run(&[&["compare", "--accept"], runs, more].concat());
    let doc = accept(&["a1", "b1", "a2", "b2"], &gate).expect(0).json();
    assert_eq!((&doc["acceptance"], doc["pairs"].as_array().unwrap().len()), (&"passed".into(), 2));
    follows("acceptance.schema.json", &doc);
    // The other way round it is worse; twice the same workload is one; what the procedure asks for was not measured.
    accept(&["b1", "a1", "b2", "a2"], &gate).expect(10);
    let once = accept(&["a1", "b1", "a1", "b1"], &gate).expect(11).json();
    assert!(once["reasons"][0].as_str().unwrap().starts_with("1 different workload instead"), "{once}");
    accept(&["a1", "b1", "a2", "b2"], &[]).expect(11);
    for name in ["report.html", "report.csv"] {
        std::fs::remove_file(place.path("b2").join(name)).unwrap();
    }
    let bare = accept(&["a1", "b1", "a2", "b2"], &gate[..2]).expect(11).stdout;
    assert!(bare.contains("missing b2/report.*") && bare.contains("Not accepted yet"), "{bare}");
    let odd = accept(&["a1", "b1", "a2"], &gate).expect(1).stderr;
    assert!(odd.contains("pairs of runs"), "{odd}");
}

#[test]
fn samples_need_no_run() {
    let place = Place::new();
    let write = |name: &str, values: [f64; 4]| {
        let lines: Vec<String> = (1..).zip(values).map(|(run, v)| format!("{run},{v}")).collect();
        std::fs::write(place.path(name), format!("run,value\n{}\n", lines.join("\n"))).unwrap();
    };
    write("a.csv", [10.0, 10.1, 9.9, 10.0]);
    write("b.csv", [8.0, 8.1, 7.9, 8.0]);
    // By its whole path, a file is no folder of a run either.
    let (a, b) = (place.path("a.csv"), place.path("b.csv"));
    let whole = place.run(&["compare", a.to_str().unwrap(), b.to_str().unwrap()]);
    assert!(whole.stdout.contains("improved"), "{}{}", whole.stdout, whole.stderr);
    let args = [
        "compare",
        "a.csv",
        "b.csv",
        "--metric",
        "step_time",
        "--gate",
        "step_time <= -10%",
        "--format",
        "csv",
    ];
    let text = place.run(&args).expect(0).stdout;
    assert!(text.lines().nth(1).unwrap().ends_with("true,improved"), "{text}");
    let higher = [&args[..5], &["--better", "higher"]].concat();
    assert!(place.run(&higher).expect(0).stdout.contains("regressed"));
    std::fs::write(place.path("bad.csv"), "run,value\n1,fast\n").unwrap();
    let bad = place.run(&["compare", "a.csv", "bad.csv"]).expect(1);
    assert!(bad.stderr.contains("bad.csv") && bad.stderr.contains("line 2"), "{}", bad.stderr);
    let gate = place.run(&["compare", "a.csv", "b.csv", "--gate", "step_time < 1"]).expect(1);
    assert!(gate.stderr.contains("is not a gate"), "{}", gate.stderr);
}

//! `stopwatt compare` from the outside: engines whose difference is known, and tables of samples.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use common::{Exact, Place};
use serde_json::Value;

/// A run of the exact engine with this TTFT, under `name`.
fn measured(place: &Place, name: &str, ttft: &str) {
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
            "16",
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

    let schema: Value =
        serde_json::from_str(include_str!("../../../schemas/comparison.schema.json")).unwrap();
    let problems: Vec<_> =
        jsonschema::validator_for(&schema).unwrap().iter_errors(&doc).map(|e| e.to_string()).collect();
    assert!(problems.is_empty(), "{problems:?}");

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
fn samples_need_no_run() {
    let place = Place::new();
    let write = |name: &str, values: [f64; 4]| {
        let lines: Vec<String> = (1..).zip(values).map(|(run, v)| format!("{run},{v}")).collect();
        std::fs::write(place.path(name), format!("run,value\n{}\n", lines.join("\n"))).unwrap();
    };
    write("a.csv", [10.0, 10.1, 9.9, 10.0]);
    write("b.csv", [8.0, 8.1, 7.9, 8.0]);
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

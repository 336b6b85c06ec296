//! What a run says beside its latencies, from the outside: the engine's own counters, a warm cache caught, cost.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use common::{Exact, Place, only_run};
use serde_json::Value;

const SHORT: [&str; 11] = [
    "--requests",
    "4",
    "--repeats",
    "2",
    "--concurrency",
    "2",
    "--output",
    "4",
    "--warmup",
    "0",
    "--format=json",
];

fn codes(doc: &Value) -> Vec<&str> {
    doc["validity"]["reasons"].as_array().unwrap().iter().map(|r| r["code"].as_str().unwrap()).collect()
}

#[test]
fn a_cache_that_knows_the_prompts_is_caught() {
    let place = Place::new();
    let engine = Exact::of_kind("real", &["--threads", "1"]);
    let bench = |more: &[&str], code: i32| {
        let fixed =
            ["bench", "--url", &engine.url, "--input", "96", "--strict", "--override", "workload.salt=7"];
        place.run(&[&fixed[..], &SHORT, more].concat()).expect(code).json()
    };
    let cold = bench(&[], 0);
    assert!(!codes(&cold).contains(&"cache_warm"), "{}", cold["validity"]);
    let warm = bench(&[], 4);
    let reason =
        warm["validity"]["reasons"].as_array().unwrap().iter().find(|r| r["code"] == "cache_warm").unwrap();
    assert_eq!((&reason["fatal"], &warm["validity"]["valid"]), (&Value::Bool(true), &Value::Bool(false)));
    let figures: Vec<f64> = reason["cases"][0]["values"]
        .as_array()
        .unwrap()
        .iter()
        .map(|v| v.as_str().unwrap().parse().unwrap())
        .collect();
    // Two trials of four prompts of 96 tokens, found up to their last whole block.
    assert_eq!(figures[1], 768.0, "{figures:?}");
    assert!(figures[0] > 600.0 && figures[0] <= 768.0, "{figures:?}");
    let declared = bench(&["--override", "workload.cache=warm"], 0);
    assert!(!codes(&declared).iter().any(|c| c.starts_with("cache_")), "{}", declared["validity"]);
    let other = bench(&["--override", "workload.salt=8", "--override", "workload.cache=warm"], 4);
    assert!(codes(&other).contains(&"cache_not_warm"), "{}", other["validity"]);
}

#[test]
fn the_engines_own_counters_are_in_the_run() {
    let place = Place::new();
    let exact = Exact::start(&["--ttft", "60ms", "--itl", "10ms"]);
    let args = ["bench", "--url", &exact.url, "--input", "16", "--override", "measure.scrape_s=0.05"];
    let doc = place.run(&[&args[..], &SHORT].concat()).expect(0).json();
    let engine = &doc["points"][0]["engine"];
    assert!(engine["readings"].as_u64().unwrap() > 0 && engine["missed"] == 0, "{engine}");
    assert!(engine["slowest_reading_s"].as_f64().unwrap() > 0.0);
    let running = engine["gauges"]["running"]["max"]["value"].as_f64().unwrap();
    assert!((1.0..=2.0).contains(&running), "{engine}");
    let run = only_run(&place.path("runs"));
    let log = std::fs::read_to_string(run.join("run.log")).unwrap();
    assert!(
        log.contains("\"event\":\"engine_reading\"") && log.contains("\"metrics_names\":\"vllm"),
        "{log}"
    );
    let page = std::fs::read_to_string(run.join("report.html")).unwrap();
    assert!(page.contains("Engine: requests"));
    let csv = std::fs::read_to_string(run.join("report.csv")).unwrap();
    assert!(csv.contains(",engine.running,1,max,"), "{csv}");
}

#[test]
fn a_run_is_priced_and_priced_again() {
    let place = Place::new();
    let exact = Exact::start(&["--ttft", "5ms", "--itl", "2ms"]);
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/examples/prices.toml");
    std::fs::copy(example, place.path("prices.toml")).unwrap();
    let args = ["bench", "--url", &exact.url, "--input", "16", "--slo", "ttft < 5s"];
    let priced = ["--price", "hyperstack-h100-pcie", "--utilisation", "0.5"];
    let doc = place.run(&[&args[..], &SHORT, &priced].concat()).expect(0).json();
    let cost = &doc["cost"];
    let value = |at: &str, what: &str| cost[at][what]["value"].as_f64().unwrap();
    let (rate, per_million) = (value("measured", "output_tokens_s"), value("measured", "output_per_1m"));
    assert!((per_million - 2.5e6 / 3600.0 / rate).abs() < 1e-9 * per_million, "{cost}");
    assert!((value("idle_inclusive", "output_per_1m") - 2.0 * per_million).abs() < 1e-9 * per_million);
    assert!(value("measured", "interactivity") > 0.0);
    assert!(
        cost["alternatives"].as_array().unwrap().iter().any(|a| a["kind"] == "spot" && a["ratio"] == 0.8)
    );

    let again = ["report", "latest", "--price", "aws-p5.48xlarge", "--prices", "prices.toml"];
    let other = place.run(&[&again[..], &["--format", "json"]].concat()).expect(0).json();
    let dearer = other["cost"]["measured"]["output_per_1m"]["value"].as_f64().unwrap();
    assert!((dearer / per_million - 55.04 / 2.5).abs() < 1e-6, "{dearer} {per_million}");
    let text = place.run(&again).expect(0).stdout;
    assert!(text.contains("NVIDIA H100 SXM × 8: 55.04 USD an hour"), "{text}");
    // Without a price it is the one that was locked into the run.
    let locked = place.run(&["report", "latest", "--format", "csv"]).expect(0).stdout;
    assert!(locked.contains("cost.output_per_1m,USD/1e6,measured,"), "{locked}");

    let unknown = place.run(&["report", "latest", "--price", "nothing"]).expect(2);
    assert!(unknown.stderr.contains("no price is named `nothing`"), "{}", unknown.stderr);
    place.run(&["report", "latest", "--utilisation", "0.5"]).expect(2);
    place.run(&["report", "latest", "--price", "aws-p5.48xlarge", "--utilisation", "40"]).expect(2);
}

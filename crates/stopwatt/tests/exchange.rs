//! `explain`, `import`, `export` and `--dialect` from the outside.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use common::{Exact, Place, follows, only_run};
use serde_json::Value;

#[test]
fn a_measured_run_in_another_dialect_and_format() {
    let place = Place::new();
    let exact = Exact::start(&["--ttft", "30ms", "--itl", "4ms"]);
    let args = "--requests 4 --repeats 2 --concurrency 1 --input 16 --output 8 --warmup 2 --endpoint chat --dialect vllm-rs --format json";
    let mut command = vec!["bench", "--url", &exact.url];
    command.extend(args.split(' '));
    let view = place.run(&command).expect(0).json();
    follows("dialect.schema.json", &view);
    let point = &view["points"][0];
    let figure = |key: &str| point["figures"].as_array().unwrap().iter().find(|f| f["key"] == key).unwrap();
    assert_eq!((view["dialect"].as_str(), point["trials"].as_u64()), (Some("vllm-rs"), Some(2)));
    assert_eq!(figure("total_output_tokens")["statistics"][0]["value"], 64.0);
    assert_eq!(figure("tpot")["n"], 8);

    let text = place.run(&["report", "latest", "--dialect", "guidellm"]).expect(0).stdout;
    assert!(text.contains("guidellm 0.8.1") && text.contains("ITL (ms)"), "{text}");

    let file = place.path("result.json");
    let out = file.to_str().unwrap();
    place.run(&["export", "latest", "--to", "vllm", "--trial", "0", "--out", out]).expect(0);
    let exported: Value = serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
    assert_eq!((exported["completed"].as_u64(), exported["ttfts"].as_array().unwrap().len()), (Some(4), 4));
    assert!(exported["mean_ttft_ms"].as_f64().unwrap() >= 29.0);

    let doc = place.run(&["import", out, "--format", "json"]).expect(0).json();
    follows("metrics.schema.json", &doc);
    assert_eq!(doc["metrics"]["ttft"]["mean"]["n"], 4);
    assert_eq!(doc["pipeline"]["mode"], "import:vllm");
    assert!(place.run(&["runs", "list"]).expect(0).stdout.contains("-import-"));
}

#[test]
fn tables_and_wrong_files() {
    let place = Place::new();
    let write = |name: &str, text: &str| std::fs::write(place.path(name), text).unwrap();
    write("ttft.csv", "run,value\na,0.050\nb,0.052\nc,0.051\n");
    let doc = place.run(&["import", "ttft.csv", "--metric", "ttft", "--format", "json"]).expect(0).json();
    let mean = &doc["metrics"]["ttft"]["mean"];
    assert!((mean["value"].as_f64().unwrap() - 0.051).abs() < 1e-12);
    assert_eq!((mean["trials"].as_u64(), mean["interval"].is_object()), (Some(3), true));
    let run = only_run(&place.path("runs"));
    let log = std::fs::read_to_string(run.join("run.log")).unwrap();
    log.lines().for_each(|line| follows("run.log.schema.json", &serde_json::from_str(line).unwrap()));

    let said = place.run(&["import", "ttft.csv"]).expect(1).stderr;
    assert!(said.contains("needs the metric") && said.contains("--metric ttft"), "{said}");
    write("other.json", "{\"bricks\": 3}");
    let said = place.run(&["import", "other.json"]).expect(1).stderr;
    assert!(said.contains("the keys bricks") && said.contains("hint: known are"), "{said}");
    let said = place.run(&["export", "latest", "--to", "vllm"]).expect(1).stderr;
    assert!(said.contains("holds no requests"), "{said}");
    let said = place.run(&["explain", "speed"]).expect(1).stderr;
    assert!(said.contains("`speed` is no metric"), "{said}");
}

#[test]
fn metrics_are_explained() {
    let place = Place::new();
    let itl = place.run(&["explain", "itl", "--format", "json"]).expect(0).json();
    follows("explain.schema.json", &itl);
    let all = place.run(&["explain", "--format", "json"]).expect(0).json();
    assert!(all.as_array().unwrap().len() > 20);
    let text = place.run(&["explain", "tpot", "--lang", "ko"]).expect(0).stdout;
    assert!(text.contains("출력 토큰당 시간") && text.contains("guidellm"), "{text}");
}

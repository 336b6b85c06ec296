//! `stopwatt roofline --model` from the outside: its figures, its files, and what it refuses.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use common::{Place, follows};

#[test]
fn the_textbook_is_reproduced() {
    let place = Place::new();
    let model =
        "name = '7B'\nparameters = 7e9\nbytes_per_parameter = 2\nlayers = 32\nhidden = 4096\nheads = 32\n";
    std::fs::write(place.path("model.toml"), model).unwrap();
    let args =
        ["roofline", "--model", "model.toml", "--gpu", "a100_80gb", "--method", "textbook", "--format"];
    let doc = place.run(&[&args[..], &["json"]].concat()).expect(0).json();
    follows("roofline-model.schema.json", &doc);
    let row = |phase: &str, key: &str, value: u64| {
        let rows = doc["rows"].as_array().unwrap();
        rows.iter().find(|r| r["phase"] == phase && r[key] == value).unwrap().clone()
    };
    assert_eq!(row("prefill", "tokens", 128)["intensity"], 64.0);
    assert_eq!(row("decode", "sequences", 32)["tokens_per_s"].as_f64().unwrap().round(), 2286.0);
    assert_eq!(doc["ridges"][0]["flop_per_byte"], 156.0);
    let text = place.run(&[&args[..], &["table"]].concat()).expect(0).stdout;
    assert!(text.contains("2286") && text.contains("14.00 ms"), "{text}");
    let csv = place.run(&[&args[..], &["csv"]].concat()).expect(0).stdout;
    assert_eq!(csv.lines().count(), 12);
}

#[test]
fn own_devices_and_configurations_are_read() {
    let place = Place::new();
    let gpu = "name = 'Mine'\npeak_flop_s = { bf16 = 1e14 }\nbandwidth_bytes_s = 1e12\nmemory_gb = 24\n";
    std::fs::write(place.path("gpu.toml"), gpu).unwrap();
    let config = r#"{"model_type": "llama", "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2,
        "num_attention_heads": 4, "vocab_size": 100, "max_position_embeddings": 512}"#;
    std::fs::write(place.path("config.json"), config).unwrap();
    let run =
        |model: &str, gpu: &str| place.run(&["roofline", "--model", model, "--gpu", gpu, "--format", "json"]);
    let doc = run("config.json", "gpu.toml").expect(0).json();
    follows("roofline-model.schema.json", &doc);
    assert_eq!(
        (doc["gpu"]["name"].as_str(), doc["ridges"][0]["flop_per_byte"].as_f64()),
        (Some("Mine"), Some(100.0))
    );

    std::fs::write(place.path("odd.json"), config.replace("llama", "mamba")).unwrap();
    assert!(run("odd.json", "h100").expect(2).stderr.contains("`mamba` is not known"));
    std::fs::write(place.path("typo.toml"), gpu.replace("memory_gb", "memory")).unwrap();
    let said = run("llama-3.1-8b", "typo.toml").expect(2).stderr;
    assert!(said.contains("memory_gb"), "{said}");
    assert!(run("llama-9", "h100").expect(1).stderr.contains("llama-3.1-8b"));
    assert!(run("llama-3.1-8b", "abacus").expect(1).stderr.contains("h100-sxm"));
    let said =
        place.run(&["roofline", "--model", "llama-3.1-8b", "--gpu", "h100", "--tp", "3"]).expect(2).stderr;
    assert!(said.contains("query heads"), "{said}");
}

#[test]
fn kernels_stand_on_the_roofline() {
    let place = Place::new();
    let args = ["roofline", "--model", "llama-3.1-8b", "--gpu", "h100-sxm"];
    let doc = place.run(&[&args[..], &["--format", "json"]].concat()).expect(0).json();
    follows("roofline-model.schema.json", &doc);
    for part in doc["parts"].as_array().unwrap() {
        let of_roof = part["kernels"]["of_roof"].as_f64().unwrap();
        assert!(of_roof > 0.0 && of_roof < 1.1, "{part}");
    }
    let text = place.run(&[&args[..], &["--html", "roof.html"]].concat()).expect(0).stdout;
    assert!(text.contains("of the roof") && text.contains("measured"), "{text}");
    let html = std::fs::read_to_string(place.path("roof.html")).unwrap();
    assert!(html.contains("<svg") && html.contains("gate_up") && html.contains("prefill"), "{html}");
    let bare = place.run(&[&args[..], &["--no-table", "--format", "json"]].concat()).expect(0).json();
    assert!(bare["parts"][0]["kernels"].is_null());
}

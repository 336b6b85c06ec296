//! What is printed and stored.

use serde_json::json;

use super::*;

#[test]
fn the_lock_holds_every_setting_with_its_origin_and_no_secret() {
    let folder = Folder::new();
    let file = folder.file(
        "bench.yaml",
        "target:\n  url: http://kim:pw@host/v1\n  headers: ['Authorization: Bearer abc']\n",
    );
    let resolved = Layers::<Config>::new().file(&file).overrides(&["extra.token=abc"]).resolve().unwrap();
    assert_eq!(
        resolved.value.target.url.as_deref(),
        Some("http://kim:pw@host/v1"),
        "the program gets the real value"
    );

    let lock = resolved.lock();
    let settings = &lock["settings"];
    assert_eq!(settings["target.url"]["value"], "http://[redacted]@host/v1");
    assert_eq!(settings["target.url"]["origin"], json!({ "from": "file", "name": "bench.yaml", "line": 2 }));
    assert_eq!(settings["seed"], json!({ "value": 0, "origin": { "from": "default" } }));
    let text = lock.to_string() + &resolved.dry_run();
    let secrets = ["pw@", "abc", folder.0.path().to_str().unwrap()];
    assert!(secrets.iter().all(|s| !text.contains(s)), "{text}");

    let parsed: ConfigLock = serde_json::from_value(lock).unwrap();
    assert_eq!(parsed.settings.len(), resolved.origins.len());
    assert_eq!(parsed.hashes.settings.len(), 64);
    assert_eq!(parsed.hashes.files.keys().collect::<Vec<_>>(), ["bench.yaml"]);
    let again = Layers::<Config>::new().file(&file).overrides(&["extra.token=xyz"]).resolve().unwrap();
    assert_eq!(again.lock()["hashes"], json!(parsed.hashes), "a hash does not depend on a secret");
}

#[test]
fn the_dry_run_shows_value_and_origin() {
    let resolved = Layers::<Config>::new().overrides(&["seed=7"]).resolve().unwrap();
    let text = resolved.dry_run();
    let line = |key: &str| {
        text.lines().find(|l| l.starts_with(key)).unwrap().split_whitespace().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(line("seed"), "seed = 7 # --override");
    assert_eq!(line("measure.concurrency"), "measure.concurrency = [1] # default");
    assert_eq!(line("arrival.kind"), "arrival.kind = \"closed\" # default");
}

#[test]
fn the_schema_lists_every_key() {
    let schema: serde_json::Value = serde_json::from_str(&print_schema::<Config>()).unwrap();
    assert!(schema["properties"]["measure"].is_object());
}

//! Which layer wins, and how words become values.

use serde_json::json;

use super::*;

#[test]
fn stronger_layers_win_and_origins_tell() {
    let folder = Folder::new();
    let yaml = folder.file(
        "bench.yaml",
        "seed: 1\nmeasure:\n  warmup_requests: 1\n  first_token_timeout: 1\n  concurrency: [1, 2]\n",
    );
    let toml = folder.file("more.toml", "[measure]\nfirst_token_timeout = 2.5\n");
    let resolved = Layers::<Config>::new()
        .flag("seed", "--seed", Some(5u64))
        .flag("scenario", "--scenario", None::<String>)
        .overrides(&["seed=4", "measure.concurrency=3,4"])
        .environment(variables(&[
            ("STOPWATT_SEED", "3"),
            ("STOPWATT_MEASURE__WARMUP_REQUESTS", "3"),
            ("STOPWATT_LANG", "ko"),
        ]))
        .file(&yaml)
        .file(&toml)
        .resolve()
        .unwrap();
    let measure = &resolved.value.measure;
    assert_eq!(resolved.value.seed, 5);
    assert_eq!((measure.warmup_requests, measure.first_token_timeout), (3, 2.5));
    assert_eq!(measure.concurrency, [3, 4]);

    let origin = |key: &str| resolved.origins[key].to_string();
    assert_eq!(origin("seed"), "--seed");
    assert_eq!(origin("measure.warmup_requests"), "STOPWATT_MEASURE__WARMUP_REQUESTS");
    assert_eq!(origin("measure.first_token_timeout"), "more.toml:2");
    assert_eq!(origin("measure.concurrency"), "--override");
    assert_eq!(origin("measure.positive"), "default");
    assert_eq!(origin("scenario"), "default");
}

#[test]
fn defaults_alone_are_the_default() {
    let resolved = Layers::<Config>::new().resolve().unwrap();
    assert_eq!(resolved.value, Config::default());
    assert!(resolved.origins.values().all(|o| *o == Origin::Default));
    let empty = Folder::new();
    for (name, text) in [
        ("a.yaml", ""),
        ("b.yml", "# nothing\n"),
        ("c.toml", ""),
        ("d.yaml", "---\n"),
        ("e.yaml", "\u{feff}seed: 0\n"),
        ("f.toml", "\u{feff}seed = 0\r\n"),
    ] {
        let layers = Layers::<Config>::new().file(&empty.file(name, text));
        assert_eq!(layers.resolve().unwrap().value, Config::default(), "{name}");
    }
}

#[test]
fn variables_and_overrides_are_named_in_their_errors() {
    let resolve = |name: &str, value: &str| {
        Layers::<Config>::new().environment(variables(&[(name, value)])).resolve().map(|r| r.value)
    };
    let error = resolve("STOPWATT_MEASURE__WARMUP", "1").unwrap_err().to_string();
    assert!(
        error.starts_with("STOPWATT_MEASURE__WARMUP: unknown field `warmup`, expected `warmup_requests`"),
        "{error}"
    );
    let error = resolve("STOPWATT_SEED", "x").unwrap_err().to_string();
    assert_eq!(error, "STOPWATT_SEED: `seed` takes an integer, not `x`");
    assert!(resolve("STOPWATT_RUNS", "/tmp").is_ok(), "a variable of another part");

    let override_ = |text: &str| Layers::<Config>::new().overrides(&[text]).resolve().map(|r| r.value);
    let error = override_("measure.warmup_request=1").unwrap_err();
    assert!(error.to_string().starts_with("--override measure.warmup_request=1: unknown field"), "{error}");
    assert!(matches!(override_("seed"), Err(ConfigError::Override { .. })));
    assert!(matches!(override_("=1"), Err(ConfigError::Override { .. })));
    assert!(matches!(override_("seed.x=1"), Err(ConfigError::Type { .. })));
    assert!(matches!(override_("target.api_key=abc"), Err(ConfigError::UnknownField { .. })));
    assert!(!override_("target.api_key=abc").unwrap_err().to_string().contains("abc"));
}

#[test]
fn words_take_the_type_of_their_setting() {
    let with = |text: &str| Layers::<Config>::new().overrides(&[text]).resolve().unwrap().value;
    assert_eq!(with("target.url=8000").target.url.as_deref(), Some("8000"), "text stays text");
    assert_eq!(with("target.url=null").target.url, None);
    assert_eq!(with("target.url=a=b").target.url.as_deref(), Some("a=b"));
    assert_eq!(with("scenario=long-context").scenario, Kind::LongContext);
    assert_eq!(with("target.kind=long-context").target.kind, Some(Kind::LongContext));
    assert_eq!(with("measure.concurrency=1,8").measure.concurrency, [1, 8]);
    assert_eq!(with("measure.concurrency=[1, 8]").measure.concurrency, [1, 8]);
    assert_eq!(with("measure.concurrency=8").measure.concurrency, [8]);
    assert_eq!(with("target.headers=X-A: b").target.headers, ["X-A: b"]);
    assert_eq!(with("target.headers=['X-A: b', 'X-C: d']").target.headers, ["X-A: b", "X-C: d"]);
    assert_eq!(with("measure.first_token_timeout=3").measure.first_token_timeout, 3.0);
    assert_eq!(with("limits={memory: 3}").limits, Some(Limits { memory: 3, time: 0 }));
    assert_eq!(with("limits.time=3").limits, Some(Limits { memory: 0, time: 3 }));
    assert_eq!(with("extra={a: [1, x]}").extra, Some(json!({ "a": [1, "x"] })));
    assert_eq!(with("extra.a.b=1").extra, Some(json!({ "a": { "b": 1 } })));
}

#[test]
fn another_variant_replaces_and_the_same_one_merges() {
    let with = |texts: &[&str]| Layers::<Config>::new().overrides(texts).resolve().map(|r| r.value.arrival);
    assert_eq!(with(&["arrival={kind: poisson, rate: 3}"]).unwrap(), Arrival::Poisson { rate: 3.0 });
    assert_eq!(with(&["arrival.concurrency=9"]).unwrap(), Arrival::Closed { concurrency: 9, think_s: 0.0 });
    let error = with(&["arrival.rate=9"]).unwrap_err();
    assert!(error.to_string().contains("unknown field `rate`"), "{error}");
    assert_eq!(
        with(&["arrival={kind: closed, concurrency: 9}"]).unwrap(),
        Arrival::Closed { concurrency: 9, think_s: 0.0 }
    );
    let error = with(&["arrival={kind: poisson, rat: 3}"]).unwrap_err();
    assert!(matches!(&error, ConfigError::UnknownField { field, .. } if field == "rat"), "{error}");
    let error = with(&["arrival={kind: poison, rate: 3}"]).unwrap_err();
    assert!(
        error.to_string().ends_with("`arrival.kind`: unknown value `poison`, expected `poisson` or `closed`"),
        "{error}"
    );
    let error = with(&["arrival={rat: 3}"]).unwrap_err();
    assert!(error.to_string().contains("unknown field `rat`, expected `rate`"), "{error}");
}

#[test]
fn a_file_can_stand_for_itself() {
    let folder = Folder::new();
    let stage: Stage = read_file(&folder.file("a.toml", "name = \"x\"\nseconds = 3\n")).unwrap();
    assert_eq!(stage, Stage { name: "x".to_owned(), seconds: 3 });
    let error = read_file::<Stage>(&folder.file("b.yaml", "name: x\n")).unwrap_err();
    assert!(error.to_string().contains("missing field `seconds`"), "{error}");
}

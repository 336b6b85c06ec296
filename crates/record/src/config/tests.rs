//! Layers, mistakes and what is stored of them.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::*;

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Config {
    scenario: Kind,
    target: Target,
    measure: Measure,
    arrival: Arrival,
    limits: Option<Limits>,
    stages: Vec<Stage>,
    seed: u64,
    extra: Option<serde_json::Value>,
    #[schemars(extend("x-unavailable" = true))]
    power: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum Kind {
    /// One.
    #[default]
    Single,
    /// Many.
    LongContext,
}

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Target {
    url: Option<String>,
    api_key_env: Option<String>,
    headers: Vec<String>,
    kind: Option<Kind>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Measure {
    warmup_requests: u32,
    first_token_timeout: f64,
    concurrency: Vec<u32>,
    positive: Positive,
}

impl Default for Measure {
    fn default() -> Self {
        Self { warmup_requests: 8, first_token_timeout: 30.0, concurrency: vec![1], positive: Positive(1.0) }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "f64", into = "f64")]
struct Positive(f64);

impl TryFrom<f64> for Positive {
    type Error = String;
    fn try_from(v: f64) -> Result<Self, String> {
        if v > 0.0 { Ok(Self(v)) } else { Err(format!("{v} is not positive")) }
    }
}

impl From<Positive> for f64 {
    fn from(v: Positive) -> Self {
        v.0
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
enum Arrival {
    Closed { concurrency: u32, think_s: f64 },
    Poisson { rate: f64 },
}

impl Default for Arrival {
    fn default() -> Self {
        Self::Closed { concurrency: 4, think_s: 0.0 }
    }
}

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Limits {
    memory: u64,
    time: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Stage {
    name: String,
    seconds: u32,
}

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }
    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }
}

#[track_caller]
fn refused(name: &str, text: &str) -> ConfigError {
    let folder = Folder::new();
    Layers::<Config>::new().file(&folder.file(name, text)).resolve().unwrap_err()
}

#[track_caller]
fn message(name: &str, text: &str, expected: &str) {
    assert_eq!(refused(name, text).to_string(), expected);
}

fn variables(all: &[(&str, &str)]) -> Vec<(String, String)> {
    all.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
}

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
    for (name, text) in [("a.yaml", ""), ("b.yml", "# nothing\n"), ("c.toml", ""), ("d.yaml", "---\n")] {
        let layers = Layers::<Config>::new().file(&empty.file(name, text));
        assert_eq!(layers.resolve().unwrap().value, Config::default(), "{name}");
    }
}

#[test]
fn a_typo_points_at_its_line_and_the_nearest_key() {
    message(
        "bench.toml",
        "[measure]\nwarmup_request = 8\n",
        "in bench.toml\n\
         2 | warmup_request = 8\n\
         \x20 | ^^^^^^^^^^^^^^\n\
         unknown field `warmup_request`, expected `warmup_requests`, `concurrency`, `first_token_timeout` or `positive`",
    );
    message(
        "bench.yaml",
        "# settings\n\n\n\n\n\n\n\n\nmeasure: {  warmup_request: 8 }\n",
        "in bench.yaml\n\
         10 | measure: {  warmup_request: 8 }\n\
         \x20  |             ^^^^^^^^^^^^^^\n\
         unknown field `warmup_request`, expected `warmup_requests`, `concurrency`, `first_token_timeout` or `positive`",
    );
    message(
        "top.yaml",
        "senario: single\n",
        "in top.yaml\n\
         1 | senario: single\n\
         \x20 | ^^^^^^^\n\
         unknown field `senario`, expected `scenario` or 8 others",
    );
}

#[test]
fn a_key_at_the_wrong_place_is_led_to_the_right_one() {
    message(
        "bench.yaml",
        "warmup_requests: 8\n",
        "in bench.yaml\n\
         1 | warmup_requests: 8\n\
         \x20 | ^^^^^^^^^^^^^^^\n\
         unknown field `warmup_requests`; did you mean `measure.warmup_requests`?",
    );
}

#[test]
fn wrong_types_and_values_point_at_the_value() {
    message(
        "bench.yaml",
        "measure:\n  warmup_requests: many\n",
        "in bench.yaml\n2 |   warmup_requests: many\n  |                    ^^^^\n`measure.warmup_requests` takes an integer, not `many`",
    );
    message(
        "bench.toml",
        "measure.warmup_requests = -1\n",
        "in bench.toml\n1 | measure.warmup_requests = -1\n  |                           ^^\n`measure.warmup_requests`: must be at least 0, not -1",
    );
    message(
        "bench.toml",
        "scenario = \"long_context\"\n",
        "in bench.toml\n1 | scenario = \"long_context\"\n  |            ^^^^^^^^^^^^^^\n`scenario`: unknown value `long_context`, expected `long-context` or `single`",
    );
    message(
        "bench.yaml",
        "measure:\n  concurrency: [1, 2.5]\n",
        "in bench.yaml\n2 |   concurrency: [1, 2.5]\n  |                    ^^^\n`measure.concurrency[1]` takes an integer, not `2.5`",
    );
    message(
        "bench.yaml",
        "measure: 5\n",
        "in bench.yaml\n1 | measure: 5\n  |          ^\n`measure` takes a table, not `5`",
    );
    message(
        "bench.yaml",
        "target: {kind: x}\n",
        "in bench.yaml\n1 | target: {kind: x}\n  |                ^\n`target.kind`: unknown value `x`, expected `long-context` or `single`",
    );
    message("bench.yaml", "- a\n", "in bench.yaml\n1 | - a\n  | ^\n`the file` takes a table, not a list");
}

#[test]
fn what_only_the_type_can_refuse_still_points_at_the_value() {
    message(
        "bench.toml",
        "seed = 1\n[measure]\n\tpositive = -3.5\n",
        "in bench.toml\n3 | \tpositive = -3.5\n  | \t           ^^^^\n`measure.positive`: -3.5 is not positive",
    );
    let error = refused("bench.yaml", "stages:\n  - name: a\n    seconds: 1\n  - name: b\n");
    assert!(error.to_string().ends_with("`stages[1]`: missing field `seconds`"), "{error}");
    let error = refused("bench.yaml", "seed: 3\nmeasure: {warmup_requests: 5000000000}\n");
    assert!(error.to_string().starts_with("in bench.yaml\n2 | "), "{error}");
}

#[test]
fn syntax_errors_point_at_the_line() {
    for (name, text) in [
        ("a.yaml", "seed: 1\nmeasure: [1\n"),
        ("b.toml", "seed = 1\nmeasure = [1\n"),
        ("c.yaml", "seed: 1\nseed: 2\n"),
        ("d.toml", "seed = 1\nseed = 2\n"),
        ("e.yaml", "seed: 1\n---\nseed: 2\n"),
        ("f.yaml", "seed: 1\n[1]: 2\n"),
    ] {
        let error = refused(name, text);
        let ConfigError::Syntax { at, message } = &error else { panic!("{name}: {error}") };
        let Location::File { name: file, line, .. } = at.as_ref() else { panic!("{name}: {error}") };
        assert_eq!(file, name);
        assert!(*line >= 2 && !message.is_empty(), "{name}: {error}");
    }
    assert!(matches!(refused("x.json", "{}"), ConfigError::Extension { .. }));
    let missing =
        Layers::<Config>::new().file(std::path::Path::new("/nowhere/x.yaml")).resolve().unwrap_err();
    assert!(matches!(&missing, ConfigError::Read { name, .. } if name == "x.yaml"));
}

#[test]
fn a_bomb_of_aliases_is_refused() {
    let mut text = String::from("a: &a [x, x, x, x, x, x, x, x, x]\n");
    for (this, last) in "bcdefghij".chars().zip("abcdefghi".chars()) {
        text += &format!(
            "{this}: &{this} [*{last}, *{last}, *{last}, *{last}, *{last}, *{last}, *{last}, *{last}, *{last}]\n"
        );
    }
    assert!(matches!(refused("bomb.yaml", &text), ConfigError::Syntax { .. }));
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
fn a_setting_that_is_not_built_says_so() {
    let error = Layers::<Config>::new().overrides(&["power=nvml"]).resolve().unwrap_err();
    assert_eq!(error.to_string(), "--override power=nvml: `power` is not available in this version");
}

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
fn a_setting_can_be_refused_afterwards_at_its_place() {
    let folder = Folder::new();
    let file = folder.file("bench.yaml", "seed: 9\n");
    let resolved = Layers::<Config>::new().file(&file).resolve().unwrap();
    assert_eq!(
        resolved.refuse("seed", "must be even").to_string(),
        "in bench.yaml\n1 | seed: 9\n  |       ^\n`seed`: must be even"
    );
    assert!(resolved.refuse("scenario", "no").to_string().starts_with("built-in defaults: "));
}

#[test]
fn a_file_can_stand_for_itself() {
    let folder = Folder::new();
    let stage: Stage = read_file(&folder.file("a.toml", "name = \"x\"\nseconds = 3\n")).unwrap();
    assert_eq!(stage, Stage { name: "x".to_owned(), seconds: 3 });
    let error = read_file::<Stage>(&folder.file("b.yaml", "name: x\n")).unwrap_err();
    assert!(error.to_string().contains("missing field `seconds`"), "{error}");
}

#[test]
fn the_schema_lists_every_key() {
    let schema: serde_json::Value = serde_json::from_str(&print_schema::<Config>()).unwrap();
    assert!(schema["properties"]["measure"].is_object());
}

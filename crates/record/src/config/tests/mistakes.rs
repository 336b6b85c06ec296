//! What is refused, and how it is told.

use super::*;

#[track_caller]
fn refused(name: &str, text: &str) -> ConfigError {
    let folder = Folder::new();
    Layers::<Config>::new().file(&folder.file(name, text)).resolve().unwrap_err()
}

#[track_caller]
fn message(name: &str, text: &str, expected: &str) {
    assert_eq!(refused(name, text).to_string(), expected);
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
fn a_setting_that_is_not_built_says_so() {
    let error = Layers::<Config>::new().overrides(&["power=nvml"]).resolve().unwrap_err();
    assert_eq!(error.to_string(), "--override power=nvml: `power` is not available in this version");
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

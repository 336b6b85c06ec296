//! A settings file from someone else, YAML or TOML, and pairs as of `--override`.
#![no_main]

use std::collections::BTreeMap;

use libfuzzer_sys::fuzz_target;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use stopwatt_record::Layers;

/// Settings with everything that ours have: nesting, lists, choices, maps, optional values.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Settings {
    seed: u64,
    name: Option<String>,
    rates: Vec<f64>,
    lengths: Lengths,
    nested: BTreeMap<String, Nested>,
}

#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Lengths {
    #[default]
    Short,
    Fixed(u32),
    Uniform {
        lo: u32,
        hi: u32,
    },
}

#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Nested {
    on: bool,
    share: f64,
}

fuzz_target!(|data: &[u8]| {
    let Some((choice, bytes)) = data.split_first() else { return };
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join(if choice & 1 == 1 { "a.toml" } else { "a.yaml" });
    std::fs::write(&file, bytes).unwrap();
    let mut layers = Layers::<Settings>::new().file(&file);
    if choice & 2 == 2
        && let Ok(text) = std::str::from_utf8(bytes)
    {
        layers = layers.overrides(&text.lines().collect::<Vec<_>>());
    }
    match layers.resolve() {
        Ok(resolved) => {
            resolved.lock();
            resolved.dry_run();
        }
        Err(error) => {
            std::hint::black_box(error.to_string());
        }
    }
});

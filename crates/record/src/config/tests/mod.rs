//! Layers, mistakes and what is stored of them.

mod layers;
mod mistakes;
mod stored;

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

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

fn variables(all: &[(&str, &str)]) -> Vec<(String, String)> {
    all.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
}

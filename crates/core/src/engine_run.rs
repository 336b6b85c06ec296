//! An engine that was started for a measurement: what became of it.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What became of an engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EngineOutcome {
    /// Every point was measured, then it was ended.
    Measured,
    /// It could not be started, or ended by itself.
    Died,
    /// It did not give a token in the time allowed.
    NotReady,
    /// It runs, but what was asked for cannot be measured on it.
    Refused,
    /// The run was interrupted first.
    Interrupted,
}

/// What an engine's last lines say of its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EngineCause {
    /// Not enough memory.
    Oom,
    /// Its port was taken.
    Port,
    /// The model could not be found or read.
    Model,
    /// An argument that it does not take.
    Arguments,
    /// Nothing that is known.
    Other,
}

/// What an engine wrote.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct EngineLog {
    /// Lines in all.
    pub lines: u64,
    /// SHA-256 over all of them.
    pub sha256: String,
    /// The last ones; `None` unless keeping the log was asked for.
    pub tail: Option<Vec<String>>,
}

/// One engine of a sweep.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct EngineRun {
    /// Its settings, by name.
    pub settings: BTreeMap<String, String>,
    /// What became of it.
    pub outcome: EngineOutcome,
    /// Seconds from its start to its first token.
    pub ready_s: Option<f64>,
    /// How it ended by itself: `exit status 1`, `signal 9`.
    pub exit: Option<String>,
    /// Why, by its last lines; `None` when it did not end by itself.
    pub cause: Option<EngineCause>,
    /// What stood in the way, where it is not the engine's own end.
    pub detail: Option<String>,
    /// What it wrote.
    pub log: EngineLog,
}

//! Configuration: values from several layers, each leaf with its origin.

pub mod environment;

use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::path::Path;

use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// A type that can be resolved from layers.
pub trait Settings: Serialize + DeserializeOwned + JsonSchema + Default {}
impl<T: Serialize + DeserializeOwned + JsonSchema + Default> Settings for T {}

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Built in.
    Default,
    /// A configuration file.
    File {
        /// File name without its folder.
        name: String,
        /// Line, from 1.
        line: u32,
    },
    /// An environment variable.
    Environment {
        /// Name of the variable.
        name: String,
    },
    /// `--override`.
    Override,
    /// A flag.
    Flag {
        /// Name of the flag, for instance `--concurrency`.
        name: String,
    },
}

/// Why a configuration was refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {}

impl ConfigError {
    /// What to try next.
    pub fn hint(&self) -> Option<&'static str> {
        None
    }
}

/// Layers of settings, weakest first whatever the order of the calls: defaults, file, environment, overrides, flags.
#[derive(Debug)]
pub struct Layers<T>(PhantomData<T>);

impl<T: Settings> Layers<T> {
    /// Only the defaults.
    #[expect(clippy::new_without_default, reason = "skeleton")]
    pub fn new() -> Self {
        Self(PhantomData)
    }
    /// Adds a YAML or TOML file, told apart by extension.
    pub fn file(self, _path: &Path) -> Self {
        unimplemented!()
    }
    /// Adds variables `STOPWATT_A__B`, see [`environment::settings`].
    pub fn environment(self, _variables: Vec<(String, String)>) -> Self {
        unimplemented!()
    }
    /// Adds `a.b=c` pairs.
    pub fn overrides<S: AsRef<str>>(self, _pairs: &[S]) -> Self {
        unimplemented!()
    }
    /// Adds a flag when it was given.
    pub fn flag<V: Serialize>(self, _key: &str, _flag: &str, _value: Option<V>) -> Self {
        unimplemented!()
    }
    /// Checks and merges every layer.
    pub fn resolve(self) -> Result<Resolved<T>, ConfigError> {
        unimplemented!()
    }
}

/// Settings with the origin of each leaf.
#[derive(Debug, Clone)]
pub struct Resolved<T> {
    /// The settings.
    pub value: T,
    /// Origin of each leaf, by dotted key.
    pub origins: BTreeMap<String, Origin>,
}

impl<T: Settings> Resolved<T> {
    /// What goes to `config.lock.json`, with secrets redacted.
    pub fn lock(&self) -> serde_json::Value {
        unimplemented!()
    }
    /// One line a setting: `key = value  # origin`.
    pub fn dry_run(&self) -> String {
        unimplemented!()
    }
}

/// JSON schema of `T`.
pub fn print_schema<T: JsonSchema>() -> String {
    unimplemented!()
}

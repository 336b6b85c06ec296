//! Puts the layers on top of each other.

use std::collections::BTreeMap;
use std::fmt::{Debug, Write as _};
use std::marker::PhantomData;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::check::check;
use super::environment::PREFIX;
use super::error::ConfigError;
use super::file::{defaults, deserialize, load, word};
use super::lock::ConfigLock;
use super::merge::merge;
use super::schema::Schema;
use super::tree::{Node, Source, Spot};
use super::{Location, Origin};
use crate::redact;

/// A type that can be resolved from layers.
pub trait Settings: Serialize + DeserializeOwned + JsonSchema + Default {}
impl<T: Serialize + DeserializeOwned + JsonSchema + Default> Settings for T {}

/// Layers of settings. Whatever the order of the calls, the weakest come first: defaults, files, environment,
/// overrides, flags; within one kind, the later call wins. Mistakes are told by [`resolve`](Self::resolve).
#[derive(Debug, Clone)]
pub struct Layers<T> {
    files: Vec<PathBuf>,
    environment: Vec<(String, String)>,
    overrides: Vec<String>,
    flags: Vec<(String, String, Value)>,
    settings: PhantomData<fn() -> T>,
}

impl<T: Settings> Default for Layers<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Settings> Layers<T> {
    /// Only the defaults.
    pub fn new() -> Self {
        Self {
            files: Vec::new(),
            environment: Vec::new(),
            overrides: Vec::new(),
            flags: Vec::new(),
            settings: PhantomData,
        }
    }

    /// Adds a YAML or TOML file, told apart by extension.
    pub fn file(mut self, path: &Path) -> Self {
        self.files.push(path.to_owned());
        self
    }

    /// Adds variables `STOPWATT_A__B`, for the setting `a.b`, see [`settings`](super::environment::settings).
    ///
    /// A name with `__` must be a setting. One without is taken when a setting has that name, and left alone
    /// otherwise, since other parts have variables too.
    pub fn environment(mut self, variables: Vec<(String, String)>) -> Self {
        self.environment.extend(variables);
        self
    }

    /// Adds `a.b=c` pairs. `c` is read as YAML where the setting is not text: `8`, `[1, 2]` or `1,2`, `null`.
    pub fn overrides<S: AsRef<str>>(mut self, pairs: &[S]) -> Self {
        self.overrides.extend(pairs.iter().map(|p| p.as_ref().to_owned()));
        self
    }

    /// Adds a flag when it was given.
    pub fn flag<V: Serialize>(mut self, key: &str, flag: &str, value: Option<V>) -> Self {
        if let Some(value) = value {
            let value = serde_json::to_value(value).expect("flags are plain data with text keys");
            self.flags.push((key.to_owned(), flag.to_owned(), value));
        }
        self
    }

    /// Checks and merges every layer.
    pub fn resolve(self) -> Result<Resolved<T>, ConfigError> {
        let schema = Schema::of::<T>();
        let mut tree = defaults::<T>();
        let mut lay = |layer: Node| -> Result<(), ConfigError> {
            check(&schema, &layer)?;
            let base = std::mem::replace(&mut tree, layer.clone());
            tree = merge(&schema, schema.root(), base, layer);
            Ok(())
        };
        let mut sources = Vec::new();
        for path in &self.files {
            let (node, source) = load(path)?;
            lay(node)?;
            sources.push(source);
        }
        for (name, text) in &self.environment {
            let Some(rest) = name.strip_prefix(PREFIX) else { continue };
            let key = rest.to_ascii_lowercase();
            let path: Vec<&str> = key.split("__").collect();
            if path.len() < 2 && schema.at(&path).is_none() {
                continue;
            }
            let (origin, spot) = (Origin::Environment { name: name.clone() }, Spot::Named(name.clone()));
            lay(Node::nested(&path, typed(&schema, &path, text), &origin, &spot))?;
        }
        for text in &self.overrides {
            let (key, value) = text
                .split_once('=')
                .filter(|(key, _)| !key.trim().is_empty())
                .ok_or_else(|| ConfigError::Override { text: redact::text(text) })?;
            let path: Vec<&str> = key.trim().split('.').collect();
            let spot = Spot::Named(format!("--override {text}"));
            lay(Node::nested(&path, typed(&schema, &path, value.trim()), &Origin::Override, &spot))?;
        }
        for (key, flag, value) in self.flags {
            let path: Vec<&str> = key.split('.').collect();
            let (origin, spot) = (Origin::Flag { name: flag.clone() }, Spot::Named(flag));
            lay(Node::nested(&path, value, &origin, &spot))?;
        }
        let value = deserialize(&tree)?;
        let origins = tree.settings().into_iter().map(|(key, node)| (key, node.origin.clone())).collect();
        Ok(Resolved { value, origins, tree, sources })
    }
}

/// A word as the value of the setting at `path`: text where the setting is text, a list where it is a list.
fn typed(schema: &Schema, path: &[&str], text: &str) -> Value {
    let Some(at) = schema.at(path) else { return text.into() };
    let admits = |kind: &str| schema.admits(at, kind);
    let nothing = admits("null") && matches!(text, "" | "null" | "~");
    if nothing {
        return Value::Null;
    }
    let more = ["boolean", "integer", "number", "array", "object"].iter().any(|kind| admits(kind));
    if admits("string") && !more {
        return text.into();
    }
    let bare_list = admits("array") && !admits("string") && !text.trim_start().starts_with('[');
    let of_text = at.get("items").is_some_and(|i| schema.admits(i, "string") && !schema.admits(i, "number"));
    match bare_list {
        // A header may hold commas and colons.
        true if of_text => vec![text].into(),
        true => word(&format!("[{text}]")).unwrap_or_else(|| text.into()),
        false => word(text).unwrap_or_else(|| text.into()),
    }
}

/// Settings with the origin of each.
#[derive(Debug, Clone)]
pub struct Resolved<T> {
    /// The settings.
    pub value: T,
    /// Origin of each setting, by dotted key.
    pub origins: BTreeMap<String, Origin>,
    tree: Node,
    sources: Vec<Arc<Source>>,
}

impl<T: Settings> Resolved<T> {
    /// What goes to `config.lock.json`, without secrets and home directories.
    pub fn lock(&self) -> Value {
        let settings = self.tree.settings().into_iter().map(|(k, n)| (k, n.to_value(), n.origin.clone()));
        let files = self.sources.iter().map(|s| (s.name.clone(), s.text.as_str()));
        serde_json::to_value(ConfigLock::new(settings, files)).expect("a lock is plain data with text keys")
    }

    /// One line a setting: `key = value  # origin`, without secrets.
    pub fn dry_run(&self) -> String {
        let lines: Vec<_> = self
            .tree
            .settings()
            .into_iter()
            .map(|(key, node)| {
                let value = redact::json(&key, &node.to_value());
                (format!("{key} = {value}"), node.origin.to_string())
            })
            .collect();
        let width = lines.iter().map(|(l, _)| l.chars().count()).filter(|&n| n <= 60).max().unwrap_or(0);
        let mut text = String::new();
        for (line, origin) in lines {
            let _ = writeln!(text, "{line:width$}  # {origin}");
        }
        text
    }

    /// A mistake in a setting that only the program can find, told at the place where it was written.
    pub fn refuse(&self, key: &str, problem: &str) -> ConfigError {
        let settings = self.tree.settings();
        let found = settings.iter().find(|(k, _)| k == key);
        let spot = found.map_or(&Spot::BuiltIn, |(_, node)| &node.spot);
        ConfigError::Value { at: Location::of(spot), key: key.to_owned(), problem: problem.to_owned() }
    }
}

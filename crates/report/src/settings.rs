//! The locked configuration as lines: key, value and origin of each leaf.

use std::collections::BTreeMap;

use serde_json::Value;

/// One setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Setting {
    /// Dotted key.
    pub(crate) key: String,
    /// Value, as JSON; a text without its quotes.
    pub(crate) value: String,
    /// Where it came from; `None` for a default.
    pub(crate) origin: Option<String>,
}

/// Every setting of `config.lock.json`: chosen ones first, each group by key.
pub(crate) fn settings(config: &Value) -> Vec<Setting> {
    let origins = config.get("origins").and_then(Value::as_object);
    let tree = config.get("settings").unwrap_or(config);
    let mut leaves = BTreeMap::new();
    flatten(tree, String::new(), &mut leaves);
    let origin = |key: &str| origins.and_then(|o| origin_text(o.get(key)?));
    let mut all: Vec<Setting> =
        leaves.into_iter().map(|(key, value)| Setting { origin: origin(&key), key, value }).collect();
    all.sort_by_key(|s| s.origin.is_none());
    all
}

fn flatten(value: &Value, key: String, leaves: &mut BTreeMap<String, String>) {
    match value {
        Value::Object(map) if !map.is_empty() => {
            for (name, child) in map {
                let key = if key.is_empty() { name.clone() } else { format!("{key}.{name}") };
                flatten(child, key, leaves);
            }
        }
        Value::String(text) => drop(leaves.insert(key, text.clone())),
        other => drop(leaves.insert(key, other.to_string())),
    }
}

/// `default` becomes `None`; an object is shown as its values in order of their keys.
fn origin_text(value: &Value) -> Option<String> {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Object(map) => {
            let part = |v: &Value| v.as_str().map_or_else(|| v.to_string(), str::to_owned);
            map.values().map(part).collect::<Vec<_>>().join(" ")
        }
        other => other.to_string(),
    };
    (text != "default").then_some(text)
}

/// A shell command that measures again with the chosen settings.
pub(crate) fn command(mode: &str, settings: &[Setting]) -> String {
    let verb = mode.split(':').next().filter(|v| !v.is_empty()).unwrap_or("bench");
    let chosen = settings.iter().filter(|s| s.origin.is_some());
    let overrides =
        chosen.map(|s| format!(" \\\n  --override {}", quoted(&format!("{}={}", s.key, s.value))));
    format!("stopwatt {verb}{}", overrides.collect::<String>())
}

/// Quotes a word for a POSIX shell where needed.
fn quoted(word: &str) -> String {
    let safe = |c: char| c.is_ascii_alphanumeric() || "-_./=:,@%+".contains(c);
    if word.chars().all(safe) { word.to_owned() } else { format!("'{}'", word.replace('\'', "'\\''")) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn chosen_settings_come_first_with_their_origin() {
        let config = json!({
            "settings": {"load": {"concurrency": [1, 2], "input": 8}, "name": "a b"},
            "origins": {"load.concurrency": "flag --concurrency", "load.input": "default", "name": {"name": "x.toml", "line": 3}},
        });
        let all = settings(&config);
        let shown: Vec<_> =
            all.iter().map(|s| (s.key.as_str(), s.value.as_str(), s.origin.as_deref())).collect();
        assert_eq!(
            shown,
            [
                ("load.concurrency", "[1,2]", Some("flag --concurrency")),
                ("name", "a b", Some("3 x.toml")),
                ("load.input", "8", None),
            ]
        );
        assert_eq!(
            command("bench:sweep", &all),
            "stopwatt bench \\\n  --override 'load.concurrency=[1,2]' \\\n  --override 'name=a b'"
        );
    }

    #[test]
    fn a_quote_cannot_leave_its_word() {
        assert_eq!(quoted("x='; rm -rf ~; '"), "'x='\\''; rm -rf ~; '\\'''");
    }
}

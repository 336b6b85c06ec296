//! The locked configuration as lines: key, value and origin of each setting.

use serde_json::Value;
use stopwatt_record::config::Origin;

/// What stands in a lock in place of a secret.
const REDACTED: &str = "[redacted]";

/// One setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Setting {
    /// Dotted key.
    pub(crate) key: String,
    /// Value, as JSON; a text without its quotes.
    pub(crate) value: String,
    /// Where it came from.
    pub(crate) origin: Origin,
}

impl Setting {
    /// Whether somebody chose it.
    pub(crate) fn chosen(&self) -> bool {
        self.origin != Origin::Default
    }
}

/// Every setting of `config.lock.json`: chosen ones first, each group by key. An entry of another shape is left out.
pub(crate) fn settings(config: &Value) -> Vec<Setting> {
    let locked = config.get("settings").and_then(Value::as_object);
    let read = |(key, entry): (&String, &Value)| {
        let value = entry.get("value")?;
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let origin = serde_json::from_value(entry.get("origin")?.clone()).ok()?;
        Some(Setting { key: key.clone(), value, origin })
    };
    let mut all: Vec<Setting> = locked.into_iter().flatten().filter_map(read).collect();
    all.sort_by(|a, b| (!a.chosen(), &a.key).cmp(&(!b.chosen(), &b.key)));
    all
}

/// A shell command that measures again with the chosen settings; secrets must be given anew.
pub(crate) fn command(mode: &str, settings: &[Setting]) -> String {
    let verb = mode.split(':').next().filter(|v| !v.is_empty()).unwrap_or("bench");
    let chosen = settings.iter().filter(|s| s.chosen() && !s.value.contains(REDACTED));
    let overrides =
        chosen.map(|s| format!(" \\\n  --override {}", quoted(&format!("{}={}", s.key, s.value))));
    format!("stopwatt {}{}", quoted(verb), overrides.collect::<String>())
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
        let config = json!({ "settings": {
            "load.concurrency": { "value": [1, 2], "origin": { "from": "flag", "name": "--concurrency" } },
            "load.input": { "value": 8, "origin": { "from": "default" } },
            "name": { "value": "a b", "origin": { "from": "file", "name": "x.toml", "line": 3 } },
            "token": { "value": "[redacted]", "origin": { "from": "override" } },
            "odd": 5,
        }});
        let all = settings(&config);
        let shown: Vec<_> = all.iter().map(|s| format!("{} {} {}", s.key, s.value, s.origin)).collect();
        let expected = [
            "load.concurrency [1,2] --concurrency",
            "name a b x.toml:3",
            "token [redacted] --override",
            "load.input 8 default",
        ];
        assert_eq!(shown, expected);
        let again = "stopwatt bench \\\n  --override 'load.concurrency=[1,2]' \\\n  --override 'name=a b'";
        assert_eq!(command("bench:sweep", &all), again);
    }

    #[test]
    fn a_quote_cannot_leave_its_word() {
        assert_eq!(quoted("x='; rm -rf ~; '"), "'x='\\''; rm -rf ~; '\\'''");
    }
}

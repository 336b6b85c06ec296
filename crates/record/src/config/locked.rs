//! The settings of a run, read back from its `config.lock.json` to be in force once more.
//!
//! A lock holds no secret and no home directory: what was redacted must be given anew, `~/` is this user's home.

use serde_json::Value;

use super::environment::{PREFIX, home};
use super::lock::{ConfigLock, settings_hash};
use super::{ConfigError, Layers, Resolved, Settings};
use crate::redact::REDACTED;

/// The settings of a run.
#[derive(Debug, Clone)]
pub struct Locked {
    lock: ConfigLock,
}

impl Locked {
    /// Reads `config.lock.json`; `None` when it has another shape.
    pub fn read(lock: &Value) -> Option<Self> {
        serde_json::from_value(lock.clone()).ok().map(|lock| Self { lock })
    }

    /// Whether the settings are those that were written: their hash agrees.
    pub fn is_intact(&self) -> bool {
        settings_hash(&self.lock.settings) == self.lock.hashes.settings
    }

    /// The value of a setting; `None` when the lock does not have it or it is null.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.lock.settings.get(key).map(|s| &s.value).filter(|v| !v.is_null())
    }

    /// Settings that lost a secret, each with the environment variable that gives it anew.
    pub fn secrets(&self) -> Vec<(String, String)> {
        let lost = self.lock.settings.iter().filter(|(_, s)| s.value.to_string().contains(REDACTED));
        lost.map(|(key, _)| (key.clone(), variable(key))).collect()
    }

    /// The settings in force again, with secrets out of `environment` and nothing else of it. `instead` gives other
    /// values for some, by key and flag. Settings that have their default's value stay defaults.
    ///
    /// # Errors
    /// A setting does not exist any more, or its value does not fit.
    pub fn resolve<T: Settings>(
        &self,
        environment: &[(String, String)],
        instead: &[(&str, &str, Value)],
    ) -> Result<Resolved<T>, ConfigError> {
        let defaults = Layers::<T>::new().resolve()?.lock();
        let secrets = self.secrets();
        let given = environment.iter().filter(|(name, _)| secrets.iter().any(|(_, v)| v == name));
        let mut layers = Layers::<T>::new().environment(given.cloned().collect());
        let home = home();
        for (key, setting) in &self.lock.settings {
            let default = defaults["settings"].get(key).map(|s| &s["value"]);
            let other = instead.iter().any(|(k, ..)| k == key) || secrets.iter().any(|(k, _)| k == key);
            if !other && default != Some(&setting.value) {
                let value = at_home(&setting.value, home.as_deref());
                layers = layers.flag(key, "config.lock.json", Some(value));
            }
        }
        for (key, flag, value) in instead {
            layers = layers.flag(key, flag, Some(value));
        }
        layers.resolve()
    }

    /// The first setting that is not in force as it was, apart from secrets and `instead`.
    pub fn changed<T: Settings>(&self, resolved: &Resolved<T>, instead: &[&str]) -> Option<String> {
        let lock = resolved.lock();
        let secrets = self.secrets();
        let free = |key: &str| instead.contains(&key) || secrets.iter().any(|(k, _)| k == key);
        let now = |key: &str| lock["settings"].get(key).map_or(&Value::Null, |s| &s["value"]);
        let mut settings = self.lock.settings.iter();
        settings.find(|(key, s)| !free(key) && now(key) != &s.value).map(|(key, _)| key.clone())
    }
}

/// The environment variable of a setting.
fn variable(key: &str) -> String {
    format!("{PREFIX}{}", key.to_ascii_uppercase().replace('.', "__"))
}

/// `~/` at the begin of a word is this user's home directory.
fn at_home(value: &Value, home: Option<&str>) -> Value {
    let Some(home) = home else { return value.clone() };
    match value {
        Value::String(text) => {
            let mut out = String::with_capacity(text.len());
            for (i, part) in text.split("~/").enumerate() {
                if i > 0 {
                    let begins =
                        out.chars().next_back().is_none_or(|c| c.is_whitespace() || "\"'=:,@".contains(c));
                    out.push_str(if begins { home.trim_end_matches('/') } else { "~" });
                    out.push('/');
                }
                out.push_str(part);
            }
            out.into()
        }
        Value::Array(items) => items.iter().map(|v| at_home(v, Some(home))).collect(),
        Value::Object(map) => map.iter().map(|(k, v)| (k.clone(), at_home(v, Some(home)))).collect(),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use schemars::JsonSchema;
    use serde::{Deserialize, Serialize};
    use serde_json::json;

    use super::*;

    #[derive(Debug, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
    #[serde(default, deny_unknown_fields)]
    struct Config {
        seed: u64,
        headers: Vec<String>,
        limit: Option<f64>,
        command: Option<String>,
    }

    fn lock(pairs: &[&str]) -> Value {
        Layers::<Config>::new().overrides(pairs).resolve().unwrap().lock()
    }

    #[test]
    fn settings_come_back_and_defaults_stay_defaults() {
        let locked = Locked::read(&lock(&["seed=7", "limit=null"])).unwrap();
        assert!(locked.is_intact() && locked.secrets().is_empty());
        let back = locked.resolve::<Config>(&[("STOPWATT_SEED".into(), "9".into())], &[]).unwrap();
        assert_eq!((back.value.seed, back.value.limit), (7, None), "the environment has no say");
        assert_eq!(back.origins["limit"], super::super::Origin::Default);
        assert_eq!(locked.changed(&back, &[]), None);
        let other = locked.resolve::<Config>(&[], &[("seed", "--seed", json!(8))]).unwrap();
        assert_eq!(other.value.seed, 8);
        assert_eq!(locked.changed(&other, &[]).as_deref(), Some("seed"));
        assert_eq!(locked.changed(&other, &["seed"]), None);
    }

    #[test]
    fn a_secret_must_be_given_anew() {
        let locked = Locked::read(&lock(&["headers=X-Key: abc"])).unwrap();
        let secrets = [("headers".to_owned(), "STOPWATT_HEADERS".to_owned())];
        assert_eq!(locked.secrets(), secrets);
        let given = [("STOPWATT_HEADERS".to_owned(), "X-Key: def".to_owned())];
        assert_eq!(locked.resolve::<Config>(&given, &[]).unwrap().value.headers, ["X-Key: def"]);
    }

    #[test]
    fn a_lock_that_was_edited_shows_it() {
        let mut lock = lock(&["seed=7"]);
        lock["settings"]["seed"]["value"] = json!(8);
        assert!(!Locked::read(&lock).unwrap().is_intact());
        assert!(Locked::read(&json!({"settings": 3})).is_none());
    }

    #[test]
    fn a_setting_of_another_version_is_refused_by_name() {
        let mut lock = lock(&[]);
        lock["settings"]["warp"] = json!({"value": 9, "origin": {"from": "default"}});
        let error = Locked::read(&lock).unwrap().resolve::<Config>(&[], &[]).unwrap_err();
        assert!(error.to_string().contains("warp"), "{error}");
    }

    #[test]
    fn the_home_directory_is_that_of_whoever_repeats() {
        let home = |text: &str| at_home(&json!(text), Some("/h/me"));
        assert_eq!(home("python3 ~/a.py --x=~/b a~/c ~"), json!("python3 /h/me/a.py --x=/h/me/b a~/c ~"));
        assert_eq!(at_home(&json!(["~/a", 3]), Some("/h/me")), json!(["/h/me/a", 3]));
        assert_eq!(at_home(&json!("~/a"), None), json!("~/a"));
    }
}

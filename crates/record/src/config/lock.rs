//! `config.lock.json`: what was in force, where each setting came from, and with which versions.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};
use stopwatt_core::{FORMAT_MAJOR, FORMAT_MINOR};

use super::Origin;
use crate::redact;

/// The content of `config.lock.json`. Commands may add further keys beside these.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ConfigLock {
    /// What wrote the run.
    pub versions: Versions,
    /// Every setting by its dotted key.
    pub settings: BTreeMap<String, LockedSetting>,
    /// For telling two configurations apart.
    pub hashes: Hashes,
}

/// What wrote the run. `stopwatt` stays at this place in every format, so that an older version can name the right
/// one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Versions {
    /// Version of Stopwatt.
    pub stopwatt: String,
    /// `MAJOR.MINOR` of the run format.
    pub format: String,
}

/// A setting in force.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LockedSetting {
    /// Its value; `[redacted]` in place of a secret, `~` in place of a home directory.
    pub value: Value,
    /// Where it came from.
    pub origin: Origin,
}

/// For telling two configurations apart: SHA-256, in hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct Hashes {
    /// Of the settings as they stand here, without their origins.
    pub settings: String,
    /// Of each file that was read, by name.
    pub files: BTreeMap<String, String>,
}

impl ConfigLock {
    pub(super) fn new<'a>(
        settings: impl Iterator<Item = (String, Value, Origin)>,
        files: impl Iterator<Item = (String, &'a str)>,
    ) -> Self {
        let settings: BTreeMap<_, _> = settings
            .map(|(key, value, origin)| {
                let value = redact::json(&key, &value);
                (key, LockedSetting { value, origin })
            })
            .collect();
        Self {
            versions: Versions {
                stopwatt: env!("CARGO_PKG_VERSION").to_owned(),
                format: format!("{FORMAT_MAJOR}.{FORMAT_MINOR}"),
            },
            hashes: Hashes {
                settings: settings_hash(&settings),
                files: files.map(|(name, text)| (name, sha256(text))).collect(),
            },
            settings,
        }
    }
}

/// The hash of settings, without their origins.
pub(crate) fn settings_hash(settings: &BTreeMap<String, LockedSetting>) -> String {
    let plain: BTreeMap<_, _> = settings.iter().map(|(k, s)| (k, &s.value)).collect();
    sha256(&serde_json::to_string(&plain).expect("settings are plain data with text keys"))
}

fn sha256(text: &str) -> String {
    let mut hex = String::with_capacity(64);
    for byte in Sha256::digest(text.as_bytes()) {
        let _ = write!(hex, "{byte:02x}");
    }
    hex
}

//! `stopwatt bench --resume`: the settings of an interrupted run, and whose command may be run.

use std::collections::BTreeMap;

use serde_json::Value;
use stopwatt_experiment::bench::{BenchConfig, Unfinished};
use stopwatt_record::catalogue;
use stopwatt_record::config::{Origin, Resolved};
use stopwatt_record::remote::Address;

use super::Failure;
use crate::exit::Outcome;

/// Settings that may differ from those of the run that is resumed: they say where the engine is and what is kept,
/// not what is measured.
const MAY_DIFFER: [&str; 6] = [
    "target.url",
    "target.api_key_env",
    "target.ca_cert",
    "target.headers",
    "serve.ready_s",
    "record.keep_engine_log",
];
/// The setting that holds a command.
const COMMAND: &str = "serve.command";
/// What stands in a lock in place of a secret.
const REDACTED: &str = "[redacted]";

/// Opens the run that is to be resumed.
pub(super) fn open(name: &str) -> anyhow::Result<Unfinished> {
    if let Some(address) = Address::of(name)? {
        let problem =
            anyhow::anyhow!("{address} is not a folder of this machine, and a run is resumed where it lies");
        return Err(Failure::new(Outcome::Usage, problem)
            .hint("copy it here with `stopwatt runs pull`")
            .into());
    }
    Ok(Unfinished::read(&catalogue::resolve(&super::runs_root(), name)?)?)
}

/// The settings that a run was locked with, without defaults and without what its lock does not hold in full.
pub(super) fn settings(run: &Unfinished) -> anyhow::Result<BTreeMap<String, Value>> {
    let lock = run.config()?;
    let all = lock.get("settings").and_then(Value::as_object).into_iter().flatten();
    let chosen = all.filter(|(_, s)| s.pointer("/origin/from").and_then(Value::as_str) != Some("default"));
    let whole = |value: &Value| !value.to_string().contains(REDACTED);
    let value = |(key, setting): (&String, &Value)| Some((key.clone(), setting.get("value")?.clone()));
    Ok(chosen.filter_map(value).filter(|(_, value)| whole(value)).collect())
}

/// Refuses settings that would mix two measurements in one run.
pub(super) fn refuse_other_settings(
    resolved: &Resolved<BenchConfig>,
    locked: &BTreeMap<String, Value>,
) -> anyhow::Result<()> {
    let lock = resolved.lock();
    for (key, origin) in &resolved.origins {
        let resumed = matches!(origin, Origin::Flag { name } if name == "--resume");
        if resumed || *origin == Origin::Default || MAY_DIFFER.contains(&key.as_str()) {
            continue;
        }
        let now = lock["settings"].get(key).map(|s| &s["value"]);
        if key == COMMAND && !locked.contains_key(key) {
            continue;
        }
        if now != locked.get(key) {
            let problem = anyhow::anyhow!("setting `{key}` differs from that of the run that is resumed");
            return Err(Failure::new(Outcome::Configuration, problem)
                .hint("leave it out, or start a new run")
                .into());
        }
    }
    Ok(())
}

/// Refuses a command that was not given on the command line.
pub(super) fn refuse_foreign_command(resolved: &Resolved<BenchConfig>) -> anyhow::Result<()> {
    let own = matches!(resolved.origins.get(COMMAND), Some(Origin::Flag { name }) if name == "--serve-cmd");
    if own {
        return Ok(());
    }
    let problem = anyhow::anyhow!("the engine's command comes from a file, the environment or a run");
    Err(Failure::new(Outcome::Configuration, problem)
        .hint("look at it with --dry-run, then add --allow-commands, or give it with --serve-cmd")
        .into())
}

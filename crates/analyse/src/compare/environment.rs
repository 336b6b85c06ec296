//! In what two runs differ besides their results, and which of it makes a comparison unfair.
//!
//! | what | forbids |
//! |---|---|
//! | `machine.*`: CPU, memory, GPUs, driver | yes: another machine, another number |
//! | `workload.*`, `request.*`, `scenario`, `seed` | yes: other work |
//! | `machine.gpuN.ecc`, `machine.gpuN.mig` | yes: part of the card, or other memory |
//! | power limits, application clocks and firmware of the GPUs | no: they may be the change that is tried, and are causes |
//! | `machine.os`, `machine.stopwatt` | no |
//! | `software.*`, `state.*`, `inputs.*` of the fingerprint | no: told |
//! | `engine.*`, `target.*`, `load.*`, `measure.*` and the rest | no: often the very change that is tried |

use std::collections::{BTreeMap, BTreeSet};

use stopwatt_core::comparison::Difference;
use stopwatt_core::fingerprint::Fingerprint;
use stopwatt_core::log::{Fact, LogEvent};

/// What a run was measured on and with: names to values as text.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Facts(BTreeMap<String, String>);

/// Settings that say how a run is kept or shown, not what was measured.
const IGNORED: [&str; 5] =
    ["record.", "analysis.", "target.api_key_env", "target.licence", "workload.licence"];

impl Facts {
    /// From a run's log and its `config.lock.json`.
    pub fn of_run(log: &[LogEvent], config: &serde_json::Value) -> Self {
        let mut facts = BTreeMap::new();
        let fingerprint = log.iter().find_map(|e| match &e.fact {
            Fact::Fingerprint { fingerprint } => Some(fingerprint),
            _ => None,
        });
        if let Some(f) = fingerprint {
            machine(f, &mut facts);
        }
        let settings = config.get("settings").and_then(serde_json::Value::as_object);
        for (key, setting) in settings.into_iter().flatten() {
            let value = setting.get("value").unwrap_or(&serde_json::Value::Null);
            if !value.is_null() && !IGNORED.iter().any(|i| key.starts_with(i)) {
                facts.insert(key.clone(), value.as_str().map_or_else(|| value.to_string(), str::to_owned));
            }
        }
        Self(facts)
    }
}

impl Facts {
    /// As they were stored with an expectation.
    pub(super) fn stored(facts: &BTreeMap<String, String>) -> Self {
        Self(facts.clone())
    }

    /// Those in which two runs must agree to be compared.
    pub fn binding(&self) -> BTreeMap<String, String> {
        self.0.iter().filter(|(what, _)| forbids(what)).map(|(k, v)| (k.clone(), v.clone())).collect()
    }

    /// Only those in which two runs must agree.
    #[must_use]
    pub fn only_binding(&self) -> Self {
        Self(self.binding())
    }

    /// What the work was, for telling workloads apart: the model and what was asked of it.
    pub fn work(&self) -> BTreeMap<String, String> {
        let is_work = |what: &str| what == "engine.model" || forbids(what) && !what.starts_with("machine.");
        self.0.iter().filter(|(what, _)| is_work(what)).map(|(k, v)| (k.clone(), v.clone())).collect()
    }
}

fn machine(f: &Fingerprint, facts: &mut BTreeMap<String, String>) {
    let mut add = |name: &str, value: Option<String>| {
        value.into_iter().for_each(|v| {
            facts.insert(format!("machine.{name}"), v);
        });
    };
    add("cpu", f.cpu.clone());
    add("cpus", f.cpus.map(|n| n.to_string()));
    add("memory_bytes", f.memory_bytes.map(|n| n.to_string()));
    add("gpus", (!f.gpus.is_empty()).then(|| f.gpus.join(", ")));
    add("driver", f.driver.clone());
    // One look cannot always tell that a clock is free, so "free" and "cannot be told" are the same here.
    add("fixed_clock", f.fixed_clock.filter(|fixed| *fixed).map(|b| b.to_string()));
    add("os", f.os.clone());
    add("stopwatt", Some(f.stopwatt.clone()));
    for gpu in &f.gpu_facts {
        let i = gpu.index;
        add(&format!("gpu{i}.ecc"), gpu.ecc.map(|b| b.to_string()));
        add(&format!("gpu{i}.mig"), gpu.mig.map(|b| b.to_string()));
        add(&format!("gpu{i}.vbios"), gpu.vbios.clone());
        add(&format!("gpu{i}.power_limit_w"), gpu.power_limit_w.map(|w| w.to_string()));
        for (name, mhz) in [("sm", gpu.application_sm_clock_mhz), ("mem", gpu.application_mem_clock_mhz)] {
            add(&format!("gpu{i}.application_{name}_clock_mhz"), mhz.map(|mhz| mhz.to_string()));
        }
    }
    for (key, value) in &f.engine {
        facts.insert(format!("engine.{key}"), value.clone());
    }
    // Told, and no reason to forbid: often the very change that is tried, and older records do not have them.
    let further = ["software.", "state.governors", "state.turbo", "inputs."];
    let told = |name: &str| further.iter().any(|f| name.starts_with(f));
    facts.extend(crate::environment::fields(f).into_iter().filter(|(name, _)| told(name)));
}

fn forbids(what: &str) -> bool {
    let (group, _) = what.split_once('.').unwrap_or((what, ""));
    match group {
        "machine" => {
            let set = ["power_limit_w", "clock_mhz", "vbios"].iter().any(|name| what.ends_with(name));
            !set && !matches!(what, "machine.os" | "machine.stopwatt")
        }
        "workload" | "request" | "scenario" | "seed" => true,
        _ => false,
    }
}

/// What differs, in order of name. Sides about which nothing is known differ in nothing.
pub(super) fn differences(a: &Facts, b: &Facts, run: &str) -> Vec<Difference> {
    if a.0.is_empty() || b.0.is_empty() {
        return Vec::new();
    }
    let keys: BTreeSet<&String> = a.0.keys().chain(b.0.keys()).collect();
    keys.into_iter()
        .filter(|key| a.0.get(*key) != b.0.get(*key))
        .map(|key| Difference {
            run: run.to_owned(),
            what: key.clone(),
            baseline: a.0.get(key).cloned(),
            candidate: b.0.get(key).cloned(),
            forbids: forbids(key),
        })
        .collect()
}

//! The environment in the SOP's words, a hash over what two runs must share to be comparable, and what is not fixed.

use std::collections::BTreeMap;

use serde_json::Value;
use stopwatt_core::fingerprint::Fingerprint;
use stopwatt_core::gpu::GpuSetting;
use stopwatt_core::log::{Fact, LogEvent};
use stopwatt_core::metrics_doc::Env;
use stopwatt_core::not_fixed::{NotFixed, NotFixedCode};

/// What of the engine's own words belongs to the hash; the rest (limits, start-up times) may differ.
const ENGINE_KEYS: [&str; 3] = ["model", "engine", "engine_version"];
/// Load of others from here on, in CPUs.
const BUSY: f64 = 0.5;
/// And as a share of all CPUs.
const BUSY_SHARE: f64 = 0.1;

/// Whether a field of the fingerprint, by its dotted name, is part of the hash: what makes a machine and its software
/// another one. What is measured (commit, programs), what is passing (load, clocks at a moment) and names are not.
pub(crate) fn binds(field: &str) -> bool {
    let parts: Vec<&str> = field.split('.').collect();
    match parts[..] {
        ["cpu" | "cpus" | "memory_bytes" | "gpus" | "driver"] => true,
        ["engine", key] => ENGINE_KEYS.contains(&key),
        ["gpu_facts", _, key] => {
            matches!(
                key,
                "ecc" | "mig" | "power_limit_w" | "application_sm_clock_mhz" | "application_mem_clock_mhz"
            )
        }
        ["software", "container" | "container_image" | "environment" | "python"] => true,
        ["software", "packages" | "libraries", ..] => true,
        ["state", "governors" | "turbo"] => true,
        ["inputs", ..] => true,
        _ => false,
    }
}

/// Reads the environment from the log.
pub(crate) fn environment(log: &[LogEvent], seed: u64) -> Env {
    let found = log.iter().find_map(|e| match &e.fact {
        Fact::Fingerprint { fingerprint } => Some(fingerprint),
        _ => None,
    });
    let mut fingerprint = found.cloned().unwrap_or_default();
    // What was locked for the measurement is known better than what the driver shows.
    if log.iter().any(|e| matches!(&e.fact, Fact::GpuSettings { settings } if settings.iter().any(locks))) {
        fingerprint.fixed_clock = Some(true);
    }
    Env {
        gpu: (!fingerprint.gpus.is_empty()).then(|| fingerprint.gpus.join(", ")),
        driver: fingerprint.driver.clone(),
        fixed_clock: fingerprint.fixed_clock,
        seed,
        hash: hash(&fingerprint),
        not_fixed: found.map(|_| not_fixed(&fingerprint)).unwrap_or_default(),
    }
}

fn locks(setting: &GpuSetting) -> bool {
    setting.setting == "locked_sm_clock_mhz"
}

/// FNV-1a of 64 bits in hex, over CPU model, driver, CPUs, memory, GPUs, model, engine and engine version, then every
/// other field that [`binds`], each as `name=value` and a zero byte; what is unknown is left out. It names an
/// environment and guards nothing.
pub(crate) fn hash(fingerprint: &Fingerprint) -> String {
    let mut state = 0xcbf2_9ce4_8422_2325_u64;
    let mut add = |name: &str, value: &str| {
        for byte in name.bytes().chain([b'=']).chain(value.bytes()).chain([0]) {
            state = (state ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    };
    let numbers = [("cpus", fingerprint.cpus.map(u64::from)), ("memory", fingerprint.memory_bytes)];
    let texts = [("cpu", &fingerprint.cpu), ("driver", &fingerprint.driver)];
    for (name, value) in texts {
        value.iter().for_each(|v| add(name, v));
    }
    for (name, value) in numbers {
        value.iter().for_each(|v| add(name, &v.to_string()));
    }
    fingerprint.gpus.iter().for_each(|g| add("gpu", g));
    for key in ENGINE_KEYS {
        fingerprint.engine.get(key).into_iter().for_each(|v| add(key, v));
    }
    // Records of before these were looked at keep the hash that they had.
    if fingerprint.software.is_some() {
        let further = ["gpu_facts", "software", "state", "inputs"];
        for (name, value) in fields(fingerprint) {
            let group = name.split('.').next().unwrap_or_default();
            if further.contains(&group) && binds(&name) {
                add(&name, &value);
            }
        }
    }
    format!("{state:016x}")
}

/// Every known field of a fingerprint as text, by dotted name.
pub(crate) fn fields(fingerprint: &Fingerprint) -> BTreeMap<String, String> {
    let mut fields = BTreeMap::new();
    let whole = serde_json::to_value(fingerprint).unwrap_or_default();
    flatten("", &whole, &mut fields);
    fields.retain(|name, _| !name.starts_with("unknown."));
    fields
}

/// Leaves by dotted name; lists of plain values count as one, an entry of a list of tables has its number in the name.
fn flatten(name: &str, value: &Value, fields: &mut BTreeMap<String, String>) {
    let below = |key: &str| if name.is_empty() { key.to_owned() } else { format!("{name}.{key}") };
    match value {
        Value::Null => {}
        Value::Object(map) => map.iter().for_each(|(key, v)| flatten(&below(key), v, fields)),
        Value::Array(items) if items.iter().any(Value::is_object) => {
            items.iter().enumerate().for_each(|(i, v)| flatten(&below(&i.to_string()), v, fields));
        }
        Value::Array(items) => {
            let words: Vec<String> = items.iter().map(word).collect();
            if !words.is_empty() {
                fields.insert(name.to_owned(), words.join(", "));
            }
        }
        leaf => {
            fields.insert(name.to_owned(), word(leaf));
        }
    }
}

/// A plain value as text, without the quotes of one.
pub(crate) fn word(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// What could not be held fixed. What is not known is not held against a run, apart from its clocks.
fn not_fixed(f: &Fingerprint) -> Vec<NotFixed> {
    let mut found = Vec::new();
    let mut add = |code, values: &[String]| found.push(NotFixed::new(code, values.iter().cloned()));
    match f.fixed_clock {
        Some(false) => add(NotFixedCode::Clocks, &[]),
        None => add(NotFixedCode::ClocksUnknown, &[]),
        Some(true) => {}
    }
    if f.gpu_facts.iter().any(|g| g.persistence == Some(false)) {
        add(NotFixedCode::Persistence, &[]);
    }
    if let Some(state) = &f.state {
        if state.governors.iter().any(|g| g != "performance") {
            add(NotFixedCode::Governor, &[state.governors.join(", ")]);
        }
        if state.turbo == Some(true) {
            add(NotFixedCode::Turbo, &[]);
        }
        let cpus = f64::from(f.cpus.unwrap_or(1));
        if let Some(load) = state.load_average.filter(|l| *l >= BUSY && *l >= BUSY_SHARE * cpus) {
            add(NotFixedCode::CpuLoad, &[format!("{load:.1}"), format!("{cpus}")]);
        }
        if let Some(n) = state.gpu_processes.filter(|n| *n > 0) {
            let memory = state.gpu_process_memory_bytes;
            let memory =
                memory.map_or_else(|| "?".to_owned(), |b| format!("{:.1} GiB", b as f64 / 1073741824.0));
            add(NotFixedCode::GpuLoad, &[n.to_string(), memory]);
        }
    }
    let why = |field: &str| f.unknown.get(field).cloned();
    if let Some(software) = &f.software {
        if software.container.as_deref() == Some("none") {
            add(NotFixedCode::Container, &[]);
        }
        if software.environment.as_deref() == Some("system") && !software.packages.is_empty() {
            add(NotFixedCode::PythonEnvironment, &[]);
        }
        if software.git_dirty == Some(true) {
            add(NotFixedCode::DirtyTree, &[]);
        }
        if let Some(why) = why("software.git_commit") {
            add(NotFixedCode::NoCommit, &[why]);
        }
    }
    for name in ["model", "dataset"] {
        if let Some(why) = why(&format!("inputs.{name}.revision")) {
            add(NotFixedCode::Revision, &[name.to_owned(), why]);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use stopwatt_core::gpu::GpuFacts;
    use stopwatt_core::software::{MachineState, Software};

    use super::*;

    fn machine() -> Fingerprint {
        let mut f = Fingerprint {
            cpu: Some("A".into()),
            cpus: Some(8),
            gpus: vec!["G".into(); 2],
            ..Default::default()
        };
        f.engine.insert("model".into(), "m".into());
        f
    }

    #[test]
    fn known_hash() {
        // FNV-1a of nothing is its offset basis (Fowler, Noll & Vo; RFC 9923).
        assert_eq!(hash(&Fingerprint::default()), "cbf29ce484222325");
        assert_eq!(hash(&machine()), hash(&machine()));
    }

    /// A fingerprint with everything in it.
    fn whole() -> Fingerprint {
        let words = |pairs: &[(&str, &str)]| {
            pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect::<BTreeMap<_, _>>()
        };
        let text = |t: &str| Some(t.to_owned());
        let gpu = GpuFacts {
            name: text("G"),
            uuid_hash: text("u"),
            vbios: text("1"),
            driver: text("580"),
            cuda: text("13.0"),
            ecc: Some(true),
            persistence: Some(true),
            mig: Some(false),
            power_limit_w: Some(700.0),
            application_sm_clock_mhz: Some(1980),
            application_mem_clock_mhz: Some(2619),
            pcie: text("5 x16"),
            ..GpuFacts::default()
        };
        Fingerprint {
            stopwatt: "1".to_owned(),
            os: text("Linux"),
            cpu: text("A"),
            cpus: Some(8),
            cpu_features: vec!["avx2".to_owned()],
            memory_bytes: Some(1 << 30),
            gpus: vec!["G".to_owned()],
            gpu_facts: vec![gpu],
            driver: text("580"),
            fixed_clock: Some(true),
            engine: words(&[("model", "m"), ("engine", "e"), ("engine_version", "2"), ("max_context", "9")]),
            software: Some(Software {
                git_commit: text("c"),
                git_branch: text("b"),
                git_dirty: Some(true),
                git_diff: text("d"),
                stopwatt_sha256: text("s"),
                target_sha256: text("t"),
                script_sha256: text("p"),
                container: text("docker"),
                container_image: text("i"),
                container_hash: text("h"),
                environment: text("venv"),
                environment_hash: text("n"),
                python: text("3.12"),
                packages: words(&[("torch", "2.11")]),
                libraries: words(&[("nccl", "2.28")]),
            }),
            state: Some(MachineState {
                governors: vec!["performance".to_owned()],
                turbo: Some(false),
                load_average: Some(0.1),
                gpu_processes: Some(0),
                gpu_process_memory_bytes: Some(0),
            }),
            inputs: words(&[("model", "sha256:1"), ("batch", "8")]),
            unknown: words(&[("software.x", "why")]),
        }
    }

    #[test]
    fn the_hash_changes_with_these_fields_and_no_others() {
        let base = serde_json::to_value(whole()).unwrap();
        let same = hash(&whole());
        let mut changes = Vec::new();
        for name in fields(&whole()).into_keys() {
            let mut other = base.clone();
            let at = other.pointer_mut(&format!("/{}", name.replace('.', "/"))).unwrap();
            *at = match at.clone() {
                Value::Bool(b) => Value::Bool(!b),
                Value::Number(n) => (n.as_f64().unwrap() as u64 + 1).into(),
                Value::Array(_) => serde_json::json!(["other"]),
                _ => "other".into(),
            };
            let other: Fingerprint = serde_json::from_value(other).unwrap();
            if hash(&other) != same {
                changes.push(name.clone());
            }
            assert_eq!(hash(&other) != same, binds(&name), "{name}");
        }
        let expected = "cpu cpus driver engine.engine engine.engine_version engine.model \
            gpu_facts.0.application_mem_clock_mhz gpu_facts.0.application_sm_clock_mhz gpu_facts.0.ecc \
            gpu_facts.0.mig gpu_facts.0.power_limit_w gpus inputs.batch inputs.model memory_bytes \
            software.container software.container_image software.environment software.libraries.nccl \
            software.packages.torch software.python state.governors state.turbo";
        assert_eq!(changes.join(" "), expected);
    }

    #[test]
    fn an_older_record_keeps_its_hash() {
        let old = Fingerprint {
            software: None,
            state: None,
            inputs: BTreeMap::new(),
            unknown: BTreeMap::new(),
            ..whole()
        };
        let without_gpu_facts = Fingerprint { gpu_facts: Vec::new(), ..old.clone() };
        assert_eq!(hash(&old), hash(&without_gpu_facts));
    }

    #[test]
    fn what_is_not_fixed_is_named_with_the_reason() {
        let codes = |f: &Fingerprint| not_fixed(f).into_iter().map(|n| n.code).collect::<Vec<_>>().join(" ");
        assert_eq!(codes(&whole()), "dirty_tree");
        let mut f = whole();
        f.fixed_clock = Some(false);
        f.gpu_facts[0].persistence = Some(false);
        f.state = Some(MachineState {
            governors: vec!["performance".to_owned(), "powersave".to_owned()],
            turbo: Some(true),
            load_average: Some(1.6),
            gpu_processes: Some(2),
            gpu_process_memory_bytes: None,
        });
        f.software = Some(Software { container: Some("none".to_owned()), ..Software::default() });
        f.unknown.insert("software.git_commit".to_owned(), "git was not found".to_owned());
        f.unknown.insert("inputs.model.revision".to_owned(), "none".to_owned());
        let expected = "clocks persistence governor turbo cpu_load gpu_load container no_commit revision";
        assert_eq!(codes(&f), expected);
        // Less than half a CPU of 8 is no load, and an older record says nothing of what it did not look at.
        assert_eq!(codes(&Fingerprint { fixed_clock: None, ..Fingerprint::default() }), "clocks_unknown");
    }

    #[test]
    fn what_matters_changes_it_and_what_does_not_leaves_it() {
        let base = hash(&machine());
        let mut other = machine();
        other.engine.insert("model".into(), "n".into());
        assert_ne!(hash(&other), base);
        assert_ne!(hash(&Fingerprint { cpus: Some(4), ..machine() }), base);
        assert_ne!(hash(&Fingerprint { gpus: vec!["G".into()], ..machine() }), base);
        let mut same = Fingerprint { os: Some("x".into()), stopwatt: "9".into(), ..machine() };
        same.engine.insert("max_context".into(), "1".into());
        assert_eq!(hash(&same), base);
    }
}

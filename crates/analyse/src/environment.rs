//! The environment in the SOP's words, and a hash over what two runs must share to be comparable.

use stopwatt_core::fingerprint::Fingerprint;
use stopwatt_core::log::{Fact, LogEvent};
use stopwatt_core::metrics_doc::Env;

/// What of the engine's own words belongs to the hash; the rest (limits, start-up times) may differ.
const ENGINE_KEYS: [&str; 3] = ["model", "engine", "engine_version"];

/// Whether a field of the fingerprint, by its dotted name, is part of the hash.
pub(crate) fn binds(field: &str) -> bool {
    match field.split_once('.') {
        Some(("engine", key)) => ENGINE_KEYS.contains(&key),
        Some(_) => false,
        None => matches!(field, "cpu" | "cpus" | "memory_bytes" | "gpus" | "driver"),
    }
}

/// Reads the environment from the log.
pub(crate) fn environment(log: &[LogEvent], seed: u64) -> Env {
    let found = log.iter().find_map(|e| match &e.fact {
        Fact::Fingerprint { fingerprint } => Some(fingerprint),
        _ => None,
    });
    let unknown = Fingerprint::default();
    let fingerprint = found.unwrap_or(&unknown);
    Env {
        gpu: (!fingerprint.gpus.is_empty()).then(|| fingerprint.gpus.join(", ")),
        driver: fingerprint.driver.clone(),
        fixed_clock: fingerprint.fixed_clock,
        seed,
        hash: hash(fingerprint),
    }
}

/// FNV-1a of 64 bits in hex, over CPU model, CPUs, memory, GPUs, driver, model, engine and engine version, each as
/// `name=value` and a zero byte; what is unknown is left out. It names an environment and guards nothing.
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
    format!("{state:016x}")
}

#[cfg(test)]
mod tests {
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

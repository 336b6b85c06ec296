//! The fingerprint of a run: the machine with its GPUs, what else it did, and the software, model and data measured.
//!
//! Taken before the target works, so that nothing of its own counts as other people's load.

use std::collections::BTreeMap;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use stopwatt_core::fingerprint::Fingerprint;
use stopwatt_core::gpu::GpuFacts;
use stopwatt_record::config::environment;
use stopwatt_record::redact;
use stopwatt_sensor::host;
use stopwatt_sensor::nvml::{self, Gpu};
use stopwatt_sensor::software::{self, Content, Subject};

/// What the input of the target is. Nothing of it is checked: it is declared, so that comparisons can tell.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct InputConfig {
    /// Model: a file or folder, which is hashed, or `owner/name[@revision]` on a hub.
    pub model: Option<String>,
    /// Data set: likewise.
    pub dataset: Option<String>,
    /// Sequences that are worked on at once.
    pub batch: Option<u64>,
    /// Lengths of the sequences, for instance `512+128`.
    pub lengths: Option<String>,
    /// How shorter sequences are filled up.
    pub padding: Option<String>,
    /// Settings of the KV cache, for instance `fp8, block 16`.
    pub kv_cache: Option<String>,
}

impl InputConfig {
    /// What is declared, by name; model and data are looked at elsewhere.
    fn declared(&self) -> impl Iterator<Item = (&'static str, String)> {
        let texts = [("lengths", &self.lengths), ("padding", &self.padding), ("kv_cache", &self.kv_cache)];
        let batch = self.batch.map(|n| ("batch", n.to_string()));
        texts.into_iter().filter_map(|(name, text)| Some((name, text.clone()?))).chain(batch)
    }
}

/// What is measured, as far as it can be looked at.
#[derive(Debug, Clone)]
pub struct Looked {
    /// The target's program and its arguments, or why there is none to look at.
    pub command: Result<Vec<String>, String>,
    /// What its input is.
    pub inputs: InputConfig,
}

/// Looks at the machine and at what is measured.
pub fn look(looked: &Looked) -> Fingerprint {
    let mut fingerprint = host::fingerprint();
    fingerprint.state = Some(host::state());
    gpus(&mut fingerprint);
    let home = environment::home().map(PathBuf::from);
    let subject = Subject {
        command: looked.command.clone(),
        folder: std::env::current_dir().unwrap_or_default(),
        search_path: environment::var("PATH").map(Into::into),
        home: home.clone(),
    };
    let (software, unknown) = software::look(&subject);
    fingerprint.software = Some(software);
    fingerprint.unknown.extend(unknown);
    inputs(&looked.inputs, &mut fingerprint);
    reasons(&mut fingerprint);
    fingerprint
}

fn gpus(fingerprint: &mut Fingerprint) {
    let gpus = nvml::gpus().unwrap_or_default();
    if gpus.is_empty() {
        return;
    }
    let facts: Vec<GpuFacts> = gpus.iter().map(Gpu::facts).collect();
    fingerprint.gpus = facts.iter().map(|f| f.name.clone().unwrap_or_else(|| "GPU".to_owned())).collect();
    fingerprint.driver = facts.iter().find_map(|f| f.driver.clone());
    let fixed = |f: &GpuFacts| f.fixed_clock;
    fingerprint.fixed_clock = facts.iter().map(fixed).reduce(|a, b| Some(a? && b?)).flatten();
    fingerprint.gpu_facts = facts;
    let ours = host::tree(std::process::id());
    let foreign: Result<Vec<_>, _> = gpus.iter().map(|gpu| gpu.foreign_processes(&ours)).collect();
    match foreign {
        Ok(foreign) => {
            let state = fingerprint.state.get_or_insert_default();
            state.gpu_processes = Some(foreign.iter().map(|f| f.count as u64).sum());
            state.gpu_process_memory_bytes = foreign.iter().map(|f| f.memory_bytes).sum();
        }
        Err(reason) => {
            fingerprint.unknown.insert("state.gpu_processes".to_owned(), reason.to_string());
        }
    }
}

/// Model and data set by hash or revision; a path is not kept.
fn inputs(declared: &InputConfig, fingerprint: &mut Fingerprint) {
    let hub = hub();
    for (name, given) in [("model", &declared.model), ("dataset", &declared.dataset)] {
        let field = format!("inputs.{name}");
        let Some(given) = given else {
            fingerprint.unknown.insert(field, format!("not declared (input.{name})"));
            continue;
        };
        match software::content(given, hub.as_deref()) {
            Ok(Content::Fixed(what)) => {
                fingerprint.inputs.insert(name.to_owned(), what);
            }
            Ok(Content::Named(what, why)) => {
                fingerprint.inputs.insert(name.to_owned(), what);
                fingerprint.unknown.insert(format!("{field}.revision"), why);
            }
            Err(error) => {
                fingerprint.unknown.insert(field, error.to_string());
            }
        }
    }
    fingerprint
        .inputs
        .extend(declared.declared().map(|(name, value)| (name.to_owned(), redact::text(&value))));
}

/// Where downloads of the Hugging Face hub lie (huggingface_hub, "Environment variables").
fn hub() -> Option<PathBuf> {
    let named = environment::var("HF_HUB_CACHE").map(PathBuf::from);
    let home = || Some(PathBuf::from(environment::home()?).join(".cache/huggingface"));
    named.or_else(|| environment::var("HF_HOME").map(PathBuf::from).or_else(home).map(|h| h.join("hub")))
}

/// Says of what is missing why it is.
fn reasons(fingerprint: &mut Fingerprint) {
    let no_gpu = nvml::gpus().err().map(|e| e.to_string());
    let state = fingerprint.state.clone().unwrap_or_default();
    let shown = "the system does not show it, as in most virtual machines";
    let missing: BTreeMap<&str, (bool, &str)> = BTreeMap::from([
        ("cpu", (fingerprint.cpu.is_none(), "the system does not name it")),
        ("memory_bytes", (fingerprint.memory_bytes.is_none(), "the system does not tell it")),
        ("fixed_clock", (fingerprint.fixed_clock.is_none(), shown)),
        ("state.governors", (state.governors.is_empty(), shown)),
        ("state.turbo", (state.turbo.is_none(), shown)),
        ("state.load_average", (state.load_average.is_none(), "the system does not tell it")),
    ]);
    for (field, (_, why)) in missing.into_iter().filter(|(_, (missing, _))| *missing) {
        fingerprint.unknown.entry(field.to_owned()).or_insert_with(|| why.to_owned());
    }
    if let Some(why) = no_gpu {
        fingerprint.unknown.insert("gpus".to_owned(), why);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_unknown_has_a_reason_and_nothing_names_a_path() {
        let folder = tempfile::tempdir().unwrap();
        let model = folder.path().join("secret-model");
        std::fs::write(&model, "weights").unwrap();
        let inputs = InputConfig {
            model: Some(model.display().to_string()),
            dataset: Some("owner/data@v2".to_owned()),
            batch: Some(8),
            ..InputConfig::default()
        };
        let looked = Looked { command: Err("the engine was not started by Stopwatt".to_owned()), inputs };
        let fingerprint = look(&looked);
        assert!(fingerprint.inputs["model"].starts_with("sha256:"));
        assert_eq!(fingerprint.inputs["dataset"], "owner/data@v2");
        assert_eq!(fingerprint.inputs["batch"], "8");
        assert!(fingerprint.unknown.contains_key("software.target_sha256"));
        let told = serde_json::to_string(&fingerprint).unwrap();
        let place = std::env::current_dir().unwrap();
        assert!(!told.contains("secret-model") && !told.contains(place.to_str().unwrap()), "{told}");
    }

    #[test]
    fn what_is_not_declared_says_so() {
        let looked = Looked { command: Err("none".to_owned()), inputs: InputConfig::default() };
        let fingerprint = look(&looked);
        assert!(fingerprint.inputs.is_empty());
        assert_eq!(fingerprint.unknown["inputs.model"], "not declared (input.model)");
    }
}

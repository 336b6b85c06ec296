//! The `workload` target: one side of a built-in workload pair.
//!
//! `pipeline.mode` says which side, and is the one setting in which the sides of a pair differ. Each iteration has inputs
//! of its own, drawn outside the time; both sides get the same ones in the same trial.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use stopwatt_core::Nanos;
use stopwatt_core::clock::monotonic_raw;
use stopwatt_load::Stop;

use super::config::SopConfig;
use super::error::SopError;
use super::target::{Ended, Iteration, Launch, Occasion, Ready, Target, TargetError};
use crate::targets::{self, Done, Form, NotSetUp, Pair, Setting, Witness, Worker};

/// Inputs that are drawn to verify come from another place than those of trials.
const TO_VERIFY: u64 = u64::MAX;

/// A side of a built-in workload pair as a target.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct WorkloadConfig {
    /// Name of the pair, as `stopwatt targets list` shows it.
    pub pair: String,
    /// Threads; `null` for all.
    pub threads: Option<u32>,
    /// Small sizes, for a look at whether it works.
    pub small: bool,
    /// Weights of a real model, for pairs that need them: a GGUF file or a folder with safetensors.
    pub weights: Option<PathBuf>,
}

/// Sets sides of workload pairs up as targets.
#[derive(Debug, Clone)]
pub struct Workloads {
    pair: &'static Pair,
    setting: Setting,
    witness: Option<Arc<Witness>>,
    stop: Stop,
}

impl Workloads {
    /// Reads the settings.
    ///
    /// # Errors
    /// There is no such pair, or no such side of it.
    pub fn of(config: &SopConfig, stop: &Stop) -> Result<Self, SopError> {
        let refuse = |setting, problem: String| SopError::Setting { setting, problem };
        let workload = config.target.workload.as_deref().ok_or_else(|| {
            refuse("target.workload", "there is nothing to measure; give `pair`".to_owned())
        })?;
        let found = targets::find(&workload.pair);
        let [pair] = found[..] else {
            let problem = format!("`{}` is no workload pair; see `stopwatt targets list`", workload.pair);
            return Err(refuse("target.workload.pair", problem));
        };
        let way = pair.way(&config.pipeline.mode).ok_or_else(|| {
            let [a, b] = pair.modes;
            refuse("pipeline.mode", format!("a side of `{}` is `{a}` or `{b}`", pair.name))
        })?;
        let all = std::thread::available_parallelism().map_or(1, usize::from);
        let threads = workload.threads.map_or(all, |n| n.max(1) as usize);
        let (small, weights) = (workload.small, workload.weights.clone());
        let setting = Setting { way, threads, small, weights };
        Ok(Self { pair, setting, witness: None, stop: stop.clone() })
    }

    /// Keeps the output of the last timed iteration of each trial.
    #[must_use]
    pub fn with_witness(self, witness: Arc<Witness>) -> Self {
        Self { witness: Some(witness), ..self }
    }
}

impl Launch for Workloads {
    fn launch(&self, prefix: &[String]) -> Result<Box<dyn Target>, TargetError> {
        if !prefix.is_empty() {
            return Err(TargetError::NoPrefix);
        }
        Ok(Box::new(Workload { launch: self.clone(), worker: None, seed: 0, trial: None }))
    }
}

struct Workload {
    launch: Workloads,
    worker: Option<Box<dyn Worker>>,
    seed: u64,
    trial: Option<u32>,
}

impl Workload {
    fn worker(&mut self) -> &mut dyn Worker {
        self.worker.as_deref_mut().expect("a target is prepared before it is used")
    }
}

fn failed(reason: String) -> TargetError {
    TargetError::Workload { reason }
}

impl Target for Workload {
    fn prepare(&mut self, occasion: &Occasion) -> Result<Ready, TargetError> {
        let Workloads { pair, ref setting, .. } = self.launch;
        let worker = match &pair.cpu {
            Form::BuiltIn { set_up, .. } => set_up(setting).map_err(|e| match e {
                NotSetUp::Lacks(reason) => TargetError::Skipped { reason },
                NotSetUp::Failed(reason) => failed(reason),
            })?,
            Form::Program { .. } | Form::Own { .. } => {
                return Err(failed(format!("`{}` is not built in", pair.name)));
            }
            Form::Missing(reason) => return Err(TargetError::Skipped { reason: (*reason).to_owned() }),
        };
        let facts = BTreeMap::from([
            ("pair".to_owned(), pair.name.to_owned()),
            ("variant".to_owned(), occasion.mode.clone()),
            ("device".to_owned(), "cpu".to_owned()),
            ("threads".to_owned(), setting.threads.to_string()),
            ("shape".to_owned(), worker.shape()),
            ("inputs".to_owned(), "fresh in every iteration, written just before it".to_owned()),
        ]);
        self.worker = Some(worker);
        (self.seed, self.trial) = (occasion.seed, occasion.trial);
        Ok(Ready { name: pair.id(), facts, ..Ready::default() })
    }

    fn iterate(&mut self, n: u64, take: &mut dyn FnMut(Iteration)) -> Result<(), TargetError> {
        let (seed, trial) = (self.seed, u64::from(self.trial.unwrap_or(0)));
        for i in 0..n {
            if self.launch.stop.is_interrupted() {
                return Err(TargetError::Interrupted);
            }
            let worker = self.worker();
            worker.draw([seed, trial, i]);
            let faults = page_faults();
            let start_ns = monotonic_raw();
            let done = worker.work();
            let end_ns = monotonic_raw();
            let faults = page_faults().zip(faults).map(|(after, before)| after - before);
            let done = done.map_err(failed)?;
            if let Some(at) = worker.output().iter().position(|v| !v.is_finite()) {
                return Err(failed(format!("number {at} of its output is not written or not finite")));
            }
            take(iteration((start_ns, end_ns), done, faults, worker.held_bytes()));
        }
        Ok(())
    }

    fn outputs(&mut self) -> Result<Option<String>, TargetError> {
        let (trial, witness) = (self.trial.unwrap_or(0), self.launch.witness.clone());
        let output = self.worker().output();
        let hash = Sha256::new_with_prefix(output.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>());
        if let Some(witness) = witness {
            witness.put(trial, output.to_vec());
        }
        Ok(Some(format!("{:x}", hash.finalize())))
    }

    fn verify(&mut self, seed: u64) -> Result<Option<Vec<f32>>, TargetError> {
        let worker = self.worker();
        worker.draw([seed, TO_VERIFY, 0]);
        worker.work().map_err(failed)?;
        Ok(Some(worker.output().to_vec()))
    }

    fn teardown(&mut self) -> Ended {
        self.worker = None;
        Ended::default()
    }
}

fn iteration((start_ns, end_ns): (Nanos, Nanos), done: Done, faults: Option<f64>, held: usize) -> Iteration {
    let own = done.metrics.into_iter().map(|(name, value)| (name.to_owned(), value));
    let mut metrics: BTreeMap<String, f64> = own.collect();
    metrics.insert("held_bytes".to_owned(), held as f64);
    metrics.extend(faults.map(|n| ("page_faults".to_owned(), n)));
    Iteration { start_ns, end_ns, tokens: done.tokens, metrics, ..Iteration::default() }
}

/// Page faults of this process so far that needed no disk; `None` where the system does not tell.
fn page_faults() -> Option<f64> {
    stopwatt_sensor::host::own_page_faults().map(|n| n as f64)
}

//! The `kernel` target: one operator on one device; an iteration is so many consecutive calls.
//!
//! ```text
//! run ──ask──► thread that owns the device ──► Case::sample ──answer──► iterations
//! ```
//!
//! A prepared case borrows its device, so both live on a thread of their own until the target ends.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use stopwatt_core::Nanos;
use stopwatt_core::clock::monotonic_raw;
use stopwatt_core::kernel_table::{CacheState, Dtype, Launch as Way, Op, OpKind, Shape};
use stopwatt_kernel::case::Case;
use stopwatt_load::Stop;

use super::config::TargetConfig;
use super::error::SopError;
use super::target::{Ended, Iteration, Launch, Occasion, Ready, Step, Target, TargetError};
use crate::profile::DeviceName;

/// A kernel as a target.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct KernelConfig {
    /// Which operator.
    pub op: OpKind,
    /// Its sizes by name, for instance `{m: 16, n: 4096, k: 4096}`.
    pub shape: BTreeMap<String, u32>,
    /// Format of the weights, for instance `bf16`.
    pub dtype: String,
    /// `cpu`, `cuda` or `cuda:N`.
    pub device: String,
    /// Threads on a CPU; `null` for all.
    pub threads: Option<u32>,
    /// What the caches hold.
    pub cache: CacheState,
    /// Consecutive calls that make an iteration. More than one for kernels of a few microseconds.
    #[schemars(range(min = 1))]
    pub calls: u32,
}

impl Default for KernelConfig {
    fn default() -> Self {
        Self {
            op: OpKind::Linear,
            shape: BTreeMap::new(),
            dtype: "bf16".to_owned(),
            device: "cpu".to_owned(),
            threads: None,
            cache: CacheState::Cold,
            calls: 1,
        }
    }
}

/// What is to be measured, checked.
#[derive(Debug, Clone, Copy)]
struct Wanted {
    kind: OpKind,
    shape: Shape,
    dtype: Dtype,
    device: DeviceName,
    threads: Option<u32>,
    cache: CacheState,
    calls: u32,
}

/// Sets kernels up as targets.
#[derive(Debug, Clone)]
pub struct Kernels {
    wanted: Wanted,
    name: Option<String>,
    libraries: Vec<PathBuf>,
    stop: Stop,
}

impl Kernels {
    /// Reads the settings; `libraries` are the folders with NVIDIA's.
    ///
    /// # Errors
    /// A setting makes no sense.
    pub fn of(settings: &TargetConfig, libraries: Vec<PathBuf>, stop: &Stop) -> Result<Self, SopError> {
        let refuse = |setting, problem: String| SopError::Setting { setting, problem };
        let kernel = settings.kernel.as_ref().ok_or_else(|| {
            refuse("target.kernel", "there is nothing to measure; give `op` and `shape`".to_owned())
        })?;
        if kernel.calls == 0 {
            return Err(refuse("target.kernel.calls", "an iteration has at least one call".to_owned()));
        }
        let shape = Shape::of_sizes(kernel.op, &kernel.shape)
            .map_err(|e| refuse("target.kernel.shape", e.to_string()))?;
        let dtype = Dtype::parse(&kernel.dtype).ok_or_else(|| {
            refuse("target.kernel.dtype", format!("`{}` is no number format", kernel.dtype))
        })?;
        let device = DeviceName::parse(&kernel.device).map_err(|e| refuse("target.kernel.device", e))?;
        let KernelConfig { op: kind, threads, cache, calls, .. } = *kernel.as_ref();
        let wanted = Wanted { kind, shape, dtype, device, threads, cache, calls };
        Ok(Self { wanted, name: settings.name.clone(), libraries, stop: stop.clone() })
    }
}

impl Launch for Kernels {
    fn launch(&self, prefix: &[String]) -> Result<Box<dyn Target>, TargetError> {
        if !prefix.is_empty() {
            return Err(TargetError::NoPrefix);
        }
        Ok(Box::new(Kernel { launch: self.clone(), worker: None, iterations: 0 }))
    }
}

struct Kernel {
    launch: Kernels,
    worker: Option<Worker>,
    iterations: u64,
}

struct Worker {
    /// So many samples; dropped to end the thread.
    asks: Sender<u64>,
    answers: Receiver<Answer>,
    thread: JoinHandle<()>,
}

enum Answer {
    Ready(Ready),
    Sampled { start_ns: Nanos, end_ns: Nanos },
    Failed(String),
}

impl Target for Kernel {
    fn prepare(&mut self, occasion: &Occasion) -> Result<Ready, TargetError> {
        let (asks, asked) = channel();
        let (answer, answers) = channel();
        let (wanted, libraries, seed) = (self.launch.wanted, self.launch.libraries.clone(), occasion.seed);
        let thread = std::thread::spawn(move || work(wanted, &libraries, seed, &asked, &answer));
        let worker = self.worker.insert(Worker { asks, answers, thread });
        match worker.answers.recv() {
            Ok(Answer::Ready(mut ready)) => {
                if let Some(name) = &self.launch.name {
                    ready.name.clone_from(name);
                }
                Ok(ready)
            }
            other => Err(failed(other.ok(), Step::Prepare, 0)),
        }
    }

    fn iterate(&mut self, n: u64, take: &mut dyn FnMut(Iteration)) -> Result<(), TargetError> {
        let worker = self.worker.as_ref().expect("a target is prepared before it is used");
        // One by one, so that an interrupted run does not wait for the rest.
        for _ in 0..n {
            if self.launch.stop.is_interrupted() {
                return Err(TargetError::Interrupted);
            }
            let answer = worker.asks.send(1).ok().and_then(|()| worker.answers.recv().ok());
            match answer {
                Some(Answer::Sampled { start_ns, end_ns }) => {
                    self.iterations += 1;
                    take(Iteration { start_ns, end_ns, ..Iteration::default() });
                }
                other => return Err(failed(other, Step::Iterate, self.iterations)),
            }
        }
        Ok(())
    }

    /// Results are checked against double precision when the kernel is prepared; there is nothing to hash.
    fn outputs(&mut self) -> Result<Option<String>, TargetError> {
        Ok(None)
    }

    fn teardown(&mut self) -> Ended {
        if let Some(Worker { asks, thread, .. }) = self.worker.take() {
            drop(asks);
            // A thread that panicked has said so on standard error, and its answers have ended.
            let _ = thread.join();
        }
        Ended::default()
    }
}

fn failed(answer: Option<Answer>, during: Step, iterations: u64) -> TargetError {
    match answer {
        Some(Answer::Failed(reason)) => TargetError::Kernel { reason },
        _ => TargetError::Died { during, iterations, exit: "its thread is gone".to_owned() },
    }
}

/// Opens the device, prepares the kernel, and samples until nobody asks any more.
fn work(wanted: Wanted, libraries: &[PathBuf], seed: u64, asked: &Receiver<u64>, answers: &Sender<Answer>) {
    // Who asked is gone when an answer cannot be sent: nothing is left to do.
    if let Err(reason) = serve(wanted, libraries, seed, asked, answers) {
        let _ = answers.send(Answer::Failed(reason));
    }
}

fn serve(
    wanted: Wanted,
    libraries: &[PathBuf],
    seed: u64,
    asked: &Receiver<u64>,
    answers: &Sender<Answer>,
) -> Result<(), String> {
    let threads: Vec<u32> = wanted.threads.into_iter().collect();
    let mut devices = wanted.device.open(&threads, libraries).map_err(|e| e.to_string())?;
    let device = devices.last_mut().ok_or("there is no device")?;
    let about = device.about();
    let op = Op { kind: wanted.kind, shape: wanted.shape, dtypes: device.formats(wanted.kind, wanted.dtype) };
    let way = if wanted.kind == OpKind::EmptyGraph { Way::Graph } else { Way::Eager };
    let mut case = device.prepare(&op, way, wanted.cache).map_err(|e| e.to_string())?;
    let deviation = case.check(seed).map_err(|e| e.to_string())?;
    if deviation.is_nan() || deviation > 1.0 {
        return Err(format!("its result is wrong: {deviation:.1} times the deviation that is allowed"));
    }
    let facts = BTreeMap::from([
        ("device".to_owned(), about.name),
        ("units".to_owned(), about.units.to_string()),
        ("kernel".to_owned(), case.identity().kernel.unwrap_or_else(|| "not told".to_owned())),
        ("calls".to_owned(), wanted.calls.to_string()),
        ("deviation".to_owned(), format!("{deviation:.3}")),
    ]);
    let name = format!("{} {}", op.kind.name(), op.shape.label());
    if answers.send(Answer::Ready(Ready { name, facts, ..Ready::default() })).is_err() {
        return Ok(());
    }
    while let Ok(n) = asked.recv() {
        for _ in 0..n {
            let answer = sample(case.as_mut(), wanted.calls)?;
            if answers.send(answer).is_err() {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// One iteration: it begins by the host's clock and lasts by the device's.
fn sample(case: &mut dyn Case, calls: u32) -> Result<Answer, String> {
    let start_ns = monotonic_raw();
    let seconds = case.sample(calls).map_err(|e| e.to_string())?;
    Ok(Answer::Sampled { start_ns, end_ns: start_ns + (seconds * 1e9).round() as Nanos })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(kernel: KernelConfig) -> TargetConfig {
        TargetConfig { kernel: Some(Box::new(kernel)), ..TargetConfig::default() }
    }

    fn rows(rows: u32) -> KernelConfig {
        KernelConfig {
            op: OpKind::RmsNorm,
            shape: BTreeMap::from([("rows".to_owned(), rows), ("cols".to_owned(), 64)]),
            dtype: "f32".to_owned(),
            threads: Some(1),
            cache: CacheState::Warm,
            ..KernelConfig::default()
        }
    }

    fn occasion() -> Occasion {
        Occasion { seed: 1, mode: "linear".to_owned(), trial: None, iterations: 5 }
    }

    #[test]
    fn a_kernel_iterates_like_any_target() {
        let kernels = Kernels::of(&settings(rows(8)), Vec::new(), &Stop::new()).unwrap();
        let mut target = kernels.launch(&[]).unwrap();
        let ready = target.prepare(&occasion()).unwrap();
        assert_eq!(ready.name, "rms_norm rows=8 cols=64");
        assert_eq!(ready.facts["units"], "1");
        let mut times = Vec::new();
        target.iterate(5, &mut |i| times.push((i.start_ns, i.end_ns))).unwrap();
        assert_eq!(times.len(), 5);
        assert!(times.iter().all(|(start, end)| start <= end));
        assert!(times.is_sorted());
        assert_eq!(target.teardown(), Ended::default());
        assert!(matches!(kernels.launch(&["ncu".to_owned()]), Err(TargetError::NoPrefix)));
    }

    #[test]
    fn what_cannot_be_prepared_says_why() {
        let refused = KernelConfig { dtype: "fp8".to_owned(), op: OpKind::Linear, ..rows(8) };
        let shape = ["m", "n", "k"].map(|name| (name.to_owned(), 4));
        let refused = KernelConfig { shape: shape.into(), ..refused };
        let mut target =
            Kernels::of(&settings(refused), Vec::new(), &Stop::new()).unwrap().launch(&[]).unwrap();
        match target.prepare(&occasion()) {
            Err(TargetError::Kernel { reason }) => assert!(reason.contains("f8e4m3"), "{reason}"),
            other => panic!("{other:?}"),
        }
        target.teardown();
    }

    #[test]
    fn settings_that_make_no_sense_are_named() {
        let of = |kernel: KernelConfig| match Kernels::of(&settings(kernel), Vec::new(), &Stop::new()) {
            Err(SopError::Setting { setting, .. }) => setting,
            _ => "none",
        };
        assert_eq!(of(KernelConfig { calls: 0, ..rows(8) }), "target.kernel.calls");
        assert_eq!(of(KernelConfig { dtype: "f64".to_owned(), ..rows(8) }), "target.kernel.dtype");
        assert_eq!(of(KernelConfig { device: "tpu".to_owned(), ..rows(8) }), "target.kernel.device");
        assert_eq!(of(KernelConfig::default()), "target.kernel.shape");
        assert!(Kernels::of(&TargetConfig::default(), Vec::new(), &Stop::new()).is_err());
    }
}

//! `stopwatt predict --prove`: a prediction of the built-in engine on this machine, held against the engine.
//!
//! ```text
//! loads ──► steps they take ──► operators ──► profile ──► kernel table ──► predicted run ─┐
//!   └──────────────────────────────────────► bench (the engine itself) ──► measured run ──┴──► errors, comparison
//! ```
//!
//! Nothing of the engine is fitted: the prediction is written before the engine starts. What is compared is what kernels
//! alone say of an engine that runs exactly those kernels.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use clap::Args;
use stopwatt_core::kernel_table::{CacheState, Dtype, Family, KernelRow, Op, OpKind, Outcome as RowOutcome};
use stopwatt_engine::{KV_BYTES, SchedulerConfig};
use stopwatt_experiment::bench::{BenchConfig, Stop};
use stopwatt_experiment::profile::{self, Plan, ProfileConfig};
use stopwatt_kernel::cpu::device::Host;
use stopwatt_kernel::cpu::geometry::Geometry;
use stopwatt_model::Preset;
use stopwatt_predict::built_in::{self, FRONTEND};
use stopwatt_predict::corrector::Corrector;
use stopwatt_predict::engine::EngineSettings;
use stopwatt_predict::latency::{KernelTable, Latency};
use stopwatt_predict::memory::Known;
use stopwatt_predict::model::{Attention, Dense, Grouped, ModelSpec, Norms};
use stopwatt_predict::operators::Engine;
use stopwatt_predict::predict::{PredictionDoc, Question, TableDoc, predict};
use stopwatt_predict::simulate::{Load, Scenario};
use stopwatt_predict::validate::validate;
use stopwatt_predict::{Deployment, Precision};
use stopwatt_record::config::{Layers, Resolved};
use stopwatt_record::kernel_table;
use stopwatt_record::run_dir::write_atomically;
use stopwatt_sensor::host;
use stopwatt_serving::workload::{Length, Workload};

use super::compared::Compared;
use super::gpu_settings::GpuFlags;
use super::{Failure, Format, Language, bench, compare, measured_loads, predict_measured, predict_out};
use crate::exit::Outcome;
use crate::stop::Signals;

/// Longest time of one kernel, in seconds, shared among its rounds.
const KERNEL_S: f64 = 0.2;
/// Rounds of each kernel.
const ROUNDS: u32 = 2;
/// Fewest requests of a trial.
const FEWEST_REQUESTS: u32 = 8;

// No doc comment: clap would show it in place of the command's own.
#[derive(Debug, Args)]
pub(super) struct ProveFlags {
    /// Predict the built-in engine on this machine and hold it against the engine: profile its kernels, predict, measure,
    /// compare
    #[arg(long, conflicts_with_all = ["model", "gpu", "check_table", "ship", "calibrate", "validate", "memory", "trace",
        "concurrency", "rate", "tables", "no_table"])]
    pub(super) prove: bool,
    /// Clients of the loads
    #[arg(long, value_name = "N,…", value_delimiter = ',', default_value = "1,2,4,8", requires = "prove",
        value_parser = clap::value_parser!(u32).range(1..=64))]
    prove_clients: Vec<u32>,
    /// Prompt tokens of the loads
    #[arg(long, value_name = "N,…", value_delimiter = ',', default_value = "64,512", requires = "prove",
        value_parser = clap::value_parser!(u32).range(1..=16_384))]
    prove_input: Vec<u32>,
    /// Output tokens
    #[arg(long, value_name = "N", default_value_t = 32, requires = "prove",
        value_parser = clap::value_parser!(u32).range(2..=4096))]
    prove_output: u32,
    /// Trials of each load
    #[arg(long, value_name = "N", default_value_t = 3, requires = "prove",
        value_parser = clap::value_parser!(u32).range(1..=100))]
    prove_repeats: u32,
    /// Longest time of the profile, in minutes
    #[arg(long, value_name = "MINUTES", default_value_t = 3.0, requires = "prove")]
    prove_minutes: f64,
}

fn configuration(error: impl Into<anyhow::Error>) -> Failure {
    Failure::new(Outcome::Configuration, error.into())
}

/// Runs the proof. `out_dir` gets `profile/`, `predicted/` and `measured/`, the errors and the comparison.
pub(super) fn run(
    flags: &ProveFlags,
    out_dir: Option<&Path>,
    seed: u64,
    format: Format,
    lang: Language,
    out: &mut dyn Write,
) -> anyhow::Result<Outcome> {
    if !(flags.prove_minutes.is_finite() && flags.prove_minutes > 0.0) {
        return Err(configuration(anyhow!("--prove-minutes {} is no time", flags.prove_minutes)).into());
    }
    let folder = match out_dir {
        Some(folder) => folder.to_owned(),
        None => {
            super::runs_root().join(format!("prove-{}", stopwatt_core::clock::unix_now() / 1_000_000_000))
        }
    };
    let subject = Subject::new(flags, seed)?;
    let (rows, signal) = subject.profile(&folder.join("profile"))?;
    if let Some(outcome) = signal {
        return Ok(outcome);
    }
    let question = subject.question(&rows)?;
    let predicted = subject.predict(&question)?;
    predict_out::write(&predicted, &[], folder.join("predicted"), lang)?;
    let (measured, signal) = subject.measure(flags, &folder.join("measured"), lang)?;
    if let Some(outcome) = signal {
        return Ok(outcome);
    }
    let loads = measured_loads::read(&[measured.to_string_lossy().into_owned()], &[])?;
    let doc = validate(&question, &loads, None)?;
    write_json(&folder.join("errors.json"), &doc)?;
    write_atomically(&folder.join("errors.csv"), predict_measured::validation_csv(&doc).as_bytes())?;
    let side = |name: &str| Compared::open(name, &folder.join(name));
    let comparison = compare::plain(&side("measured")?, &side("predicted")?);
    write_json(&folder.join("comparison.json"), &comparison)?;
    let outcome = predict_measured::print_validation(&doc, format, out)?;
    eprintln!("profile/, predicted/, measured/, errors.csv and comparison.json are in {}", folder.display());
    Ok(outcome)
}

/// What is proved on which loads.
struct Subject {
    deployment: Deployment,
    settings: EngineSettings,
    threads: u32,
    /// Clients and prompt tokens of each load.
    loads: Vec<(u32, u32)>,
    output: u32,
    requests: u32,
    repeats: u32,
    seed: u64,
    max_minutes: f64,
}

impl Subject {
    fn new(flags: &ProveFlags, seed: u64) -> anyhow::Result<Self> {
        let model = small_model()?;
        let Attention::Grouped(a) = &model.attention else {
            return Err(anyhow!("the model of the built-in engine has grouped attention"));
        };
        let token_bytes = 2 * model.layers * a.kv_heads * a.head_dim * Dtype::F32.bytes() as u32;
        let engine = SchedulerConfig::default();
        let longest = flags.prove_input.iter().max().copied().unwrap_or(1) + flags.prove_output;
        let kv_blocks = (KV_BYTES as u32 / token_bytes).div_ceil(engine.block_size);
        let settings =
            built_in::settings(longest, engine.max_num_seqs, engine.max_num_batched_tokens, kv_blocks);
        let deployment = Deployment::new(model, Precision::plain(Dtype::F32), 1, 1).map_err(configuration)?;
        let clients = flags.prove_clients.iter().max().copied().unwrap_or(1);
        let inputs = &flags.prove_input;
        Ok(Self {
            deployment: Deployment { engine: Engine::BuiltIn, ..deployment },
            settings,
            // The client and its sockets get a core of their own, as `bench` leaves it to them.
            threads: std::thread::available_parallelism().map_or(1, |n| n.get() as u32 - 1).max(1),
            loads: flags.prove_clients.iter().flat_map(|&c| inputs.iter().map(move |&i| (c, i))).collect(),
            output: flags.prove_output,
            requests: (2 * clients).max(FEWEST_REQUESTS),
            repeats: flags.prove_repeats,
            seed,
            max_minutes: flags.prove_minutes,
        })
    }

    fn workload(&self, input: u32) -> anyhow::Result<Workload> {
        let fixed = |tokens| Length::fixed(tokens).map_err(configuration);
        Ok(Workload::new(fixed(input)?, fixed(self.output)?))
    }

    /// Measures the operators that the loads run, on the threads that the engine will have.
    fn profile(&self, out: &Path) -> anyhow::Result<(Vec<KernelRow>, Option<Outcome>)> {
        let blocks = self.settings.num_gpu_blocks_override.unwrap_or(1);
        let scenario = |&(concurrency, input): &(u32, u32)| {
            Ok(Scenario {
                scheduler: self.settings.scheduler(blocks),
                workload: self.workload(input)?,
                load: Load::Closed { concurrency },
                requests: self.requests,
                duration_s: None,
                seed: self.seed,
                frontend: FRONTEND,
                batch_wait_s: 0.0,
            })
        };
        let scenarios = self.loads.iter().map(scenario).collect::<anyhow::Result<Vec<_>>>()?;
        let ops = built_in::operators(&self.deployment, &scenarios)?;
        eprintln!("profiling {} operators, at most {} minutes", ops.len(), self.max_minutes);
        // Weights and cache were last read a step ago and come from memory, unless all of them stay in the processor;
        // activations were written a moment ago.
        let stays = self.deployment.weight_bytes() < Geometry::read().last_cache_bytes() as f64 / 2.0;
        let is_cold = |op: &Op| !stays && matches!(op.kind.family(), Family::Linear | Family::Attention);
        let (cold, warm): (Vec<Op>, Vec<Op>) = ops.into_iter().partition(is_cold);
        let resolved: Resolved<ProfileConfig> = Layers::<ProfileConfig>::new()
            .flag("device", "--prove", Some("cpu"))
            .flag("model", "--prove", Some(&self.deployment.model.name))
            .flag("dtype", "--prove", Some(["f32"]))
            .flag("threads", "--prove", Some([self.threads]))
            .flag("cache", "--prove", Some(["cold", "warm"]))
            .flag("method.rounds", "--prove", Some(ROUNDS))
            .flag("method.kernel_s", "--prove", Some(KERNEL_S))
            .flag("max_minutes", "--prove-minutes", Some(self.max_minutes))
            .flag("seed", "--seed", Some(self.seed))
            .resolve()?;
        let mut devices = [self.threads; 2].map(|n| Host::new(n as usize));
        let mut plans: Vec<Plan<'_>> = devices
            .iter_mut()
            .zip([(cold, CacheState::Cold), (warm, CacheState::Warm)])
            .map(|(device, (ops, cache))| Plan { device, ops, has_graphs: false, caches: vec![cache] })
            .collect();
        let stop = Stop::new();
        let on_signal = stop.clone();
        let signals = Signals::install(move || on_signal.interrupt())?;
        let root = super::runs_root();
        let setup = profile::Setup {
            lock: super::profile::lock(&resolved, "profile")?,
            method: resolved.value.method.method(),
            rounds: resolved.value.method.rounds(),
            seed: self.seed,
            limit_s: Some(60.0 * self.max_minutes),
            earlier: None,
            root: &root,
            out: Some(out.to_owned()),
        };
        let finished = profile::run(setup, &mut plans, &stop, &mut |_| {})?;
        super::report::write(&finished.path, Language::default().into())?;
        if let Some(reason) = &finished.cut {
            eprintln!("warning: {reason}; what was left out is blended from what was measured");
        }
        let rows = kernel_table::read(&finished.path)?.unwrap_or_default();
        Ok((rows, signals.outcome()))
    }

    /// What is asked of the predictor, but for the load.
    fn question(&self, rows: &[KernelRow]) -> anyhow::Result<Question> {
        let launch = rows.iter().find_map(|row| match (&row.outcome, row.op.kind) {
            (RowOutcome::Measured { time, .. }, OpKind::EmptyLaunch) => Some(time.median_s),
            _ => None,
        });
        let rows: Vec<KernelRow> =
            rows.iter().filter(|r| r.op.kind != OpKind::EmptyLaunch).cloned().collect();
        let geometry = Geometry::read();
        let name = if geometry.name.is_empty() { "this CPU" } else { &geometry.name };
        let memory = host::total_bytes().map_or(1e10, |bytes| bytes as f64);
        let device = built_in::device(&format!("{name}, {} of its threads", self.threads), memory, &rows)
            .map_err(|e| anyhow::Error::new(e).context("the profile measured no product in time"))?;
        let table = KernelTable::new(&rows, &device).map_err(configuration)?;
        let doc = TableDoc {
            sources: vec!["profile".to_owned()],
            rows: table.rows(),
            flagged: table.flagged(),
            other_kernels: 0,
            imported: None,
        };
        Ok(Question {
            deployment: self.deployment.clone(),
            latency: Latency::of_table(device, table),
            table: Some(doc),
            settings: self.settings.clone(),
            corrector: Corrector { per_step_s: launch.unwrap_or(0.0), ..Corrector::none() },
            known: Known::default(),
            workload: self.workload(1)?,
            load: Load::Closed { concurrency: 1 },
            requests: self.requests,
            duration_s: None,
            drop_first_wave: false,
            seed: self.seed,
            frontend: FRONTEND,
            spreads: None,
        })
    }

    fn predict(&self, question: &Question) -> anyhow::Result<Vec<(Question, PredictionDoc)>> {
        let of = |&(concurrency, input): &(u32, u32)| {
            let (workload, load) = (self.workload(input)?, Load::Closed { concurrency });
            let question = Question { workload, load, ..question.clone() };
            let doc = predict(&question)?;
            Ok((question, doc))
        };
        self.loads.iter().map(of).collect()
    }

    /// Measures the engine itself under the loads.
    fn measure(
        &self,
        flags: &ProveFlags,
        out: &Path,
        lang: Language,
    ) -> anyhow::Result<(PathBuf, Option<Outcome>)> {
        eprintln!("measuring {} loads", self.loads.len());
        let resolved = Layers::<BenchConfig>::new()
            .flag("scenario", "--prove", Some("sweep"))
            .flag("engine.threads", "--prove", Some(self.threads))
            .flag("engine.max_context", "--prove", Some(self.settings.max_model_len))
            .flag("engine.prefix_caching", "--prove", Some(false))
            .flag("workload.prefix_share", "--prove", Some(0.0))
            .flag("workload.inputs", "--prove-input", Some(&flags.prove_input))
            .flag("workload.output", "--prove-output", Some(self.output.to_string()))
            .flag("load.concurrency", "--prove-clients", Some(&flags.prove_clients))
            .flag("measure.requests", "--prove", Some(self.requests))
            .flag("measure.repeats", "--prove-repeats", Some(self.repeats))
            .flag("measure.warmup", "--prove", Some(2))
            .flag("request.ignore_eos", "--prove", Some("yes"))
            .flag("seed", "--seed", Some(self.seed))
            .resolve()?;
        let shown = bench::Shown {
            out: None,
            format: Format::Table,
            lang,
            dialect: None,
            strict: false,
            quiet: true,
            gpu: GpuFlags::default(),
        };
        let lock = bench::config_lock(&resolved)?;
        let folder = Some(out.to_owned());
        let (written, signal) =
            bench::measure_only(&resolved, lock, None, &shown, folder, &mut |_, _| Ok(()))?;
        Ok((written.path, signal))
    }
}

/// The model that the built-in engine serves when nothing else is asked for.
fn small_model() -> anyhow::Result<ModelSpec> {
    let preset = Preset::default();
    let c = preset.config();
    let size = |n: usize| u32::try_from(n).context("a size of the built-in model");
    let layers = size(c.layers)?;
    Ok(ModelSpec {
        name: format!("random-{}", preset.name()),
        architecture: "llama".to_owned(),
        vocab: size(c.vocab)?,
        hidden: size(c.hidden)?,
        layers,
        attention: Attention::Grouped(Grouped {
            heads: size(c.heads)?,
            kv_heads: size(c.kv_heads)?,
            head_dim: size(c.head_dim)?,
            qkv_bias: false,
            output_bias: false,
            qk_norm: false,
            window: None,
        }),
        dense: Some(Dense { layers, intermediate: size(c.ffn)?, bias: false }),
        moe: None,
        norms: Norms::Before,
        tied: false,
        max_position: size(c.max_position)?,
        dtype: Dtype::F32,
        stored: None,
        stated_parameters: None,
        stated_bytes_per_parameter: None,
        notes: Vec::new(),
    })
}

fn write_json(path: &Path, doc: &impl serde::Serialize) -> anyhow::Result<()> {
    Ok(write_atomically(path, (serde_json::to_string_pretty(doc)? + "\n").as_bytes())?)
}

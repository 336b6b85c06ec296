//! `stopwatt predict`: what vLLM does with a model on a device under a load, without either.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use stopwatt_core::kernel_table::Dtype;
use stopwatt_predict::engine::{Argument, DeploymentArgument, EngineSettings, EngineVersion};
use stopwatt_predict::fit::Asked;
use stopwatt_predict::hardware::Gpu;
use stopwatt_predict::memory::{Known, MemoryDoc, memory};
use stopwatt_predict::operators::Engine;
use stopwatt_predict::predict::{Question, predict};
use stopwatt_predict::simulate::Frontend;
use stopwatt_predict::validate::cross_validate;
use stopwatt_predict::{Deployment, Precision};

use super::engine_constants::Constants;
use super::kernel_tables::{self, TableFlags};
use super::model_and_gpu::{ModelAndGpu, precision, read_gpu};
use super::predict_load::LoadFlags;
use super::predict_text::{check_csv, check_text, csv, memory_csv, memory_text, text};
use super::prove::{self, ProveFlags};
use super::{Failure, Format, Language, measured_loads, predict_measured, predict_out};
use crate::exit::Outcome;

const GIB: f64 = (1_u64 << 30) as f64;

/// Predict what vLLM does with a model on a device: TTFT, TPOT, throughput, memory, and the reason for each
///
/// Simulates vLLM's scheduler in virtual time over times of kernels, each by the best evidence there is: a measured row,
/// rows around it, tiles and waves fitted to rows, or the roof. Without measured kernels the times rest on the data
/// sheet, and their intervals are wide.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    stopwatt predict --model llama-3.1-8b --gpu h100-sxm --input 1024 --output 128 --concurrency 16\n  \
    stopwatt predict --model qwen3-8b --gpu a100-80gb --input 256:1024 --output 128 --rate 4\n  \
    stopwatt predict --model llama-3.1-8b --gpu h100-sxm --arrival ramp --rate 2 --rate-end 20 --duration 60s\n  \
    stopwatt predict --model llama-3.1-70b --gpu h100-sxm --memory\n  \
    stopwatt predict --model llama-3.2-3b --gpu h100-sxm --table latest --concurrency 8\n  \
    stopwatt predict --model llama-3.1-8b --gpu h100-sxm --engine static --engine-arg max_batch_size=16 --rate 4\n  \
    stopwatt predict --gpu h100-sxm --check-table\n  \
    stopwatt predict --prove")]
pub(crate) struct PredictArgs {
    /// Model: a name such as llama-3.1-8b, a `config.json` or its folder, or a TOML or YAML file of figures
    #[arg(long, value_name = "NAME|FILE", required_unless_present_any = ["check_table", "ship", "prove"])]
    model: Option<String>,
    /// Device: a name such as h100-sxm, a TOML or YAML file of figures, or measured kernels (a run of `profile` or a
    /// Parquet file)
    #[arg(long, value_name = "NAME|FILE|RUN", required_unless_present = "prove")]
    gpu: Option<String>,
    /// Format of weights: bf16, fp16, fp32, fp8, int8, int8-weights, int4 [default: that of the model]
    #[arg(long, value_name = "FORMAT", value_parser = precision)]
    dtype: Option<Precision>,
    /// Devices that share each layer (tensor parallelism)
    #[arg(long, value_name = "N", default_value_t = 1)]
    tp: u32,

    #[command(flatten, next_help_heading = "Kernels")]
    tables: TableFlags,
    /// Say how well the measured kernels predict each other: each left out and predicted from the rest
    #[arg(long, help_heading = "Kernels")]
    check_table: bool,
    /// Write the measured kernels of --table into a folder of tables that come with Stopwatt
    #[arg(long, value_name = "FOLDER", requires = "tables", help_heading = "Kernels")]
    ship: Option<PathBuf>,

    /// Engine whose rules are followed
    #[arg(long, value_enum, default_value_t, help_heading = "Engine")]
    engine: EngineName,
    /// Version of the engine
    #[arg(long, value_name = "VERSION", default_value = "0.26", value_parser = version, help_heading = "Engine")]
    engine_version: EngineVersion,
    /// An argument of the engine in its own words, such as gpu_memory_utilization=0.85; may be repeated
    #[arg(long, value_name = "NAME=VALUE", help_heading = "Engine")]
    engine_arg: Vec<String>,
    /// Time outside the engine's steps before a request is queued and after each token, in milliseconds
    #[arg(long, value_name = "BEFORE,AFTER", value_delimiter = ',', num_args = 1, help_heading = "Engine")]
    frontend_ms: Vec<f64>,

    #[command(flatten)]
    load: LoadFlags,
    /// Leave out the first requests of a closed loop, which come all at once
    #[arg(long, help_heading = "Load")]
    drop_first_wave: bool,
    /// Seed of lengths and times
    #[arg(long, value_name = "N", default_value_t = 0, help_heading = "Load")]
    seed: u64,

    /// Fit what the engine adds to kernels to measured runs of it, from TTFT and TPOT alone (a folder stands for its runs;
    /// MODEL=RUN for one of another model on the same host)
    #[arg(long, value_name = "RUN", num_args = 1.., help_heading = "Measured runs",
        conflicts_with_all = ["validate", "calibration"])]
    calibrate: Vec<String>,
    /// Say how well the fit predicts loads that it has not seen: each load left out, the rest fitted anew
    #[arg(long, requires = "calibrate", conflicts_with = "save", help_heading = "Measured runs")]
    cross_validate: bool,
    /// File for the calibration
    #[arg(long, value_name = "FILE", requires = "calibrate", help_heading = "Measured runs")]
    save: Option<PathBuf>,
    /// Only these loads of the runs, by their names such as c=8
    #[arg(long, value_name = "LOAD,…", value_delimiter = ',', help_heading = "Measured runs")]
    loads: Vec<String>,
    /// A calibration to predict with
    #[arg(long, value_name = "FILE", conflicts_with = "frontend_ms", help_heading = "Measured runs")]
    calibration: Option<PathBuf>,
    /// Predict with published guesses of what engine and host add, and not with the calibration that comes with Stopwatt
    #[arg(long, conflicts_with_all = ["calibration", "calibrate"], help_heading = "Measured runs")]
    no_calibration: bool,
    /// Predict measured runs from their own recorded load and print the errors
    #[arg(long, value_name = "RUN", num_args = 1.., help_heading = "Measured runs")]
    validate: Vec<String>,

    #[command(flatten, next_help_heading = "Proof")]
    prove: ProveFlags,

    /// Say only what the memory holds: by format of weights and by length
    #[arg(long, help_heading = "Memory")]
    memory: bool,
    /// Lengths of sequences in tokens, for `--memory`
    #[arg(
        long,
        value_name = "N,…",
        value_delimiter = ',',
        default_value = "1024,2048,4096,8192,32768",
        help_heading = "Memory"
    )]
    lengths: Vec<u32>,
    /// Peak of activations from the engine's log, in GiB, in place of the estimate
    #[arg(long, value_name = "GIB", help_heading = "Memory")]
    activation_gib: Option<f64>,
    /// Memory outside the allocator from the engine's log, in GiB
    #[arg(long, value_name = "GIB", help_heading = "Memory")]
    non_torch_gib: Option<f64>,
    /// Captured graphs from the engine's log, in GiB
    #[arg(long, value_name = "GIB", help_heading = "Memory")]
    graph_gib: Option<f64>,

    /// Folder for the prediction as a run, which `compare` and `report` read like a measured one; with --prove for all its
    /// runs. It must not exist or be empty
    #[arg(long, value_name = "DIR", value_parser = super::place::folder,
        conflicts_with_all = ["memory", "calibrate", "validate", "check_table", "ship"], help_heading = "Result")]
    out: Option<PathBuf>,
    /// Language of the run's report
    #[arg(long, value_enum, default_value_t, help_heading = "Result")]
    lang: Language,
    /// How to print the result
    #[arg(long, value_enum, default_value_t, help_heading = "Result")]
    format: Format,
}

impl PredictArgs {
    /// What `--gpu` says; only a proof needs none.
    fn gpu(&self) -> &str {
        self.gpu.as_deref().unwrap_or_default()
    }
}

/// An engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(super) enum EngineName {
    /// vLLM, V1 scheduler
    #[default]
    Vllm,
    /// Static batches, padded and served to the end: max_batch_size requests, formed at once or after
    /// max_queue_delay_microseconds. Kernels, memory and host as of vLLM
    Static,
}

pub(super) fn version(text: &str) -> Result<EngineVersion, String> {
    EngineVersion::parse(text).ok_or_else(|| "write a version such as 0.26".to_owned())
}

fn configuration(error: impl Into<anyhow::Error>) -> Failure {
    Failure::new(Outcome::Configuration, error.into())
}

/// Runs the command.
pub(crate) fn run(args: &PredictArgs, out: &mut dyn Write) -> anyhow::Result<Outcome> {
    if args.prove.prove {
        return prove::run(&args.prove, args.out.as_deref(), args.seed, args.format, args.lang, out);
    }
    let Some(model) = args.model.clone() else {
        return match &args.ship {
            Some(folder) => ship(args, folder, out),
            None => check_table(args, out),
        };
    };
    let subject = ModelAndGpu { model, gpu: args.gpu().to_owned(), dtype: args.dtype, tp: args.tp };
    let (deployment, gpu) = subject.read_for_steps()?;
    let (mut settings, deployment) =
        engine(args.engine, args.engine_version, &args.engine_arg, deployment, &gpu)?;
    if args.engine == EngineName::Static {
        settings.hold_batches_of(args.load.read(args.seed)?.workload.longest_prompt());
    }
    let known = known(args)?;
    if args.memory {
        let docs = by_format(args, &deployment, &gpu, &settings, &known);
        match args.format {
            Format::Json => writeln!(out, "{}", serde_json::to_string_pretty(&docs)?)?,
            Format::Csv => write!(out, "{}", memory_csv(&docs))?,
            Format::Table => write!(out, "{}", memory_text(&deployment, &gpu, &docs))?,
        }
        return Ok(Outcome::Done);
    }
    let asked = args.load.read(args.seed)?;
    let (latency, table) = args.tables.latency(args.gpu(), gpu)?;
    let constants = if args.no_calibration || !args.frontend_ms.is_empty() {
        Constants::guessed(frontend(args)?)
    } else {
        Constants::read(args.calibration.as_deref())?
    };
    let constants = constants.of(latency.gpu(), settings.version).under(args.engine);
    let question = Question {
        deployment,
        latency,
        table,
        settings,
        corrector: constants.corrector,
        known,
        workload: asked.workload,
        load: asked.load,
        requests: asked.requests,
        duration_s: asked.duration_s,
        drop_first_wave: args.drop_first_wave,
        seed: args.seed,
        frontend: constants.frontend,
        spreads: constants.spreads.clone(),
    };
    if !args.calibrate.is_empty() {
        return fit(args, &question, out);
    }
    if !args.validate.is_empty() {
        let loads = measured_loads::read(&args.validate, &args.loads)?;
        let calibration = constants.calibration.as_ref();
        return predict_measured::run_validate(&question, &loads, calibration, args.format, out);
    }
    let mut doc = predict(&question)?;
    doc.notes.extend(constants.note());
    if let Some(folder) = &args.out {
        let load = [(question, doc.clone())];
        if let Some(written) = predict_out::write(&load, &args.engine_arg, folder.clone(), args.lang)? {
            eprintln!("written to {}", written.path.display());
        }
    }
    match args.format {
        Format::Json => writeln!(out, "{}", serde_json::to_string_pretty(&doc)?)?,
        Format::Csv => write!(out, "{}", csv(&doc))?,
        Format::Table => write!(out, "{}", text(&doc))?,
    }
    Ok(Outcome::Done)
}

/// Fits constants to measured runs. A run may be of another model than the question: `MODEL=RUN`.
fn fit(args: &PredictArgs, question: &Question, out: &mut dyn Write) -> anyhow::Result<Outcome> {
    let mut models: BTreeMap<&str, (Question, Vec<String>)> = BTreeMap::new();
    let own = args.model.as_deref().unwrap_or_default();
    models.insert(own, (question.clone(), Vec::new()));
    for name in &args.calibrate {
        let (model, run) = match name.split_once('=') {
            Some((model, run)) if !model.contains('/') => (model, run),
            _ => (own, name.as_str()),
        };
        if !models.contains_key(model) {
            let gpu = args.gpu().to_owned();
            let subject = ModelAndGpu { model: model.to_owned(), gpu, dtype: args.dtype, tp: args.tp };
            let (deployment, gpu) = subject.read_for_steps()?;
            let (mut settings, deployment) =
                engine(args.engine, args.engine_version, &args.engine_arg, deployment, &gpu)?;
            settings.hold_batches_of(question.workload.longest_prompt());
            models.insert(model, (Question { deployment, settings, ..question.clone() }, Vec::new()));
        }
        if let Some((_, runs)) = models.get_mut(model) {
            runs.push(run.to_owned());
        }
    }
    let mut measured = Vec::new();
    for (question, runs) in models.values().filter(|(_, runs)| !runs.is_empty()) {
        measured.push((question, measured_loads::read(runs, &args.loads)?));
    }
    let asked: Vec<Asked<'_>> =
        measured.iter().flat_map(|(question, loads)| loads.iter().map(|load| (*question, load))).collect();
    if args.cross_validate {
        let doc = cross_validate(&asked).map_err(predict_measured::unfitted)?;
        return predict_measured::print_validation(&doc, args.format, out);
    }
    predict_measured::run_calibrate(&asked, args.save.as_deref(), args.format, out)
}

/// How well the table predicts its own rows.
fn check_table(args: &PredictArgs, out: &mut dyn Write) -> anyhow::Result<Outcome> {
    let gpu = read_gpu(args.gpu())?;
    let doc = args.tables.check(args.gpu(), &gpu)?.ok_or_else(|| {
        configuration(anyhow::anyhow!("there are no measured kernels of {}", gpu.name))
            .hint("give a run of `stopwatt profile` with --table")
    })?;
    match args.format {
        Format::Json => writeln!(out, "{}", serde_json::to_string_pretty(&doc)?)?,
        Format::Csv => write!(out, "{}", check_csv(&doc))?,
        Format::Table => write!(out, "{}", check_text(&gpu, &doc))?,
    }
    Ok(Outcome::Done)
}

/// Makes measured runs the table that comes with Stopwatt for a device.
fn ship(args: &PredictArgs, folder: &Path, out: &mut dyn Write) -> anyhow::Result<Outcome> {
    let gpu = read_gpu(args.gpu())?;
    let (mut rows, mut runs) = (Vec::new(), Vec::new());
    for name in &args.tables.tables {
        let found = kernel_tables::read(name)?;
        let run = found.run.ok_or_else(|| {
            configuration(anyhow::anyhow!("{name} is no run, so nothing says where it is from"))
                .hint("give the run's folder")
        })?;
        rows.extend(found.rows);
        runs.push(run);
    }
    let shipped = stopwatt_record::shipped::ship(folder, &gpu.id, &rows, runs)?;
    writeln!(out, "{} rows of {} in {}", shipped.rows, gpu.name, folder.join(&shipped.file).display())?;
    Ok(Outcome::Done)
}

/// The engine's settings, and the deployment as its arguments change it.
pub(super) fn engine(
    name: EngineName,
    version: EngineVersion,
    arguments: &[String],
    mut deployment: Deployment,
    gpu: &Gpu,
) -> anyhow::Result<(EngineSettings, Deployment)> {
    let mut settings = EngineSettings::defaults(version, &deployment.model, gpu);
    if name == EngineName::Static {
        settings = settings.with_static_batches();
        deployment.engine = Engine::Static;
    }
    let engine = deployment.engine;
    let (mut tp, mut pp) = (deployment.tp, deployment.pp);
    for argument in arguments {
        let (name, value) = argument.split_once('=').unwrap_or((argument, ""));
        match settings.set(name, value).map_err(configuration)? {
            Argument::Set => {}
            Argument::NoEffect => eprintln!("warning: `{name}` changes nothing that is predicted"),
            Argument::Deployment(DeploymentArgument::TensorParallel(n)) => tp = n,
            Argument::Deployment(DeploymentArgument::PipelineParallel(n)) => pp = n,
            Argument::Deployment(DeploymentArgument::KvCache(dtype)) => {
                deployment.precision.kv = dtype.unwrap_or(deployment.precision.base);
            }
            Argument::Deployment(DeploymentArgument::Precision(name)) => {
                let kv = deployment.precision.kv;
                let Some(precision) = Precision::parse(&name) else { continue };
                // An own format of the cache stays.
                let kv = if kv == Dtype::F8E4m3 { kv } else { precision.kv };
                deployment.precision = Precision { kv, ..precision };
            }
        }
    }
    let deployment =
        Deployment::new(deployment.model, deployment.precision, tp, pp).map_err(configuration)?;
    Ok((settings, Deployment { engine, ..deployment }))
}

fn known(args: &PredictArgs) -> anyhow::Result<Known> {
    let of = |flag: &str, gib: Option<f64>| match gib {
        Some(gib) if !(gib.is_finite() && gib >= 0.0) => {
            Err(configuration(anyhow::anyhow!("{flag} {gib} is no amount of memory")))
        }
        gib => Ok(gib.map(|gib| gib * GIB)),
    };
    Ok(Known {
        activation_bytes: of("--activation-gib", args.activation_gib)?,
        outside_bytes: of("--non-torch-gib", args.non_torch_gib)?,
        graph_bytes: of("--graph-gib", args.graph_gib)?,
    })
}

fn frontend(args: &PredictArgs) -> anyhow::Result<Frontend> {
    match args.frontend_ms[..] {
        [] => Ok(Frontend::GUESS),
        [before, after] if [before, after].iter().all(|ms| (0.0..=60_000.0).contains(ms)) => {
            Ok(Frontend { before_s: before * 1e-3, after_s: after * 1e-3, ..Frontend::NONE })
        }
        _ => Err(configuration(anyhow::anyhow!("--frontend-ms takes two times in milliseconds"))
            .hint("write --frontend-ms 2,0.5")
            .into()),
    }
}

/// The memory in the format asked for, and in others.
fn by_format(
    args: &PredictArgs,
    deployment: &Deployment,
    gpu: &Gpu,
    settings: &EngineSettings,
    known: &Known,
) -> Vec<MemoryDoc> {
    let others = ["bf16", "fp8", "int8", "int4"].into_iter().filter_map(Precision::parse);
    let others = others.filter(|p| p.name() != deployment.precision.name());
    std::iter::once(deployment.precision)
        .chain(others)
        .map(|precision| {
            let kv = deployment.precision.kv;
            let deployment = Deployment { precision: Precision { kv, ..precision }, ..deployment.clone() };
            memory(&deployment, gpu, settings, known, &args.lengths)
        })
        .collect()
}

//! `stopwatt bench`: flags to settings, settings to a run, the run to a report.

use std::io::{IsTerminal as _, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use clap::{Args, Subcommand, ValueEnum};
use stopwatt_core::metrics_doc::RunStatus;
use stopwatt_core::search::FindKind;
use stopwatt_experiment::bench::{self, ArrivalKind, BenchConfig, EndpointChoice, ScenarioKind, Tri};
use stopwatt_record::config::{self, Layers, Resolved, environment};

use super::gpu_settings::GpuFlags;
use super::place::{Delivery, Place};
use super::price::{PriceArgs, cost_settings};
use super::workload_flags::{ShareFlags, WorkloadFlags};
use super::{Failure, Format, targets, tokenizer};
use crate::command::{report, resume};
use crate::exit::Outcome;
use crate::progress::Progress;
use crate::stop::Signals;

/// Workload pairs, by the names that a course on them uses.
#[derive(Debug, Subcommand)]
enum TargetsAlias {
    /// The same as `stopwatt targets list`
    ListTargets(targets::ListArgs),
    /// The same as `stopwatt targets run`
    Run(Box<targets::RunArgs>),
}

/// Measure an OpenAI-compatible engine, or the built-in one, and write a run
///
/// Without --url, the built-in engine is started as a child process on a free loopback port and ends with this
/// command. Every run is a directory under `stopwatt-runs/`: its metrics, its requests with every chunk's stamp,
/// its settings and its report.
#[derive(Debug, Args)]
#[command(
    after_help = "\
Examples:
  stopwatt bench
  stopwatt bench --url http://127.0.0.1:8000 --workload chat --concurrency 16
  stopwatt bench --url http://127.0.0.1:8000 --rate 2 --arrival poisson --duration 60s --slo 'ttft < 500ms, tpot < 50ms'
  stopwatt bench --url http://127.0.0.1:8000 --find max-rate --slo 'p99 ttft < 500ms, p99 itl < 50ms'
  stopwatt bench --scenario sweep --concurrency 1,4,16 --input 512,2048 --output 128
  stopwatt bench --serve-cmd 'vllm serve M --port {port} --gpu-memory-utilization {util}' \\
    --sweep util=0.7,0.8,0.9 --sweep concurrency=1,4,16 --slo 'p95 ttft < 500ms'
  stopwatt bench --resume latest
  stopwatt bench -c bench.yaml --override measure.repeats=10 --dry-run",
    args_conflicts_with_subcommands = true
)]
pub(crate) struct BenchArgs {
    #[command(subcommand)]
    targets: Option<TargetsAlias>,
    /// Base URL of the engine, for instance http://127.0.0.1:8000
    #[arg(long, value_name = "URL", help_heading = "Engine")]
    url: Option<String>,
    /// Model name, when the engine lists several
    #[arg(long, value_name = "NAME", help_heading = "Engine")]
    model: Option<String>,
    /// Endpoint to use: chat, completions, or completions with token ids where the engine takes them (auto)
    #[arg(long, value_enum, help_heading = "Engine")]
    endpoint: Option<Endpoint>,
    /// Environment variable that holds the API key
    #[arg(long, value_name = "VAR", help_heading = "Engine")]
    api_key_env: Option<String>,
    /// Further request header, `Name: value` (repeatable)
    #[arg(long, value_name = "HEADER", help_heading = "Engine")]
    header: Vec<String>,
    /// PEM file with the engine's certificate authority
    #[arg(long, value_name = "FILE", help_heading = "Engine")]
    ca_cert: Option<String>,
    /// `tokenizer.json` to count tokens with, where the engine does not
    #[arg(long, value_name = "FILE", help_heading = "Engine")]
    tokenizer: Option<String>,
    /// Weights for the built-in engine: a GGUF file or a folder with safetensors
    #[arg(long, value_name = "PATH", help_heading = "Engine", conflicts_with = "url")]
    weights: Option<String>,

    /// Start the engine with this command, once for each of its settings; `{port}` and `{NAME}` are filled in
    ///
    /// The command is split into words and no shell sees it. It ends, with everything it started, however this
    /// command ends.
    #[arg(long, value_name = "COMMAND", help_heading = "Engine", conflicts_with_all = ["url", "weights"])]
    serve_cmd: Option<String>,
    /// Values to try, as `util=0.7,0.8`: of a place in --serve-cmd, or of concurrency, rate or input (repeatable)
    #[arg(long, value_name = "NAME=V,…", help_heading = "Engine")]
    sweep: Vec<String>,
    /// Longest time from the engine's start to its first token [default: 15m]
    #[arg(long, value_name = "TIME", value_parser = parse_time, help_heading = "Engine")]
    ready_timeout: Option<Duration>,
    /// Leave the end of the engine's log in the run; it may hold prompts
    #[arg(long, help_heading = "Engine")]
    keep_engine_log: bool,
    /// Run the engine's command although it comes from a file or from a run
    #[arg(long, help_heading = "Engine")]
    allow_commands: bool,

    /// What to measure
    #[arg(long, value_enum, help_heading = "Load")]
    scenario: Option<Scenario>,
    /// Workload profile (chat, document, medical-ocr, or ocr:TYPE such as ocr:처방전) or a file of the same form
    #[arg(long, value_name = "PROFILE", help_heading = "Load")]
    workload: Option<String>,
    /// Input tokens: `128`, `50:200`, a list for a sweep, or `@FILE` for a histogram
    #[arg(long, value_name = "N", help_heading = "Load")]
    input: Option<String>,
    /// Output tokens: `128`, `100:500` or `@FILE`
    #[arg(long, value_name = "N", help_heading = "Load")]
    output: Option<String>,
    /// Requests in flight; a list makes points
    #[arg(long, value_name = "N,…", value_delimiter = ',', help_heading = "Load")]
    concurrency: Vec<u32>,
    /// Requests per second; a list makes points
    #[arg(long, value_name = "R,…", value_delimiter = ',', help_heading = "Load")]
    rate: Vec<f64>,
    /// Arrival process; a rate alone means poisson, a concurrency alone closed
    #[arg(long, value_enum, help_heading = "Load")]
    arrival: Option<Arrival>,
    /// Requests per second at the end of a ramp
    #[arg(long, value_name = "R", help_heading = "Load")]
    rate_end: Option<f64>,
    /// Shape of gamma arrivals: 1 is poisson, below 1 comes in bursts
    #[arg(long, value_name = "X", help_heading = "Load")]
    burstiness: Option<f64>,
    /// Requests in a trial
    #[arg(long, value_name = "N", help_heading = "Load", conflicts_with = "duration")]
    requests: Option<u64>,
    /// Length of a trial (of the whole soak in `--scenario soak`), for instance 30s or 5m
    #[arg(long, value_name = "TIME", value_parser = parse_time, help_heading = "Load")]
    duration: Option<Duration>,
    /// Fewest warm-up requests at each point; 0 switches warm-up off and marks the run unstabilised
    #[arg(long, value_name = "N", help_heading = "Load")]
    warmup: Option<u64>,
    /// Trials at each point: the unit of every interval
    #[arg(long, value_name = "N", help_heading = "Load")]
    repeats: Option<u32>,
    /// Seed of lengths, prompts, arrivals and resampling
    #[arg(long, value_name = "N", help_heading = "Load")]
    seed: Option<u64>,

    #[command(flatten)]
    recorded: WorkloadFlags,
    #[command(flatten)]
    share: ShareFlags,
    /// Search for the highest load whose --slo hold with confidence
    #[arg(long, value_enum, help_heading = "Search", conflicts_with_all = ["scenario", "rate", "concurrency"])]
    find: Option<FindLoad>,
    /// Longest the search may take [default: 30m]
    #[arg(long, value_name = "TIME", value_parser = parse_time, help_heading = "Search", requires = "find")]
    find_budget: Option<Duration>,

    /// Let output run to its full length (auto: where the engine can)
    #[arg(long, value_enum, num_args = 0..=1, default_missing_value = "yes", help_heading = "Request")]
    ignore_eos: Option<IgnoreEos>,
    /// Sampling temperature
    #[arg(long, value_name = "T", help_heading = "Request")]
    temperature: Option<f64>,
    /// JSON object merged into every request body
    #[arg(long, value_name = "JSON", value_parser = parse_object, help_heading = "Request")]
    extra_body: Option<serde_json::Value>,
    /// Longest a request may take
    #[arg(long, value_name = "TIME", value_parser = parse_time, help_heading = "Request")]
    timeout: Option<Duration>,
    /// Longest silence inside a request
    #[arg(long, value_name = "TIME", value_parser = parse_time, help_heading = "Request")]
    idle_timeout: Option<Duration>,

    /// Objectives: 'ttft < 500ms, tpot < 50ms' for goodput, 'p99 ttft < 500ms, mean tpot < 50ms, error_rate < 1%' for
    /// the load as a whole
    #[arg(long, value_name = "SLO", help_heading = "Result")]
    slo: Option<String>,
    /// GPUs to watch: all, or positions and UUIDs between commas [default: those that the engine sees, else all]
    #[arg(long, value_name = "GPUS", help_heading = "Measurement")]
    gpus: Option<String>,
    /// Folder of the run, also as file:///DIR, or an object store as s3://BUCKET/PREFIX; nothing may be there
    /// [default: stopwatt-runs/ID]
    #[arg(long, value_name = "PLACE", value_parser = super::place::parse, help_heading = "Result")]
    out: Option<Place>,
    /// Go on with an interrupted run: its settings, without the points it has finished
    #[arg(long, value_name = "RUN", help_heading = "Result", conflicts_with_all = ["config", "find"])]
    resume: Option<String>,
    /// How to print the result
    #[arg(long, value_enum, default_value_t, help_heading = "Result")]
    format: Format,
    /// Language of the report
    #[arg(long, value_enum, default_value_t, help_heading = "Result")]
    lang: super::Language,
    /// Print the result in another tool's definitions, ours beside them
    #[arg(long, value_enum, value_name = "TOOL", help_heading = "Result")]
    dialect: Option<super::DialectName>,
    /// Drop the stamp of every chunk from the record: quantiles of gaps are then 0.05 % off at most
    #[arg(long, help_heading = "Result")]
    no_chunks: bool,
    /// Exit with 4 when the run is invalid
    #[arg(long, help_heading = "Result")]
    strict: bool,
    /// No progress on stderr
    #[arg(long, short, help_heading = "Result")]
    quiet: bool,

    #[command(flatten)]
    gpu: GpuFlags,
    #[command(flatten)]
    cost: PriceArgs,

    /// Settings file, YAML or TOML by extension
    #[arg(long, short, value_name = "FILE", help_heading = "Settings")]
    config: Option<PathBuf>,
    /// One setting, as `measure.repeats=10` (repeatable)
    #[arg(long = "override", value_name = "KEY=VALUE", help_heading = "Settings")]
    overrides: Vec<String>,
    /// Print every setting with its origin and stop
    #[arg(long, help_heading = "Settings")]
    dry_run: bool,
    /// Measure what the load client itself can do on this machine, keep it for later runs, and stop
    #[arg(long, help_heading = "Settings")]
    calibrate: bool,
    /// Print the JSON schema of the settings and stop
    #[arg(long, help_heading = "Settings")]
    print_schema: bool,
}

/// Runs the command.
pub(crate) fn run(args: &BenchArgs, out: &mut dyn Write) -> anyhow::Result<Outcome> {
    match &args.targets {
        Some(TargetsAlias::ListTargets(args)) => return targets::list(args, out),
        Some(TargetsAlias::Run(args)) => return targets::run_pairs(args, out),
        None => {}
    }
    if args.print_schema {
        writeln!(out, "{}", config::print_schema::<BenchConfig>())?;
        return Ok(Outcome::Done);
    }
    stopwatt_load::share_one_heap();
    if args.calibrate {
        return super::calibrate::run(args.format, args.quiet, out);
    }
    let unfinished = args.resume.as_deref().map(resume::open).transpose()?;
    let resolved = resolve(args, unfinished.as_ref())?;
    let config = &resolved.value;
    let commands = bench::commands(config)?;
    if args.dry_run {
        write!(out, "{}", resolved.dry_run())?;
        for words in &commands {
            let words: Vec<String> = words.iter().map(|w| format!("{w:?}")).collect();
            writeln!(out, "command: {}", words.join(" "))?;
        }
        return Ok(Outcome::Done);
    }
    if !commands.is_empty() && !args.allow_commands {
        resume::refuse_foreign_command(&resolved)?;
    }
    let shown = Shown {
        out: args.out.clone(),
        format: args.format,
        lang: args.lang,
        dialect: args.dialect,
        strict: args.strict,
        quiet: args.quiet,
        gpu: args.gpu.clone(),
    };
    measure(&resolved, config_lock(&resolved)?, unfinished, &shown, out, &mut |_, _| Ok(()))
}

/// Where a benchmark goes, and how its result is shown.
pub(super) struct Shown {
    pub(super) out: Option<Place>,
    pub(super) format: Format,
    pub(super) lang: super::Language,
    pub(super) dialect: Option<super::DialectName>,
    pub(super) strict: bool,
    pub(super) quiet: bool,
    pub(super) gpu: GpuFlags,
}

/// Measures, writes the reports and prints the result. `after` may add to the run before the reports are made of it.
pub(super) fn measure(
    resolved: &Resolved<BenchConfig>,
    config_lock: serde_json::Value,
    unfinished: Option<bench::Unfinished>,
    shown: &Shown,
    out: &mut dyn Write,
    after: &mut dyn FnMut(&Path, &bench::Stop) -> anyhow::Result<()>,
) -> anyhow::Result<Outcome> {
    let (delivery, folder) = Delivery::prepare(shown.out.as_ref())?;
    let (written, signal) = match measure_only(resolved, config_lock, unfinished, shown, folder, after) {
        Ok(measured) => measured,
        Err(error) => return Err(delivery.give_back(error)),
    };
    match shown.dialect {
        Some(dialect) => report::print_dialect(&written, dialect, shown.format, out)?,
        None => report::print(&written, shown.format, shown.lang.into(), out)?,
    }
    delivery.send(&written.path)?;
    if let Some(outcome) = signal {
        return Ok(outcome);
    }
    let doc = &written.analysed.doc;
    Ok(match doc.status {
        RunStatus::Incomplete => Outcome::MeasurementFailed,
        RunStatus::Complete if nothing_measured(doc) => Outcome::MeasurementFailed,
        RunStatus::Complete if shown.strict && !doc.validity.valid => Outcome::MeasurementFailed,
        RunStatus::Complete => Outcome::Done,
    })
}

/// Measures into `folder` and writes the reports; with the outcome of a signal, if there was one.
pub(super) fn measure_only(
    resolved: &Resolved<BenchConfig>,
    config_lock: serde_json::Value,
    unfinished: Option<bench::Unfinished>,
    shown: &Shown,
    folder: Option<PathBuf>,
    after: &mut dyn FnMut(&Path, &bench::Stop) -> anyhow::Result<()>,
) -> anyhow::Result<(report::Written, Option<Outcome>)> {
    let config = &resolved.value;
    super::refuse_missing_gpus(config.measure.gpus.as_deref())?;
    let setup = setup(config, config_lock, folder, unfinished)?;
    let stop = bench::Stop::new();
    let on_signal = stop.clone();
    let signals = Signals::install(move || on_signal.interrupt())?;
    let mut held = shown.gpu.hold(config.measure.gpus.as_deref())?;
    let mut progress = Progress::new(!shown.quiet && std::io::stderr().is_terminal());
    let finished = bench::run(setup, &stop, &mut |event| progress.show(event))?;
    progress.end();
    after(&finished.path, &stop)?;

    held.release_into(&finished.path)?;
    let written = report::write(&finished.path, shown.lang.into())?;
    Ok((written, signals.outcome()))
}

/// What a benchmark needs.
pub(super) fn setup(
    config: &BenchConfig,
    config_lock: serde_json::Value,
    out: Option<PathBuf>,
    resume: Option<bench::Unfinished>,
) -> anyhow::Result<bench::Setup> {
    Ok(bench::Setup {
        config: config.clone(),
        config_lock,
        root: super::runs_root(),
        out,
        api_key: api_key(config)?,
        tokenizer: config.target.tokenizer.as_deref().map(|f| tokenizer::load(Path::new(f))).transpose()?,
        program: std::env::current_exe().context("failed to find this program's own file")?,
        resume,
    })
}

/// What is locked: every setting with its origin, and what analysis needs.
pub(super) fn config_lock(resolved: &Resolved<BenchConfig>) -> anyhow::Result<serde_json::Value> {
    let mut lock = resolved.lock();
    let mut analysis = bench::analysis_settings(&resolved.value)?;
    let cost = &resolved.value.cost;
    analysis.cost = cost_settings(cost.price.as_deref(), cost.prices.as_deref(), cost.utilisation)?;
    if let Some(lock) = lock.as_object_mut() {
        lock.insert(stopwatt_report::ANALYSIS_KEY.to_owned(), serde_json::to_value(analysis)?);
    }
    Ok(lock)
}

/// Whether every request of every point failed.
fn nothing_measured(doc: &stopwatt_core::metrics_doc::MetricsDoc) -> bool {
    doc.points.iter().all(|p| p.errors.values().sum::<u64>() >= p.requests)
}

fn resolve(
    args: &BenchArgs,
    unfinished: Option<&bench::Unfinished>,
) -> anyhow::Result<Resolved<BenchConfig>> {
    let mut layers = Layers::<BenchConfig>::new();
    let locked = unfinished.map(resume::settings).transpose()?;
    for (key, value) in locked.iter().flatten() {
        layers = layers.flag(key, "--resume", Some(value));
    }
    if let Some(file) = &args.config {
        layers = layers.file(file);
    }
    // A list of inputs makes the points of a sweep, anything else is one distribution.
    let inputs: Option<Vec<u32>> = match &args.input {
        Some(text) if text.contains(',') && !text.contains('*') && !text.starts_with('@') => Some(
            text.split(',')
                .map(|n| {
                    n.trim().parse().with_context(|| format!("--input: `{n}` is not a number of tokens"))
                })
                .collect::<anyhow::Result<_>>()
                .map_err(|e| Failure::new(Outcome::Usage, e))?,
        ),
        _ => None,
    };
    let single_input = args.input.clone().filter(|_| inputs.is_none());
    let soak = args.scenario.map(ScenarioKind::from) == Some(ScenarioKind::Soak);
    let seconds = |d: Option<Duration>| d.map(|d| d.as_secs_f64());
    let layers = args.share.lay(args.recorded.lay(layers));
    let layers = layers
        .environment(environment::settings())
        .overrides(&args.overrides)
        .flag("target.url", "--url", args.url.clone())
        .flag("target.model", "--model", args.model.clone())
        .flag("serve.command", "--serve-cmd", args.serve_cmd.clone())
        .flag("serve.sweep", "--sweep", some_if(!args.sweep.is_empty(), args.sweep.clone()))
        .flag("serve.ready_s", "--ready-timeout", seconds(args.ready_timeout))
        .flag("record.keep_engine_log", "--keep-engine-log", args.keep_engine_log.then_some(true))
        .flag("target.endpoint", "--endpoint", args.endpoint.map(EndpointChoice::from))
        .flag("target.api_key_env", "--api-key-env", args.api_key_env.clone())
        .flag("target.headers", "--header", some_if(!args.header.is_empty(), args.header.clone()))
        .flag("target.ca_cert", "--ca-cert", args.ca_cert.clone())
        .flag("target.tokenizer", "--tokenizer", args.tokenizer.clone())
        .flag("engine.weights", "--weights", args.weights.clone())
        .flag("scenario", "--scenario", args.scenario.map(ScenarioKind::from))
        .flag("workload.profile", "--workload", args.workload.clone())
        .flag("workload.input", "--input", single_input)
        .flag("workload.inputs", "--input", inputs)
        .flag("workload.output", "--output", args.output.clone())
        .flag(
            "load.concurrency",
            "--concurrency",
            some_if(!args.concurrency.is_empty(), args.concurrency.clone()),
        )
        .flag("load.rate", "--rate", some_if(!args.rate.is_empty(), args.rate.clone()))
        .flag("load.arrival", "--arrival", args.arrival.map(ArrivalKind::from))
        .flag("load.rate_end", "--rate-end", args.rate_end)
        .flag("load.burstiness", "--burstiness", args.burstiness)
        .flag("measure.requests", "--requests", args.requests)
        .flag("measure.duration_s", "--duration", seconds(args.duration.filter(|_| !soak)))
        .flag("measure.soak_s", "--duration", seconds(args.duration.filter(|_| soak)))
        .flag("measure.warmup", "--warmup", args.warmup)
        .flag("measure.repeats", "--repeats", args.repeats)
        .flag("find.load", "--find", args.find.map(FindKind::from))
        .flag("find.budget_s", "--find-budget", seconds(args.find_budget))
        .flag("seed", "--seed", args.seed)
        .flag("request.ignore_eos", "--ignore-eos", args.ignore_eos.map(Tri::from))
        .flag("request.temperature", "--temperature", args.temperature)
        .flag("request.extra_body", "--extra-body", args.extra_body.clone())
        .flag("measure.gpus", "--gpus", args.gpus.clone())
        .flag("measure.timeout_s", "--timeout", seconds(args.timeout))
        .flag("measure.idle_timeout_s", "--idle-timeout", seconds(args.idle_timeout))
        .flag("slo", "--slo", args.slo.clone())
        .flag("cost.price", "--price", args.cost.price.clone())
        .flag("cost.prices", "--prices", args.cost.prices.clone())
        .flag("cost.utilisation", "--utilisation", args.cost.utilisation)
        .flag("record.chunks", "--no-chunks", args.no_chunks.then_some(false));
    let resolved = layers.resolve()?;
    if let Some(locked) = &locked {
        resume::refuse_other_settings(&resolved, locked)?;
    }
    Ok(resolved)
}

fn some_if<T>(condition: bool, value: T) -> Option<T> {
    condition.then_some(value)
}

pub(super) fn api_key(config: &BenchConfig) -> anyhow::Result<Option<String>> {
    let Some(name) = &config.target.api_key_env else { return Ok(None) };
    match environment::var(name) {
        Some(key) if !key.trim().is_empty() => Ok(Some(key.trim().to_owned())),
        _ => Err(Failure::new(
            Outcome::Configuration,
            anyhow::anyhow!("the environment variable {name} holds no API key"),
        )
        .hint("export it, or leave out --api-key-env for an engine without keys")
        .into()),
    }
}

/// `500ms`, `30s`, `5m`, `1h`; a bare number is seconds. Not zero.
pub(super) fn parse_time(text: &str) -> Result<Duration, String> {
    match parse_time_or_zero(text) {
        Ok(d) if d.is_zero() => Err("a time must be positive".to_owned()),
        other => other,
    }
}

/// Like [`parse_time`], with zero allowed.
pub(super) fn parse_time_or_zero(text: &str) -> Result<Duration, String> {
    let end = text.find(|c: char| c.is_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let scale = match unit {
        "" | "s" => 1.0,
        "us" | "µs" => 1e-6,
        "ms" => 1e-3,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        other => return Err(format!("unknown unit `{other}`; use ms, s, m or h")),
    };
    let value: f64 = number.trim().parse().map_err(|_| format!("`{number}` is not a number"))?;
    Duration::try_from_secs_f64(value * scale).map_err(|_| "a time must not be negative".to_owned())
}

fn parse_object(text: &str) -> Result<serde_json::Value, String> {
    match serde_json::from_str(text) {
        Ok(value @ serde_json::Value::Object(_)) => Ok(value),
        Ok(_) => Err("it must be a JSON object, for instance '{\"top_k\": 1}'".to_owned()),
        Err(error) => Err(format!("it is not JSON: {error}")),
    }
}

macro_rules! mirror {
    ($(#[$m:meta])* $name:ident => $target:ident { $($(#[doc = $doc:literal])+ $variant:ident),+ $(,)? }) => {
        $(#[$m])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
        pub(super) enum $name { $($(#[doc = $doc])+ $variant),+ }
        impl From<$name> for $target {
            fn from(value: $name) -> Self { match value { $($name::$variant => Self::$variant),+ } }
        }
    };
}

mirror! { Endpoint => EndpointChoice {
    /// Completions with token ids where the engine takes them, else chat
    Auto,
    /// /v1/chat/completions
    Chat,
    /// /v1/completions
    Completions,
} }
mirror! { IgnoreEos => Tri {
    /// Where the engine can
    Auto,
    /// Always; an engine that cannot is an error
    Yes,
    /// Never
    No,
} }
mirror! { Arrival => ArrivalKind {
    /// The next request starts when one ends
    Closed,
    /// Equal gaps
    Constant,
    /// Exponential gaps
    Poisson,
    /// Gamma gaps, see --burstiness
    Gamma,
    /// A rate that moves linearly from --rate to --rate-end
    Ramp,
    /// As recorded in --trace (default for a trace with times)
    Trace,
} }
mirror! { FindLoad => FindKind {
    /// The highest request rate, in an open loop
    MaxRate,
    /// The most requests in flight, in a closed loop
    MaxConcurrency,
} }
mirror! { Scenario => ScenarioKind {
    /// One request at a time: latency without queueing
    Single,
    /// A fixed number in flight: throughput and memory (default)
    Batch,
    /// Concurrency × input length
    Sweep,
    /// Rising load up to and beyond capacity
    Stress,
    /// Inputs from 4K tokens to the model's limit
    LongContext,
    /// The same load without and with shared prefixes
    PrefixSharing,
    /// A fixed load for 30 minutes: drift and leaks
    Soak,
    /// The whole procedure: single, batches, input lengths, soak
    Guide,
} }

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_units() {
        assert_eq!(parse_time("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(parse_time("1.5"), Ok(Duration::from_millis(1500)));
        assert_eq!(parse_time("2m"), Ok(Duration::from_secs(120)));
        assert!(parse_time("0s").is_err());
        assert!(parse_time("5 parsecs").is_err());
        assert!(parse_time("-1s").is_err());
    }

    #[test]
    fn extra_body_must_be_an_object() {
        assert!(parse_object("{\"top_k\":1}").is_ok());
        assert!(parse_object("[1]").is_err());
        assert!(parse_object("{").is_err());
    }
}

//! `stopwatt predict`: what vLLM does with a model on a device under a load, without either.

use std::io::Write;

use clap::{Args, ValueEnum};
use stopwatt_core::kernel_table::Dtype;
use stopwatt_predict::corrector::Corrector;
use stopwatt_predict::engine::{Argument, DeploymentArgument, EngineSettings, EngineVersion};
use stopwatt_predict::hardware::Gpu;
use stopwatt_predict::latency::Latency;
use stopwatt_predict::memory::{Bytes, Forecast, Known, MemoryDoc, memory};
use stopwatt_predict::predict::{LatencyDoc, PredictionDoc, Question, StepDoc, predict};
use stopwatt_predict::simulate::{Frontend, Load};
use stopwatt_predict::{Deployment, Precision};
use stopwatt_serving::arrival::ArrivalProcess;
use stopwatt_serving::workload::{Length, Workload};

use super::columns::{bytes, digits, seconds, table};
use super::model_and_gpu::ModelAndGpu;
use super::{Failure, Format};
use crate::exit::Outcome;

const GIB: f64 = (1_u64 << 30) as f64;

/// Predict what vLLM does with a model on a device: TTFT, TPOT, throughput, memory, and the reason for each
///
/// Simulates vLLM's scheduler in virtual time over times of kernels. Without a measured kernel table these rest on the
/// data sheet, and their intervals are wide.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    stopwatt predict --model llama-3.1-8b --gpu h100-sxm --input 1024 --output 128 --concurrency 16\n  \
    stopwatt predict --model qwen3-8b --gpu a100-80gb --input 256:1024 --output 128 --rate 4\n  \
    stopwatt predict --model llama-3.1-70b --gpu h100-sxm --memory")]
pub(crate) struct PredictArgs {
    #[command(flatten)]
    subject: ModelAndGpu,
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

    /// Prompt lengths in tokens: N, LO:HI, or as `bench --input`
    #[arg(long, visible_alias = "isl", value_name = "LENGTH", default_value = "1024", help_heading = "Load")]
    input: Length,
    /// Output lengths in tokens
    #[arg(long, visible_alias = "osl", value_name = "LENGTH", default_value = "128", help_heading = "Load")]
    output: Length,
    /// Clients of a closed loop [default: 1 where no rate is given]
    #[arg(long, value_name = "N", conflicts_with = "rate", help_heading = "Load")]
    concurrency: Option<u32>,
    /// Requests a second, as a Poisson process
    #[arg(long, value_name = "RPS", help_heading = "Load")]
    rate: Option<f64>,
    /// Requests to simulate [default: three for each client, 300 at a rate]
    #[arg(long, value_name = "N", help_heading = "Load")]
    requests: Option<u32>,
    /// Leave out the first requests of a closed loop, which come all at once
    #[arg(long, help_heading = "Load")]
    drop_first_wave: bool,
    /// Seed of lengths and times
    #[arg(long, value_name = "N", default_value_t = 0, help_heading = "Load")]
    seed: u64,

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

    /// How to print the result
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// An engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
enum EngineName {
    /// vLLM, V1 scheduler
    #[default]
    Vllm,
}

fn version(text: &str) -> Result<EngineVersion, String> {
    EngineVersion::parse(text).ok_or_else(|| "write a version such as 0.26".to_owned())
}

fn configuration(error: impl Into<anyhow::Error>) -> Failure {
    Failure::new(Outcome::Configuration, error.into())
}

/// Runs the command.
pub(crate) fn run(args: &PredictArgs, out: &mut dyn Write) -> anyhow::Result<Outcome> {
    let EngineName::Vllm = args.engine;
    let (deployment, gpu) = args.subject.read_for_steps()?;
    let (settings, deployment) = engine(args, deployment, &gpu)?;
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
    let load = match (args.rate, args.concurrency) {
        (Some(rate), _) => Load::Open(ArrivalProcess::poisson(rate).map_err(configuration)?),
        (None, concurrency) => Load::Closed { concurrency: concurrency.unwrap_or(1) },
    };
    let requests = args.requests.unwrap_or(match load {
        Load::Closed { concurrency } => concurrency.saturating_mul(3),
        Load::Open(_) => 300,
    });
    let question = Question {
        deployment,
        latency: Latency::of_datasheet(gpu),
        settings,
        corrector: Corrector::default(),
        known,
        workload: Workload::new(args.input.clone(), args.output.clone()),
        load,
        requests,
        drop_first_wave: args.drop_first_wave,
        seed: args.seed,
        frontend: frontend(args)?,
    };
    let doc = predict(&question)?;
    match args.format {
        Format::Json => writeln!(out, "{}", serde_json::to_string_pretty(&doc)?)?,
        Format::Csv => write!(out, "{}", csv(&doc))?,
        Format::Table => write!(out, "{}", text(&doc))?,
    }
    Ok(Outcome::Done)
}

/// The engine's settings, and the deployment as its arguments change it.
fn engine(
    args: &PredictArgs,
    mut deployment: Deployment,
    gpu: &Gpu,
) -> anyhow::Result<(EngineSettings, Deployment)> {
    let mut settings = EngineSettings::defaults(args.engine_version, &deployment.model, gpu);
    let (mut tp, mut pp) = (deployment.tp, deployment.pp);
    for argument in &args.engine_arg {
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
    Ok((settings, deployment))
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
            Ok(Frontend { before_s: before * 1e-3, per_prompt_token_s: 0.0, after_s: after * 1e-3 })
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

fn range(b: &Bytes) -> String {
    if b.lo == b.hi {
        bytes(b.value)
    } else {
        format!("{} [{}, {}]", bytes(b.value), bytes(b.lo), bytes(b.hi))
    }
}

fn forecast(f: &Forecast) -> String {
    match f {
        Forecast::Fits => "starts".to_owned(),
        Forecast::Tight { missing_bytes } => {
            format!("starts, unless the estimates are {} too low", bytes(*missing_bytes))
        }
        Forecast::NoRoomForCache { missing_bytes, try_instead } => {
            let missing = format!("out of memory: {} are missing", bytes(*missing_bytes));
            if try_instead.is_empty() {
                missing
            } else {
                format!("{missing}; would fit: {}", try_instead.join(", or "))
            }
        }
        Forecast::ContextTooLong { fits_tokens } => {
            format!("does not start: set max_model_len to {fits_tokens} at most")
        }
        Forecast::GraphsMayNotFit { missing_bytes } => {
            format!("may run out of memory while graphs are captured: {} are missing", bytes(*missing_bytes))
        }
    }
}

fn memory_lines(m: &MemoryDoc) -> String {
    let share = format!("{:.0} % of {}", 100.0 * m.gpu_memory_utilization, bytes(m.total_bytes));
    let mut text = format!("  the engine takes  {share}\n");
    text += &format!("  weights           {}\n", range(&m.weights));
    text += &format!("  activations       {}\n", range(&m.activations));
    text += &format!("  outside torch     {}\n", range(&m.outside));
    let graphs = if m.graphs_counted { "" } else { ", not counted by this version" };
    text += &format!("  graphs            {}{graphs}\n", range(&m.graphs));
    let [lo, hi] = m.kv_cache_tokens_range;
    text += &format!(
        "  cache             {}: {} tokens [{lo}, {hi}] of {}\n",
        bytes(m.cache.value.max(0.0)),
        m.kv_cache_tokens,
        bytes(m.token_bytes)
    );
    text += &format!("  forecast          {}\n", forecast(&m.forecast));
    text
}

fn memory_text(deployment: &Deployment, gpu: &Gpu, docs: &[MemoryDoc]) -> String {
    let devices = match deployment.tp * deployment.pp {
        1 => String::new(),
        n => format!("{n} × "),
    };
    let mut text = format!("Memory of {} on {devices}{}, each device\n\n", deployment.model.name, gpu.name);
    let Some(first) = docs.first() else { return text };
    text += &format!("{}\n{}", first.dtype, memory_lines(first));
    let rows: Vec<_> = docs
        .iter()
        .map(|m| {
            [
                m.dtype.clone(),
                bytes(m.weights.value),
                bytes(m.cache.value.max(0.0)),
                m.kv_cache_tokens.to_string(),
                forecast(&m.forecast).split([',', ':', ';']).next().unwrap_or_default().to_owned(),
            ]
        })
        .collect();
    text += &format!(
        "\nBy format of weights\n{}",
        table(["format", "weights", "cache", "tokens", "forecast"], &rows)
    );
    let rows: Vec<_> = docs
        .iter()
        .flat_map(|m| {
            m.concurrency.iter().map(|c| {
                let range = format!("[{:.1}, {:.1}]", c.lo, c.hi);
                [m.dtype.clone(), c.tokens.to_string(), format!("{:.1}", c.sequences), range]
            })
        })
        .collect();
    text + &format!("\nSequences at once\n{}", table(["format", "tokens", "sequences", "range"], &rows))
}

fn memory_csv(docs: &[MemoryDoc]) -> String {
    let mut text =
        "dtype,weights_bytes,activation_bytes,outside_bytes,graph_bytes,cache_bytes,kv_cache_tokens,tokens,sequences\n"
            .to_owned();
    for m in docs {
        for c in &m.concurrency {
            text += &format!(
                "{},{},{},{},{},{},{},{},{}\n",
                m.dtype,
                m.weights.value,
                m.activations.value,
                m.outside.value,
                m.graphs.value,
                m.cache.value,
                m.kv_cache_tokens,
                c.tokens,
                c.sequences
            );
        }
    }
    text
}

/// The latencies that there are, with their names.
fn latencies(doc: &PredictionDoc) -> Vec<(&'static str, &LatencyDoc)> {
    [
        ("ttft", Some(&doc.ttft_s)),
        ("tpot", doc.tpot_s.as_ref()),
        ("itl", doc.itl_s.as_ref()),
        ("e2e", Some(&doc.e2e_s)),
    ]
    .into_iter()
    .filter_map(|(name, l)| l.map(|l| (name, l)))
    .collect()
}

fn csv(doc: &PredictionDoc) -> String {
    let mut text = "metric,unit,mean,p50,p95,p99,lo90,hi90\n".to_owned();
    for (name, l) in latencies(doc) {
        let [lo, hi] = l.interval90;
        text += &format!("{name},s,{},{},{},{},{lo},{hi}\n", l.mean, l.p50, l.p95, l.p99);
    }
    let [lo, hi] = doc.output_tokens_per_s_interval90;
    text += &format!("output_throughput,tokens/s,{},,,,{lo},{hi}\n", doc.output_tokens_per_s);
    text + &format!("kv_cache_tokens,tokens,{},,,,,\n", doc.kv_cache_tokens)
}

fn text(doc: &PredictionDoc) -> String {
    let (engine, load) = (&doc.engine, &doc.load);
    let devices = match engine.tensor_parallel_size * engine.pipeline_parallel_size {
        1 => String::new(),
        n => format!("{n} × "),
    };
    let how = match (load.concurrency, load.rate_rps) {
        (Some(n), _) => format!("{n} clients"),
        (None, Some(rate)) => format!("{} requests/s", digits(rate)),
        (None, None) => String::new(),
    };
    let mut text = format!(
        "{} in {} on {devices}{}, {} {}\n{how}, input {}, output {}, {} requests\n\n",
        doc.model, doc.dtype, doc.gpu, engine.name, engine.version, load.input, load.output, load.counted
    );
    let rows: Vec<_> = latencies(doc)
        .into_iter()
        .map(|(name, l)| {
            let [lo, hi] = l.interval90;
            let interval = format!("[{}, {}]", seconds(lo), seconds(hi));
            [name.to_uppercase(), seconds(l.mean), interval, seconds(l.p50), seconds(l.p95), seconds(l.p99)]
        })
        .collect();
    text += &table(["Predicted", "mean", "90 % interval", "p50", "p95", "p99"], &rows);
    let [lo, hi] = doc.output_tokens_per_s_interval90;
    text += &format!(
        "\n  output tokens/s   {} [{}, {}]\n  requests/s        {}\n  sequences a step  {}\n",
        digits(doc.output_tokens_per_s),
        digits(lo),
        digits(hi),
        digits(doc.requests_per_s),
        digits(doc.mean_batch)
    );
    text += &format!(
        "  cache in use      {:.1} % at most, {} preemptions\n",
        100.0 * doc.kv_cache_peak,
        doc.preemptions
    );

    let parts = doc.ttft_parts;
    text += &format!(
        "\nTTFT is made of\n  queue             {}\n  prefill           {} (alone it would take {})\n  outside the steps {}\n",
        seconds(parts.queue_s),
        seconds(parts.prefill_s),
        seconds(parts.prompt_alone_s),
        seconds(parts.outside_s)
    );
    let decode = &doc.decode_step;
    text +=
        &format!("\nDecode step of {} sequences after {} tokens\n", decode.sequences, decode.context_tokens);
    text += &step_text(decode);
    text += &format!("\nStep of one prompt of {} tokens\n", doc.prefill_step.prompt_tokens);
    text += &step_text(&doc.prefill_step);
    text += &format!("\nMemory of a device\n{}", memory_lines(&doc.memory));
    if !doc.notes.is_empty() {
        text += "\nNotes\n";
        doc.notes.iter().for_each(|note| text += &format!("  - {note}\n"));
    }
    text
}

fn step_text(step: &StepDoc) -> String {
    let [lo, hi] = step.interval90;
    let rows: Vec<_> = step
        .parts
        .iter()
        .map(|p| {
            let name = p.part.map_or("host", |part| part.name()).to_owned();
            let tier = p.tier.map_or("–", |tier| tier.name()).to_owned();
            [name, p.calls.to_string(), seconds(p.time_s), format!("{:.1} %", 100.0 * p.share), tier]
        })
        .collect();
    format!(
        "  {} [{}, {}]\n{}",
        seconds(step.time_s),
        seconds(lo),
        seconds(hi),
        table(["part", "calls", "time", "share", "rests on"], &rows)
    )
}

//! `stopwatt serve`: the built-in engine.

use std::io::{Read as _, Write};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use stopwatt_engine::{
    ExactConfig, Kind, RealConfig, ServeConfig, Shutdown, SimulatedConfig, Token, WeightPrecision, Weights,
};
use stopwatt_experiment::bench::ReadyLine;
use stopwatt_predict::engine::{EngineSettings, EngineVersion};
use stopwatt_predict::memory::Known;
use stopwatt_predict::predict::start;
use stopwatt_predict::step::StepPredictor;
use stopwatt_record::config::environment;
use stopwatt_serving::scheduler::RuleSet;

use super::Failure;
use super::engine_constants::Constants;
use super::kernel_tables::TableFlags;
use super::model_and_gpu::ModelAndGpu;
use super::predict::EngineName;
use crate::exit::Outcome;
use crate::stop::Signals;

/// Serve the built-in OpenAI-compatible engine
///
/// `real` decodes on the CPU with genuine arithmetic: continuous batching, paged KV cache, prefix caching. `exact`
/// answers after scripted times and logs the truth of every flush. `simulated` takes its token times from a model
/// of the step time: with --model and --gpu, of that model on that device. `ocr` takes chats with an image and answers
/// with what the program of --exec prints, or, for tests on made-up documents, with the truth of --echo.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  stopwatt serve
  stopwatt serve --kind real --weights SmolLM2-135M-Instruct.Q4_1.gguf --port 8080
  stopwatt serve --kind exact --ttft 50ms --itl 10ms --truth-log truth.jsonl
  stopwatt serve --kind exact --set faults.stall=0.02 --set shape.crlf=true
  stopwatt serve --kind simulated --model llama-3.1-8b --gpu h100-sxm
  stopwatt serve --kind simulated --model llama-3.1-8b --gpu h100-sxm --engine static --max-num-seqs 8
  stopwatt serve --kind ocr --exec 'tesseract {image} - -l kor+eng --psm 4'
  stopwatt serve --kind ocr --echo data/truth.jsonl")]
pub(crate) struct ServeArgs {
    /// What answers
    #[arg(long, value_enum, default_value_t)]
    kind: KindName,
    /// Address to listen on; one that is not loopback needs --token-env
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1")]
    host: IpAddr,
    /// Port; 0 takes a free one
    #[arg(long, value_name = "PORT", default_value_t = 8000)]
    port: u16,
    /// Model name that requests must give
    #[arg(long, value_name = "NAME")]
    pub(super) model_name: Option<String>,
    /// Environment variable with the token that requests must carry
    #[arg(long, value_name = "VAR")]
    token_env: Option<String>,
    /// End when standard input closes, as it does when the parent process ends
    #[arg(long)]
    exit_with_parent: bool,

    /// Weights: a GGUF file or a folder with safetensors [default: random, small]
    #[arg(long, value_name = "PATH", help_heading = "Real")]
    weights: Option<PathBuf>,
    /// Size of random weights
    #[arg(long, value_name = "SIZE", help_heading = "Real", conflicts_with = "weights")]
    size: Option<String>,
    /// Precision of the weights in memory [default: the file's, f32 for quantised and random ones]
    #[arg(long, value_enum, help_heading = "Real")]
    precision: Option<Precision>,
    /// Threads that compute [default: cores − 1]
    #[arg(long, value_name = "N", help_heading = "Real")]
    threads: Option<usize>,

    /// Model whose step times are predicted, as for `predict` [default: made-up times of no device]
    #[arg(long, value_name = "NAME|FILE", requires = "gpu", help_heading = "Simulated")]
    model: Option<String>,
    /// Device on which they are predicted
    #[arg(long, value_name = "NAME|FILE", requires = "model", help_heading = "Simulated")]
    gpu: Option<String>,
    /// Format of its weights [default: that of the model]
    #[arg(long, value_name = "FORMAT", value_parser = super::model_and_gpu::precision, help_heading = "Simulated")]
    dtype: Option<stopwatt_predict::Precision>,
    /// Devices that share each layer (tensor parallelism)
    #[arg(long, value_name = "N", default_value_t = 1, help_heading = "Simulated")]
    tp: u32,
    #[command(flatten, next_help_heading = "Simulated")]
    tables: TableFlags,

    /// Rules of the scheduler: those of vLLM, or static batches of --max-num-seqs requests that an idle engine forms of who
    /// waits (simulated only)
    #[arg(long, value_enum, default_value_t, help_heading = "Scheduler")]
    engine: EngineName,
    /// Longest input plus output, in tokens
    #[arg(long, value_name = "N", help_heading = "Scheduler")]
    pub(super) max_model_len: Option<u32>,
    /// Sequences computed together; with --kind ocr pages read at once [default there: the cores]
    #[arg(long, value_name = "N", help_heading = "Scheduler")]
    pub(super) max_num_seqs: Option<u32>,
    /// Tokens of one step, prefill and decode together
    #[arg(long, value_name = "N", help_heading = "Scheduler")]
    max_num_batched_tokens: Option<u32>,
    /// Switch the prefix cache off
    #[arg(long, help_heading = "Scheduler")]
    no_prefix_caching: bool,

    /// Program that prints what it reads; {image} stands for the path of the image. No shell is used
    #[arg(long, value_name = "COMMAND", conflicts_with = "echo", help_heading = "OCR")]
    pub(super) exec: Option<String>,
    /// Answer with the truth of made-up documents; the model's name says so
    #[arg(long, value_name = "FILE", help_heading = "OCR")]
    pub(super) echo: Option<PathBuf>,
    /// Longest time of a page
    #[arg(long, value_name = "TIME", value_parser = super::bench::parse_time_or_zero, default_value = "120s", help_heading = "OCR")]
    pub(super) page_timeout: Duration,

    /// Time to the first token; with --kind ocr the least one
    #[arg(long, value_name = "TIME", value_parser = super::bench::parse_time_or_zero, help_heading = "Exact")]
    pub(super) ttft: Option<Duration>,
    /// Time between tokens
    #[arg(long, value_name = "TIME", value_parser = super::bench::parse_time_or_zero, help_heading = "Exact")]
    pub(super) itl: Option<Duration>,
    /// Tokens in one event
    #[arg(long, value_name = "N", help_heading = "Exact")]
    tokens_per_chunk: Option<u32>,
    /// Events in one write
    #[arg(long, value_name = "N", help_heading = "Exact")]
    coalesce: Option<u32>,
    /// Where to write what was sent when, one JSON line a request
    #[arg(long, value_name = "FILE", help_heading = "Exact")]
    truth_log: Option<PathBuf>,
    /// Any setting of the script, as `faults.reset=0.05` or `ttft_jitter.uniform.half_width_s=0.03` (repeatable)
    #[arg(long = "set", value_name = "KEY=VALUE", help_heading = "Exact")]
    settings: Vec<String>,
    /// Seed of weights, jitter, faults and text
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
}

/// A kind of engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
enum KindName {
    /// A Llama-architecture decoder on the CPU
    #[default]
    Real,
    /// Scripted latencies with a log of the truth
    Exact,
    /// Token times from a step-time model
    Simulated,
    /// What a program, or the truth, says of the image of a chat
    Ocr,
}

/// Precision of weights in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Precision {
    /// 32-bit floating point
    F32,
    /// bfloat16
    Bf16,
    /// 16-bit floating point
    F16,
}

impl From<Precision> for WeightPrecision {
    fn from(precision: Precision) -> Self {
        match precision {
            Precision::F32 => Self::F32,
            Precision::Bf16 => Self::Bf16,
            Precision::F16 => Self::F16,
        }
    }
}

/// Runs the command.
pub(crate) fn run(args: &ServeArgs, out: &mut dyn Write) -> anyhow::Result<Outcome> {
    let mut config = ServeConfig::new(kind(args)?);
    config.listen = SocketAddr::new(args.host, args.port);
    if args.kind == KindName::Ocr {
        config.model_name = super::serve_ocr::model_name(args);
    } else if let Some(name) = &args.model_name {
        config.model_name.clone_from(name);
    }
    config.token = match &args.token_env {
        None => None,
        Some(name) => {
            Some(Token::new(environment::var(name).filter(|v| !v.is_empty()).ok_or_else(|| {
                Failure::new(
                    Outcome::Configuration,
                    anyhow::anyhow!("the environment variable {name} holds no token"),
                )
            })?))
        }
    };
    let shutdown = Shutdown::new();
    let on_signal = shutdown.clone();
    let signals = Signals::install(move || on_signal.trigger())?;
    if args.exit_with_parent {
        let on_end = shutdown.clone();
        std::thread::Builder::new()
            .name("parent".to_owned())
            .spawn(move || {
                // Nothing is ever written there; the read ends when the other side does.
                let mut buffer = [0; 64];
                while std::io::stdin().read(&mut buffer).is_ok_and(|n| n > 0) {}
                on_end.trigger();
            })
            .context("failed to start a thread")?;
    }
    let machine_readable = args.exit_with_parent;
    let mut announced = Ok(());
    stopwatt_engine::serve(
        config,
        |listening| {
            let url = format!("http://{}", listening.addr);
            announced = if machine_readable {
                let ready =
                    ReadyLine { url, model: listening.model_name.clone(), facts: listening.facts.clone() };
                serde_json::to_string(&ready)
                    .map_err(std::io::Error::from)
                    .and_then(|line| writeln!(out, "{line}"))
            } else {
                writeln!(out, "serving {} at {url}", listening.model_name)
            }
            .and_then(|()| out.flush());
        },
        shutdown,
    )?;
    announced.context("failed to announce the address")?;
    // Ctrl-C is how a server is ended; it did what it was asked.
    let _ = signals.outcome();
    Ok(Outcome::Done)
}

fn kind(args: &ServeArgs) -> anyhow::Result<Kind> {
    if args.engine == EngineName::Static && args.kind != KindName::Simulated {
        let problem = anyhow::anyhow!("static batches are simulated; --kind real, exact and ocr have none");
        return Err(Failure::new(Outcome::Configuration, problem).hint("add --kind simulated").into());
    }
    Ok(match args.kind {
        KindName::Real => {
            let mut config = RealConfig {
                max_model_len: args.max_model_len,
                threads: args.threads,
                seed: args.seed,
                precision: args.precision.map(WeightPrecision::from),
                ..RealConfig::default()
            };
            config.weights = match (&args.weights, &args.size) {
                (Some(path), _) if path.is_dir() => Weights::Safetensors(path.clone()),
                (Some(path), _) => Weights::Gguf(path.clone()),
                (None, size) => Weights::Random {
                    size: size.clone().unwrap_or_else(|| "small".to_owned()),
                    seed: args.seed,
                },
            };
            scheduler(args, &mut config.scheduler);
            Kind::Real(config)
        }
        KindName::Exact => Kind::Exact(exact(args)?),
        KindName::Simulated => {
            let mut config = SimulatedConfig { seed: args.seed, ..SimulatedConfig::default() };
            if let Some(tokens) = args.max_model_len {
                config.max_model_len = tokens;
            }
            if let (Some(model), Some(gpu)) = (&args.model, &args.gpu) {
                return simulated_device(args, model, gpu, config);
            }
            scheduler(args, &mut config.scheduler);
            Kind::Simulated(config)
        }
        KindName::Ocr => super::serve_ocr::kind(args)?,
    })
}

/// A device that is not there: vLLM's limits and the predicted times of its steps.
fn simulated_device(
    args: &ServeArgs,
    model: &str,
    gpu: &str,
    mut config: SimulatedConfig,
) -> anyhow::Result<Kind> {
    let subject =
        ModelAndGpu { model: model.to_owned(), gpu: gpu.to_owned(), dtype: args.dtype, tp: args.tp };
    let (deployment, gpu) = subject.read_for_steps()?;
    let mut settings = EngineSettings::defaults(EngineVersion::NEWEST, &deployment.model, &gpu);
    if args.engine == EngineName::Static {
        settings = settings.with_static_batches();
    }
    settings.max_model_len = args.max_model_len.unwrap_or(settings.max_model_len);
    settings.max_num_seqs = args.max_num_seqs.unwrap_or(settings.max_num_seqs);
    settings.max_num_batched_tokens = args.max_num_batched_tokens.unwrap_or(settings.max_num_batched_tokens);
    let memory = start(&deployment, &gpu, &settings, &Known::default(), settings.max_model_len)?;
    config.max_model_len = settings.max_model_len;
    config.scheduler = stopwatt_engine::SchedulerConfig {
        max_num_seqs: settings.max_num_seqs,
        max_num_batched_tokens: settings.max_num_batched_tokens,
        block_size: settings.block_size,
        kv_cache_tokens: Some(memory.kv_cache_tokens.try_into().unwrap_or(u32::MAX)),
        enable_prefix_caching: settings.enable_prefix_caching && !args.no_prefix_caching,
        rules: settings.rules,
    };
    let (latency, _) = args.tables.latency(&subject.gpu, gpu)?;
    let corrector = Constants::read(None)?.corrector;
    let steps = StepPredictor::new(deployment, latency, &settings, corrector)
        .map_err(|e| Failure::new(Outcome::Configuration, e.into()))?;
    Ok(Kind::SimulatedBy(config, Box::new(steps)))
}

fn scheduler(args: &ServeArgs, config: &mut stopwatt_engine::SchedulerConfig) {
    config.max_num_seqs = args.max_num_seqs.unwrap_or(config.max_num_seqs);
    config.max_num_batched_tokens = args.max_num_batched_tokens.unwrap_or(config.max_num_batched_tokens);
    config.enable_prefix_caching = !args.no_prefix_caching;
    if args.engine == EngineName::Static {
        (config.rules, config.enable_prefix_caching) = (RuleSet::Static, false);
    }
}

/// The script: defaults, then flags, then `--set`.
fn exact(args: &ServeArgs) -> anyhow::Result<ExactConfig> {
    let mut config =
        ExactConfig { seed: args.seed, truth_log: args.truth_log.clone(), ..ExactConfig::default() };
    config.ttft_s = args.ttft.map_or(config.ttft_s, |d| d.as_secs_f64());
    config.itl_s = args.itl.map_or(config.itl_s, |d| d.as_secs_f64());
    config.tokens_per_chunk = args.tokens_per_chunk.unwrap_or(config.tokens_per_chunk);
    config.events_per_write = args.coalesce.unwrap_or(config.events_per_write);
    config.max_model_len = args.max_model_len.unwrap_or(config.max_model_len);
    let mut tree = serde_json::to_value(&config)?;
    for setting in &args.settings {
        let (key, value) = setting.split_once('=').ok_or_else(|| {
            Failure::new(Outcome::Usage, anyhow::anyhow!("--set {setting}: write KEY=VALUE"))
        })?;
        put(&mut tree, key, value);
    }
    serde_json::from_value(tree)
        .map_err(|e| Failure::new(Outcome::Configuration, anyhow::anyhow!("--set: {e}")).into())
}

/// Puts a value at a dotted key. A name on the way that holds no object becomes one, so that an enumeration with
/// values (`itl_jitter.normal.std_s`) can be chosen; unknown keys are refused when the tree is read.
fn put(tree: &mut serde_json::Value, key: &str, value: &str) {
    let value = serde_json::from_str(value).unwrap_or_else(|_| serde_json::Value::String(value.to_owned()));
    let mut place = tree;
    for part in key.split('.') {
        if !place.is_object() {
            *place = serde_json::json!({});
        }
        place = &mut place[part];
    }
    *place = value;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dotted_keys_reach_into_the_tree() {
        let mut tree = serde_json::json!({"faults": {"reset": 0.0}, "itl_jitter": "none"});
        put(&mut tree, "faults.reset", "0.5");
        put(&mut tree, "itl_jitter.normal.std_s", "0.002");
        put(&mut tree, "shape.text", "korean");
        assert_eq!(
            tree,
            serde_json::json!({"faults": {"reset": 0.5}, "itl_jitter": {"normal": {"std_s": 0.002}}, "shape": {"text": "korean"}})
        );
    }
}

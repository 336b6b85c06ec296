//! What a server is asked to be. Plain values with documented defaults; names follow vLLM where it has them.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use stopwatt_serving::scheduler;
use stopwatt_serving::step::{LinearStepModel, StepModel};
use stopwatt_wire::access::Token;

use crate::exact::config::ExactConfig;
use crate::page_reader::PageReader;

/// Everything [`serve`](crate::serve()) needs to know.
#[derive(Debug)]
pub struct ServeConfig {
    /// Where to listen; port 0 takes a free one. An address that is not loopback needs a `token`.
    pub listen: SocketAddr,
    /// The name that requests must give as `model`.
    pub model_name: String,
    /// What answers.
    pub kind: Kind,
    /// Connections held at once; further ones wait in the backlog of the kernel.
    pub max_connections: usize,
    /// Largest request body; a longer one is answered with 413.
    pub max_body_bytes: usize,
    /// When set, every request except `/health` must carry `Authorization: Bearer TOKEN`.
    pub token: Option<Token>,
    /// How long streams may go on after a shutdown was asked for.
    pub drain: Duration,
}

impl ServeConfig {
    /// A server on a free loopback port with the default limits.
    pub fn new(kind: Kind) -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            model_name: kind.default_model_name().to_owned(),
            kind,
            max_connections: 8192,
            max_body_bytes: 32 << 20,
            token: None,
            drain: Duration::from_secs(5),
        }
    }
}

/// What answers the requests.
pub enum Kind {
    /// A decoder on the CPU.
    Real(RealConfig),
    /// Scripted latencies with a log of the truth.
    Exact(ExactConfig),
    /// Token times from the linear step-time model of the configuration.
    Simulated(SimulatedConfig),
    /// Token times from this step-time model; that of the configuration is not used.
    SimulatedBy(SimulatedConfig, Box<dyn StepModel>),
    /// What this reader reads from the image of a chat.
    Ocr(OcrConfig, Arc<dyn PageReader>),
}

impl std::fmt::Debug for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let config: &dyn std::fmt::Debug = match self {
            Self::Real(config) => config,
            Self::Exact(config) => config,
            Self::Simulated(config) | Self::SimulatedBy(config, _) => config,
            Self::Ocr(config, _) => config,
        };
        f.debug_tuple(self.name()).field(config).finish()
    }
}

impl Kind {
    /// The name of the kind, as the command line spells it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Real(_) => "real",
            Self::Exact(_) => "exact",
            Self::Simulated(_) | Self::SimulatedBy(..) => "simulated",
            Self::Ocr(..) => "ocr",
        }
    }

    /// The model name that is served when none is given.
    pub fn default_model_name(&self) -> &'static str {
        match self {
            Self::Real(_) => "stopwatt-real",
            Self::Exact(_) => "stopwatt-exact",
            Self::Simulated(_) | Self::SimulatedBy(..) => "stopwatt-simulated",
            Self::Ocr(..) => "stopwatt-ocr",
        }
    }
}

/// Where the weights of the real kind come from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Weights {
    /// Drawn from a seed, in one of the built-in sizes, with a byte tokenizer.
    Random {
        /// Name of the size.
        size: String,
        /// Seed of the weights.
        seed: u64,
    },
    /// A GGUF file.
    Gguf(PathBuf),
    /// A folder with `config.json`, `*.safetensors` and `tokenizer.json`.
    Safetensors(PathBuf),
}

/// How the real kind keeps its weights in memory; it computes in `f32` in every case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WeightPrecision {
    /// IEEE 754 binary32.
    F32,
    /// The upper half of binary32.
    Bf16,
    /// IEEE 754 binary16.
    F16,
}

/// Settings of the real kind.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RealConfig {
    /// Where the weights come from.
    pub weights: Weights,
    /// Precision of the weights in memory; `None` keeps that of the file, `f32` for quantised and random ones.
    pub precision: Option<WeightPrecision>,
    /// Longest prompt and output together; `None` takes the model's own limit, or what the KV cache holds.
    pub max_model_len: Option<u32>,
    /// Threads that compute; `None` takes the CPUs this process may use, less one, at least one.
    pub threads: Option<usize>,
    /// Output tokens of a chat that sets no limit. A random model never ends by itself.
    pub default_output: u32,
    /// Seed of requests that give none and sample.
    pub seed: u64,
    /// The scheduler.
    pub scheduler: SchedulerConfig,
}

impl Default for RealConfig {
    fn default() -> Self {
        Self {
            weights: Weights::Random { size: "small".to_owned(), seed: 0 },
            precision: None,
            max_model_len: None,
            threads: None,
            default_output: 512,
            seed: 0,
            scheduler: SchedulerConfig::default(),
        }
    }
}

/// Settings of the simulated kind.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SimulatedConfig {
    /// How long a step takes; the default is of no device.
    pub step: LinearStepModel,
    /// Longest prompt and output together.
    pub max_model_len: u32,
    /// Output tokens of a chat that sets no limit.
    pub default_output: u32,
    /// Seed of the generated text.
    pub seed: u64,
    /// The scheduler.
    pub scheduler: SchedulerConfig,
}

impl Default for SimulatedConfig {
    fn default() -> Self {
        Self {
            step: LinearStepModel::illustrative_example(),
            max_model_len: 32_768,
            default_output: 128,
            seed: 0,
            scheduler: SchedulerConfig {
                max_num_seqs: 256,
                max_num_batched_tokens: 2048,
                ..SchedulerConfig::default()
            },
        }
    }
}

/// Settings of the kind that reads pages.
#[derive(Debug, Clone, PartialEq)]
pub struct OcrConfig {
    /// Pages read at once.
    pub max_num_seqs: usize,
    /// Requests that may wait for a reader; further ones are answered with 503.
    pub max_waiting: usize,
    /// Longest prompt, image included, and output together, in tokens.
    pub max_model_len: u32,
    /// Least time from the last byte of a request to its first token.
    pub ttft: Duration,
    /// Time between tokens.
    pub itl: Duration,
}

impl Default for OcrConfig {
    fn default() -> Self {
        Self {
            max_num_seqs: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            max_waiting: 1024,
            max_model_len: 131_072,
            ttft: Duration::ZERO,
            itl: Duration::ZERO,
        }
    }
}

/// Settings of the scheduler, with vLLM's names.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SchedulerConfig {
    /// Sequences computed together.
    pub max_num_seqs: u32,
    /// Tokens of one step, prefill and decode together.
    pub max_num_batched_tokens: u32,
    /// Tokens of one KV block.
    pub block_size: u32,
    /// Tokens the KV cache holds; `None` is what 512 MiB hold (real), or 524288 (simulated), and one sequence of
    /// `max_model_len` at least.
    pub kv_cache_tokens: Option<u32>,
    /// Whether prompts that begin alike share KV blocks.
    pub enable_prefix_caching: bool,
    /// By which rules requests are scheduled.
    pub rules: scheduler::RuleSet,
}

impl SchedulerConfig {
    /// The settings of `serving`, with a cache of `kv_tokens` tokens.
    pub(crate) fn rules(&self, kv_tokens: u32, max_model_len: u32) -> scheduler::SchedulerConfig {
        scheduler::SchedulerConfig {
            rules: self.rules,
            block_size: self.block_size,
            max_num_batched_tokens: self.max_num_batched_tokens,
            max_num_seqs: self.max_num_seqs,
            enable_prefix_caching: self.enable_prefix_caching,
            ..scheduler::SchedulerConfig::new(kv_tokens.div_ceil(self.block_size.max(1)), max_model_len)
        }
    }
}

impl Default for SchedulerConfig {
    fn default() -> Self {
        Self {
            max_num_seqs: 64,
            max_num_batched_tokens: 256,
            block_size: 16,
            kv_cache_tokens: None,
            enable_prefix_caching: true,
            rules: scheduler::RuleSet::default(),
        }
    }
}

//! What vLLM does where nobody says otherwise, by its version.
//!
//! Sources: `vllm/engine/arg_utils.py` (`get_batch_defaults`), `vllm/config` and the start-up log, as read for the
//! versions that [`EngineVersion`] covers; rules change, so each stands with the version that brought it.

use stopwatt_core::kernel_table::Dtype;
use stopwatt_serving::scheduler::{RuleSet, SchedulerConfig};

use crate::grid::capture_sizes;
use crate::hardware::Gpu;
use crate::model::ModelSpec;

const GIB: f64 = (1_u64 << 30) as f64;

/// A version of vLLM, as far as its rules differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct EngineVersion(u32);

impl EngineVersion {
    /// The version that the defaults here were last read from.
    pub const NEWEST: Self = Self(26);
    const OLDEST: Self = Self(10);

    /// `0.26`, `0.26.0` or `v0.26`; `None` where this is no version of the 0.x line.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.strip_prefix('v').unwrap_or(text);
        let mut parts = text.split('.');
        let (major, minor) = (parts.next()?, parts.next()?);
        (major == "0").then(|| minor.parse().ok().map(Self)).flatten()
    }

    /// Whether the rules here were read for it.
    #[must_use]
    pub fn is_covered(self) -> bool {
        (Self::OLDEST..=Self::NEWEST).contains(&self)
    }

    /// Share of the memory that the engine takes.
    #[must_use]
    pub fn gpu_memory_utilization(self) -> f64 {
        if self.0 >= 22 { 0.92 } else { 0.90 }
    }

    /// Whether captured graphs are estimated before the cache is sized. Logs of 0.26 show that it is not done there.
    #[must_use]
    pub fn counts_graphs(self) -> bool {
        (21..26).contains(&self.0)
    }

    /// Whether the trial run of the sampler sorts all logits, so that it may be what takes most memory.
    #[must_use]
    pub fn sorts_in_trial(self) -> bool {
        self.0 < 26
    }
}

impl std::fmt::Display for EngineVersion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "0.{}", self.0)
    }
}

/// Settings of an engine, in its own words.
#[derive(Debug, Clone, PartialEq)]
pub struct EngineSettings {
    /// Whose defaults.
    pub version: EngineVersion,
    /// By which rules requests are scheduled.
    pub rules: RuleSet,
    /// Seconds that an idle engine with static batching waits for a batch to fill; others do not wait.
    pub batch_wait_s: f64,
    /// Whether `max_num_batched_tokens` was asked for by name.
    pub step_asked: bool,
    /// Share of the memory that it takes.
    pub gpu_memory_utilization: f64,
    /// Tokens of a cache block.
    pub block_size: u32,
    /// Most tokens of a sequence.
    pub max_model_len: u32,
    /// Most running requests.
    pub max_num_seqs: u32,
    /// Most tokens of a step.
    pub max_num_batched_tokens: u32,
    /// Most tokens of one request in a step; 0 is no limit.
    pub long_prefill_token_threshold: u32,
    /// Prompts may be computed in pieces.
    pub enable_chunked_prefill: bool,
    /// Blocks are kept for prompts that begin alike.
    pub enable_prefix_caching: bool,
    /// No graphs are captured.
    pub enforce_eager: bool,
    /// Largest captured size; `None` is the engine's own choice.
    pub max_cudagraph_capture_size: Option<u32>,
    /// The next step is scheduled while one computes.
    pub async_scheduling: bool,
    /// Cache blocks, where they are stated and not computed.
    pub num_gpu_blocks_override: Option<u32>,
    /// Bytes of the cache, where they are stated and not computed.
    pub kv_cache_memory_bytes: Option<f64>,
}

/// What an argument of the engine meant.
#[derive(Debug, Clone, PartialEq)]
pub enum Argument {
    /// It changed a setting.
    Set,
    /// It belongs to the deployment: precision or devices.
    Deployment(DeploymentArgument),
    /// It is known and changes nothing that is predicted.
    NoEffect,
}

/// An argument that is not about the scheduler.
#[derive(Debug, Clone, PartialEq)]
pub enum DeploymentArgument {
    /// `tensor_parallel_size`.
    TensorParallel(u32),
    /// `pipeline_parallel_size`.
    PipelineParallel(u32),
    /// `quantization` or `dtype`: a name for [`crate::Precision::parse`].
    Precision(String),
    /// `kv_cache_dtype`; `None` is that of the model.
    KvCache(Option<Dtype>),
}

/// Why an argument is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ArgumentError {
    /// Not an argument of the engine.
    #[error("`{name}` is not an argument of vLLM that is known here")]
    Unknown {
        /// Its name.
        name: String,
    },
    /// A value that it cannot have.
    #[error("`{name}` is `{value}`, expected {expected}")]
    Value {
        /// Its name.
        name: String,
        /// Its value.
        value: String,
        /// What it should be.
        expected: &'static str,
    },
}

/// Requests of a static batch where nobody says how many.
pub const STATIC_BATCH: u32 = 8;

/// Arguments of vLLM that have no meaning under static batching.
const NOT_STATIC: [&str; 4] =
    ["enable_chunked_prefill", "enable_prefix_caching", "long_prefill_token_threshold", "async_scheduling"];

/// Arguments that change nothing that is predicted.
const NO_EFFECT: [&str; 40] = [
    "host",
    "port",
    "seed",
    "served_model_name",
    "trust_remote_code",
    "download_dir",
    "load_format",
    "tokenizer",
    "tokenizer_mode",
    "tokenizer_revision",
    "revision",
    "code_revision",
    "api_key",
    "ssl_keyfile",
    "ssl_certfile",
    "root_path",
    "uvicorn_log_level",
    "disable_log_requests",
    "disable_log_stats",
    "enable_log_requests",
    "disable_uvicorn_access_log",
    "chat_template",
    "response_role",
    "allowed_origins",
    "allowed_methods",
    "allowed_headers",
    "max_logprobs",
    "model_impl",
    "generation_config",
    "override_generation_config",
    "tool_call_parser",
    "enable_auto_tool_choice",
    "reasoning_parser",
    "guided_decoding_backend",
    "otlp_traces_endpoint",
    "config_format",
    "hf_token",
    "hf_overrides",
    "distributed_executor_backend",
    "swap_space",
];

impl EngineSettings {
    /// The engine's own choices for its server on this device.
    #[must_use]
    pub fn defaults(version: EngineVersion, model: &ModelSpec, gpu: &Gpu) -> Self {
        // Large memories get larger steps; the A100 is left out by its name, since they made it slower.
        let large = gpu.usable_bytes >= 70.0 * GIB && !gpu.name.to_ascii_lowercase().contains("a100");
        Self {
            version,
            rules: RuleSet::VllmV1,
            batch_wait_s: 0.0,
            step_asked: false,
            gpu_memory_utilization: version.gpu_memory_utilization(),
            block_size: 16,
            max_model_len: model.max_position,
            max_num_seqs: if large { 1024 } else { 256 },
            max_num_batched_tokens: if large { 8192 } else { 2048 },
            long_prefill_token_threshold: 0,
            enable_chunked_prefill: true,
            enable_prefix_caching: true,
            enforce_eager: false,
            max_cudagraph_capture_size: None,
            async_scheduling: version.0 >= 14,
            num_gpu_blocks_override: None,
            kv_cache_memory_bytes: None,
        }
    }

    /// The same engine with static batching: batches of [`STATIC_BATCH`] requests at most that are formed at once, no
    /// prefix cache, no prompts in pieces.
    #[must_use]
    pub fn with_static_batches(self) -> Self {
        Self {
            rules: RuleSet::Static,
            max_num_seqs: STATIC_BATCH,
            enable_chunked_prefill: false,
            enable_prefix_caching: false,
            async_scheduling: false,
            ..self
        }
    }

    /// Makes steps of static batches large enough for a full one of prompts of so many tokens, unless their size was
    /// asked for. Other rules are left alone.
    pub fn hold_batches_of(&mut self, longest_prompt: u32) {
        if self.rules == RuleSet::Static && !self.step_asked {
            let longest = longest_prompt.clamp(1, self.max_model_len);
            self.max_num_batched_tokens = self.max_num_seqs.saturating_mul(longest);
        }
    }

    /// Sizes at which graphs are captured, in rising order; none where they are switched off.
    #[must_use]
    pub fn capture_sizes(&self) -> Vec<u32> {
        let own = self.max_num_seqs.saturating_mul(2).min(512);
        let most = self.max_cudagraph_capture_size.unwrap_or(own).min(self.max_num_batched_tokens);
        if self.enforce_eager { Vec::new() } else { capture_sizes(most) }
    }

    /// Rows that a step of so many tokens computes: the next captured size, or its own beyond the last.
    #[must_use]
    pub fn padded(sizes: &[u32], tokens: u32) -> u32 {
        sizes.get(sizes.partition_point(|&size| size < tokens)).copied().unwrap_or(tokens)
    }

    /// The scheduler's settings with so many blocks, of which vLLM keeps one as a placeholder.
    #[must_use]
    pub fn scheduler(&self, blocks: u32) -> SchedulerConfig {
        SchedulerConfig {
            rules: self.rules,
            block_size: self.block_size,
            max_num_batched_tokens: self.max_num_batched_tokens,
            max_num_seqs: self.max_num_seqs,
            long_prefill_token_threshold: self.long_prefill_token_threshold,
            enable_chunked_prefill: self.enable_chunked_prefill,
            enable_prefix_caching: self.enable_prefix_caching,
            ..SchedulerConfig::new(blocks.saturating_sub(1), self.max_model_len)
        }
    }

    /// Takes an argument by vLLM's own name, with `-` or `_`; with static batching also `max_batch_size` and
    /// `max_queue_delay_microseconds`, which are NVIDIA Triton's.
    pub fn set(&mut self, name: &str, value: &str) -> Result<Argument, ArgumentError> {
        let name = name.trim_start_matches('-').replace('-', "_");
        let wrong = |expected| {
            Err(ArgumentError::Value {
                name: name.clone(),
                value: value.chars().take(60).collect(),
                expected,
            })
        };
        let count = || value.parse::<u32>().ok().filter(|n| (1..=1 << 26).contains(n));
        let flag = || match value {
            "true" | "True" | "1" | "" => Some(true),
            "false" | "False" | "0" => Some(false),
            _ => None,
        };
        let (number, yes_or_no) = ("a number from 1 to 2^26", "true or false");
        if self.rules == RuleSet::Static {
            match name.as_str() {
                "max_batch_size" => {
                    let Some(n) = count() else { return wrong(number) };
                    self.max_num_seqs = n;
                    return Ok(Argument::Set);
                }
                "max_queue_delay_microseconds" => match value.parse::<u32>() {
                    Ok(us) => {
                        self.batch_wait_s = f64::from(us) * 1e-6;
                        return Ok(Argument::Set);
                    }
                    Err(_) => return wrong("whole microseconds"),
                },
                name if NOT_STATIC.contains(&name) => return Ok(Argument::NoEffect),
                _ => {}
            }
        }
        match name.as_str() {
            "gpu_memory_utilization" => match value.parse::<f64>() {
                Ok(share) if share > 0.0 && share <= 1.0 => self.gpu_memory_utilization = share,
                _ => return wrong("a share above 0 and up to 1"),
            },
            "kv_cache_memory_bytes" => match value.parse::<f64>() {
                Ok(bytes) if bytes.is_finite() && bytes > 0.0 => self.kv_cache_memory_bytes = Some(bytes),
                _ => return wrong("bytes above 0"),
            },
            "long_prefill_token_threshold" => match value.parse::<u32>() {
                Ok(tokens) => self.long_prefill_token_threshold = tokens,
                Err(_) => return wrong("a number of tokens"),
            },
            "block_size"
            | "max_model_len"
            | "max_num_seqs"
            | "max_num_batched_tokens"
            | "max_cudagraph_capture_size"
            | "num_gpu_blocks_override"
            | "tensor_parallel_size"
            | "pipeline_parallel_size" => {
                let Some(n) = count() else { return wrong(number) };
                match name.as_str() {
                    "block_size" => self.block_size = n,
                    "max_model_len" => self.max_model_len = n,
                    "max_num_seqs" => self.max_num_seqs = n,
                    "max_num_batched_tokens" => {
                        (self.max_num_batched_tokens, self.step_asked) = (n, true);
                    }
                    "max_cudagraph_capture_size" => self.max_cudagraph_capture_size = Some(n),
                    "num_gpu_blocks_override" => self.num_gpu_blocks_override = Some(n),
                    "tensor_parallel_size" => {
                        return Ok(Argument::Deployment(DeploymentArgument::TensorParallel(n)));
                    }
                    _ => return Ok(Argument::Deployment(DeploymentArgument::PipelineParallel(n))),
                }
            }
            "enable_chunked_prefill" | "enable_prefix_caching" | "enforce_eager" | "async_scheduling" => {
                let Some(on) = flag() else { return wrong(yes_or_no) };
                match name.as_str() {
                    "enable_chunked_prefill" => self.enable_chunked_prefill = on,
                    "enable_prefix_caching" => self.enable_prefix_caching = on,
                    "enforce_eager" => self.enforce_eager = on,
                    _ => self.async_scheduling = on,
                }
            }
            "quantization" | "dtype" => {
                if value == "auto" {
                    return Ok(Argument::NoEffect);
                }
                let Some(_) = crate::Precision::parse(value) else {
                    return wrong("a format: bf16, fp16, fp8, int8, int8-weights, int4, awq, gptq");
                };
                return Ok(Argument::Deployment(DeploymentArgument::Precision(value.to_owned())));
            }
            "kv_cache_dtype" => {
                let dtype = match value {
                    "auto" => None,
                    "fp8" | "fp8_e4m3" | "fp8_e5m2" => Some(Dtype::F8E4m3),
                    "bfloat16" => Some(Dtype::Bf16),
                    "float16" => Some(Dtype::F16),
                    _ => return wrong("auto, fp8, bfloat16 or float16"),
                };
                return Ok(Argument::Deployment(DeploymentArgument::KvCache(dtype)));
            }
            other if NO_EFFECT.contains(&other) => return Ok(Argument::NoEffect),
            _ => return Err(ArgumentError::Unknown { name }),
        }
        Ok(Argument::Set)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hardware::preset;
    use crate::model::builtin;

    fn defaults(gpu: &str, version: &str) -> EngineSettings {
        let version = EngineVersion::parse(version).unwrap();
        EngineSettings::defaults(version, &builtin("llama-3.1-8b").unwrap(), preset(gpu).unwrap())
    }

    #[test]
    fn large_devices_get_large_steps_but_not_the_a100() {
        let limits = |gpu: &str| {
            let s = defaults(gpu, "0.26");
            (s.max_num_batched_tokens, s.max_num_seqs)
        };
        assert_eq!(
            (limits("h100"), limits("h200"), limits("mi300x")),
            ((8192, 1024), (8192, 1024), (8192, 1024))
        );
        assert_eq!(
            (limits("a100-80gb"), limits("l40s"), limits("rtx-4090")),
            ((2048, 256), (2048, 256), (2048, 256))
        );
    }

    #[test]
    fn the_share_of_memory_depends_on_the_version() {
        assert_eq!(defaults("h100", "v0.26.0").gpu_memory_utilization, 0.92);
        assert_eq!(defaults("h100", "0.19").gpu_memory_utilization, 0.90);
        assert!(EngineVersion::parse("1.0").is_none() && !EngineVersion::parse("0.40").unwrap().is_covered());
    }

    #[test]
    fn steps_are_padded_to_captured_sizes() {
        let mut settings = defaults("h100", "0.26");
        let sizes = settings.capture_sizes();
        assert_eq!(
            (sizes.len(), EngineSettings::padded(&sizes, 3), EngineSettings::padded(&sizes, 257)),
            (51, 4, 272)
        );
        assert_eq!(EngineSettings::padded(&sizes, 513), 513);
        settings.max_num_seqs = 16;
        assert_eq!(settings.capture_sizes().last(), Some(&32));
        settings.enforce_eager = true;
        assert_eq!(EngineSettings::padded(&settings.capture_sizes(), 3), 3);
    }

    #[test]
    fn arguments_are_taken_refused_or_told_to_do_nothing() {
        let mut s = defaults("h100", "0.26");
        assert_eq!(s.set("--max-num-seqs", "64"), Ok(Argument::Set));
        assert_eq!(s.set("gpu_memory_utilization", "0.85"), Ok(Argument::Set));
        assert_eq!((s.max_num_seqs, s.gpu_memory_utilization), (64, 0.85));
        assert_eq!(s.set("port", "8000"), Ok(Argument::NoEffect));
        assert!(matches!(s.set("max_num_seqs", "0"), Err(ArgumentError::Value { .. })));
        assert!(matches!(s.set("warp_drive", "9"), Err(ArgumentError::Unknown { .. })));
        assert_eq!(
            s.set("tensor_parallel_size", "2"),
            Ok(Argument::Deployment(DeploymentArgument::TensorParallel(2)))
        );
        assert_eq!(s.scheduler(1000).kv_blocks, 999);
    }

    #[test]
    fn static_batches_have_their_own_words() {
        let mut s = defaults("h100", "0.26").with_static_batches();
        assert_eq!((s.max_num_seqs, s.batch_wait_s), (STATIC_BATCH, 0.0));
        assert_eq!(s.set("max_batch_size", "16"), Ok(Argument::Set));
        assert_eq!(s.set("max_queue_delay_microseconds", "2500"), Ok(Argument::Set));
        assert_eq!(s.set("enable_prefix_caching", "true"), Ok(Argument::NoEffect));
        assert!(matches!(s.set("max_queue_delay_microseconds", "soon"), Err(ArgumentError::Value { .. })));
        s.hold_batches_of(3000);
        assert_eq!((s.max_num_seqs, s.batch_wait_s, s.max_num_batched_tokens), (16, 2.5e-3, 48_000));
        assert!(!s.scheduler(1000).keeps_prefixes());
        s.set("max_num_batched_tokens", "4096").unwrap();
        s.hold_batches_of(3000);
        assert_eq!(s.max_num_batched_tokens, 4096, "what was asked for stays");
        let vllm = defaults("h100", "0.26").set("max_batch_size", "16");
        assert!(matches!(vllm, Err(ArgumentError::Unknown { .. })));
    }
}

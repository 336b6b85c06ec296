//! Settings of a scheduler, in vLLM's words.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Which engine's rules, and as of when.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RuleSet {
    /// vLLM's V1 scheduler, first come first served, as read at commit 00024d3 (`vllm/v1/core/sched/scheduler.py`);
    /// [`SchedulerConfig::reserve_full_prompt`] adds the admission rule of later versions.
    #[default]
    VllmV1,
    /// Static batching: a batch of `max_num_seqs` requests at most is padded to its longest prompt and decoded until the
    /// last has ended; nobody is admitted meanwhile. Prefix caching, chunked prefill, `long_prefill_token_threshold` and
    /// `reserve_full_prompt` have no meaning there.
    Static,
}

/// Limits of an engine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SchedulerConfig {
    /// The rules.
    #[serde(default)]
    pub rules: RuleSet,
    /// KV blocks that requests can use. Of the number vLLM prints, one block is a placeholder and not usable.
    pub kv_blocks: u32,
    /// Tokens a block holds.
    #[serde(default = "default_block_size")]
    pub block_size: u32,
    /// Most tokens of a sequence, prompt and output.
    pub max_model_len: u32,
    /// Most tokens of a step.
    #[serde(default = "default_max_num_batched_tokens")]
    pub max_num_batched_tokens: u32,
    /// Most running requests.
    #[serde(default = "default_max_num_seqs")]
    pub max_num_seqs: u32,
    /// Most tokens of one request in a step; 0 is no limit of its own.
    #[serde(default)]
    pub long_prefill_token_threshold: u32,
    /// Whether a prompt may be computed in pieces.
    #[serde(default = "yes")]
    pub enable_chunked_prefill: bool,
    /// Whether blocks are kept for prompts that begin alike.
    #[serde(default = "yes")]
    pub enable_prefix_caching: bool,
    /// Whether a request is admitted only when all its present tokens find room, not just those of this step
    /// (vLLM's `scheduler_reserve_full_isl`, on by default there since it exists).
    #[serde(default = "yes")]
    pub reserve_full_prompt: bool,
}

fn default_block_size() -> u32 {
    16
}

fn default_max_num_batched_tokens() -> u32 {
    2048
}

fn default_max_num_seqs() -> u32 {
    256
}

fn yes() -> bool {
    true
}

/// Why a scheduler cannot run with these settings.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A limit of zero.
    #[error("{name} is 0")]
    Zero {
        /// Which limit.
        name: &'static str,
    },
    /// More blocks than the scheduler keeps books of.
    #[error("{kv_blocks} KV blocks; {most} are the most")]
    TooManyBlocks {
        /// Blocks asked for.
        kv_blocks: u32,
        /// Most blocks.
        most: u32,
    },
    /// One sequence of full length does not fit, so that it could never finish.
    #[error("KV cache of {kv_tokens} tokens cannot hold one sequence of {max_model_len} tokens")]
    CacheTooSmall {
        /// Tokens that fit.
        kv_tokens: u64,
        /// Most tokens of a sequence.
        max_model_len: u32,
    },
    /// A whole prompt does not fit into a step, and may not be cut.
    #[error(
        "steps of {max_num_batched_tokens} tokens cannot hold a prompt of {max_model_len} tokens in one piece"
    )]
    StepTooSmall {
        /// Most tokens of a step.
        max_num_batched_tokens: u32,
        /// Most tokens of a sequence.
        max_model_len: u32,
    },
}

impl ConfigError {
    /// What to try next.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Zero { .. } => None,
            Self::TooManyBlocks { .. } => Some("raise block_size"),
            Self::CacheTooSmall { .. } => Some("give the KV cache more blocks or lower max_model_len"),
            Self::StepTooSmall { .. } => Some("set enable_chunked_prefill or raise max_num_batched_tokens"),
        }
    }
}

impl SchedulerConfig {
    /// Most KV blocks: 4 billion tokens in blocks of 16, far beyond any machine, and books that still fit in memory.
    pub const MOST_BLOCKS: u32 = 1 << 28;

    /// vLLM's defaults for a small accelerator, with this much KV cache.
    pub fn new(kv_blocks: u32, max_model_len: u32) -> Self {
        Self {
            rules: RuleSet::VllmV1,
            kv_blocks,
            block_size: default_block_size(),
            max_model_len,
            max_num_batched_tokens: default_max_num_batched_tokens(),
            max_num_seqs: default_max_num_seqs(),
            long_prefill_token_threshold: 0,
            enable_chunked_prefill: true,
            enable_prefix_caching: true,
            reserve_full_prompt: true,
        }
    }

    /// Whether prompts find the blocks of others that begin alike.
    pub fn keeps_prefixes(&self) -> bool {
        self.enable_prefix_caching && self.rules == RuleSet::VllmV1
    }

    /// Blocks that `tokens` tokens need.
    pub fn blocks_for(&self, tokens: u32) -> u32 {
        tokens.div_ceil(self.block_size)
    }

    /// Whether every request that can be added can also finish.
    pub fn check(&self) -> Result<(), ConfigError> {
        for (name, value) in [
            ("kv_blocks", self.kv_blocks),
            ("block_size", self.block_size),
            ("max_model_len", self.max_model_len),
            ("max_num_batched_tokens", self.max_num_batched_tokens),
            ("max_num_seqs", self.max_num_seqs),
        ] {
            if value == 0 {
                return Err(ConfigError::Zero { name });
            }
        }
        if self.kv_blocks > Self::MOST_BLOCKS {
            return Err(ConfigError::TooManyBlocks { kv_blocks: self.kv_blocks, most: Self::MOST_BLOCKS });
        }
        let (max_model_len, max_num_batched_tokens) = (self.max_model_len, self.max_num_batched_tokens);
        if self.blocks_for(max_model_len) > self.kv_blocks {
            let kv_tokens = u64::from(self.kv_blocks) * u64::from(self.block_size);
            return Err(ConfigError::CacheTooSmall { kv_tokens, max_model_len });
        }
        if self.rules == RuleSet::VllmV1
            && !self.enable_chunked_prefill
            && max_num_batched_tokens < max_model_len
        {
            return Err(ConfigError::StepTooSmall { max_num_batched_tokens, max_model_len });
        }
        Ok(())
    }
}

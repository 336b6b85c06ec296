//! A request, as it is added and as the scheduler keeps it.

use super::plan::{FinishReason, Finished};
use crate::prefix::{BlockHash, Origin};
use crate::workload::{Prefix, RequestShape};

/// A request's number, given by the caller; unique among the requests that have not ended.
pub type RequestId = u64;

/// A request to be scheduled.
#[derive(Debug, Clone)]
pub struct Request {
    /// Its number.
    pub id: RequestId,
    /// What it begins with.
    pub prompt: Prompt,
    /// Most output tokens, at least one.
    pub max_tokens: u32,
}

/// A prompt: its tokens, or as much as is known of them.
#[derive(Debug, Clone)]
pub enum Prompt {
    /// Exact token ids, for an engine that computes.
    Tokens(Vec<u32>),
    /// A length and a shared prefix, for virtual time. Only whole blocks are shared.
    Shape {
        /// Prompt tokens.
        tokens: u32,
        /// What it shares with others.
        prefix: Option<Prefix>,
    },
    /// A turn of a conversation, for virtual time: it begins with the turn before it and the whole answer, so that block
    /// for block it holds the same as long as both reach.
    Turn {
        /// Prompt tokens, everything said before included.
        tokens: u32,
        /// What the first turn shares with others.
        prefix: Option<Prefix>,
        /// Number of the conversation; no two have the same.
        conversation: u64,
    },
    /// Numbers of leading blocks at the scheduler's block size, as in a trace: equal numbers hold equal tokens.
    Numbered {
        /// Prompt tokens.
        tokens: u32,
        /// Numbers of the first blocks; blocks beyond belong to this request only.
        blocks: Vec<u64>,
    },
}

impl Prompt {
    /// Prompt tokens.
    pub fn tokens(&self) -> u32 {
        match self {
            Self::Tokens(ids) => ids.len().try_into().unwrap_or(u32::MAX),
            Self::Shape { tokens, .. } | Self::Turn { tokens, .. } | Self::Numbered { tokens, .. } => *tokens,
        }
    }
}

impl From<RequestShape> for Prompt {
    fn from(shape: RequestShape) -> Self {
        Self::Shape { tokens: shape.input, prefix: shape.prefix }
    }
}

/// Why a request is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AddError {
    /// No prompt tokens.
    #[error("prompt of 0 tokens")]
    EmptyPrompt,
    /// No room for an output token.
    #[error("prompt of {tokens} tokens leaves no room for output in {max_model_len} tokens")]
    PromptTooLong {
        /// Prompt tokens.
        tokens: u32,
        /// Most tokens of a sequence.
        max_model_len: u32,
    },
    /// Longer than a step of a static batch, which computes prompts whole.
    #[error(
        "prompt of {tokens} tokens; steps of max_num_batched_tokens = {max_num_batched_tokens} compute it whole"
    )]
    PromptBeyondStep {
        /// Prompt tokens.
        tokens: u32,
        /// Most tokens of a step.
        max_num_batched_tokens: u32,
    },
    /// No output wanted.
    #[error("max_tokens is 0")]
    NoOutput,
    /// The number is in use.
    #[error("request {id} exists already")]
    DuplicateId {
        /// The number.
        id: RequestId,
    },
}

/// Which queue a sequence is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Waiting,
    Running,
}

/// A request in the scheduler's keeping.
#[derive(Debug)]
pub(super) struct Sequence {
    pub(super) id: RequestId,
    pub(super) serial: u64,
    pub(super) place: Place,
    pub(super) max_tokens: u32,
    /// Tokens whose KV is there or planned.
    pub(super) computed: u32,
    pub(super) preemptions: u32,
    /// Prompt tokens found in the cache at the first admission; `None` before it.
    pub(super) cached: Option<u32>,
    pub(super) table: Vec<u32>,
    /// Blocks of `table` that are in the prefix index.
    pub(super) published: u32,
    /// Hashes of full blocks, as far as they were needed.
    hashes: Vec<BlockHash>,
    prompt: Prompt,
    prompt_tokens: u32,
    output: u32,
}

impl Sequence {
    pub(super) fn new(request: Request, serial: u64) -> Self {
        Self {
            id: request.id,
            serial,
            place: Place::Waiting,
            max_tokens: request.max_tokens,
            computed: 0,
            preemptions: 0,
            cached: None,
            table: Vec::new(),
            published: 0,
            hashes: Vec::new(),
            prompt_tokens: request.prompt.tokens(),
            prompt: request.prompt,
            output: 0,
        }
    }

    /// All known tokens: prompt and output.
    pub(super) fn tokens(&self) -> u32 {
        self.prompt_tokens + self.output
    }

    pub(super) fn output(&self) -> u32 {
        self.output
    }

    pub(super) fn token_ids(&self) -> &[u32] {
        match &self.prompt {
            Prompt::Tokens(ids) => ids,
            _ => &[],
        }
    }

    pub(super) fn push_output(&mut self, token: u32) {
        if let Prompt::Tokens(ids) = &mut self.prompt {
            ids.push(token);
        }
        self.output += 1;
    }

    /// Hashes of the first `blocks` blocks, which must be full.
    pub(super) fn hashes(&mut self, blocks: u32, block_size: u32) -> &[BlockHash] {
        while self.hashes.len() < blocks as usize {
            let before = self.hashes.last().copied().unwrap_or(BlockHash::ROOT);
            let block = self.hashes.len();
            let own = Origin::Request(self.serial);
            self.hashes.push(match &self.prompt {
                Prompt::Tokens(ids) => {
                    let from = block * block_size as usize;
                    before.child(&ids[from..from + block_size as usize])
                }
                Prompt::Shape { prefix: Some(prefix), .. } | Prompt::Turn { prefix: Some(prefix), .. }
                    if (block as u32 + 1) * block_size <= prefix.tokens =>
                {
                    before.synthetic_child(Origin::Group(prefix.group))
                }
                Prompt::Shape { .. } => before.synthetic_child(own),
                Prompt::Turn { conversation, .. } => {
                    before.synthetic_child(Origin::Conversation(*conversation))
                }
                Prompt::Numbered { blocks, .. } => {
                    before.synthetic_child(blocks.get(block).map_or(own, |&number| Origin::Numbered(number)))
                }
            });
        }
        &self.hashes[..blocks as usize]
    }

    pub(super) fn finished(&self, reason: FinishReason) -> Finished {
        Finished {
            id: self.id,
            reason,
            prompt: self.prompt_tokens,
            output: self.output,
            cached: self.cached.unwrap_or(0),
            preemptions: self.preemptions,
        }
    }
}

//! What a scheduler says to its executor, and hears back.

use super::request::RequestId;
use crate::step::StepShape;

/// Where a scheduler keeps a request; becomes stale when the request ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Handle {
    pub(super) slot: u32,
    pub(super) serial: u64,
}

/// The begin of a request's time in the running queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Admission {
    /// Tokens whose KV was found in the prefix cache.
    pub cached: u32,
    /// Whether the request was preempted before.
    pub resumed: bool,
}

/// One request's part of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StepItem {
    /// Whose.
    pub id: RequestId,
    /// For [`Scheduler::block_table`](super::Scheduler::block_table) and
    /// [`Scheduler::token_ids`](super::Scheduler::token_ids).
    pub handle: Handle,
    /// Position of the first token to compute: the number of tokens whose KV is there already.
    pub start: u32,
    /// Tokens to compute, at least one.
    pub tokens: u32,
    /// Output tokens sampled before this step.
    pub output: u32,
    /// Whether the last of them is the last known token, so that the next one is sampled from it.
    pub emits: bool,
    /// Set in the step that admits the request.
    pub admitted: Option<Admission>,
}

/// Rows that are computed in place of the items, where a batch is padded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Padding {
    /// Rows, those of requests that have ended included.
    pub rows: u32,
    /// Tokens that each computes.
    pub tokens: u32,
    /// Tokens that each has behind it.
    pub past: u32,
}

/// What one step computes.
#[derive(Debug, Clone, Default)]
pub struct StepPlan {
    /// Requests that were running before come first, then admitted ones, each in order of arrival.
    pub items: Vec<StepItem>,
    /// Requests whose KV was dropped to make room; they wait again, at the head of the queue.
    pub preempted: Vec<RequestId>,
    /// How the items are padded; `None` where each is computed as it is.
    pub padding: Option<Padding>,
}

impl StepPlan {
    /// An empty plan.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether there is nothing to compute.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Tokens to compute, without padding.
    pub fn tokens(&self) -> u32 {
        self.items.iter().map(|item| item.tokens).sum()
    }

    /// Writes into `shape` how much the step computes, padding included, reusing its memory.
    pub fn shape(&self, shape: &mut StepShape) {
        shape.clear();
        if let Some(Padding { rows, tokens, past }) = self.padding {
            (0..rows).for_each(|_| shape.add(tokens, past, true));
        }
        for item in &self.items {
            if self.padding.is_none() {
                shape.add(item.tokens, item.start, item.emits);
            }
            shape.admitted += u32::from(item.admitted.is_some());
        }
    }

    pub(super) fn clear(&mut self) {
        self.items.clear();
        self.preempted.clear();
        self.padding = None;
    }
}

/// A token that a step sampled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sampled {
    /// Its id; any value when the request has no token ids.
    pub token: u32,
    /// Whether it ends the output: a stop token, or a stop string is complete.
    pub stop: bool,
}

/// Why a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FinishReason {
    /// The executor said so.
    Stop,
    /// `max_tokens` or the model's length is reached.
    Length,
}

/// A request that ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Finished {
    /// Whose.
    pub id: RequestId,
    /// Why.
    pub reason: FinishReason,
    /// Prompt tokens.
    pub prompt: u32,
    /// Output tokens.
    pub output: u32,
    /// Prompt tokens found in the prefix cache when it was first admitted.
    pub cached: u32,
    /// How often it was preempted.
    pub preemptions: u32,
}

/// Counters and gauges of a scheduler.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Stats {
    /// Requests in the running queue.
    pub running: u32,
    /// Requests in the waiting queue, preempted ones included.
    pub waiting: u32,
    /// Share of KV blocks that are held, from 0 to 1.
    pub kv_usage: f64,
    /// Prompt tokens looked up in the prefix cache, once a request (admissions after a preemption do not count).
    pub prefix_queries_tokens: u64,
    /// Those of them that were found.
    pub prefix_hits_tokens: u64,
    /// Preemptions.
    pub preemptions_total: u64,
}

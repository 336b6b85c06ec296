//! Which tokens of which requests an engine computes in its next step.
//!
//! ```text
//!          add, abort                     schedule(&mut plan)
//! requests ───────────► waiting ─► running ──────────────────► StepPlan ──► executor
//!                          ▲          │                                        │
//!                          └──────────┘ preempted        complete(&plan, …) ◄──┘ sampled tokens
//! ```
//!
//! A state machine without time: the built-in engine runs its plans on a model in real time, prediction runs the
//! same plans against a step model in virtual time.
//!
//! There is no prefill phase and no decode phase. A request has tokens, some of which are computed; each step lets
//! requests catch up, within one budget of tokens. The rules are versioned ([`RuleSet`]), since engines change them.
//!
//! Invariants, each held by a test below:
//!
//! - a step never exceeds its token budget, nor the number of running requests its limit;
//! - without preemption every token is computed exactly once;
//! - whatever is admitted finishes, as one sequence always fits the cache ([`SchedulerConfig::check`]);
//! - equal calls give equal plans.
//!
//! What an executor owes: run a plan in full, also for requests aborted meanwhile (or call [`Scheduler::abandon`]
//! when that fails), and write the KV of an item
//! before any later item of the same plan reads it (computing layer by layer over the whole batch does so), because
//! a prompt may hit blocks that an earlier item of the same step fills.
//!
//! Not here: speculative tokens, priorities, pipeline stages, and the extra step in flight of asynchronous
//! scheduling.

mod config;
mod plan;
mod quiet;
mod request;
mod rules;
mod static_batch;

use std::collections::{HashMap, VecDeque};

pub use config::{ConfigError, RuleSet, SchedulerConfig};
pub use plan::{Admission, FinishReason, Finished, Handle, Padding, Sampled, Stats, StepItem, StepPlan};
pub use quiet::Quiet;
pub use request::{AddError, Prompt, Request, RequestId};

use crate::kv::BlockPool;
use request::{Place, Sequence};

/// Orders the work of one engine.
#[derive(Debug)]
pub struct Scheduler {
    config: SchedulerConfig,
    pool: BlockPool,
    /// Sequences by slot; `None` is a free slot.
    slots: Vec<Option<Sequence>>,
    free_slots: Vec<u32>,
    by_id: HashMap<RequestId, u32>,
    waiting: VecDeque<u32>,
    running: Vec<u32>,
    next_serial: u64,
    /// Of static rules; empty under others.
    batch: static_batch::Batch,
    counters: Counters,
    /// Reused by every look-up.
    found: Vec<u32>,
    finished: Vec<Finished>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Counters {
    prefix_queries: u64,
    prefix_hits: u64,
    preemptions: u64,
}

impl Scheduler {
    /// A scheduler without requests.
    pub fn new(config: SchedulerConfig) -> Result<Self, ConfigError> {
        config.check()?;
        Ok(Self {
            pool: BlockPool::new(config.kv_blocks),
            config,
            slots: Vec::new(),
            free_slots: Vec::new(),
            by_id: HashMap::new(),
            waiting: VecDeque::new(),
            running: Vec::new(),
            next_serial: 0,
            batch: static_batch::Batch::default(),
            counters: Counters::default(),
            found: Vec::new(),
            finished: Vec::new(),
        })
    }

    /// The configuration.
    pub fn config(&self) -> &SchedulerConfig {
        &self.config
    }

    /// Puts a request at the end of the queue. It is refused when its prompt leaves no room for an output token.
    pub fn add(&mut self, request: Request) -> Result<Handle, AddError> {
        let tokens = request.prompt.tokens();
        if tokens == 0 {
            return Err(AddError::EmptyPrompt);
        }
        if tokens >= self.config.max_model_len {
            return Err(AddError::PromptTooLong { tokens, max_model_len: self.config.max_model_len });
        }
        if self.config.rules == RuleSet::Static && tokens > self.config.max_num_batched_tokens {
            let max_num_batched_tokens = self.config.max_num_batched_tokens;
            return Err(AddError::PromptBeyondStep { tokens, max_num_batched_tokens });
        }
        if request.max_tokens == 0 {
            return Err(AddError::NoOutput);
        }
        if self.by_id.contains_key(&request.id) {
            return Err(AddError::DuplicateId { id: request.id });
        }
        let slot = self.free_slots.pop().unwrap_or_else(|| {
            self.slots.push(None);
            (self.slots.len() - 1) as u32
        });
        let serial = self.next_serial;
        self.next_serial += 1;
        self.by_id.insert(request.id, slot);
        self.slots[slot as usize] = Some(Sequence::new(request, serial));
        self.waiting.push_back(slot);
        Ok(Handle { slot, serial })
    }

    /// Takes a request out, wherever it is. `false` when it is not there (any more).
    pub fn abort(&mut self, id: RequestId) -> bool {
        let Some(&slot) = self.by_id.get(&id) else { return false };
        match self.sequence(slot).place {
            Place::Waiting => self.waiting.retain(|&s| s != slot),
            Place::Running => self.running.retain(|&s| s != slot),
        }
        self.drop_slot(slot);
        self.end_batch();
        true
    }

    /// Plans the next step into `plan`, whose memory is reused. The plan is empty when there is nothing to do.
    ///
    /// Tokens count as computed from here on. Planning again before [`Self::complete`] is allowed and plans what
    /// does not depend on the missing tokens.
    pub fn schedule(&mut self, plan: &mut StepPlan) {
        plan.clear();
        match self.config.rules {
            RuleSet::VllmV1 => rules::vllm_v1(self, plan),
            RuleSet::Static => static_batch::static_batch(self, plan),
        }
    }

    /// Takes the tokens sampled by a step. `sample` is asked once for every item that emits, in the order of the
    /// plan, except for requests aborted meanwhile. Returns the requests that ended and are gone from here.
    pub fn complete(&mut self, plan: &StepPlan, mut sample: impl FnMut(&StepItem) -> Sampled) -> &[Finished] {
        self.finished.clear();
        let mut running_ended = false;
        for item in plan.items.iter().filter(|item| item.emits) {
            let Some(sequence) = self.slots.get_mut(item.handle.slot as usize).and_then(Option::as_mut)
            else {
                continue;
            };
            if sequence.serial != item.handle.serial {
                continue;
            }
            let Sampled { token, stop } = sample(item);
            sequence.push_output(token);
            let full =
                sequence.output() >= sequence.max_tokens || sequence.tokens() >= self.config.max_model_len;
            let reason = match (stop, full) {
                (true, _) => FinishReason::Stop,
                (false, true) => FinishReason::Length,
                (false, false) => continue,
            };
            self.finished.push(sequence.finished(reason));
            match sequence.place {
                Place::Running => running_ended = true,
                // Preempted between planning and completion.
                Place::Waiting => self.waiting.retain(|&s| s != item.handle.slot),
            }
            self.drop_slot(item.handle.slot);
        }
        if running_ended {
            let slots = &self.slots;
            self.running.retain(|&slot| slots[slot as usize].is_some());
            self.end_batch();
        }
        &self.finished
    }

    /// Takes out all requests of a plan whose execution failed. What the plan was to compute stands in the prefix
    /// cache already, so all of the cache is forgotten.
    pub fn abandon(&mut self, plan: &StepPlan) {
        for item in &plan.items {
            if self.get(item.handle).is_some() {
                self.abort(item.id);
            }
        }
        self.pool.forget_cached();
    }

    /// Blocks that hold the KV of a request, in order of position. Empty when it holds none or is gone.
    pub fn block_table(&self, handle: Handle) -> &[u32] {
        self.get(handle).map_or(&[], |s| &s.table)
    }

    /// Token ids of a request, prompt and output, when it was added with [`Prompt::Tokens`]; empty otherwise.
    pub fn token_ids(&self, handle: Handle) -> &[u32] {
        self.get(handle).map_or(&[], Sequence::token_ids)
    }

    /// Where a request is kept; `None` when it is gone.
    pub fn handle(&self, id: RequestId) -> Option<Handle> {
        let &slot = self.by_id.get(&id)?;
        Some(Handle { slot, serial: self.sequence(slot).serial })
    }

    /// The request at the head of the queue; `None` when none waits.
    pub fn next_waiting(&self) -> Option<RequestId> {
        self.waiting.front().map(|&slot| self.sequence(slot).id)
    }

    /// Whether any request waits or runs.
    pub fn has_work(&self) -> bool {
        !self.by_id.is_empty()
    }

    /// Forgets all cached prefixes, so that the next prompts find a cold cache. Running requests keep their blocks.
    pub fn forget_prefixes(&mut self) {
        self.pool.forget_cached();
    }

    /// Counters and gauges, as an engine exports them.
    pub fn stats(&self) -> Stats {
        Stats {
            running: self.running.len() as u32,
            waiting: self.waiting.len() as u32,
            kv_usage: self.pool.usage(),
            prefix_queries_tokens: self.counters.prefix_queries,
            prefix_hits_tokens: self.counters.prefix_hits,
            preemptions_total: self.counters.preemptions,
        }
    }

    /// Cached blocks whose content made room for another, since the start.
    pub fn evictions(&self) -> u64 {
        self.pool.evicted()
    }

    /// Share of the places in held KV blocks that hold no token: the end of each request's last block. `None` when
    /// nothing is held.
    pub fn fragmentation(&self) -> Option<f64> {
        let size = u64::from(self.config.block_size);
        let empty: u64 = self
            .running
            .iter()
            .map(|slot| self.sequence(*slot))
            .map(|s| (s.table.len() as u64 * size).saturating_sub(u64::from(s.computed)))
            .sum();
        let held = u64::from(self.pool.len() - self.pool.free()) * size;
        (held > 0).then(|| (empty as f64 / held as f64).min(1.0))
    }

    fn get(&self, handle: Handle) -> Option<&Sequence> {
        self.slots.get(handle.slot as usize)?.as_ref().filter(|s| s.serial == handle.serial)
    }

    fn sequence(&self, slot: u32) -> &Sequence {
        self.slots[slot as usize].as_ref().expect("a queued slot holds a sequence")
    }

    /// Frees a slot that is in no queue any more.
    fn drop_slot(&mut self, slot: u32) {
        let Some(sequence) = self.slots[slot as usize].take() else { return };
        match self.config.rules {
            RuleSet::VllmV1 => self.pool.release(&sequence.table),
            RuleSet::Static => self.hold(&sequence.table),
        }
        self.by_id.remove(&sequence.id);
        self.free_slots.push(slot);
    }
}

#[cfg(test)]
mod tests;

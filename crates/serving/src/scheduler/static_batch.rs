//! The rules of an engine with static batching, as programs around `generate` and the batcher of NVIDIA Triton without
//! in-flight batching have them.
//!
//! 1. When nothing runs, a batch is formed of waiting requests in order, `max_num_seqs` at most, and as many as the
//!    step and the cache hold: all prompts are padded to the longest one, so `n` of them are `n · longest` tokens of one
//!    step, and each row keeps room for the longest prompt and the longest output.
//! 2. The prompts are computed in that one step. Then every row computes one token a step until the last request has
//!    its last one. Nobody is admitted meanwhile, and nothing is preempted, since the room was kept.
//! 3. Tokens are streamed as they are made: a request ends with its own last token. Its row stays, is computed with
//!    the others and keeps its cache until the batch ends.
//!
//! Rows read padding like tokens: each has as many tokens behind it as the longest. No prefix is kept from one batch
//! for another. How long an idle engine waits for a batch to fill is up to who calls, as there is no time here.

use super::plan::{Admission, Padding, StepPlan};
use super::request::Place;
use super::rules::plan_item;
use super::{Quiet, RuleSet, Scheduler};

/// The batch that is being served.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// Its requests, those that have ended included.
    rows: u32,
    /// Tokens of the longest prompt.
    prompt: u32,
    /// Steps since that of the prompts.
    steps: u32,
    /// Blocks of the requests that have ended.
    held: Vec<u32>,
}

pub(super) fn static_batch(s: &mut Scheduler, plan: &mut StepPlan) {
    if s.running.is_empty() { form(s, plan) } else { decode(s, plan) }
}

fn form(s: &mut Scheduler, plan: &mut StepPlan) {
    let (mut rows, mut prompt, mut output, mut blocks) = (0, 0, 0, 0);
    for &slot in s.waiting.iter().take(s.config.max_num_seqs as usize) {
        let next = s.sequence(slot);
        let (longest, most) = (next.tokens().max(prompt), next.max_tokens.max(output));
        let each = s.config.blocks_for(longest.saturating_add(most).min(s.config.max_model_len));
        let fits = u64::from(each) * (u64::from(rows) + 1) <= u64::from(s.pool.len())
            && u64::from(longest) * (u64::from(rows) + 1) <= u64::from(s.config.max_num_batched_tokens);
        if !fits {
            break;
        }
        (rows, prompt, output, blocks) = (rows + 1, longest, most, each);
    }
    (s.batch.rows, s.batch.prompt, s.batch.steps) = (rows, prompt, 0);
    plan.padding = (rows > 0).then_some(Padding { rows, tokens: prompt, past: 0 });
    for _ in 0..rows {
        let slot = s.waiting.pop_front().expect("as many wait as were counted");
        s.running.push(slot);
        let sequence = s.slots[slot as usize].as_mut().expect("a waiting slot holds a sequence");
        assert!(s.pool.take(blocks, &mut sequence.table), "the room was checked above");
        sequence.place = Place::Running;
        sequence.cached = Some(0);
        let tokens = sequence.tokens();
        plan_item(s, slot, tokens, Some(Admission { cached: 0, resumed: false }), plan);
    }
}

fn decode(s: &mut Scheduler, plan: &mut StepPlan) {
    for index in 0..s.running.len() {
        let slot = s.running[index];
        let sequence = s.sequence(slot);
        if sequence.tokens() > sequence.computed {
            plan_item(s, slot, 1, None, plan);
        }
    }
    if !plan.is_empty() {
        plan.padding = Some(Padding { rows: s.batch.rows, tokens: 1, past: s.batch.prompt + s.batch.steps });
        s.batch.steps += 1;
    }
}

impl Scheduler {
    /// Keeps the blocks of a request that left its batch.
    pub(super) fn hold(&mut self, table: &[u32]) {
        self.batch.held.extend_from_slice(table);
    }

    /// Frees a batch whose requests have all ended. Nothing else is ever held.
    pub(super) fn end_batch(&mut self) {
        if self.running.is_empty() && !self.batch.held.is_empty() {
            self.pool.release(&self.batch.held);
            self.batch = Batch::default();
        }
    }

    /// Like [`Self::quiet`], of a batch: steps after which still nobody has ended.
    pub(super) fn quiet_batch(&self) -> Option<Quiet> {
        let mut steps = if self.running.is_empty() { 0 } else { u32::MAX };
        for &slot in &self.running {
            let sequence = self.sequence(slot);
            let tokens = sequence.tokens();
            if tokens - sequence.computed != 1 || sequence.output() == 0 {
                return None;
            }
            let until_full = sequence.max_tokens - sequence.output();
            steps = steps.min(until_full.min(self.config.max_model_len - tokens) - 1);
        }
        let (sequences, each) = (self.batch.rows, self.batch.prompt + self.batch.steps + 1);
        let context_tokens = u64::from(sequences) * u64::from(each);
        (steps > 0).then_some(Quiet { steps, sequences, context_tokens })
    }

    /// Counts steps that were taken at once.
    pub(super) fn advance_batch(&mut self, steps: u32) {
        if self.config.rules == RuleSet::Static {
            self.batch.steps += steps;
        }
    }
}

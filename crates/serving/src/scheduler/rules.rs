//! The rules of vLLM's V1 scheduler, first come first served.
//!
//! Source: `vllm/v1/core/sched/scheduler.py` and `vllm/v1/core/kv_cache_manager.py`, read and written anew. One pass:
//!
//! 1. Running requests in order, each `min(missing tokens, long_prefill_token_threshold, budget left)`. While blocks
//!    are missing, the last running request is preempted: its blocks are freed, it returns to the head of the queue
//!    and computes everything again later. When that is the request itself, the pass over running ones ends.
//! 2. Waiting requests in order, only when nothing was preempted, while budget and `max_num_seqs` allow. Cached full
//!    blocks count as computed, but never the last token, whose output is needed. The first request that finds no
//!    room ends the pass: nobody overtakes.

use super::Scheduler;
use super::plan::{Admission, Handle, StepItem, StepPlan};
use super::request::Place;

pub(super) fn vllm_v1(s: &mut Scheduler, plan: &mut StepPlan) {
    let mut budget = s.config.max_num_batched_tokens;
    let mut next = 0;
    while next < s.running.len() && budget > 0 {
        let slot = s.running[next];
        next += 1;
        let sequence = s.sequence(slot);
        let missing = sequence.tokens() - sequence.computed;
        if missing == 0 {
            continue; // its last token is not sampled yet
        }
        let tokens = s.config.limited(missing).min(budget);
        if !make_room(s, slot, tokens, plan) {
            break;
        }
        plan_item(s, slot, tokens, None, plan);
        budget -= tokens;
    }

    while plan.preempted.is_empty() && budget > 0 && s.running.len() < s.config.max_num_seqs as usize {
        let Some(&slot) = s.waiting.front() else { break };
        let Some((tokens, admission)) = admit(s, slot, budget) else { break };
        s.waiting.pop_front();
        s.running.push(slot);
        plan_item(s, slot, tokens, Some(admission), plan);
        budget -= tokens;
    }
}

impl super::SchedulerConfig {
    fn limited(&self, tokens: u32) -> u32 {
        match self.long_prefill_token_threshold {
            0 => tokens,
            limit => tokens.min(limit),
        }
    }
}

/// Gives a running request the blocks of its next `tokens` tokens, preempting from the end. `false` when it was
/// itself the last one and is preempted now.
fn make_room(s: &mut Scheduler, slot: u32, tokens: u32, plan: &mut StepPlan) -> bool {
    loop {
        let sequence = s.slots[slot as usize].as_mut().expect("a running slot holds a sequence");
        let wanted = s.config.blocks_for(sequence.computed + tokens) - sequence.table.len() as u32;
        if s.pool.take(wanted, &mut sequence.table) {
            return true;
        }
        let last = s.running.pop().expect("the request itself is running");
        preempt(s, last, plan);
        if last == slot {
            return false;
        }
    }
}

fn preempt(s: &mut Scheduler, slot: u32, plan: &mut StepPlan) {
    s.counters.preemptions += 1;
    let sequence = s.slots[slot as usize].as_mut().expect("a running slot holds a sequence");
    s.pool.release(&sequence.table);
    sequence.table.clear();
    (sequence.computed, sequence.published) = (0, 0);
    sequence.preemptions += 1;
    sequence.place = Place::Waiting;
    plan.preempted.push(sequence.id);
    s.waiting.push_front(slot);
}

/// Gives the first waiting request its blocks. `None` when it has to wait on.
fn admit(s: &mut Scheduler, slot: u32, budget: u32) -> Option<(u32, Admission)> {
    let sequence = s.slots[slot as usize].as_mut().expect("a waiting slot holds a sequence");
    let (known, block_size) = (sequence.tokens(), s.config.block_size);
    s.found.clear();
    if s.config.enable_prefix_caching {
        s.pool.index().longest(sequence.hashes((known - 1) / block_size, block_size), &mut s.found);
    }
    let cached = s.found.len() as u32 * block_size;

    let missing = s.config.limited(known - cached);
    if !s.config.enable_chunked_prefill && missing > budget {
        return None;
    }
    let tokens = missing.min(budget);

    // A cached block that nobody holds leaves the free queue too when it is shared.
    let revived = s.found.iter().filter(|&&block| s.pool.holders(block) == 0).count() as u32;
    let must_fit = if s.config.reserve_full_prompt { known } else { cached + tokens };
    let reserved = s.config.blocks_for(must_fit) - s.found.len() as u32;
    if reserved + revived > s.pool.free() {
        return None;
    }
    for &block in &s.found {
        s.pool.share(block);
    }
    sequence.table.extend_from_slice(&s.found);
    let wanted = s.config.blocks_for(cached + tokens) - s.found.len() as u32;
    assert!(s.pool.take(wanted, &mut sequence.table), "the room was checked above");

    sequence.place = Place::Running;
    sequence.computed = cached;
    sequence.published = s.found.len() as u32;
    let resumed = sequence.preemptions > 0;
    if s.config.enable_prefix_caching && !resumed {
        s.counters.prefix_queries += u64::from(known);
        s.counters.prefix_hits += u64::from(cached);
    }
    sequence.cached.get_or_insert(cached);
    Some((tokens, Admission { cached, resumed }))
}

/// Writes the item of a request that has its blocks, counts its tokens as computed and publishes its full blocks.
pub(super) fn plan_item(
    s: &mut Scheduler,
    slot: u32,
    tokens: u32,
    admitted: Option<Admission>,
    plan: &mut StepPlan,
) {
    let sequence = s.slots[slot as usize].as_mut().expect("a planned slot holds a sequence");
    plan.items.push(StepItem {
        id: sequence.id,
        handle: Handle { slot, serial: sequence.serial },
        start: sequence.computed,
        tokens,
        output: sequence.output(),
        emits: sequence.computed + tokens == sequence.tokens(),
        admitted,
    });
    sequence.computed += tokens;
    publish(s, slot);
}

/// Makes the full blocks of a request findable.
pub(super) fn publish(s: &mut Scheduler, slot: u32) {
    let sequence = s.slots[slot as usize].as_mut().expect("a planned slot holds a sequence");
    let full = sequence.computed / s.config.block_size;
    if s.config.keeps_prefixes() && full > sequence.published {
        let published = sequence.published;
        let hashes = sequence.hashes(full, s.config.block_size)[published as usize..].to_vec();
        for (block, hash) in (published..full).zip(hashes) {
            s.pool.publish(sequence.table[block as usize], hash);
        }
        sequence.published = full;
    }
}

//! Hand-worked traces, and a shadow executor whose KV cache knows what each position must hold.

mod prefix_sharing;
mod properties;
mod static_batching;
mod traces;

use super::*;

/// A plan as `(id, start, tokens, emits)`.
type Row = (RequestId, u32, u32, bool);

/// Runs steps and shows their plans.
struct Bench {
    scheduler: Scheduler,
    plan: StepPlan,
}

impl Bench {
    fn new(config: SchedulerConfig) -> Self {
        Self { scheduler: Scheduler::new(config).unwrap(), plan: StepPlan::new() }
    }

    fn add(&mut self, id: RequestId, prompt: Prompt, max_tokens: u32) {
        self.scheduler.add(Request { id, prompt, max_tokens }).unwrap();
    }

    /// Adds a request that shares nothing.
    fn add_own(&mut self, id: RequestId, tokens: u32, max_tokens: u32) {
        self.add(id, Prompt::Shape { tokens, prefix: None }, max_tokens);
    }

    /// One step that samples for everything that emits. Returns the plan and what ended.
    fn step(&mut self) -> (Vec<Row>, Vec<RequestId>) {
        self.scheduler.schedule(&mut self.plan);
        let rows = self.plan.items.iter().map(|i| (i.id, i.start, i.tokens, i.emits)).collect();
        let ended =
            self.scheduler.complete(&self.plan, |_| Sampled::default()).iter().map(|f| f.id).collect();
        (rows, ended)
    }

    #[track_caller]
    fn expect(&mut self, rows: &[Row], preempted: &[RequestId], ended: &[RequestId]) {
        let (got, got_ended) = self.step();
        assert_eq!(got, rows);
        assert_eq!(self.plan.preempted, preempted);
        assert_eq!(got_ended, ended);
    }
}

/// `blocks` blocks of `block_size` tokens, steps of `budget` tokens.
fn config(blocks: u32, block_size: u32, budget: u32) -> SchedulerConfig {
    SchedulerConfig {
        block_size,
        max_num_batched_tokens: budget,
        enable_prefix_caching: false,
        ..SchedulerConfig::new(blocks, blocks * block_size)
    }
}

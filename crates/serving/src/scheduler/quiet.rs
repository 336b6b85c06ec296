//! Runs of steps in which every running request computes one token and nothing else happens.
//!
//! In virtual time most steps are like that. Such a run is taken at once: the state afterwards is the one that as many
//! single steps would leave, which a test below holds. An executor that computes takes single steps.

use super::request::RequestId;
use super::{RuleSet, Scheduler};

/// A run of steps that only decode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quiet {
    /// Steps after which still nobody has ended.
    pub steps: u32,
    /// Requests in each; of a static batch its rows, those of requests that have ended included.
    pub sequences: u32,
    /// KV tokens that the first step reads; each further one reads `sequences` more.
    pub context_tokens: u64,
}

impl Scheduler {
    /// The run of quiet steps that comes next. `None` when the next step admits, ends, preempts or prefills.
    #[must_use]
    pub fn quiet(&self) -> Option<Quiet> {
        if self.config.rules == RuleSet::Static {
            return self.quiet_batch();
        }
        let sequences = self.running.len() as u32;
        let full = sequences >= self.config.max_num_seqs || sequences >= self.config.max_num_batched_tokens;
        if sequences == 0
            || sequences > self.config.max_num_batched_tokens
            || !(self.waiting.is_empty() || full)
        {
            return None;
        }
        let (mut steps, mut context_tokens) = (u32::MAX, 0);
        for &slot in &self.running {
            let sequence = self.sequence(slot);
            let tokens = sequence.tokens();
            if tokens - sequence.computed != 1 || sequence.output() == 0 {
                return None;
            }
            let until_full = sequence.max_tokens - sequence.output();
            steps = steps.min(until_full.min(self.config.max_model_len - tokens) - 1);
            context_tokens += u64::from(tokens);
        }
        // As many as there are blocks for; more steps never need fewer.
        let fits = |steps: u32| {
            let blocks = self.running.iter().map(|&slot| {
                let sequence = self.sequence(slot);
                u64::from(self.config.blocks_for(sequence.computed + steps)) - sequence.table.len() as u64
            });
            blocks.sum::<u64>() <= u64::from(self.pool.free())
        };
        if steps > 0 && !fits(steps) {
            let (mut most, mut too_many) = (0, steps);
            while too_many - most > 1 {
                let middle = most + (too_many - most) / 2;
                if fits(middle) { most = middle } else { too_many = middle }
            }
            steps = most;
        }
        (steps > 0).then_some(Quiet { steps, sequences, context_tokens })
    }

    /// Takes `steps` steps of the run that [`Self::quiet`] told of; each request samples `token` in each.
    pub fn run_quiet(&mut self, steps: u32, token: u32) {
        for index in 0..self.running.len() {
            let slot = self.running[index];
            let sequence = self.slots[slot as usize].as_mut().expect("a running slot holds a sequence");
            let wanted = self.config.blocks_for(sequence.computed + steps);
            let wanted = wanted.saturating_sub(sequence.table.len() as u32);
            assert!(self.pool.take(wanted, &mut sequence.table), "a quiet run has its blocks");
            sequence.computed += steps;
            (0..steps).for_each(|_| sequence.push_output(token));
            super::rules::publish(self, slot);
        }
        self.advance_batch(steps);
    }

    /// Requests that run, in the order of the queue.
    pub fn running(&self) -> impl Iterator<Item = RequestId> {
        self.running.iter().map(|&slot| self.sequence(slot).id)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Prompt, Request, Sampled, SchedulerConfig, StepPlan};
    use super::*;
    use crate::random::{Draws, Purpose};
    use crate::workload::Prefix;

    fn scheduler(seed: u64, blocks: u32) -> Scheduler {
        let config = SchedulerConfig {
            max_num_seqs: 6,
            max_num_batched_tokens: 64,
            ..SchedulerConfig::new(blocks, 200)
        };
        let mut s = Scheduler::new(config).unwrap();
        let mut draws = Draws::new(Purpose::Shape, [seed, 0, 0, 0]);
        for id in 0..20 {
            let tokens = 20 + draws.below(60);
            let prefix = (draws.below(2) == 0).then_some(Prefix { group: 1, tokens: 18 });
            let prompt = Prompt::Shape { tokens, prefix };
            s.add(Request { id, prompt, max_tokens: 1 + draws.below(70) }).unwrap();
        }
        s
    }

    /// (end of request, its number, tokens found in the cache), and counters at the end.
    fn run(mut s: Scheduler, quietly: bool) -> (Vec<(u32, u64, u32)>, u32, super::super::Stats) {
        let (mut plan, mut ends, mut step, mut taken) = (StepPlan::new(), Vec::new(), 0, 0);
        while s.has_work() {
            if let Some(quiet) = s.quiet().filter(|_| quietly) {
                let steps = quiet.steps.div_ceil(2);
                s.run_quiet(steps, 0);
                step += steps;
                taken += steps;
                continue;
            }
            s.schedule(&mut plan);
            step += 1;
            ends.extend(s.complete(&plan, |_| Sampled::default()).iter().map(|f| (step, f.id, f.cached)));
        }
        (ends, taken, s.stats())
    }

    #[test]
    fn a_run_at_once_ends_where_single_steps_do() {
        // 13 blocks make requests preempt each other; 40 let all run.
        for (seed, blocks) in (0..40).flat_map(|seed| [(seed, 13), (seed, 40)]) {
            let (slow, _, before) = run(scheduler(seed, blocks), false);
            let (fast, taken, after) = run(scheduler(seed, blocks), true);
            assert_eq!((slow, before), (fast, after), "seed {seed}, {blocks} blocks");
            assert!(taken > 0);
        }
    }

    #[test]
    fn what_is_about_to_change_is_not_quiet() {
        let mut s = scheduler(1, 40);
        assert_eq!(s.quiet(), None, "requests wait");
        let mut plan = StepPlan::new();
        s.schedule(&mut plan);
        assert_eq!(s.quiet(), None, "tokens are not sampled yet");
    }
}

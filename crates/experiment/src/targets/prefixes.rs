//! `cache_monitoring`: prompts that begin alike, computed anew each time, against found in the prefix cache.
//!
//! The trace is known, so what the cache must say is known too: every count is held against it, and a block that is
//! still held at the end, or that holds something old, makes the work fail.

use std::collections::HashSet;

use stopwatt_kernel::cpu::{Cpu, Precision};
use stopwatt_model::random::{self, Preset};
use stopwatt_model::{Chunk, Model, PagedKv};
use stopwatt_serving::random::Draws;
use stopwatt_serving::scheduler::{Prompt, Request, Sampled, Scheduler, SchedulerConfig, StepPlan};

use super::{Done, Variant, Workload};

const BLOCK: u32 = 16;
/// How often the trace is gone through; the cache forgets everything in between.
const ROUNDS: usize = 2;

/// Prompts that come one after another; those of a group begin alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Prefixes {
    /// Prompts.
    pub prompts: usize,
    /// Groups that share a prefix; prompts take turns.
    pub groups: usize,
    /// Tokens of a prefix.
    pub prefix: u32,
    /// Tokens of a prompt's own.
    pub own: u32,
}

impl Default for Prefixes {
    fn default() -> Self {
        Self { prompts: 16, groups: 4, prefix: 200, own: 24 }
    }
}

impl Prefixes {
    fn config(&self, caching: bool) -> SchedulerConfig {
        let longest = self.prefix + self.own + 1;
        // Room for everything, so that what is found does not hang on what was evicted.
        let blocks = (self.prompts as u32 + 1) * longest.div_ceil(BLOCK);
        SchedulerConfig {
            block_size: BLOCK,
            enable_prefix_caching: caching,
            ..SchedulerConfig::new(blocks, longest + 1)
        }
    }

    fn variant(&self, caching: bool, threads: usize) -> Result<Box<dyn Variant<Vec<Vec<u32>>>>, String> {
        let shape = Preset::Tiny.config();
        let weights = random::weights(&shape, 0, Precision::F32).map_err(|e| e.to_string())?;
        let model = Model::new(shape, weights, Cpu::new(threads)).map_err(|e| e.to_string())?;
        let config = self.config(caching);
        let kv = PagedKv::new(model.config(), config.kv_blocks as usize, BLOCK as usize);
        let mut kv = kv.map_err(|e| e.to_string())?;
        kv.populate();
        Ok(Box::new(Engine { config, model, kv, logits: Vec::new() }))
    }
}

impl Workload for Prefixes {
    type Input = Vec<Vec<u32>>;

    fn shape(&self) -> String {
        let Self { prompts, groups, prefix, own } = self;
        format!("prompts={prompts} groups={groups} prefix={prefix} own={own} block={BLOCK} model=random tiny")
    }

    fn output_len(&self) -> usize {
        ROUNDS * self.prompts * Preset::Tiny.config().vocab
    }

    fn draw(&self, draws: &mut Draws, into: &mut Vec<Vec<u32>>) {
        let vocab = Preset::Tiny.config().vocab as u32;
        let mut tokens = |n: u32| (0..n).map(|_| draws.below(vocab)).collect::<Vec<u32>>();
        let prefixes: Vec<Vec<u32>> = (0..self.groups).map(|_| tokens(self.prefix)).collect();
        into.clear();
        into.extend((0..self.prompts).map(|i| [&prefixes[i % self.groups][..], &tokens(self.own)].concat()));
    }

    fn baseline(&self, threads: usize) -> Result<Box<dyn Variant<Vec<Vec<u32>>>>, String> {
        self.variant(false, threads)
    }

    fn optimised(&self, threads: usize) -> Result<Box<dyn Variant<Vec<Vec<u32>>>>, String> {
        self.variant(true, threads)
    }
}

/// Prompt tokens of a trace that must be found: whole blocks that came before, never the last token of a prompt.
fn must_be_found(prompts: &[Vec<u32>]) -> u64 {
    let mut known: HashSet<&[u32]> = HashSet::new();
    let mut found = 0;
    for prompt in prompts {
        let blocks = |most: usize| (1..=most / BLOCK as usize).map(|n| &prompt[..n * BLOCK as usize]);
        let hits = blocks(prompt.len() - 1).take_while(|begin| known.contains(begin)).count();
        found += hits as u64 * u64::from(BLOCK);
        known.extend(blocks(prompt.len()));
    }
    found
}

struct Engine {
    config: SchedulerConfig,
    model: Model,
    kv: PagedKv,
    logits: Vec<f32>,
}

impl Variant<Vec<Vec<u32>>> for Engine {
    fn work(&mut self, input: &Vec<Vec<u32>>, output: &mut [f32]) -> Result<Done, String> {
        let mut scheduler = Scheduler::new(self.config.clone()).map_err(|e| e.to_string())?;
        let vocab = self.model.config().vocab;
        let mut plan = StepPlan::new();
        let mut rows = output.chunks_exact_mut(vocab);
        let mut steps = 0u64;
        for round in 0..ROUNDS {
            for (i, prompt) in input.iter().enumerate() {
                let id = (round * input.len() + i) as u64;
                let request = Request { id, prompt: Prompt::Tokens(prompt.clone()), max_tokens: 1 };
                scheduler.add(request).map_err(|e| e.to_string())?;
                while scheduler.has_work() {
                    scheduler.schedule(&mut plan);
                    let Some(item) = plan.items.first() else {
                        return Err("the scheduler has work and plans none".to_owned());
                    };
                    let tokens =
                        &scheduler.token_ids(item.handle)[item.start as usize..][..item.tokens as usize];
                    let blocks = scheduler.block_table(item.handle);
                    let chunk = Chunk { tokens, position: item.start as usize, blocks, logits: item.emits };
                    self.model
                        .forward(&mut self.kv, &[chunk], &mut self.logits)
                        .map_err(|e| e.to_string())?;
                    steps += 1;
                    let logits = &self.logits;
                    scheduler.complete(&plan, |_| {
                        if let Some(row) = rows.next() {
                            row.copy_from_slice(&logits[..vocab]);
                        }
                        Sampled { token: 0, stop: true }
                    });
                }
            }
            let stats = scheduler.stats();
            if stats.kv_usage > 0.0 {
                return Err(format!(
                    "{:.1} % of the blocks are still held after a round",
                    stats.kv_usage * 100.0
                ));
            }
            let rounds = round as u64 + 1;
            let asked = rounds * input.iter().map(|p| p.len() as u64).sum::<u64>();
            let (found, asked) = match self.config.enable_prefix_caching {
                true => (rounds * must_be_found(input), asked),
                false => (0, 0),
            };
            let said = (stats.prefix_hits_tokens, stats.prefix_queries_tokens);
            if said != (found, asked) {
                return Err(format!(
                    "the cache says {} hits of {} prompt tokens, and the trace {found} of {asked}",
                    said.0, said.1
                ));
            }
            // What the last round left must not be found in the next one.
            scheduler.forget_prefixes();
        }
        let stats = scheduler.stats();
        Ok(Done {
            tokens: Some((ROUNDS * input.iter().map(Vec::len).sum::<usize>()) as u32),
            metrics: vec![
                ("steps", steps as f64),
                ("prefix_hit_tokens", stats.prefix_hits_tokens as f64),
                ("prefix_query_tokens", stats.prefix_queries_tokens as f64),
                ("evictions", scheduler.evictions() as f64),
            ],
        })
    }

    fn held_bytes(&self) -> usize {
        self.kv.bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_must_be_found_is_counted_by_hand() {
        let prompt = |own: u32| (0..40).chain([own; 10]).collect::<Vec<u32>>();
        // 50 tokens, 40 of them shared: two whole blocks of the second and third are known, of the fourth all but the
        // block with its last token.
        assert_eq!(must_be_found(&[prompt(1), prompt(2), prompt(3), prompt(1)]), 32 + 32 + 48);
        // A prompt of two whole blocks again: its last token must be computed, so that one block is found.
        let whole: Vec<u32> = (0..32).collect();
        assert_eq!(must_be_found(&[whole.clone(), whole]), 16);
    }
}

//! `scheduler`: static batching against continuous batching with chunked prefill, by the scheduler of the built-in engine
//! on a small model with random weights.
//!
//! Static: a batch is decoded until its longest request has ended, and nobody joins meanwhile. Continuous: a request
//! joins as soon as another has left. Output lengths have a long tail, as real ones do; that is what a batch waits for.
//! Tokens that follow are given, not sampled, so that rounding cannot send one side another way.

use stopwatt_kernel::cpu::{Cpu, Precision};
use stopwatt_model::forward::{Chunk, Model};
use stopwatt_model::kv::PagedKv;
use stopwatt_model::random::{self, Preset};
use stopwatt_serving::random::Draws;
use stopwatt_serving::scheduler::{Prompt, Request, RuleSet, Sampled, Scheduler, SchedulerConfig, StepPlan};

use super::{Done, Variant, Workload};

const BLOCK: u32 = 16;

/// Requests that are all there at the begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Batching {
    /// Requests.
    pub requests: usize,
    /// Most of them in a step.
    pub slots: u32,
    /// Longest prompt, in tokens; the shortest has a quarter.
    pub prompt: u32,
    /// Longest output, in tokens; one in eight comes near it, the others have an eighth of it at most.
    pub output: u32,
}

impl Default for Batching {
    fn default() -> Self {
        Self { requests: 24, slots: 8, prompt: 48, output: 64 }
    }
}

/// Prompts, and what follows them.
#[derive(Debug, Default)]
pub struct Queue {
    prompts: Vec<Vec<u32>>,
    outputs: Vec<Vec<u32>>,
}

impl Batching {
    fn config(&self, rules: RuleSet) -> SchedulerConfig {
        let longest = self.prompt + self.output;
        SchedulerConfig {
            rules,
            block_size: BLOCK,
            max_num_seqs: self.slots,
            max_num_batched_tokens: 128.max(self.prompt),
            enable_prefix_caching: false,
            ..SchedulerConfig::new(self.slots * longest.div_ceil(BLOCK), longest + 1)
        }
    }

    fn variant(&self, rules: RuleSet, threads: usize) -> Result<Box<dyn Variant<Queue>>, String> {
        let shape = Preset::Tiny.config();
        let weights = random::weights(&shape, 0, Precision::F32).map_err(|e| e.to_string())?;
        let model = Model::new(shape, weights, Cpu::new(threads)).map_err(|e| e.to_string())?;
        let config = self.config(rules);
        let mut kv = PagedKv::new(model.config(), config.kv_blocks as usize, BLOCK as usize)
            .map_err(|e| e.to_string())?;
        kv.populate();
        Ok(Box::new(Engine { of: *self, config, model, kv, logits: Vec::new() }))
    }
}

impl Workload for Batching {
    type Input = Queue;

    fn shape(&self) -> String {
        let Self { requests, slots, prompt, output } = self;
        format!("requests={requests} slots={slots} prompt<={prompt} output<={output} model=random tiny")
    }

    fn output_len(&self) -> usize {
        self.requests * Preset::Tiny.config().vocab
    }

    fn draw(&self, draws: &mut Draws, into: &mut Queue) {
        let vocab = Preset::Tiny.config().vocab as u32;
        let tokens = |draws: &mut Draws, n: u32| (0..n).map(|_| draws.below(vocab)).collect::<Vec<u32>>();
        into.prompts.clear();
        into.outputs.clear();
        for request in 0..self.requests {
            let prompt = self.prompt / 4 + draws.below(self.prompt * 3 / 4) + 1;
            let output = match request % 8 {
                3 => self.output - draws.below(self.output / 8),
                _ => 1 + draws.below(self.output / 8),
            };
            into.prompts.push(tokens(draws, prompt.min(self.prompt)));
            into.outputs.push(tokens(draws, output));
        }
    }

    fn baseline(&self, threads: usize) -> Result<Box<dyn Variant<Queue>>, String> {
        self.variant(RuleSet::Static, threads)
    }

    fn optimised(&self, threads: usize) -> Result<Box<dyn Variant<Queue>>, String> {
        self.variant(RuleSet::VllmV1, threads)
    }
}

struct Engine {
    of: Batching,
    config: SchedulerConfig,
    model: Model,
    kv: PagedKv,
    logits: Vec<f32>,
}

impl Variant<Queue> for Engine {
    fn work(&mut self, input: &Queue, output: &mut [f32]) -> Result<Done, String> {
        let Self { of, config, model, kv, logits } = self;
        let mut scheduler = Scheduler::new(config.clone()).map_err(|e| e.to_string())?;
        for (id, (prompt, following)) in input.prompts.iter().zip(&input.outputs).enumerate() {
            let request = Request {
                id: id as u64,
                prompt: Prompt::Tokens(prompt.clone()),
                max_tokens: following.len() as u32,
            };
            scheduler.add(request).map_err(|e| e.to_string())?;
        }
        let vocab = model.config().vocab;
        let mut plan = StepPlan::new();
        let (mut steps, mut decoded, mut emitted, mut first) = (0u64, 0u64, 0u32, 0u64);
        while scheduler.has_work() {
            scheduler.schedule(&mut plan);
            if plan.is_empty() {
                return Err("the scheduler has work and plans none".to_owned());
            }
            let chunk = |item: &stopwatt_serving::scheduler::StepItem| Chunk {
                tokens: &scheduler.token_ids(item.handle)[item.start as usize..][..item.tokens as usize],
                position: item.start as usize,
                blocks: scheduler.block_table(item.handle),
                logits: item.emits,
            };
            let batch: Vec<Chunk<'_>> = plan.items.iter().map(chunk).collect();
            model.forward(kv, &batch, logits).map_err(|e| e.to_string())?;
            steps += 1;
            decoded += plan.items.iter().filter(|i| i.emits).count() as u64;
            let mut rows = logits.chunks_exact(vocab);
            scheduler.complete(&plan, |item| {
                let (id, done) = (item.id as usize, item.output as usize);
                let following = &input.outputs[id];
                if let Some(row) = rows.next()
                    && done + 1 == following.len()
                {
                    output[id * vocab..][..vocab].copy_from_slice(row);
                }
                emitted += 1;
                first += if done == 0 { steps } else { 0 };
                Sampled { token: following[done], stop: false }
            });
        }
        Ok(Done {
            tokens: Some(emitted),
            metrics: vec![
                ("steps", steps as f64),
                ("mean_batch", decoded as f64 / steps.max(1) as f64),
                ("steps_to_first_token", first as f64 / of.requests.max(1) as f64),
            ],
        })
    }

    fn held_bytes(&self) -> usize {
        self.kv.bytes()
    }
}

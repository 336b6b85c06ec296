//! What holds for every workload and every setting.

use std::collections::HashMap;

use proptest::prelude::*;
use stopwatt_core::Phase;

use super::*;
use crate::prompt::{PromptKey, TokenPrompts};
use crate::workload::{Prefix, RequestShape};

/// One request of a random workload.
#[derive(Debug, Clone)]
struct Job {
    /// Step before which it is added.
    at: u32,
    shape: RequestShape,
    /// Output token that is a stop token; beyond `output` there is none.
    stop_at: u32,
    /// Step before which it is aborted, if it is still there.
    abort_at: Option<u32>,
}

fn any_job() -> impl Strategy<Value = Job> {
    let prefix = prop::option::weighted(0.6, (0_u32..3, 1_u32..30));
    (0_u32..40, 1_u32..40, 1_u32..20, prefix, 1_u32..40, prop::option::weighted(0.1, 0_u32..60)).prop_map(
        |(at, input, output, prefix, stop_at, abort_at)| {
            let prefix = prefix
                .map(|(group, tokens)| Prefix { group, tokens: tokens.min(input - 1) })
                .filter(|prefix| prefix.tokens > 0);
            Job { at, shape: RequestShape { input, output, prefix }, stop_at, abort_at }
        },
    )
}

fn any_config() -> impl Strategy<Value = SchedulerConfig> {
    let sizes = (1_u32..9, 0_u32..40, 1_u32..70, 1_u32..12);
    (sizes, prop_oneof![Just(0_u32), 1_u32..20], any::<[bool; 3]>()).prop_map(
        |((block_size, spare, budget, seqs), threshold, [chunked, caching, reserve])| SchedulerConfig {
            block_size,
            max_num_batched_tokens: if chunked { budget } else { budget.max(64) },
            max_num_seqs: seqs,
            long_prefill_token_threshold: threshold,
            enable_chunked_prefill: chunked,
            enable_prefix_caching: caching,
            reserve_full_prompt: reserve,
            ..SchedulerConfig::new(64_u32.div_ceil(block_size) + spare, 64)
        },
    )
}

/// What a request's tokens are made of.
#[derive(Debug, Clone, Copy)]
enum Tokens {
    Exact,
    Known,
}

/// Steps, and how each request ended: `(output, preemptions)`.
#[derive(Debug, PartialEq)]
struct Outcome {
    steps: Vec<(Vec<Row>, Vec<RequestId>)>,
    ended: HashMap<RequestId, (u32, u32)>,
}

/// Runs a workload to its end and checks every step. With exact tokens, a shadow KV cache holds for every position
/// which tokens led to it, so that a wrong block, an evicted prefix or an uncomputed token is seen at once.
fn run(config: &SchedulerConfig, jobs: &[Job], tokens: Tokens) -> Result<Outcome, TestCaseError> {
    // So many ids that no two random tokens coincide, even with blocks of one token.
    let prompts = TokenPrompts::new(1, 0, 0..1 << 30).unwrap();
    let mut scheduler = Scheduler::new(config.clone()).unwrap();
    let mut kv: HashMap<(u32, u32), Vec<u32>> = HashMap::new();
    let mut reached: HashMap<RequestId, u32> = HashMap::new();
    let mut outcome = Outcome { steps: Vec::new(), ended: HashMap::new() };
    let mut plan = StepPlan::new();
    let horizon = jobs.iter().map(|j| j.at.max(j.abort_at.unwrap_or(0))).max().unwrap_or(0);
    for step in 0.. {
        prop_assert!(step < 20_000, "the workload never ends");
        for (id, job) in (0_u64..).zip(jobs) {
            if job.at == step {
                let key = PromptKey { phase: Phase::Measure, epoch: 0, index: id };
                let prompt = match tokens {
                    Tokens::Exact => Prompt::Tokens(prompts.prompt(&job.shape, key)),
                    Tokens::Known => job.shape.into(),
                };
                scheduler.add(Request { id, prompt, max_tokens: job.shape.output }).unwrap();
            }
            if job.abort_at == Some(step) && job.at <= step {
                scheduler.abort(id);
            }
        }
        if step > horizon && !scheduler.has_work() {
            break;
        }
        scheduler.schedule(&mut plan);

        prop_assert!(plan.tokens() <= config.max_num_batched_tokens);
        prop_assert!(scheduler.running.len() <= config.max_num_seqs as usize);
        prop_assert!(!plan.is_empty() || !scheduler.has_work(), "work is left but nothing is planned");
        conserve_blocks(&scheduler)?;
        for id in &plan.preempted {
            reached.insert(*id, 0);
        }
        for item in &plan.items {
            // Every token once, in order; only the prefix cache skips.
            let reached = reached.entry(item.id).or_default();
            prop_assert_eq!(item.start, item.admitted.map_or(*reached, |a| a.cached));
            prop_assert_eq!(*reached == 0, item.admitted.is_some());
            *reached = item.start + item.tokens;
            if matches!(tokens, Tokens::Exact) {
                let ids = scheduler.token_ids(item.handle);
                let table = scheduler.block_table(item.handle);
                prop_assert_eq!(item.emits, *reached as usize == ids.len());
                let place = |p: u32| (table[(p / config.block_size) as usize], p % config.block_size);
                for p in item.start..*reached {
                    kv.insert(place(p), ids[..=p as usize].to_vec());
                }
                for p in 0..*reached {
                    prop_assert_eq!(kv.get(&place(p)).map(Vec::as_slice), Some(&ids[..=p as usize]));
                }
            }
        }
        outcome.steps.push((
            plan.items.iter().map(|i| (i.id, i.start, i.tokens, i.emits)).collect(),
            plan.preempted.clone(),
        ));
        for ended in scheduler.complete(&plan, |item| Sampled {
            token: (item.id * 31 + u64::from(item.output)) as u32 % 1_000,
            stop: item.output + 1 == jobs[item.id as usize].stop_at,
        }) {
            let job = &jobs[ended.id as usize];
            prop_assert_eq!(ended.output, job.shape.output.min(job.stop_at).min(64 - job.shape.input));
            prop_assert_eq!(ended.reason == FinishReason::Stop, ended.output == job.stop_at);
            prop_assert!(outcome.ended.insert(ended.id, (ended.output, ended.preemptions)).is_none());
        }
    }
    for (id, job) in (0_u64..).zip(jobs) {
        prop_assert!(outcome.ended.contains_key(&id) || job.abort_at.is_some(), "request {id} never ended");
    }
    prop_assert_eq!(scheduler.pool.free(), config.kv_blocks);
    Ok(outcome)
}

/// Blocks are held by the tables of running requests and by nobody else.
fn conserve_blocks(scheduler: &Scheduler) -> Result<(), TestCaseError> {
    let mut holders = vec![0; scheduler.config.kv_blocks as usize];
    for sequence in scheduler.slots.iter().flatten() {
        prop_assert!(sequence.place == Place::Running || sequence.table.is_empty());
        prop_assert_eq!(sequence.table.len() as u32, scheduler.config.blocks_for(sequence.computed));
        sequence.table.iter().for_each(|&block| holders[block as usize] += 1);
    }
    for (block, &count) in (0..).zip(&holders) {
        prop_assert_eq!(scheduler.pool.holders(block), count);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn everything_ends_within_limits_and_reads_the_right_tokens(
        config in any_config(),
        jobs in prop::collection::vec(any_job(), 1..25),
    ) {
        let outcome = run(&config, &jobs, Tokens::Exact)?;
        // Without preemption and cache, the tokens computed are the tokens there are.
        let preempted = outcome.steps.iter().any(|(_, preempted)| !preempted.is_empty());
        if !preempted && !config.enable_prefix_caching && jobs.iter().all(|j| j.abort_at.is_none()) {
            let computed: u32 = outcome.steps.iter().flat_map(|(rows, _)| rows).map(|row| row.2).sum();
            let known: u32 =
                (0_u64..).zip(&jobs).map(|(id, j)| j.shape.input + outcome.ended[&id].0 - 1).sum();
            prop_assert_eq!(computed, known);
        }
        prop_assert_eq!(&outcome, &run(&config, &jobs, Tokens::Exact)?, "equal calls give equal plans");
    }

    /// Virtual time knows only lengths and prefixes, and still plans what the engine plans.
    #[test]
    fn known_lengths_and_exact_tokens_give_one_schedule(
        config in any_config(),
        jobs in prop::collection::vec(any_job(), 1..25),
    ) {
        prop_assert_eq!(run(&config, &jobs, Tokens::Exact)?, run(&config, &jobs, Tokens::Known)?);
    }
}

//! Schedules with a prefix cache, worked out by hand.

use super::*;
use crate::workload::{Prefix, Profile};

fn shared(tokens: u32, shared: u32) -> Prompt {
    Prompt::Shape { tokens, prefix: Some(Prefix { group: 0, tokens: shared }) }
}

#[test]
fn a_prompt_starts_after_the_blocks_it_shares() {
    let mut bench = Bench::new(SchedulerConfig { enable_prefix_caching: true, ..config(50, 4, 64) });
    bench.add(1, shared(13, 10), 2);
    bench.expect(&[(1, 0, 13, true)], &[], &[]);
    // Ten tokens are two whole blocks of four.
    bench.add(2, shared(12, 10), 2);
    bench.expect(&[(1, 13, 1, true), (2, 8, 4, true)], &[], &[1]);
    assert_eq!(bench.plan.items[1].admitted, Some(Admission { cached: 8, resumed: false }));
    // The prefix outlives its first owner. A shorter member shares one block.
    bench.add(3, shared(9, 7), 1);
    bench.expect(&[(2, 12, 1, true), (3, 4, 5, true)], &[], &[2, 3]);
    let stats = bench.scheduler.stats();
    assert_eq!((stats.prefix_queries_tokens, stats.prefix_hits_tokens), (13 + 12 + 9, 8 + 4));
    bench.scheduler.forget_prefixes();
    bench.add(4, shared(12, 10), 1);
    bench.expect(&[(4, 0, 12, true)], &[], &[4]);
}

#[test]
fn the_last_token_is_computed_even_when_all_of_the_prompt_is_cached() {
    let mut bench = Bench::new(SchedulerConfig { enable_prefix_caching: true, ..config(50, 4, 64) });
    let prompt = || Prompt::Tokens((0..8).collect());
    bench.add(1, prompt(), 1);
    bench.expect(&[(1, 0, 8, true)], &[], &[1]);
    // Both blocks are cached, but only whole blocks can be skipped: the last one is computed again.
    bench.add(2, prompt(), 1);
    bench.expect(&[(2, 4, 4, true)], &[], &[2]);
}

#[test]
fn a_prompt_hits_blocks_that_the_same_step_fills() {
    let mut bench = Bench::new(SchedulerConfig { enable_prefix_caching: true, ..config(50, 4, 64) });
    bench.add(1, shared(9, 8), 1);
    bench.add(2, shared(9, 8), 1);
    bench.expect(&[(1, 0, 9, true), (2, 8, 1, true)], &[], &[1, 2]);
}

#[test]
fn numbered_blocks_are_shared_by_number() {
    let mut bench = Bench::new(SchedulerConfig { enable_prefix_caching: true, ..config(50, 4, 64) });
    let numbered = |blocks: &[u64]| Prompt::Numbered { tokens: 16, blocks: blocks.to_vec() };
    bench.add(1, numbered(&[7, 8, 9]), 1);
    bench.add(2, numbered(&[7, 8, 5]), 1);
    bench.add(3, numbered(&[6, 8, 9]), 1);
    // A block counts with all before it: request 3 shares nothing. Blocks beyond the list are nobody else's.
    bench.add(4, numbered(&[7, 8, 9]), 1);
    bench.expect(
        &[(1, 0, 16, true), (2, 8, 8, true), (3, 0, 16, true), (4, 12, 4, true)],
        &[],
        &[1, 2, 3, 4],
    );
}

#[test]
fn a_resumed_request_finds_its_own_blocks_and_does_not_count_as_a_query() {
    let mut bench = Bench::new(SchedulerConfig { enable_prefix_caching: true, ..config(6, 2, 64) });
    bench.add_own(1, 4, 2); // 2 blocks, then 3
    bench.add_own(2, 7, 3); // 4 blocks
    bench.expect(&[(1, 0, 4, true), (2, 0, 7, true)], &[], &[]);
    // 1 needs a block; 2 is preempted, and 1 takes its half-full last block, which holds no whole content.
    bench.expect(&[(1, 4, 1, true)], &[2], &[1]);
    // 2 has 8 tokens; three blocks of it survive, and the last token has to be computed anyway.
    bench.expect(&[(2, 6, 2, true)], &[], &[]);
    assert_eq!(bench.plan.items[0].admitted, Some(Admission { cached: 6, resumed: true }));
    assert_eq!(bench.scheduler.stats().prefix_queries_tokens, 4 + 7);
}

#[test]
fn chat_hits_what_its_profile_says() {
    // Bounded from above by the share of 0.2, less what does not fill a block of 16.
    let mut bench = Bench::new(SchedulerConfig::new(10_000, 4_096));
    for (id, shape) in Profile::built_in("chat").unwrap().workload().shapes(1).take(1_000).enumerate() {
        bench.add(id as u64, shape.into(), 1);
    }
    while bench.scheduler.has_work() {
        bench.step();
    }
    let stats = bench.scheduler.stats();
    let rate = stats.prefix_hits_tokens as f64 / stats.prefix_queries_tokens as f64;
    // By hand: Σ 16·⌊round(n/5)/16⌋ / Σ n over n = 50..=200 is 2,656 / 18,875 = 0.1407.
    assert!((rate - 0.1407).abs() < 0.01, "{rate}");
}

#[test]
fn nothing_of_a_failed_step_is_found_later() {
    let mut bench = Bench::new(SchedulerConfig { enable_prefix_caching: true, ..config(50, 4, 16) });
    bench.add(1, shared(9, 8), 1);
    bench.add(2, shared(12, 8), 1);
    bench.add_own(3, 9, 4);
    bench.scheduler.schedule(&mut bench.plan);
    assert_eq!(bench.plan.items.len(), 3); // 9 + 4 + 3 tokens
    bench.scheduler.abort(2);
    bench.scheduler.abandon(&bench.plan);
    assert_eq!((bench.scheduler.has_work(), bench.scheduler.stats().kv_usage), (false, 0.0));
    bench.add(4, shared(9, 8), 1);
    bench.expect(&[(4, 0, 9, true)], &[], &[4]);
}

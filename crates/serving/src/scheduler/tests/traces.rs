//! Schedules worked out by hand.

use super::*;
use crate::step::StepShape;

#[test]
fn decodes_come_first_and_prompts_fill_the_budget_in_pieces() {
    let mut bench = Bench::new(config(100, 4, 8));
    bench.add_own(1, 10, 3);
    bench.add_own(2, 5, 2);
    bench.add_own(3, 3, 2);
    // The first prompt takes the whole budget.
    bench.expect(&[(1, 0, 8, false)], &[], &[]);
    // Its rest, a whole prompt, and the begin of the third share a step: 2 + 5 + 1 = 8.
    bench.expect(&[(1, 8, 2, true), (2, 0, 5, true), (3, 0, 1, false)], &[], &[]);
    // Two decodes and the rest of a prompt. Request 2 has its second token and ends.
    bench.expect(&[(1, 10, 1, true), (2, 5, 1, true), (3, 1, 2, true)], &[], &[2]);
    bench.expect(&[(1, 11, 1, true), (3, 3, 1, true)], &[], &[1, 3]);
    bench.expect(&[], &[], &[]);
    assert!(!bench.scheduler.has_work());
    assert_eq!(bench.scheduler.stats().kv_usage, 0.0);
}

#[test]
fn a_long_prompt_is_held_back_by_its_threshold() {
    let mut bench = Bench::new(SchedulerConfig { long_prefill_token_threshold: 3, ..config(100, 4, 8) });
    bench.add_own(1, 7, 2);
    bench.add_own(2, 2, 3);
    bench.expect(&[(1, 0, 3, false), (2, 0, 2, true)], &[], &[]);
    bench.expect(&[(1, 3, 3, false), (2, 2, 1, true)], &[], &[]);
    bench.expect(&[(1, 6, 1, true), (2, 3, 1, true)], &[], &[2]);
    bench.expect(&[(1, 7, 1, true)], &[], &[1]);
}

#[test]
fn without_chunking_a_prompt_waits_for_a_step_that_holds_it() {
    let whole = SchedulerConfig { enable_chunked_prefill: false, max_model_len: 16, ..config(20, 4, 16) };
    let mut bench = Bench::new(whole);
    bench.add_own(1, 9, 2);
    bench.add_own(2, 7, 1);
    bench.add_own(3, 1, 1);
    // 9 + 7 = 16 fills the step exactly; nobody overtakes, so 3 waits although a later step has room.
    bench.expect(&[(1, 0, 9, true), (2, 0, 7, true)], &[], &[2]);
    bench.add_own(4, 15, 1);
    bench.expect(&[(1, 9, 1, true), (3, 0, 1, true)], &[], &[1, 3]);
    bench.expect(&[(4, 0, 15, true)], &[], &[4]);
}

#[test]
fn no_more_requests_run_than_allowed() {
    let mut bench = Bench::new(SchedulerConfig { max_num_seqs: 2, ..config(100, 4, 64) });
    (1..=3).for_each(|id| bench.add_own(id, 4, 2));
    bench.expect(&[(1, 0, 4, true), (2, 0, 4, true)], &[], &[]);
    assert_eq!((bench.scheduler.stats().running, bench.scheduler.stats().waiting), (2, 1));
    bench.expect(&[(1, 4, 1, true), (2, 4, 1, true)], &[], &[1, 2]);
    bench.expect(&[(3, 0, 4, true)], &[], &[]);
}

#[test]
fn the_last_running_request_makes_room_and_starts_again() {
    // 4 blocks of 2 tokens for two sequences that grow to 8 tokens each.
    let mut bench = Bench::new(config(4, 2, 64));
    bench.add_own(1, 3, 5);
    bench.add_own(2, 3, 5);
    bench.expect(&[(1, 0, 3, true), (2, 0, 3, true)], &[], &[]);
    bench.expect(&[(1, 3, 1, true), (2, 3, 1, true)], &[], &[]);
    // Position 4 needs a third block and none is free: 2 gives up its two.
    bench.expect(&[(1, 4, 1, true)], &[2], &[]);
    // 2 has 3 + 2 tokens and needs 3 blocks; 1 is free.
    bench.expect(&[(1, 5, 1, true)], &[], &[]);
    // 1 reaches its fifth token.
    bench.expect(&[(1, 6, 1, true)], &[], &[1]);
    bench.expect(&[(2, 0, 5, true)], &[], &[]);
    assert_eq!(bench.plan.items[0].admitted, Some(Admission { cached: 0, resumed: true }));
    bench.expect(&[(2, 5, 1, true)], &[], &[]);
    bench.expect(&[(2, 6, 1, true)], &[], &[2]);
    assert_eq!(bench.scheduler.stats().preemptions_total, 1);
}

#[test]
fn a_request_without_room_preempts_itself_when_it_is_last() {
    let mut bench = Bench::new(config(4, 2, 64));
    bench.add_own(1, 5, 2); // 3 blocks, the last half full
    bench.add_own(2, 2, 4); // 1 block, full
    bench.expect(&[(1, 0, 5, true), (2, 0, 2, true)], &[], &[]);
    // 1 writes position 5 into its third block; 2 needs a second block and is the last one.
    bench.expect(&[(1, 5, 1, true)], &[2], &[1]);
    bench.expect(&[(2, 0, 3, true)], &[], &[]);
}

#[test]
fn a_long_prompt_preempts_as_many_as_it_must_and_nobody_overtakes_them() {
    // Steps of 8 tokens are 2 blocks of 4 for request 1; 2 and 3 hold a block each.
    let mut bench = Bench::new(SchedulerConfig {
        reserve_full_prompt: false,
        long_prefill_token_threshold: 8,
        ..config(6, 4, 64)
    });
    bench.add_own(1, 23, 1);
    bench.add_own(2, 1, 9);
    bench.add_own(3, 1, 9);
    bench.expect(&[(1, 0, 8, false), (2, 0, 1, true), (3, 0, 1, true)], &[], &[]);
    bench.expect(&[(1, 8, 8, false), (2, 1, 1, true), (3, 1, 1, true)], &[], &[]);
    bench.add_own(4, 1, 1);
    // 1 holds 4 of 6 blocks and needs all: first 3 goes, then 2. 4 waits, although it would need one block only.
    bench.expect(&[(1, 16, 7, true)], &[3, 2], &[1]);
    bench.expect(&[(2, 0, 3, true), (3, 0, 3, true), (4, 0, 1, true)], &[], &[4]);
    assert_eq!(bench.scheduler.stats().preemptions_total, 2);
}

#[test]
fn nothing_is_admitted_in_a_step_that_preempts() {
    let mut bench = Bench::new(SchedulerConfig {
        reserve_full_prompt: false,
        long_prefill_token_threshold: 4,
        ..config(6, 2, 8)
    });
    bench.add_own(1, 4, 3);
    bench.add_own(2, 8, 3);
    bench.expect(&[(1, 0, 4, true), (2, 0, 4, false)], &[], &[]);
    // 1 takes one of the two free blocks and 2 needs both. Its own two are free now, but it may not return at once.
    bench.expect(&[(1, 4, 1, true)], &[2], &[]);
    bench.expect(&[(1, 5, 1, true), (2, 0, 4, false)], &[], &[1]);
    bench.expect(&[(2, 4, 4, true)], &[], &[]);
}

#[test]
fn requests_preempted_one_after_the_other_return_in_order_of_arrival() {
    let mut bench = Bench::new(config(5, 2, 8));
    bench.add_own(1, 2, 6);
    bench.add_own(2, 3, 6);
    bench.add_own(3, 3, 6);
    // 1, 2 and 2 blocks.
    bench.expect(&[(1, 0, 2, true), (2, 0, 3, true), (3, 0, 3, true)], &[], &[]);
    // 1 needs a block: 3 goes. 2 still fits its second block.
    bench.expect(&[(1, 2, 1, true), (2, 3, 1, true)], &[3], &[]);
    // One block is free and 2 needs it; 3 has to wait.
    bench.expect(&[(1, 3, 1, true), (2, 4, 1, true)], &[], &[]);
    // Now 1 needs its third block and 2 goes: it waits before 3.
    bench.expect(&[(1, 4, 1, true)], &[2], &[]);
    bench.expect(&[(1, 5, 1, true)], &[], &[]);
    bench.expect(&[(1, 6, 1, true)], &[], &[1]);
    // 2 has 3 + 3 tokens, 3 has 3 + 1: 3 + 2 blocks, and 6 + 2 tokens of budget.
    bench.expect(&[(2, 0, 6, true), (3, 0, 2, false)], &[], &[]);
}

#[test]
fn admission_reserves_the_whole_prompt_only_when_told() {
    let admitted = |reserve_full_prompt| {
        let mut bench = Bench::new(SchedulerConfig { reserve_full_prompt, ..config(6, 2, 5) });
        bench.add_own(1, 4, 4); // 2 blocks
        bench.add_own(2, 9, 1); // 5 blocks, of which 4 are free
        bench.step();
        bench.step().0
    };
    assert_eq!(admitted(true), [(1, 4, 1, true)]);
    // 1 took a third block and a token of the budget: 4 tokens in 2 blocks fit into the 3 left.
    assert_eq!(admitted(false), [(1, 4, 1, true), (2, 1, 4, false)]);
}

#[test]
fn output_ends_at_the_models_length_or_a_stop() {
    let mut bench = Bench::new(SchedulerConfig { max_model_len: 6, ..config(100, 4, 64) });
    bench.add_own(1, 4, 100);
    bench.expect(&[(1, 0, 4, true)], &[], &[]);
    bench.scheduler.schedule(&mut bench.plan);
    let ended = bench.scheduler.complete(&bench.plan, |_| Sampled::default()).to_vec();
    assert_eq!((ended[0].reason, ended[0].prompt, ended[0].output), (FinishReason::Length, 4, 2));

    bench.add_own(2, 4, 1);
    bench.scheduler.schedule(&mut bench.plan);
    let ended = bench.scheduler.complete(&bench.plan, |_| Sampled { token: 0, stop: true }).to_vec();
    assert_eq!(ended[0].reason, FinishReason::Stop, "a stop token in the last place is a stop");
}

#[test]
fn an_abort_between_plan_and_completion_is_not_asked_for_a_token() {
    let mut bench = Bench::new(config(100, 4, 64));
    (1..=2).for_each(|id| bench.add_own(id, 4, 3));
    bench.add_own(3, 4, 3);
    bench.scheduler.schedule(&mut bench.plan);
    assert!(bench.scheduler.abort(2) && !bench.scheduler.abort(2));
    // Its slot goes to a new request at once, which must not receive the old one's token.
    bench.add_own(4, 8, 3);
    let mut asked = Vec::new();
    bench.scheduler.complete(&bench.plan, |item| {
        asked.push(item.id);
        Sampled::default()
    });
    assert_eq!(asked, [1, 3]);
    bench.expect(&[(1, 4, 1, true), (3, 4, 1, true), (4, 0, 8, true)], &[], &[]);
    assert!(bench.scheduler.abort(4) && bench.scheduler.abort(1) && bench.scheduler.abort(3));
    assert_eq!((bench.scheduler.has_work(), bench.scheduler.stats().kv_usage), (false, 0.0));
}

#[test]
fn planning_ahead_goes_on_with_prompts_and_leaves_decodes() {
    let mut bench = Bench::new(config(100, 4, 4));
    bench.add_own(1, 2, 2);
    bench.add_own(2, 6, 2);
    let mut first = StepPlan::new();
    bench.scheduler.schedule(&mut first);
    bench.expect(&[(2, 2, 4, true)], &[], &[]); // 1 waits for the token of the first plan
    bench.scheduler.complete(&first, |_| Sampled::default());
    bench.expect(&[(1, 2, 1, true), (2, 6, 1, true)], &[], &[1, 2]);
}

#[test]
fn a_handle_leads_to_tokens_and_blocks_until_the_request_ends() {
    let mut bench = Bench::new(config(100, 4, 64));
    bench.add(7, Prompt::Tokens(vec![11, 12, 13, 14, 15]), 2);
    let handle = bench.scheduler.handle(7).unwrap();
    assert_eq!(bench.scheduler.block_table(handle), [0; 0]);
    bench.scheduler.schedule(&mut bench.plan);
    assert_eq!(
        (bench.plan.items[0].handle, bench.scheduler.block_table(handle)),
        (handle, [0, 1].as_slice())
    );
    bench.scheduler.complete(&bench.plan, |_| Sampled { token: 99, stop: false });
    assert_eq!(bench.scheduler.token_ids(handle), [11, 12, 13, 14, 15, 99]);
    bench.step();
    assert_eq!((bench.scheduler.handle(7), bench.scheduler.token_ids(handle)), (None, [].as_slice()));
    bench.add_own(8, 1, 1); // takes the slot
    assert_eq!(bench.scheduler.block_table(handle), [0; 0]);
}

#[test]
fn a_plan_tells_how_much_it_computes() {
    let mut bench = Bench::new(config(100, 4, 8));
    bench.add_own(1, 3, 9);
    bench.step();
    bench.add_own(2, 20, 9);
    bench.step();
    bench.scheduler.schedule(&mut bench.plan);
    let mut shape = StepShape::default();
    bench.plan.shape(&mut shape);
    // Request 1 decodes position 4 (reads 5 tokens); request 2 computes 7 tokens after its first 7.
    assert_eq!((shape.decode_seqs, shape.decode_context_tokens, shape.prefill_tokens), (1, 5, 7));
    assert_eq!((shape.chunks[0].past, shape.sampled, shape.admitted), (7, 1, 0));
    assert_eq!((bench.plan.tokens(), shape.tokens(), shape.context_tokens()), (8, 8, 5 + 14));
}

#[test]
fn requests_that_cannot_be_served_are_refused() {
    let mut scheduler = Scheduler::new(config(4, 4, 8)).unwrap();
    let mut add = |id, tokens, max_tokens| {
        scheduler.add(Request { id, prompt: Prompt::Shape { tokens, prefix: None }, max_tokens }).map(|_| ())
    };
    assert_eq!(add(1, 0, 1), Err(AddError::EmptyPrompt));
    assert_eq!(add(1, 16, 1), Err(AddError::PromptTooLong { tokens: 16, max_model_len: 16 }));
    assert_eq!(add(1, 4, 0), Err(AddError::NoOutput));
    assert_eq!(add(1, 4, 1), Ok(()));
    assert_eq!(add(1, 4, 1), Err(AddError::DuplicateId { id: 1 }));
}

#[test]
fn settings_that_could_stall_are_refused() {
    let check = |change: fn(&mut SchedulerConfig)| {
        let mut c = config(4, 4, 8);
        change(&mut c);
        c.check().unwrap_err()
    };
    assert_eq!(check(|c| c.max_num_seqs = 0), ConfigError::Zero { name: "max_num_seqs" });
    assert!(matches!(check(|c| c.kv_blocks = u32::MAX), ConfigError::TooManyBlocks { .. }));
    let too_small = check(|c| c.max_model_len = 17);
    assert_eq!(too_small, ConfigError::CacheTooSmall { kv_tokens: 16, max_model_len: 17 });
    assert!(too_small.hint().is_some());
    assert_eq!(
        check(|c| c.enable_chunked_prefill = false),
        ConfigError::StepTooSmall { max_num_batched_tokens: 8, max_model_len: 16 }
    );
}

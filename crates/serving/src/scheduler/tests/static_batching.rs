//! Static batches worked out by hand.

use super::*;
use crate::scheduler::plan::Padding;
use crate::step::StepShape;

fn batches_of(rows: u32, blocks: u32, budget: u32) -> SchedulerConfig {
    SchedulerConfig {
        rules: RuleSet::Static,
        max_num_seqs: rows,
        max_model_len: 32,
        ..config(blocks, 4, budget)
    }
}

fn padding(bench: &Bench) -> (u32, u32, u32) {
    let Padding { rows, tokens, past } = bench.plan.padding.expect("a static step is padded");
    (rows, tokens, past)
}

#[test]
fn nobody_is_admitted_until_the_last_of_a_batch_has_ended() {
    let mut bench = Bench::new(batches_of(2, 100, 64));
    bench.add_own(1, 3, 2);
    bench.add_own(2, 8, 4);
    bench.add_own(3, 5, 1);
    bench.expect(&[(1, 0, 3, true), (2, 0, 8, true)], &[], &[]);
    assert_eq!(padding(&bench), (2, 8, 0), "both prompts take as much as the longer one");
    bench.expect(&[(1, 3, 1, true), (2, 8, 1, true)], &[], &[1]);
    assert_eq!(padding(&bench), (2, 1, 8));
    // 1 has ended, its row is computed on; 3 waits though a place is free.
    let held = bench.scheduler.stats().kv_usage;
    bench.expect(&[(2, 9, 1, true)], &[], &[]);
    assert_eq!(padding(&bench), (2, 1, 9));
    let mut shape = StepShape::default();
    bench.plan.shape(&mut shape);
    assert_eq!((shape.decode_seqs, shape.decode_context_tokens, shape.sampled), (2, 20, 2));
    // 8 + 4 tokens are 3 blocks for each of the two rows from begin to end.
    assert!((held - 0.06).abs() < 1e-9 && bench.scheduler.stats().kv_usage == held, "{held}");
    bench.expect(&[(2, 10, 1, true)], &[], &[2]);
    bench.expect(&[(3, 0, 5, true)], &[], &[3]);
    assert_eq!(padding(&bench), (1, 5, 0));
    assert!(!bench.scheduler.has_work() && bench.scheduler.stats().kv_usage == 0.0);
}

#[test]
fn a_batch_is_as_large_as_step_and_cache_hold() {
    // Padded to 8 tokens each, three prompts are 24 tokens of a step, four are too many for one of 30.
    let mut bench = Bench::new(batches_of(8, 100, 30));
    [8, 2, 2, 2].into_iter().zip(1..).for_each(|(tokens, id)| bench.add_own(id, tokens, 1));
    assert_eq!(bench.step().1, [1, 2, 3]);
    assert_eq!(bench.step().1, [4]);
    // 8 + 8 tokens are 4 blocks: of 9 there are enough for two such rows.
    let mut bench = Bench::new(batches_of(8, 9, 64));
    (1..=3).for_each(|id| bench.add_own(id, 8, 8));
    bench.step();
    assert_eq!((bench.scheduler.stats().running, bench.scheduler.stats().waiting), (2, 1));
}

#[test]
fn a_prompt_that_no_step_holds_whole_is_refused() {
    let mut bench = Bench::new(batches_of(8, 100, 16));
    let long = Request { id: 1, prompt: Prompt::Shape { tokens: 17, prefix: None }, max_tokens: 1 };
    let refused = bench.scheduler.add(long).unwrap_err();
    assert_eq!(refused, AddError::PromptBeyondStep { tokens: 17, max_num_batched_tokens: 16 });
}

#[test]
fn an_aborted_batch_leaves_nothing_behind() {
    let mut bench = Bench::new(batches_of(2, 100, 64));
    (1..=3).for_each(|id| bench.add_own(id, 4, 9));
    bench.step();
    assert!(bench.scheduler.abort(1) && bench.scheduler.stats().running == 1);
    bench.expect(&[(2, 4, 1, true)], &[], &[]);
    assert_eq!(padding(&bench).0, 2, "its row stays");
    assert!(bench.scheduler.abort(2) && bench.scheduler.stats().kv_usage == 0.0);
    bench.expect(&[(3, 0, 4, true)], &[], &[]);
    assert_eq!(padding(&bench), (1, 4, 0));
}

#[test]
fn nothing_is_found_of_an_earlier_batch() {
    let caching = SchedulerConfig { enable_prefix_caching: true, ..batches_of(1, 100, 64) };
    let mut bench = Bench::new(caching);
    (1..=2).for_each(|id| bench.add(id, Prompt::Tokens((0..12).collect()), 1));
    bench.step();
    bench.expect(&[(2, 0, 12, true)], &[], &[2]);
    assert_eq!(bench.scheduler.stats().prefix_hits_tokens, 0);
}

#[test]
fn runs_at_once_end_where_single_steps_do() {
    let ends = |quietly: bool| {
        let mut s = Scheduler::new(batches_of(3, 100, 64)).unwrap();
        for id in 0..7_u32 {
            let prompt = Prompt::Shape { tokens: 3 + id % 4, prefix: None };
            s.add(Request { id: id.into(), prompt, max_tokens: 2 + 5 * (id % 3) }).unwrap();
        }
        let (mut plan, mut step, mut ends, mut shapes) = (StepPlan::new(), 0, Vec::new(), Vec::new());
        let mut shape = StepShape::default();
        while s.has_work() {
            if let Some(quiet) = s.quiet().filter(|_| quietly) {
                for k in 0..u64::from(quiet.steps) {
                    let context = quiet.context_tokens + k * u64::from(quiet.sequences);
                    shapes.push((quiet.sequences, context));
                }
                s.run_quiet(quiet.steps, 0);
                step += quiet.steps;
                continue;
            }
            s.schedule(&mut plan);
            plan.shape(&mut shape);
            shapes.push((shape.decode_seqs, shape.decode_context_tokens));
            step += 1;
            ends.extend(s.complete(&plan, |_| Sampled::default()).iter().map(|f| (step, f.id)));
        }
        (ends, shapes)
    };
    assert_eq!(ends(true), ends(false));
}

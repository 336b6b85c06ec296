use super::*;

const SMALL: FlashSdp = FlashSdp { tokens: 96, heads: 2, head_dim: 32 };
/// What a variant could know when it is set up.
const SEED: u64 = 7;
/// Of `flash_sdp`.
const TOLERANCE: f64 = 1e-4;

type Rows = <FlashSdp as Workload>::Input;

fn answers<W: Worker + ?Sized>(worker: &mut W) -> impl FnMut(u64) -> Result<Vec<f32>, String> + '_ {
    |seed| {
        worker.draw([seed, 0, 0]);
        worker.work()?;
        Ok(worker.output().to_vec())
    }
}

fn against(
    baseline: &mut dyn Worker,
    optimised: &mut dyn Worker,
    seeds: &[u64],
    tolerance: f64,
) -> Result<Verified, Unverified> {
    let (mut a, mut b) = (answers(baseline), answers(optimised));
    let (a, b): (&mut Answer<'_>, &mut Answer<'_>) = (&mut a, &mut b);
    verify(a, b, seeds, tolerance)
}

/// A variant made of a function over what the right one does.
struct Broken<F> {
    right: Box<dyn Variant<Rows>>,
    spoil: F,
}

impl<F: FnMut(&mut [f32]) + Send> Variant<Rows> for Broken<F> {
    fn work(&mut self, input: &Rows, output: &mut [f32]) -> Result<Done, String> {
        let done = self.right.work(input, output);
        (self.spoil)(output);
        done
    }

    fn held_bytes(&self) -> usize {
        self.right.held_bytes()
    }
}

fn broken(spoil: impl FnMut(&mut [f32]) + Send + 'static) -> Result<Verified, Unverified> {
    let mut baseline = Bound::set_up(SMALL, Way::Baseline, 1).unwrap();
    let right = SMALL.optimised(1).unwrap();
    let mut optimised = Bound::new(SMALL, Box::new(Broken { right, spoil }));
    against(&mut baseline, &mut optimised, &[97, 98, 99], TOLERANCE)
}

#[test]
fn both_ways_of_every_built_in_pair_give_the_same_with_any_number_of_threads() {
    for pair in PAIRS {
        let Form::BuiltIn { set_up, tolerance } = pair.cpu else { continue };
        if pair.name == "perplexity" {
            // Needs a real model, and says so.
            let setting = Setting { way: Way::Baseline, threads: 1, small: true, weights: None };
            assert!(matches!(set_up(&setting), Err(NotSetUp::Lacks(_))));
            continue;
        }
        for threads in [1, 2] {
            let mut sides = [Way::Baseline, Way::Optimised]
                .map(|way| set_up(&Setting { way, threads, small: true, weights: None }).unwrap());
            let [a, b] = &mut sides;
            let verified = against(a.as_mut(), b.as_mut(), &[97, 98, 99], tolerance);
            let verified = verified.unwrap_or_else(|e| panic!("{}: {e}", pair.name));
            assert_eq!(verified.inputs, 3);
            assert!(!a.shape().is_empty() && a.held_bytes() > 0, "{}", pair.name);
        }
    }
}

#[test]
fn fused_attention_rounds_otherwise_and_holds_less() {
    let mut baseline = Bound::set_up(SMALL, Way::Baseline, 1).unwrap();
    let mut optimised = Bound::set_up(SMALL, Way::Optimised, 1).unwrap();
    let verified = against(&mut baseline, &mut optimised, &[1, 2], TOLERANCE).unwrap();
    // Two orders of summing: rounding differs, or one of them was compared with itself.
    assert!(verified.largest > 0.0, "{verified:?}");
    assert!(optimised.held_bytes() < baseline.held_bytes());
}

fn metric(done: &Done, name: &str) -> f64 {
    done.metrics.iter().find(|(n, _)| *n == name).unwrap_or_else(|| panic!("{name}")).1
}

#[test]
fn blocks_copy_nothing_and_leave_less_unused() {
    let of = PagedAttention { context: 40, steps: 20, sequences: 2, ..PagedAttention::default() };
    let done = [Way::Baseline, Way::Optimised].map(|way| {
        let mut side = Bound::set_up(of, way, 1).unwrap();
        side.draw([1, 2, 3]);
        side.work().unwrap()
    });
    // 2 sequences of 40 and 30 tokens: two pieces each at the begin and with every step.
    assert_eq!(metric(&done[0], "allocations"), (2 + 20 * 2) as f64 * 2.0);
    // 60 tokens need 4 blocks, 50 need 4.
    assert_eq!(metric(&done[1], "allocations"), 8.0);
    assert_eq!(metric(&done[1], "copied_bytes"), 0.0);
    let used = 110.0 / 128.0;
    assert!((metric(&done[1], "kv_used_share") - used).abs() < 1e-9);
    assert!(metric(&done[0], "kv_used_share") < used);
}

#[test]
fn a_prefix_cache_computes_less_and_says_exactly_what_it_found() {
    let of = Prefixes { prompts: 6, groups: 2, prefix: 40, own: 10 };
    let done = [Way::Baseline, Way::Optimised].map(|way| {
        let mut side = Bound::set_up(of, way, 1).unwrap();
        side.draw([5, 0, 0]);
        side.work().unwrap()
    });
    // Two rounds; in each, two of three prompts of both groups find two blocks of 16 tokens.
    assert_eq!(metric(&done[1], "prefix_hit_tokens"), (2 * 4 * 32) as f64);
    assert_eq!(metric(&done[0], "prefix_hit_tokens"), 0.0);
}

#[test]
fn continuous_batching_takes_fewer_steps_for_the_same_tokens() {
    let of = Batching { requests: 16, slots: 4, prompt: 16, output: 32 };
    let done = [Way::Baseline, Way::Optimised].map(|way| {
        let mut side = Bound::set_up(of, way, 1).unwrap();
        side.draw([5, 0, 0]);
        side.work().unwrap()
    });
    assert_eq!(done[0].tokens, done[1].tokens);
    assert!(metric(&done[1], "steps") < metric(&done[0], "steps"), "{done:?}");
    assert!(metric(&done[1], "mean_batch") > metric(&done[0], "mean_batch"));
}

#[test]
fn a_wrong_an_unfinished_and_a_slightly_wrong_output_are_caught() {
    assert!(matches!(broken(|_| {}), Ok(Verified { inputs: 3, .. })));
    assert!(matches!(broken(|out| out[5] += 0.1), Err(Unverified::Differs { .. })));
    assert!(matches!(broken(|out| out.swap(0, 40)), Err(Unverified::Differs { .. })));
    let unfinished = broken(|out| out.iter_mut().rev().take(3).for_each(|v| *v = f32::NAN));
    assert!(matches!(unfinished, Err(Unverified::NotFinite { numbers: 3, .. })), "{unfinished:?}");
}

/// Does all of its work while it is set up, for the inputs that it expects.
struct Hidden {
    ready: Vec<Vec<f32>>,
    next: usize,
}

impl Variant<Rows> for Hidden {
    fn work(&mut self, _: &Rows, output: &mut [f32]) -> Result<Done, String> {
        output.copy_from_slice(&self.ready[self.next % self.ready.len()]);
        self.next += 1;
        Ok(Done::default())
    }

    fn held_bytes(&self) -> usize {
        0
    }
}

#[test]
fn work_hidden_in_set_up_is_caught_by_inputs_that_set_up_did_not_know() {
    let seeds = [SEED, SEED + 1, SEED + 2];
    let hidden = || {
        let mut right = Bound::set_up(SMALL, Way::Baseline, 1).unwrap();
        let ready = seeds.map(|seed| {
            right.draw([seed, 0, 0]);
            right.work().unwrap();
            right.output().to_vec()
        });
        Bound::new(SMALL, Box::new(Hidden { ready: ready.to_vec(), next: 0 }))
    };
    let mut baseline = Bound::set_up(SMALL, Way::Baseline, 1).unwrap();
    // It does pass where the inputs are those it made ready for: unknown seeds are what catches it.
    assert!(against(&mut baseline, &mut hidden(), &seeds, TOLERANCE).is_ok());
    let caught = against(&mut baseline, &mut hidden(), &seeds.map(|s| s + 10), TOLERANCE);
    assert!(matches!(caught, Err(Unverified::Differs { .. })), "{caught:?}");
}

#[test]
fn an_output_that_does_not_depend_on_the_input_is_caught() {
    let constant = || {
        let ready = vec![vec![1.0; SMALL.output_len()]];
        Bound::new(SMALL, Box::new(Hidden { ready, next: 0 }))
    };
    let caught = against(&mut constant(), &mut constant(), &[1, 2], TOLERANCE);
    assert_eq!(caught, Err(Unverified::Constant));
}

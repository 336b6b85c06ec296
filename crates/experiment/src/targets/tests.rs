use super::*;

const SMALL: FlashSdp = FlashSdp { tokens: 96, heads: 2, head_dim: 32 };
/// What a variant could know when it is set up.
const SEED: u64 = 7;

/// A variant made of a function over what the right one does.
struct Broken<F> {
    right: Box<dyn Variant<<FlashSdp as Workload>::Input>>,
    spoil: F,
}

impl<F: FnMut(&mut [f32]) + Send> Variant<<FlashSdp as Workload>::Input> for Broken<F> {
    fn work(&mut self, input: &<FlashSdp as Workload>::Input, output: &mut [f32]) -> Result<Done, String> {
        let done = self.right.work(input, output);
        (self.spoil)(output);
        done
    }

    fn held_bytes(&self) -> usize {
        self.right.held_bytes()
    }
}

fn broken(spoil: impl FnMut(&mut [f32]) + Send + 'static) -> Result<Verified, Unverified> {
    let mut baseline = Bound::new(&SMALL, SMALL.baseline(1).unwrap());
    let right = SMALL.optimised(1).unwrap();
    let mut optimised = Bound::new(&SMALL, Box::new(Broken { right, spoil }));
    verify(&mut baseline, &mut optimised, 99, 3)
}

#[test]
fn both_ways_of_attention_give_the_same_and_the_fused_holds_less() {
    for threads in [1, 2] {
        let mut baseline = Bound::new(&SMALL, SMALL.baseline(threads).unwrap());
        let mut optimised = Bound::new(&SMALL, SMALL.optimised(threads).unwrap());
        let verified = verify(&mut baseline, &mut optimised, 99, 3).unwrap();
        assert_eq!(verified.inputs, 3);
        // Two orders of summing: rounding differs, or one of them was compared with itself.
        assert!(verified.largest > 0.0 && verified.largest <= FlashSdp::TOLERANCE, "{verified:?}");
        assert!(optimised.held_bytes() < baseline.held_bytes());
    }
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

impl Variant<<FlashSdp as Workload>::Input> for Hidden {
    fn work(&mut self, _: &<FlashSdp as Workload>::Input, output: &mut [f32]) -> Result<Done, String> {
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
    let hidden = || {
        let mut right = Bound::new(&SMALL, SMALL.baseline(1).unwrap());
        let ready = (0..3).map(|i| {
            right.draw([SEED, i]);
            right.work().unwrap();
            right.output().to_vec()
        });
        Bound::new(&SMALL, Box::new(Hidden { ready: ready.collect(), next: 0 }))
    };
    let mut baseline = Bound::new(&SMALL, SMALL.baseline(1).unwrap());
    // It does pass where the inputs are those it made ready for: the nonce is what catches it.
    assert!(verify(&mut baseline, &mut hidden(), SEED, 3).is_ok());
    let caught = verify(&mut baseline, &mut hidden(), SEED + 1, 3);
    assert!(matches!(caught, Err(Unverified::Differs { .. })), "{caught:?}");
}

#[test]
fn an_output_that_does_not_depend_on_the_input_is_caught() {
    let constant = || {
        let ready = vec![vec![1.0; SMALL.output_len()]];
        Bound::new(&SMALL, Box::new(Hidden { ready, next: 0 }))
    };
    let caught = verify(&mut constant(), &mut constant(), 1, 2);
    assert_eq!(caught, Err(Unverified::Constant { workload: "flash_sdp" }));
}

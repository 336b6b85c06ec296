//! Local swaps on what is really counted: granules that a step touches. Where the cache holds less than a step's reach they
//! are its misses.
//!
//! A unit of granule A and one of granule B change places: only steps that read one of the two and not the other change,
//! so a try costs as many steps as the two units are read in.

use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use super::Budget;
use crate::permutation::Permutation;
use crate::trace::Trace;

/// Tries between two looks at the clock.
const LOOK_EVERY: u64 = 64;

/// An order with the count of what every step touches.
#[derive(Debug, Clone)]
pub struct Touches<'a> {
    trace: &'a Trace,
    /// The steps that read each unit.
    steps_of: Vec<Vec<u32>>,
    pi: Permutation,
    /// Places of a granule.
    size: usize,
    granules: usize,
    /// Units read of each granule, step by step.
    read: Vec<u32>,
    touched: u64,
}

impl<'a> Touches<'a> {
    /// Counts what a trace touches; `size` places make a granule.
    ///
    /// # Panics
    /// When trace and permutation differ in width, or a granule has no places.
    pub fn new(trace: &'a Trace, pi: Permutation, size: usize) -> Self {
        assert!(trace.d() == pi.len() && size > 0, "a permutation of another width, or granules of nothing");
        let granules = trace.d().div_ceil(size);
        let mut read = vec![0; trace.len() * granules];
        for (t, units) in trace.steps().enumerate() {
            for &unit in units {
                read[t * granules + pi.position()[unit as usize] as usize / size] += 1;
            }
        }
        let touched = read.iter().filter(|n| **n > 0).count() as u64;
        Self { trace, steps_of: trace.by_unit(), pi, size, granules, read, touched }
    }

    /// Granules touched, each once a step.
    pub fn touched(&self) -> u64 {
        self.touched
    }

    /// The order.
    pub fn permutation(&self) -> &Permutation {
        &self.pi
    }

    /// By how many more granules would be touched if the units at two places changed places.
    pub fn change(&self, p: usize, q: usize) -> i64 {
        let (a, b) = (p / self.size, q / self.size);
        if a == b {
            return 0;
        }
        let (u, v) = (self.pi.order()[p] as usize, self.pi.order()[q] as usize);
        self.leaving(u, v, a, b) + self.leaving(v, u, b, a)
    }

    /// The change of the steps that read `unit` and not `other`, when `unit` goes from one granule to another.
    fn leaving(&self, unit: usize, other: usize, from: usize, to: usize) -> i64 {
        let mut change = 0;
        apart(&self.steps_of[unit], &self.steps_of[other], |step| {
            let row = step as usize * self.granules;
            change += i64::from(self.read[row + to] == 0) - i64::from(self.read[row + from] == 1);
        });
        change
    }

    /// Exchanges the units at two places.
    pub fn swap(&mut self, p: usize, q: usize) {
        let change = self.change(p, q);
        let (a, b) = (p / self.size, q / self.size);
        let (u, v) = (self.pi.order()[p] as usize, self.pi.order()[q] as usize);
        self.pi.swap(p, q);
        if a == b {
            return;
        }
        for (unit, other, from, to) in [(u, v, a, b), (v, u, b, a)] {
            let (read, granules) = (&mut self.read, self.granules);
            apart(&self.steps_of[unit], &self.steps_of[other], |step| {
                read[step as usize * granules + from] -= 1;
                read[step as usize * granules + to] += 1;
            });
        }
        self.touched = self.touched.saturating_add_signed(change);
    }

    /// A place in the granule of a unit that some step reads together with the one at `p`.
    fn place_with_company(&self, p: usize, rng: &mut ChaCha8Rng) -> usize {
        let d = self.pi.len();
        let steps = &self.steps_of[self.pi.order()[p] as usize];
        if steps.is_empty() || rng.random_range(0..8) == 0 {
            return rng.random_range(0..d);
        }
        let step = steps[rng.random_range(0..steps.len())] as usize;
        let units = self.trace.step(step);
        let company = units[rng.random_range(0..units.len())];
        let granule = self.pi.position()[company as usize] as usize / self.size;
        (granule * self.size + rng.random_range(0..self.size)).min(d - 1)
    }
}

/// Calls `see` for what is in `a` and not in `b`; both ascend.
fn apart(a: &[u32], b: &[u32], mut see: impl FnMut(u32)) {
    let mut rest = b.iter().peekable();
    for &step in a {
        while rest.next_if(|&&other| other < step).is_some() {}
        if rest.peek() != Some(&&step) {
            see(step);
        }
    }
}

/// What local swaps came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Touched {
    /// The order.
    pub permutation: Permutation,
    /// Granules touched before.
    pub before: u64,
    /// Granules touched now.
    pub after: u64,
    /// Swaps that were tried.
    pub tried: u64,
}

/// Begins with the best of `starts`, tries `steps` swaps and makes those that do not touch more.
///
/// # Panics
/// When there is no start, or one is of another width than the trace.
pub fn reduce_touches(
    trace: &Trace,
    starts: impl IntoIterator<Item = Permutation>,
    size: usize,
    steps: u64,
    seed: u64,
    budget: &Budget<'_>,
) -> Touched {
    let states = starts.into_iter().map(|pi| Touches::new(trace, pi, size));
    let mut state = states.min_by_key(Touches::touched).expect("there is an order to begin with");
    let (before, d) = (state.touched, trace.d());
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut tried = 0;
    while d > size && tried < steps {
        if tried % LOOK_EVERY == 0 && budget.is_over() {
            break;
        }
        tried += 1;
        let p = rng.random_range(0..d);
        let q = state.place_with_company(p, &mut rng);
        // Moves that change nothing lead out of corners.
        if p / size != q / size && state.change(p, q) <= 0 {
            state.swap(p, q);
        }
    }
    Touched { before, after: state.touched, permutation: state.pi, tried }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::misses::{Geometry, misses};

    fn counted(trace: &Trace, pi: &Permutation, size: usize) -> u64 {
        let geometry = Geometry { unit_bits: 8, granule_bytes: size as u64, cache_bytes: 0 };
        misses(trace, pi, &geometry).granules
    }

    proptest! {
        #[test]
        fn a_swap_changes_what_counting_anew_finds(
            steps in prop::collection::vec(prop::collection::vec(0u32..30, 0..10), 1..20),
            swaps in prop::collection::vec((0usize..30, 0usize..30), 1..30),
            size in 1usize..9,
        ) {
            prop_assume!(steps.iter().any(|s| !s.is_empty()));
            let trace = Trace::new(30, steps).unwrap();
            let mut state = Touches::new(&trace, Permutation::random(30, 1), size);
            for (p, q) in swaps {
                let expected = state.touched() as i64 + state.change(p, q);
                state.swap(p, q);
                prop_assert_eq!(state.touched() as i64, expected);
                prop_assert_eq!(state.touched(), counted(&trace, state.permutation(), size));
            }
        }
    }

    #[test]
    fn scattered_groups_come_together() {
        // Eight groups of four units that are always read together, strewn by a permutation.
        let names = Permutation::random(32, 3);
        let steps = (0..64u32).map(|t| (0..4).map(|i| names.order()[((t % 8) * 4 + i) as usize]).collect());
        let trace = Trace::new(32, steps).unwrap();
        let budget = Budget::new(1.0, &|| 0.0);
        let local = reduce_touches(&trace, [Permutation::identity(32)], 4, 20_000, 1, &budget);
        assert!(2 * local.after < local.before && local.before > 190, "{local:?}");
        let path = crate::solver::greedy(&crate::Graph::co_activation(&trace), 4, &budget);
        let found = reduce_touches(&trace, [Permutation::identity(32), path], 4, 20_000, 1, &budget);
        // One granule a step is the least there can be.
        assert_eq!(found.after, 64, "{} before", found.before);
        assert_eq!(found.after, counted(&trace, &found.permutation, 4));
    }
}

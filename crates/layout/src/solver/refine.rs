//! Local swaps on J: a unit goes near one of its neighbours when that costs less. A try costs two degrees.

use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use super::Budget;
use crate::cost::Swaps;
use crate::permutation::Permutation;

/// Smaller gains are rounding.
const LEAST_GAIN: f64 = 1e-13;
/// Tries between two looks at the clock.
const LOOK_EVERY: u64 = 64;

/// What local swaps came to.
#[derive(Debug, Clone, PartialEq)]
pub struct Refined {
    /// The order.
    pub permutation: Permutation,
    /// Swaps that were tried.
    pub tried: u64,
    /// Swaps that were made.
    pub made: u64,
}

/// Tries `steps` swaps and makes those that lower J.
pub fn refine(mut state: Swaps<'_>, steps: u64, seed: u64, budget: &Budget<'_>) -> Refined {
    let d = state.permutation().len();
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let (mut tried, mut made) = (0, 0);
    while d > 1 && tried < steps {
        if tried % LOOK_EVERY == 0 && budget.is_over() {
            break;
        }
        tried += 1;
        let p = rng.random_range(0..d);
        let q = state.place_near_a_neighbour(p, &mut rng);
        if p == q {
            continue;
        }
        let change = state.change(p, q);
        if change.j < -LEAST_GAIN {
            state.swap(p, q, &change);
            made += 1;
        }
    }
    Refined { permutation: state.into_permutation(), tried, made }
}

impl Swaps<'_> {
    /// A place within a few steps of a neighbour of the unit at `p`, or any place.
    fn place_near_a_neighbour(&self, p: usize, rng: &mut ChaCha8Rng) -> usize {
        let d = self.permutation().len();
        let unit = self.permutation().order()[p] as usize;
        let count = self.graph().count(unit);
        if count == 0 || rng.random_range(0..4) == 0 {
            return rng.random_range(0..d);
        }
        let neighbour = self.graph().neighbour(unit, rng.random_range(0..count));
        let reach = 1i64 << rng.random_range(0..6u32);
        let place = i64::from(self.permutation().position()[neighbour as usize]);
        (place + rng.random_range(-reach..=reach)).clamp(0, d as i64 - 1) as usize
    }
}

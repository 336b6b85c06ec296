//! Intervals by resampling.
//!
//! | question | function |
//! |---|---|
//! | any statistic of independent values, such as one number a trial | [`bca`] |
//! | any statistic of one series in order of time | [`block`] |
//! | mean, quantile or standard deviation of all observations of several trials | [`two_level_mean`], [`two_level_quantiles`], [`two_level_sd`] |
//!
//! Resamples run in parallel. Each draws from its own stream of one seeded generator, so the result does not depend
//! on the number of threads or on the platform.

mod bca;
pub(crate) mod block;
mod layout;
mod moments;
mod ranks;
mod two_level;

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

pub use bca::{Bca, bca};
pub use block::block;
pub use two_level::{two_level_mean, two_level_quantile, two_level_quantiles, two_level_sd};

use crate::quantile::{quantile, sort};
use crate::{Unsupported, require_probability};

/// How to resample.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Options {
    /// Resamples to draw.
    pub resamples: u32,
    /// Coverage asked for.
    pub level: f64,
    /// One seed gives one interval.
    pub seed: u64,
    /// Block length; `None` chooses it from the autocorrelation (see [`crate::autocorrelation::block_length`]).
    pub block: Option<usize>,
}

impl Default for Options {
    fn default() -> Self {
        Self { resamples: 1000, level: 0.95, seed: 0, block: None }
    }
}

/// Values drawn in all resamples together before their number is cut, so that millions of gaps stay affordable.
const BUDGET: u64 = 200_000_000;
/// Fewest resamples the budget leaves.
const FEWEST: u64 = 200;

impl Options {
    fn check(&self) -> Result<(), Unsupported> {
        require_probability(self.level)
    }

    /// Resamples to draw for `n` values.
    fn resamples_for(&self, n: usize) -> u64 {
        let affordable = (BUDGET / n.max(1) as u64).max(FEWEST);
        u64::from(self.resamples).clamp(2, affordable)
    }

    /// Runs `draw` once a resample, for `n` values read in each. `scratch` is made once a thread.
    fn replicate<S, T: Send>(
        &self,
        n: usize,
        scratch: impl Fn() -> S + Sync + Send,
        draw: impl Fn(&mut ChaCha8Rng, &mut S) -> T + Sync + Send,
    ) -> Vec<T> {
        let one = |s: &mut S, i| {
            let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
            rng.set_stream(i);
            draw(&mut rng, s)
        };
        (0..self.resamples_for(n)).into_par_iter().map_init(scratch, one).collect()
    }
}

/// Leaves out what is not finite and sorts the rest.
fn sorted_finite(values: impl IntoIterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<f64> = values.into_iter().filter(|v| v.is_finite()).collect();
    sort(&mut values);
    values
}

/// Equal-tailed percentile bounds of sorted replicates.
fn percentiles(sorted: &[f64], level: f64) -> (f64, f64) {
    (quantile(sorted, 0.5 - level / 2.0), quantile(sorted, 0.5 + level / 2.0))
}

//! Has something changed? Values of today against a baseline, and a stream watched value by value.
//!
//! ```text
//! baseline, window ──► distance ──► Detector    KS, Wasserstein, PSI, Jensen–Shannon; one answer a window
//! baseline, stream ──► Chart                    CUSUM, Page–Hinkley; one answer a value
//! ```
//!
//! No limit is taken from a table. With no drift at all a population stability index of 30 bins and 200 + 200 values is
//! about 29/200 + 29/200 = 0.29, above the limits of 0.1 and 0.2 that are usual, while among 100,000 values Kolmogorov
//! and Smirnov find differences that nobody minds. So each limit is the one that resamples of the *baseline* exceed at
//! the rate of false alarms that was asked for, and each answer carries the size of the difference beside it.
//! Latencies come in runs; resamples are therefore drawn in blocks ([`crate::bootstrap`]).

mod chart;
mod distance;
mod window;

pub use chart::{Chart, Direction, Method, Run};
pub use distance::{Distances, Statistic, distances};
pub use window::{Answer, Detector, Options};

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use crate::autocorrelation::block_length;

/// Blocks are this much longer than what suits the variance of a mean best: that length leaves some of the dependence
/// out, which would make false alarms of it.
const LONGER: usize = 3;

/// Length of the blocks that resamples of `baseline` are drawn in.
fn blocks(baseline: &[f64]) -> usize {
    (LONGER * block_length(baseline)).clamp(1, (baseline.len() / 5).max(1))
}

/// The generator of one resample.
fn stream(seed: u64, i: u64) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(i);
    rng
}

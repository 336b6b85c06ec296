//! The circular block bootstrap of one series.

use rand::Rng;
use rand_chacha::ChaCha8Rng;

use super::{Options, percentiles};
use crate::autocorrelation::block_length;
use crate::{Ci, Unsupported, require};

/// Percentile interval of `statistic` over a series in order of time: blocks of neighbours are drawn from the series
/// closed to a ring (Politis & Romano, "A circular block-resampling procedure for stationary data", 1992).
///
/// # Errors
/// Fewer than two values, a value that is not finite, or a statistic that is not finite.
pub fn block(
    series: &[f64],
    statistic: impl Fn(&[f64]) -> f64 + Sync + Send,
    options: &Options,
) -> Result<Ci, Unsupported> {
    options.check()?;
    require(series, 2)?;
    let length = options.block.unwrap_or_else(|| block_length(series)).clamp(1, series.len());
    let replicates = options.replicate(
        series.len(),
        || Vec::with_capacity(series.len()),
        |rng, sample: &mut Vec<f64>| {
            sample.clear();
            for_each_block(rng, series.len(), length, |from, to| sample.extend_from_slice(&series[from..to]));
            statistic(sample)
        },
    );
    if replicates.is_empty() {
        return Err(Unsupported::NotFinite);
    }
    let (lo, hi) = percentiles(&replicates, options.level);
    Ok(Ci { level: options.level, lo, hi })
}

/// Draws blocks until `n` positions are covered, and hands each on as one or two ranges.
pub(super) fn for_each_block(
    rng: &mut ChaCha8Rng,
    n: usize,
    length: usize,
    mut take: impl FnMut(usize, usize),
) {
    let mut left = n;
    while left > 0 {
        let from = rng.random_range(0..n as u32) as usize;
        let want = length.min(left);
        let first = want.min(n - from);
        take(from, from + first);
        if first < want {
            take(0, want - first);
        }
        left -= want;
    }
}

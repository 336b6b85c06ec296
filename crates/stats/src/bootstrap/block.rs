//! The circular block bootstrap of one series.

use rand::Rng;
use rand_chacha::ChaCha8Rng;

use super::{Options, percentiles, sorted_finite};
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
    let replicates = sorted_finite(options.replicate(
        series.len(),
        || Vec::with_capacity(series.len()),
        |rng, sample: &mut Vec<f64>| {
            sample.clear();
            for_each_block(rng, series.len(), series.len(), length, |from, to| {
                sample.extend_from_slice(&series[from..to])
            });
            statistic(sample)
        },
    ));
    if replicates.is_empty() {
        return Err(Unsupported::NotFinite);
    }
    let (lo, hi) = percentiles(&replicates, options.level);
    Ok(Ci { level: options.level, lo, hi })
}

/// Draws blocks of a ring of `n` positions until `wanted` of them are drawn, and hands each on as one or two ranges.
pub(crate) fn for_each_block(
    rng: &mut ChaCha8Rng,
    n: usize,
    wanted: usize,
    length: usize,
    mut take: impl FnMut(usize, usize),
) {
    let mut left = wanted;
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

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;
    use crate::describe::mean;

    #[test]
    fn blocks_cover_exactly_n_positions_of_the_ring() {
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        for (n, length) in [(10, 3), (7, 7), (1, 1), (100, 33)] {
            let mut covered = 0;
            for_each_block(&mut rng, n, n, length, |from, to| {
                assert!(from < to && to <= n);
                covered += to - from;
            });
            assert_eq!(covered, n);
        }
    }

    #[test]
    fn blocks_widen_the_interval_of_a_series_with_runs() {
        // Runs of 20 equal values: 10 independent ones. The t interval of 10 values is the yardstick.
        let levels = [3.0, 7.0, 1.0, 9.0, 4.0, 6.0, 2.0, 8.0, 5.0, 5.0];
        let series: Vec<f64> = levels.iter().flat_map(|v| [*v; 20]).collect();
        let width = |block| {
            let ci = super::block(&series, mean, &Options { block, ..Options::default() }).unwrap();
            ci.hi - ci.lo
        };
        let t = crate::interval::t_mean(&levels, 0.95).unwrap();
        let (single, runs) = (width(Some(1)), width(None));
        assert!(runs > 2.5 * single, "{runs} {single}");
        // Its levels alternate and t is wider than normal at 9 degrees of freedom, so somewhat less is right.
        assert!(runs > 0.5 * (t.hi - t.lo) && runs < 1.1 * (t.hi - t.lo), "{runs} {t:?}");
    }

    #[test]
    fn variance_of_the_mean_of_blocks_by_hand() {
        // 0 1 0 1 …: every block of two has mean ½, so every resample has.
        let series: Vec<f64> = (0..40).map(|i| f64::from(i % 2)).collect();
        let ci = super::block(&series, mean, &Options { block: Some(2), ..Options::default() }).unwrap();
        assert_eq!((ci.lo, ci.hi), (0.5, 0.5));
    }
}

//! Steps in a function that climbs like a staircase: time over size, of something that works in tiles.
//!
//! Between steps the values may climb slowly; a step is a rise beyond what the differences between neighbours are
//! otherwise, that is still there at the next values. One value that is off is not a step.

use crate::quantile::{median, quantile, sorted};

/// Fewest values in which steps can be looked for.
pub const NEEDED: usize = 8;
/// Standard deviations of ordinary differences beyond which a rise may be a step.
const SIGMAS: f64 = 5.0;
/// Share of a large rise that a step reaches: steps of one staircase are alike.
const OF_LARGE: f64 = 0.25;
/// From the median absolute deviation to the standard deviation of a normal distribution.
const MAD_TO_SD: f64 = 1.4826;

/// A step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Step {
    /// Index of the first value above it.
    pub index: usize,
    /// Typical value above less typical value below.
    pub rise: f64,
}

/// The steps in `values`, whose neighbours differ by the same size each time; `noise` is the standard deviation of one
/// value, 0 where it is not known. Empty for fewer than [`NEEDED`] values.
#[must_use]
pub fn steps(values: &[f64], noise: f64) -> Vec<Step> {
    if values.len() < NEEDED {
        return Vec::new();
    }
    let rises: Vec<f64> = values.windows(2).map(|w| w[1] - w[0]).collect();
    let ordered = sorted(&rises);
    // Most neighbours are on one tread unless every second size is a step: the lower half tells what is ordinary.
    let flat = quantile(&ordered, 0.25);
    let lower = &ordered[..ordered.len().div_ceil(2)];
    let off: Vec<f64> = lower.iter().map(|d| (d - flat).abs()).collect();
    let spread = (MAD_TO_SD * median(&off)).max(std::f64::consts::SQRT_2 * noise);
    let large = quantile(&ordered, 0.98) - flat;
    let threshold = (SIGMAS * spread).max(OF_LARGE * large);
    if threshold <= 0.0 {
        return Vec::new();
    }
    let mut found: Vec<Step> = Vec::new();
    for (i, _) in rises.iter().enumerate().filter(|(_, rise)| **rise - flat > threshold) {
        let index = i + 1;
        // Up to three values on each side, but none from beyond the last step.
        let from = found.last().map_or(0, |s| s.index).max(index.saturating_sub(3));
        let (below, above) =
            (median(&values[from..index]), median(&values[index..values.len().min(index + 2)]));
        let stays = values.get(index + 1).is_none_or(|next| next - values[i] > threshold / 2.0);
        if stays && above - below > threshold / 2.0 {
            found.push(Step { index, rise: above - below });
        }
    }
    found
}

/// The distance that most neighbouring steps have; `None` when no distance occurs twice.
#[must_use]
pub fn common_distance(positions: &[u32]) -> Option<u32> {
    let mut distances: Vec<u32> = positions.windows(2).map(|w| w[1].saturating_sub(w[0])).collect();
    distances.sort_unstable();
    let runs = distances.chunk_by(|a, b| a == b);
    runs.filter(|run| run.len() >= 2).max_by_key(|run| run.len()).map(|run| run[0])
}

/// How far values lie off the line through their tread, relative to it: the median over all treads of at least three
/// values. `None` when there is no such tread.
#[must_use]
pub fn ripple(values: &[f64], steps: &[Step]) -> Option<f64> {
    let ends = steps.iter().map(|s| s.index).chain([values.len()]);
    let (mut begin, mut off) = (0, Vec::new());
    for end in ends {
        let tread = &values[begin..end];
        begin = end;
        if tread.len() < 3 {
            continue;
        }
        let n = tread.len() as f64;
        let (mean_x, mean_y) = ((n - 1.0) / 2.0, tread.iter().sum::<f64>() / n);
        let (mut xy, mut xx) = (0.0, 0.0);
        for (i, y) in tread.iter().enumerate() {
            let x = i as f64 - mean_x;
            xy += x * (y - mean_y);
            xx += x * x;
        }
        let slope = xy / xx;
        off.extend(tread.iter().enumerate().map(|(i, y)| {
            let line = mean_y + slope * (i as f64 - mean_x);
            ((y - line) / line).abs()
        }));
    }
    (!off.is_empty()).then(|| median(&off))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A staircase with treads of `tile` sizes, each `rise` above the last, climbing by `slope` a size, with uniform
    /// noise of ±`noise`.
    fn stairs(n: usize, tile: usize, rise: f64, slope: f64, noise: f64) -> Vec<f64> {
        let value = |i: usize| {
            // splitmix64: neighbours have nothing to do with each other.
            let mut z = (i as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            let dice = ((z ^ (z >> 31)) >> 40) as f64 / f64::from(1u32 << 23) - 1.0;
            10.0 + (i / tile) as f64 * rise + i as f64 * slope + noise * dice
        };
        (0..n).map(value).collect()
    }

    #[track_caller]
    fn check(values: &[f64], expected: &[usize]) {
        let found: Vec<usize> = steps(values, 0.0).iter().map(|s| s.index).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn the_edges_of_tiles_are_found() {
        check(&stairs(64, 16, 2.0, 0.0, 0.0), &[16, 32, 48]);
        check(&stairs(40, 8, 1.0, 0.05, 0.05), &[8, 16, 24, 32]);
        check(&stairs(24, 4, 1.0, 0.0, 0.05), &[4, 8, 12, 16, 20]);
    }

    #[test]
    fn a_ramp_and_noise_have_no_steps() {
        check(&stairs(60, 1000, 0.0, 0.3, 0.0), &[]);
        check(&stairs(200, 1000, 0.0, 0.0, 1.0), &[]);
        check(&[1.0; 20], &[]);
        check(&[1.0, 5.0, 1.0], &[]);
    }

    #[test]
    fn a_single_value_that_is_off_is_no_step() {
        let mut values = stairs(64, 16, 2.0, 0.0, 0.02);
        values[25] += 5.0;
        let found: Vec<usize> = steps(&values, 0.0).iter().map(|s| s.index).collect();
        assert_eq!(found, [16, 32, 48]);
    }

    #[test]
    fn a_step_is_as_high_as_it_is() {
        let values = stairs(64, 16, 2.0, 0.0, 0.02);
        for step in steps(&values, 0.0) {
            assert!((step.rise - 2.0).abs() < 0.06, "{step:?}");
        }
    }

    #[test]
    fn the_distance_that_repeats_is_the_tile() {
        assert_eq!(common_distance(&[128, 256, 384, 500]), Some(128));
        assert_eq!(common_distance(&[10, 30, 35]), None);
        assert_eq!(common_distance(&[7]), None);
    }

    #[test]
    fn ripple_is_what_remains_around_the_treads() {
        let quiet = stairs(64, 16, 2.0, 0.1, 0.0);
        assert!(ripple(&quiet, &steps(&quiet, 0.0)).is_some_and(|r| r < 1e-12));
        // Alternating ±0.2 around treads at 10 and 20: 2 % and 1 %, half of the values each.
        let wavy: Vec<f64> =
            (0..40).map(|i| if i < 20 { 10.0 } else { 20.0 } + if i % 2 == 0 { 0.2 } else { -0.2 }).collect();
        let found = ripple(&wavy, &steps(&wavy, 0.0)).unwrap();
        assert!((0.009..0.021).contains(&found), "{found}");
        assert_eq!(ripple(&[1.0, 2.0], &[]), None);
    }
}

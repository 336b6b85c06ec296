//! A window of the latest values against a baseline, with a limit that is exceeded at a stated rate without drift.

use super::distance::{Distances, Scale, Statistic, distances};
use super::{blocks, stream};
use crate::bootstrap::block::for_each_block;
use crate::quantile::{sort, sorted};
use crate::{Unsupported, require, require_probability};

use rayon::prelude::*;

/// Fewest values of a baseline.
const LEAST_BASELINE: usize = 50;
/// Fewest values of a window.
const LEAST_WINDOW: usize = 10;

/// What to watch, and how often it may cry wolf.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Options {
    /// The distance that decides.
    pub statistic: Statistic,
    /// Values in a window.
    pub window: usize,
    /// Share of windows without drift that may give an alarm.
    pub false_alarms: f64,
    /// Resamples of the baseline.
    pub resamples: u32,
    /// One seed gives one limit.
    pub seed: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            statistic: Statistic::KolmogorovSmirnov,
            window: 200,
            false_alarms: 0.01,
            resamples: 2000,
            seed: 0,
        }
    }
}

/// What a window says.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Answer {
    /// How far the window lies from the baseline; the size of the effect, by every statistic.
    pub distances: Distances,
    /// The distance that decides.
    pub value: f64,
    /// The limit it is held against.
    pub limit: f64,
    /// Share of resamples without drift that lie at least as far away.
    pub p: f64,
    /// The value exceeds the limit.
    pub drifted: bool,
}

/// Tells drift of windows from a baseline.
#[derive(Debug, Clone)]
pub struct Detector {
    options: Options,
    baseline: Vec<f64>,
    /// Distances of resamples without drift, in ascending order.
    replicates: Vec<f64>,
    limit: f64,
}

impl Detector {
    /// Finds the limit for windows against `baseline`, which is in order of time.
    ///
    /// Each resample draws a baseline and a window anew from the one there is, both in blocks.
    ///
    /// # Errors
    /// Fewer than 50 values, a window shorter than 10 or longer than half of the baseline, a baseline that does not
    /// vary, values that are not finite, a rate outside (0, 1) or too small for the number of resamples.
    pub fn calibrate(baseline: &[f64], options: Options) -> Result<Self, Unsupported> {
        require_probability(options.false_alarms)?;
        require(baseline, LEAST_BASELINE.max(2 * options.window))?;
        if options.window < LEAST_WINDOW {
            return Err(Unsupported::TooFewValues { n: options.window, needed: LEAST_WINDOW });
        }
        let resamples = options.resamples as usize;
        let needed = (1.0 / options.false_alarms).ceil() as usize;
        if resamples < needed {
            return Err(Unsupported::TooFewValues { n: resamples, needed });
        }
        let scale = Scale::of(baseline)?;
        let mut support = sorted(baseline);
        support.dedup();
        let bins: Vec<u8> = support.iter().map(|v| scale.bin(*v)).collect();
        let ranks: Vec<usize> = baseline.iter().map(|v| support.partition_point(|s| s < v)).collect();
        let length = blocks(baseline);
        let draw = |(a, b): &mut (Vec<u32>, Vec<u32>), i: u64| {
            let mut rng = stream(options.seed, i);
            for (counts, n) in [(&mut *a, baseline.len()), (&mut *b, options.window)] {
                counts.fill(0);
                for_each_block(&mut rng, baseline.len(), n, length, |from, to| {
                    ranks[from..to].iter().for_each(|rank| counts[*rank] += 1);
                });
            }
            scale.apart(&support, &bins, a, b).get(options.statistic)
        };
        let empty = || (vec![0; support.len()], vec![0; support.len()]);
        let mut replicates: Vec<f64> = (0..resamples as u64).into_par_iter().map_init(empty, draw).collect();
        sort(&mut replicates);
        // The k-th largest of r replicates and one value more is exceeded with probability k/(r + 1).
        let above = ((options.false_alarms * (resamples + 1) as f64).floor() as usize).clamp(1, resamples);
        let limit = replicates[resamples - above];
        Ok(Self { options, baseline: baseline.to_vec(), replicates, limit })
    }

    /// The limit of the distance that decides.
    pub fn limit(&self) -> f64 {
        self.limit
    }

    /// Holds the latest values, in any order, against the baseline; of more than a window the last are taken.
    ///
    /// # Errors
    /// Fewer values than a window has, or one that is not finite.
    pub fn check(&self, latest: &[f64]) -> Result<Answer, Unsupported> {
        require(latest, self.options.window)?;
        let distances = distances(&self.baseline, &latest[latest.len() - self.options.window..])?;
        let value = distances.get(self.options.statistic);
        let below = self.replicates.partition_point(|r| *r < value);
        let p = (self.replicates.len() - below + 1) as f64 / (self.replicates.len() + 1) as f64;
        Ok(Answer { distances, value, limit: self.limit, p, drifted: value > self.limit })
    }
}

//! How observations are drawn: trials with replacement, then blocks of neighbours inside each.

use std::ops::Range;

use rand::Rng;
use rand_chacha::ChaCha8Rng;

use super::Options;
use super::block::for_each_block;
use crate::autocorrelation::block_length;
use crate::quantile::median;
use crate::{Unsupported, require};

/// Blocks in a trial that are plenty.
const BLOCKS: usize = 1000;

/// Where each trial lies in the list of all observations.
pub(super) struct Layout {
    trials: Vec<Range<usize>>,
}

impl Layout {
    /// Refuses fewer than two trials, an empty trial and values that are not finite.
    pub(super) fn of(trials: &[Vec<f64>], options: &Options) -> Result<Self, Unsupported> {
        options.check()?;
        if trials.len() < 2 {
            return Err(Unsupported::TooFewTrials { trials: trials.len(), needed: 2 });
        }
        let mut from = 0;
        let mut ranges = Vec::with_capacity(trials.len());
        for trial in trials {
            require(trial, 1)?;
            ranges.push(from..from + trial.len());
            from += trial.len();
        }
        Ok(Self { trials: ranges })
    }

    /// Observations of all trials.
    pub(super) fn len(&self) -> usize {
        self.trials.last().map_or(0, |r| r.end)
    }

    /// Blocks in one resample.
    pub(super) fn draws(&self, block: usize) -> usize {
        self.len().div_ceil(block)
    }

    /// The asked block length, else the median of what each trial's autocorrelation suggests for `value`.
    ///
    /// A trial of many values gets at most [`BLOCKS`] blocks: longer ones cost nothing in precision then, are safe
    /// against dependence, and spare the time to draw and fetch each value on its own.
    pub(super) fn block(&self, trials: &[Vec<f64>], options: &Options, value: impl Fn(f64) -> f64) -> usize {
        options.block.unwrap_or_else(|| {
            let suggested =
                |t: &Vec<f64>| block_length(&t.iter().map(|&v| value(v)).collect::<Vec<_>>()) as f64;
            let by_dependence = median(&trials.iter().map(suggested).collect::<Vec<_>>()).ceil() as usize;
            by_dependence.max(self.len() / trials.len() / BLOCKS)
        })
    }

    /// Draws one resample and hands on its ranges of positions.
    pub(super) fn draw(&self, rng: &mut ChaCha8Rng, block: usize, mut take: impl FnMut(Range<usize>)) {
        for _ in 0..self.trials.len() {
            let trial = &self.trials[rng.random_range(0..self.trials.len() as u32) as usize];
            let length = block.clamp(1, trial.len());
            for_each_block(rng, trial.len(), length, |from, to| take(trial.start + from..trial.start + to));
        }
    }
}

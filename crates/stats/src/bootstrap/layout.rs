//! How observations are drawn: trials with replacement, then blocks of neighbours inside each.

use std::ops::Range;

use rand::Rng;
use rand_chacha::ChaCha8Rng;

use super::Options;
use super::block::for_each_block;
use crate::autocorrelation::block_length;
use crate::quantile::median;
use crate::{Sample, Unsupported, require};

/// Blocks in a trial that are plenty.
const BLOCKS: usize = 1000;

/// Where each trial lies in the list of all groups of observations; a single observation is a group of one.
pub(super) struct Layout<'a> {
    trials: &'a [Range<usize>],
}

impl<'a> Layout<'a> {
    /// Refuses fewer than two trials, an empty trial and values that are not finite.
    pub(super) fn of(sample: &'a Sample, options: &Options) -> Result<Self, Unsupported> {
        options.check()?;
        let trials = sample.ranges();
        if trials.len() < 2 {
            return Err(Unsupported::TooFewTrials { trials: trials.len(), needed: 2 });
        }
        require(sample.values(), 1)?;
        Ok(Self { trials })
    }

    /// Groups of all trials.
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
    pub(super) fn block(&self, sample: &Sample, options: &Options, value: impl Fn(f64) -> f64) -> usize {
        options.block.unwrap_or_else(|| {
            let suggested = |t: &Range<usize>| block_length(&sample.series(t.clone(), &value)) as f64;
            let by_dependence =
                median(&self.trials.iter().map(suggested).collect::<Vec<_>>()).ceil() as usize;
            by_dependence.max(self.len() / self.trials.len() / BLOCKS)
        })
    }

    /// Draws one resample and hands on its ranges of groups.
    pub(super) fn draw(&self, rng: &mut ChaCha8Rng, block: usize, mut take: impl FnMut(Range<usize>)) {
        for _ in 0..self.trials.len() {
            let trial = &self.trials[rng.random_range(0..self.trials.len() as u32) as usize];
            let length = block.clamp(1, trial.len());
            for_each_block(rng, trial.len(), trial.len(), length, |from, to| {
                take(trial.start + from..trial.start + to)
            });
        }
    }
}

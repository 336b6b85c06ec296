//! Observations of several trials, one by one or in groups of neighbours.
//!
//! Where observations are too many to keep, neighbours stand together as a group: its count, sum and sum of squares,
//! and its values with how often each occurs, which may be those of a histogram. Everything that works on single
//! observations works on groups: a group is drawn or left as a whole.

use std::ops::Range;

use crate::describe::{mean, sd};
use crate::quantile::{interpolate, position, sort};

/// Neighbouring observations of a trial.
#[derive(Debug, Clone, PartialEq)]
pub struct Group {
    /// The smallest observation.
    pub min: f64,
    /// The largest.
    pub max: f64,
    /// Sum of the observations.
    pub sum: f64,
    /// Sum of their squares.
    pub squares: f64,
    /// Values and how often each occurs, in any order.
    pub values: Vec<(f64, u32)>,
}

/// Observations of trials, each in order of time. Trials without any are left out.
#[derive(Debug, Clone, Default)]
pub struct Sample {
    /// Trial after trial, group after group.
    values: Vec<f64>,
    /// How often each value occurs; empty when each does once.
    weights: Vec<u32>,
    /// Empty when every value is a group of its own.
    groups: Vec<Bounds>,
    /// In groups.
    trials: Vec<Range<usize>>,
    /// Smallest and largest observation.
    range: Option<(f64, f64)>,
}

/// A group inside a sample.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    /// One past its last value.
    end: usize,
    n: u64,
    sum: f64,
    squares: f64,
}

impl Sample {
    /// Single observations.
    pub fn of(trials: &[Vec<f64>]) -> Self {
        let mut sample = Self::default();
        for trial in trials.iter().filter(|t| !t.is_empty()) {
            let from = sample.values.len();
            trial.iter().for_each(|&v| sample.widen(v, v));
            sample.values.extend_from_slice(trial);
            sample.trials.push(from..sample.values.len());
        }
        sample
    }

    /// Groups of observations.
    pub fn grouped(trials: impl IntoIterator<Item = impl IntoIterator<Item = Group>>) -> Self {
        let mut sample = Self::default();
        for trial in trials {
            let from = sample.groups.len();
            for group in trial {
                let n = group.values.iter().map(|(_, count)| u64::from(*count)).sum();
                if n == 0 {
                    continue;
                }
                sample.values.extend(group.values.iter().map(|(v, _)| *v));
                sample.weights.extend(group.values.iter().map(|(_, count)| *count));
                let Group { min, max, sum, squares, .. } = group;
                sample.widen(min, max);
                sample.groups.push(Bounds { end: sample.values.len(), n, sum, squares });
            }
            if sample.groups.len() > from {
                sample.trials.push(from..sample.groups.len());
            }
        }
        sample
    }

    fn widen(&mut self, min: f64, max: f64) {
        let (lo, hi) = self.range.unwrap_or((min, max));
        self.range = Some((lo.min(min), hi.max(max)));
    }

    /// Smallest and largest observation, also where values stand for those near them.
    pub fn range(&self) -> Option<(f64, f64)> {
        self.range
    }

    /// Observations of all trials.
    pub fn n(&self) -> usize {
        match self.is_grouped() {
            true => self.groups.iter().map(|g| g.n as usize).sum(),
            false => self.values.len(),
        }
    }

    /// Number of trials.
    pub fn trials(&self) -> usize {
        self.trials.len()
    }

    /// Arithmetic mean; NaN without observations.
    pub fn mean(&self) -> f64 {
        match self.is_grouped() {
            true => Sums::of(&self.groups).mean(),
            false => mean(&self.values),
        }
    }

    /// Standard deviation with divisor n − 1; `None` for fewer than two observations.
    pub fn sd(&self) -> Option<f64> {
        match self.is_grouped() {
            true => Sums::of(&self.groups).sd(),
            false => sd(&self.values),
        }
    }

    /// All observations in ascending order.
    pub fn ordered(&self) -> Ordered {
        self.ordered_range(0..self.values.len())
    }

    pub(crate) fn is_grouped(&self) -> bool {
        !self.groups.is_empty()
    }

    pub(crate) fn values(&self) -> &[f64] {
        &self.values
    }

    pub(crate) fn weights(&self) -> &[u32] {
        &self.weights
    }

    /// Groups of each trial; single observations count as groups.
    pub(crate) fn ranges(&self) -> &[Range<usize>] {
        &self.trials
    }

    /// Values of the groups in `range`.
    pub(crate) fn inside(&self, range: Range<usize>) -> Range<usize> {
        if !self.is_grouped() {
            return range;
        }
        let before = |i: usize| i.checked_sub(1).map_or(0, |i| self.groups[i].end);
        before(range.start)..before(range.end)
    }

    /// Observations in the shortest trial.
    pub(crate) fn shortest(&self) -> usize {
        let n = |r: &Range<usize>| match self.is_grouped() {
            true => self.groups[r.clone()].iter().map(|g| g.n as usize).sum(),
            false => r.len(),
        };
        self.trials.iter().map(n).min().unwrap_or(0)
    }

    /// Mean of each trial.
    pub fn means(&self) -> Vec<f64> {
        let of = |r: &Range<usize>| match self.is_grouped() {
            true => Sums::of(&self.groups[r.clone()]).mean(),
            false => mean(&self.values[r.clone()]),
        };
        self.trials.iter().map(of).collect()
    }

    /// Standard deviation of each trial; `None` when one has fewer than two observations.
    pub(crate) fn sds(&self) -> Option<Vec<f64>> {
        let of = |r: &Range<usize>| match self.is_grouped() {
            true => Sums::of(&self.groups[r.clone()]).sd(),
            false => sd(&self.values[r.clone()]),
        };
        self.trials.iter().map(of).collect()
    }

    /// Number of values and quantile `p` of each trial, in order.
    pub fn quantiles_of_trials(&self, p: f64) -> impl Iterator<Item = (usize, f64)> {
        self.ordered_trials().map(move |t| (t.n(), t.quantile(p)))
    }

    /// Each trial in ascending order.
    pub(crate) fn ordered_trials(&self) -> impl Iterator<Item = Ordered> {
        self.trials.iter().map(|r| self.ordered_range(self.inside(r.clone())))
    }

    /// For each group of a trial the mean of `value` over its observations.
    pub(crate) fn series(&self, trial: Range<usize>, value: impl Fn(f64) -> f64) -> Vec<f64> {
        if !self.is_grouped() {
            return self.values[trial].iter().map(|&v| value(v)).collect();
        }
        let of = |i: usize| {
            let inside = self.inside(i..i + 1);
            let weighted = self.values[inside.clone()].iter().zip(&self.weights[inside]);
            weighted.map(|(&v, &w)| value(v) * f64::from(w)).sum::<f64>() / self.groups[i].n as f64
        };
        trial.map(of).collect()
    }

    /// Count, sum and sum of squares of each group, all relative to `shift`.
    pub(crate) fn moments(&self, shift: f64) -> impl Iterator<Item = (u64, f64, f64)> {
        let single = self.values.iter().map(move |v| (1, v - shift, (v - shift) * (v - shift)));
        let grouped = self.groups.iter().map(move |g| {
            let n = g.n as f64;
            (g.n, g.sum - n * shift, g.squares - 2.0 * shift * g.sum + n * shift * shift)
        });
        single.take(if self.is_grouped() { 0 } else { usize::MAX }).chain(grouped)
    }

    fn ordered_range(&self, range: Range<usize>) -> Ordered {
        if !self.is_grouped() {
            let mut values = self.values[range].to_vec();
            sort(&mut values);
            return Ordered { values, through: Vec::new() };
        }
        let mut pairs: Vec<(f64, u32)> =
            self.values[range.clone()].iter().copied().zip(self.weights[range].iter().copied()).collect();
        pairs.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
        let mut ordered = Ordered { values: Vec::new(), through: Vec::new() };
        let mut through = 0;
        for same in pairs.chunk_by(|a, b| a.0 == b.0) {
            through += same.iter().map(|(_, w)| u64::from(*w)).sum::<u64>();
            ordered.values.push(same[0].0);
            ordered.through.push(through);
        }
        ordered
    }
}

/// Observations in ascending order, equal ones possibly together.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Ordered {
    values: Vec<f64>,
    /// Observations up to and including those of each value; empty when each value is one.
    through: Vec<u64>,
}

impl Ordered {
    /// Number of observations.
    pub fn n(&self) -> usize {
        self.through.last().map_or(self.values.len(), |n| *n as usize)
    }

    /// The quantile `p` by the definition of [`crate::quantile`]; NaN without observations.
    pub fn quantile(&self, p: f64) -> f64 {
        if self.values.is_empty() {
            return f64::NAN;
        }
        let (below, above, weight) = position(self.n(), p);
        interpolate(self.at(below), self.at(above), weight)
    }

    /// The observation at `rank`, from 0; the last one beyond the end.
    ///
    /// # Panics
    /// Without observations.
    pub fn at(&self, rank: usize) -> f64 {
        let index = match self.through.is_empty() {
            true => rank,
            false => self.through.partition_point(|n| *n <= rank as u64),
        };
        self.values[index.min(self.values.len() - 1)]
    }

    /// Observations below `limit`.
    pub fn below(&self, limit: f64) -> usize {
        let values = self.values.partition_point(|v| *v < limit);
        match self.through.is_empty() {
            true => values,
            false => values.checked_sub(1).map_or(0, |i| self.through[i] as usize),
        }
    }
}

impl From<Vec<f64>> for Ordered {
    /// Single observations in any order.
    fn from(mut values: Vec<f64>) -> Self {
        sort(&mut values);
        Self { values, through: Vec::new() }
    }
}

/// Count, sum and squares of groups.
struct Sums {
    n: f64,
    sum: f64,
    squares: f64,
}

impl Sums {
    fn of(groups: &[Bounds]) -> Self {
        let start = Self { n: 0.0, sum: 0.0, squares: 0.0 };
        groups.iter().fold(start, |a, g| Self {
            n: a.n + g.n as f64,
            sum: a.sum + g.sum,
            squares: a.squares + g.squares,
        })
    }

    fn mean(&self) -> f64 {
        self.sum / self.n
    }

    fn sd(&self) -> Option<f64> {
        let around = (self.squares - self.sum * self.sum / self.n).max(0.0);
        (self.n >= 2.0).then(|| (around / (self.n - 1.0)).sqrt())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::quantile::{quantile, sorted};

    fn group(values: &[f64]) -> Group {
        Group {
            min: values.iter().copied().fold(f64::INFINITY, f64::min),
            max: values.iter().copied().fold(0.0, f64::max),
            sum: values.iter().sum(),
            squares: values.iter().map(|v| v * v).sum(),
            values: values.iter().map(|v| (*v, 1)).collect(),
        }
    }

    #[test]
    fn by_hand() {
        let s = Sample::grouped([vec![group(&[1.0, 2.0]), group(&[3.0])], vec![], vec![group(&[4.0, 5.0])]]);
        assert_eq!((s.n(), s.trials(), s.mean(), s.shortest()), (5, 2, 3.0, 2));
        assert_eq!(s.range(), Some((1.0, 5.0)));
        assert_eq!((s.sd(), s.means()), (Some(2.5f64.sqrt()), vec![2.0, 4.5]));
        assert_eq!(s.series(0..2, |v| v), [1.5, 3.0]);
        assert_eq!((s.ordered().below(3.0), s.ordered().at(3), s.ordered().at(99)), (2, 4.0, 5.0));
    }

    proptest! {
        #[test]
        fn grouping_changes_nothing_that_is_asked_of_all(
            values in prop::collection::vec(0i32..50, 2..200),
            size in 1usize..9,
            p in 0.0..=1.0f64,
        ) {
            let values: Vec<f64> = values.into_iter().map(f64::from).collect();
            let single = Sample::of(std::slice::from_ref(&values));
            let grouped = Sample::grouped([values.chunks(size).map(group).collect::<Vec<_>>()]);
            prop_assert_eq!(single.n(), grouped.n());
            prop_assert!((single.mean() - grouped.mean()).abs() < 1e-9);
            prop_assert!((single.sd().unwrap() - grouped.sd().unwrap()).abs() < 1e-6);
            let expected = quantile(&sorted(&values), p);
            prop_assert_eq!(single.ordered().quantile(p), expected);
            prop_assert_eq!(grouped.ordered().quantile(p), expected);
            prop_assert_eq!(single.ordered().below(25.0), grouped.ordered().below(25.0));
        }
    }
}

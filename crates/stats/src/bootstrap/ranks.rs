//! Quantiles of many resamples without sorting any of them.
//!
//! All observations are ranked once. A resample is a list of ranges of positions; its quantile is found by counting
//! its ranks in coarse buckets and then sorting the one or two buckets that the quantile falls into. Both passes read
//! memory in order, so 100,000 observations take about 0.1 ms a resample.

use std::ops::Range;

use crate::quantile::{compare, interpolate, position};

/// Buckets of the first pass; small enough for the counts to stay in the first-level cache.
const BUCKETS: usize = 2048;

/// The ranks of a list of observations.
pub(super) struct Ranks {
    /// Observations in ascending order.
    sorted: Vec<f64>,
    /// Rank of each position.
    rank: Vec<u32>,
    /// Bucket of each position: its rank without the low bits.
    bucket: Vec<u16>,
    /// Buckets in use.
    buckets: usize,
}

/// Working memory of one thread.
pub(super) struct Scratch {
    counts: Vec<u32>,
    ranges: Vec<Range<usize>>,
    picked: Vec<u32>,
}

impl Ranks {
    pub(super) fn of(values: &[f64]) -> Self {
        let mut order: Vec<u32> = (0..values.len() as u32).collect();
        order.sort_unstable_by(|&a, &b| compare(&values[a as usize], &values[b as usize]).then(a.cmp(&b)));
        let mut rank = vec![0; values.len()];
        for (r, &i) in order.iter().enumerate() {
            rank[i as usize] = r as u32;
        }
        let shift = (0..).find(|s| values.len() >> s < BUCKETS).unwrap_or(0);
        let bucket = rank.iter().map(|r| (r >> shift) as u16).collect();
        let sorted = order.iter().map(|&i| values[i as usize]).collect();
        Self { sorted, rank, bucket, buckets: (values.len() >> shift) + 1 }
    }

    /// All observations in ascending order.
    pub(super) fn sorted(&self) -> &[f64] {
        &self.sorted
    }

    pub(super) fn scratch(&self) -> Scratch {
        Scratch { counts: vec![0; self.buckets], ranges: Vec::new(), picked: Vec::new() }
    }

    /// The quantiles `ps` of the resample that `fill` lists as ranges of positions; NaN when it lists none.
    pub(super) fn quantiles(
        &self,
        ps: &[f64],
        scratch: &mut Scratch,
        fill: impl FnOnce(&mut Vec<Range<usize>>),
    ) -> Vec<f64> {
        scratch.ranges.clear();
        fill(&mut scratch.ranges);
        scratch.counts.fill(0);
        for range in &scratch.ranges {
            for &b in &self.bucket[range.clone()] {
                scratch.counts[usize::from(b)] += 1;
            }
        }
        ps.iter().map(|&p| self.counted_quantile(p, scratch)).collect()
    }

    /// One quantile of the resample whose ranges are counted in `scratch`.
    fn counted_quantile(&self, p: f64, scratch: &mut Scratch) -> f64 {
        let n = scratch.ranges.iter().map(ExactSizeIterator::len).sum();
        if n == 0 {
            return f64::NAN;
        }
        let (below, above, weight) = position(n, p);

        // The buckets that hold the two order statistics, and how many values lie before the first of them.
        let (mut before, mut first) = (0, 0);
        while before + scratch.counts[first] as usize <= below {
            before += scratch.counts[first] as usize;
            first += 1;
        }
        let (mut through, mut last) = (before + scratch.counts[first] as usize, first);
        while through <= above {
            last += 1;
            through += scratch.counts[last] as usize;
        }

        scratch.picked.clear();
        for range in &scratch.ranges {
            let pairs = self.bucket[range.clone()].iter().zip(&self.rank[range.clone()]);
            let inside = |(b, _): &(&u16, &u32)| (first..=last).contains(&usize::from(**b));
            scratch.picked.extend(pairs.filter(inside).map(|(_, r)| *r));
        }
        scratch.picked.sort_unstable();
        let value = |order: usize| self.sorted[scratch.picked[order - before] as usize];
        interpolate(value(below), value(above), weight)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::quantile::{quantile, sorted};

    proptest! {
        #[test]
        fn equals_the_quantile_of_the_written_out_resample(
            values in prop::collection::vec(-100i32..100, 1..9000),
            cuts in prop::collection::vec((0usize..9000, 1usize..400), 1..40),
            p in 0.0..=1.0f64,
        ) {
            let values: Vec<f64> = values.into_iter().map(f64::from).collect();
            let ranges: Vec<Range<usize>> =
                cuts.iter().map(|(from, len)| { let f = from % values.len(); f..(f + len).min(values.len()) }).collect();
            let resample: Vec<f64> = ranges.iter().flat_map(|r| values[r.clone()].iter().copied()).collect();
            let ranks = Ranks::of(&values);
            let got = ranks.quantiles(&[p, 0.5], &mut ranks.scratch(), |out| out.extend(ranges));
            let resample = sorted(&resample);
            prop_assert_eq!(got, vec![quantile(&resample, p), quantile(&resample, 0.5)]);
        }
    }
}

//! Quantiles of many resamples without sorting any of them.
//!
//! All values are ranked once. A resample is a list of ranges of groups; its quantile is found by counting its ranks
//! in coarse buckets and then sorting the one or two buckets that the quantile falls into. Both passes read memory in
//! order, so 100,000 values take about 0.1 ms a resample.

use std::ops::Range;

use crate::Sample;
use crate::quantile::{compare, interpolate, position};

/// Buckets of the first pass; small enough for the counts to stay in the first-level cache.
const BUCKETS: usize = 2048;

/// The ranks of the values of a sample.
pub(super) struct Ranks<'a> {
    sample: &'a Sample,
    /// Values in ascending order.
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
    counts: Vec<u64>,
    ranges: Vec<Range<usize>>,
    /// Rank, and how often it was drawn.
    picked: Vec<(u32, u32)>,
}

impl<'a> Ranks<'a> {
    pub(super) fn of(sample: &'a Sample) -> Self {
        let values = sample.values();
        let mut order: Vec<u32> = (0..values.len() as u32).collect();
        order.sort_unstable_by(|&a, &b| compare(&values[a as usize], &values[b as usize]).then(a.cmp(&b)));
        let mut rank = vec![0; values.len()];
        for (r, &i) in order.iter().enumerate() {
            rank[i as usize] = r as u32;
        }
        let shift = (0..).find(|s| values.len() >> s < BUCKETS).unwrap_or(0);
        let bucket = rank.iter().map(|r| (r >> shift) as u16).collect();
        let sorted = order.iter().map(|&i| values[i as usize]).collect();
        Self { sample, sorted, rank, bucket, buckets: (values.len() >> shift) + 1 }
    }

    pub(super) fn scratch(&self) -> Scratch {
        Scratch { counts: vec![0; self.buckets], ranges: Vec::new(), picked: Vec::new() }
    }

    /// The quantiles `ps` of the resample that `fill` lists as ranges of groups; NaN when it lists none.
    pub(super) fn quantiles(
        &self,
        ps: &[f64],
        scratch: &mut Scratch,
        fill: impl FnOnce(&mut Vec<Range<usize>>),
    ) -> Vec<f64> {
        scratch.ranges.clear();
        fill(&mut scratch.ranges);
        for range in &mut scratch.ranges {
            *range = self.sample.inside(range.clone());
        }
        scratch.counts.fill(0);
        let weights = self.sample.weights();
        for range in &scratch.ranges {
            let buckets = &self.bucket[range.clone()];
            if weights.is_empty() {
                buckets.iter().for_each(|&b| scratch.counts[usize::from(b)] += 1);
            } else {
                let weighted = buckets.iter().zip(&weights[range.clone()]);
                weighted.for_each(|(&b, &w)| scratch.counts[usize::from(b)] += u64::from(w));
            }
        }
        ps.iter().map(|&p| self.counted_quantile(p, scratch)).collect()
    }

    /// One quantile of the resample whose ranges are counted in `scratch`.
    fn counted_quantile(&self, p: f64, scratch: &mut Scratch) -> f64 {
        let n: u64 = scratch.counts.iter().sum();
        if n == 0 {
            return f64::NAN;
        }
        let (below, above, weight) = position(n as usize, p);
        let (below, above) = (below as u64, above as u64);

        // The buckets that hold the two order statistics, and how many values lie before the first of them.
        let (mut before, mut first) = (0, 0);
        while before + scratch.counts[first] <= below {
            before += scratch.counts[first];
            first += 1;
        }
        let (mut through, mut last) = (before + scratch.counts[first], first);
        while through <= above {
            last += 1;
            through += scratch.counts[last];
        }

        scratch.picked.clear();
        let weights = self.sample.weights();
        for range in &scratch.ranges {
            for (i, bucket) in range.clone().zip(&self.bucket[range.clone()]) {
                if (first..=last).contains(&usize::from(*bucket)) {
                    scratch.picked.push((self.rank[i], weights.get(i).copied().unwrap_or(1)));
                }
            }
        }
        scratch.picked.sort_unstable();
        let (mut a, mut b, mut through) = (f64::NAN, f64::NAN, before);
        for (rank, times) in &scratch.picked {
            let from = through;
            through += u64::from(*times);
            let value = self.sorted[*rank as usize];
            if (from..through).contains(&below) {
                a = value;
            }
            if (from..through).contains(&above) {
                b = value;
                break;
            }
        }
        interpolate(a, b, weight)
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
            let sample = Sample::of(std::slice::from_ref(&values));
            let ranks = Ranks::of(&sample);
            let got = ranks.quantiles(&[p, 0.5], &mut ranks.scratch(), |out| out.extend(ranges));
            let resample = sorted(&resample);
            prop_assert_eq!(got, vec![quantile(&resample, p), quantile(&resample, 0.5)]);
        }
    }
}

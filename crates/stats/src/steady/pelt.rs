//! Change points in the mean by pruned exact linear time.
//!
//! Exact: the result has the least cost of all segmentations whose segments are long enough. Candidates that can no
//! longer begin the last segment are dropped on the way, which keeps the search near linear when changes are many.

use crate::quantile::median;

/// Starts of the segments with the least squared error plus `penalty` each; the first is 0.
pub(super) fn pelt(series: &[f64], min_segment: usize, penalty: f64) -> Vec<usize> {
    let n = series.len();
    let mut sums = Vec::with_capacity(n + 1);
    sums.push((0.0, 0.0));
    let shift = median(series);
    for v in series {
        let (s, q): (f64, f64) = sums[sums.len() - 1];
        sums.push((s + (v - shift), q + (v - shift) * (v - shift)));
    }
    let cost = |from: usize, to: usize| {
        let s = sums[to].0 - sums[from].0;
        (sums[to].1 - sums[from].1) - s * s / (to - from) as f64
    };
    let mut best = vec![f64::INFINITY; n + 1];
    best[0] = -penalty;
    let mut previous = vec![0; n + 1];
    // A candidate that is beaten at `end` stays beaten once `end` itself may start a segment.
    let mut candidates = vec![(0, usize::MAX)];
    for end in min_segment..=n {
        for (from, expires) in &mut candidates {
            let without_penalty = best[*from] + cost(*from, end);
            if without_penalty + penalty < best[end] {
                (best[end], previous[end]) = (without_penalty + penalty, *from);
            }
            if without_penalty > best[end] {
                *expires = (*expires).min(end + min_segment);
            }
        }
        candidates.retain(|&(_, expires)| expires > end);
        if end + 1 >= 2 * min_segment {
            candidates.push((end + 1 - min_segment, usize::MAX));
        }
    }
    let mut starts = Vec::new();
    let mut at = n;
    while at > 0 {
        at = previous[at];
        starts.push(at);
    }
    starts.reverse();
    starts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::series;

    #[test]
    fn pelt_finds_the_least_cost() {
        // Against every possible segmentation of short series.
        let mut random = series::rng(9);
        for _ in 0..60 {
            let s: Vec<f64> = series::ar1(&mut random, 12, 0.0)
                .iter()
                .enumerate()
                .map(|(i, e)| e + if i > 6 { 2.0 } else { 0.0 })
                .collect();
            let cost = |starts: &[usize]| {
                let ends = starts[1..].iter().copied().chain([s.len()]);
                let square = |(from, to): (usize, usize)| {
                    let m = s[from..to].iter().sum::<f64>() / (to - from) as f64;
                    s[from..to].iter().map(|v| (v - m) * (v - m)).sum::<f64>()
                };
                starts.iter().copied().zip(ends).map(square).sum::<f64>() + 1.5 * (starts.len() - 1) as f64
            };
            let every = (0u32..1 << 11).map(|mask| {
                let mut starts = vec![0];
                starts.extend((0..11).filter(|i| mask >> i & 1 == 1).map(|i| i + 1));
                starts
            });
            let allowed = |starts: &Vec<usize>| {
                let ends = starts[1..].iter().copied().chain([s.len()]);
                starts.iter().zip(ends).all(|(from, to)| to - from >= 3)
            };
            let best = every.filter(allowed).map(|starts| cost(&starts)).fold(f64::INFINITY, f64::min);
            let found = cost(&pelt(&s, 3, 1.5));
            assert!((found - best).abs() < 1e-9, "{found} {best}");
        }
    }
}

//! How far two samples lie apart.
//!
//! | statistic | what | range |
//! |---|---|---|
//! | Kolmogorov–Smirnov | largest distance between the distribution functions | 0 to 1 |
//! | Wasserstein | area between them, in standard deviations of the baseline | 0 and more |
//! | population stability index | Σ (q − p) ln(q/p) over ten bins that hold a tenth of the baseline each | 0 and more |
//! | Jensen–Shannon | distance (the root of the divergence to base 2) over the same bins | 0 to 1 |
//!
//! Shares in the index are (count + ½)/(n + bins/2): an empty bin would make it infinite (Krichevsky & Trofimov, "The
//! performance of universal encoding", IEEE Transactions on Information Theory 27 (1981), 199–207).

use crate::describe::Summary;
use crate::quantile::{quantile, sorted};
use crate::{Unsupported, require};

/// Bins of the index and of the Jensen–Shannon distance.
const BINS: usize = 10;

/// A way to measure the distance of two samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Statistic {
    /// Kolmogorov–Smirnov.
    KolmogorovSmirnov,
    /// Wasserstein's distance of order 1 in standard deviations of the baseline.
    Wasserstein,
    /// Population stability index.
    StabilityIndex,
    /// Jensen–Shannon distance, base 2.
    JensenShannon,
}

impl Statistic {
    /// All of them.
    pub const ALL: [Self; 4] =
        [Self::KolmogorovSmirnov, Self::Wasserstein, Self::StabilityIndex, Self::JensenShannon];
}

/// The distances of two samples.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Distances {
    values: [f64; 4],
}

impl Distances {
    /// One of them.
    pub fn get(&self, statistic: Statistic) -> f64 {
        self.values[statistic as usize]
    }
}

/// The distances of a window from a baseline.
///
/// # Errors
/// Fewer than two values on a side, one that is not finite, or a baseline that does not vary.
pub fn distances(baseline: &[f64], window: &[f64]) -> Result<Distances, Unsupported> {
    require(window, 2)?;
    let scale = Scale::of(baseline)?;
    let (a, b) = (sorted(baseline), sorted(window));
    let mut support = [a.as_slice(), b.as_slice()].concat();
    crate::quantile::sort(&mut support);
    support.dedup();
    let counts = |values: &[f64]| -> Vec<u32> {
        let mut counts = vec![0; support.len()];
        let mut at = 0;
        for v in values {
            // Both are in order, and every value is in the support.
            while support[at] < *v {
                at += 1;
            }
            counts[at] += 1;
        }
        counts
    };
    let bins: Vec<u8> = support.iter().map(|v| scale.bin(*v)).collect();
    Ok(scale.apart(&support, &bins, &counts(&a), &counts(&b)))
}

/// What of the baseline the distances are measured by.
#[derive(Debug, Clone)]
pub(super) struct Scale {
    /// Standard deviation.
    sd: f64,
    /// Upper bounds of all bins but the last, without repetitions.
    edges: Vec<f64>,
}

impl Scale {
    pub(super) fn of(baseline: &[f64]) -> Result<Self, Unsupported> {
        require(baseline, 2)?;
        let s = Summary::of(baseline)?;
        if s.sd <= 1e-14 * s.mean.abs() {
            return Err(Unsupported::Constant);
        }
        let values = sorted(baseline);
        let mut edges: Vec<f64> = (1..BINS).map(|i| quantile(&values, i as f64 / BINS as f64)).collect();
        edges.dedup();
        Ok(Self { sd: s.sd, edges })
    }

    /// The bin of a value; a value on an edge is below it.
    pub(super) fn bin(&self, value: f64) -> u8 {
        self.edges.partition_point(|edge| *edge < value) as u8
    }

    /// The distances of two samples given as counts of the values of a common `support` in ascending order.
    pub(super) fn apart(&self, support: &[f64], bins: &[u8], a: &[u32], b: &[u32]) -> Distances {
        let total = |counts: &[u32]| counts.iter().map(|c| f64::from(*c)).sum::<f64>();
        let (na, nb) = (total(a), total(b));
        let (mut below_a, mut below_b, mut largest, mut area) = (0.0, 0.0, 0.0_f64, 0.0);
        let (mut in_a, mut in_b) = ([0.0; BINS], [0.0; BINS]);
        for (i, value) in support.iter().enumerate() {
            let (ca, cb) = (f64::from(a[i]), f64::from(b[i]));
            below_a += ca;
            below_b += cb;
            in_a[usize::from(bins[i])] += ca;
            in_b[usize::from(bins[i])] += cb;
            let gap = (below_a / na - below_b / nb).abs();
            largest = largest.max(gap);
            area += support.get(i + 1).map_or(0.0, |next| gap * (next - value));
        }
        let used = self.edges.len() + 1;
        let (mut index, mut divergence) = (0.0, 0.0);
        for (ca, cb) in in_a.into_iter().zip(in_b).take(used) {
            let smooth = |c: f64, n: f64| (c + 0.5) / (n + used as f64 / 2.0);
            let (p, q) = (smooth(ca, na), smooth(cb, nb));
            index += (q - p) * (q / p).ln();
            let (p, q) = (ca / na, cb / nb);
            let middle = (p + q) / 2.0;
            let part = |x: f64| if x > 0.0 { x * (x / middle).log2() } else { 0.0 };
            divergence += (part(p) + part(q)) / 2.0;
        }
        Distances { values: [largest, area / self.sd, index, divergence.max(0.0).sqrt()] }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Uniform values by Knuth's linear congruence (MMIX), so that other languages can make the same.
    pub(in crate::drift) fn uniform(seed: u64, n: usize) -> Vec<f64> {
        let mut x = seed;
        (0..n)
            .map(|_| {
                x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (x >> 11) as f64 / (1_u64 << 53) as f64
            })
            .collect()
    }

    #[test]
    fn values_agree_with_scipy() {
        // SciPy 1.17.1 on the same numbers: stats.ks_2samp, stats.wasserstein_distance / numpy.std(ddof=1), the sum of
        // special.rel_entr both ways over the shares above, and spatial.distance.jensenshannon(base=2).
        let a = uniform(1, 500);
        let b: Vec<f64> = uniform(2, 200).into_iter().map(|u| u.powf(1.3) + 0.05).collect();
        let d = distances(&a, &b).unwrap();
        let want = [0.088, 0.123_350_839_906_094_81, 0.042_636_389_535_315_955, 0.089_745_672_820_717_73];
        for (statistic, want) in Statistic::ALL.into_iter().zip(want) {
            assert!(
                (d.get(statistic) - want).abs() < 1e-12,
                "{statistic:?}: {} for {want}",
                d.get(statistic)
            );
        }
    }

    #[test]
    fn by_hand() {
        // Two and two values one apart: half the mass at 2 is common. W = 1 over the deviation 0.707 1 of 1, 2.
        let d = distances(&[1.0, 2.0], &[2.0, 3.0]).unwrap();
        assert_eq!(d.get(Statistic::KolmogorovSmirnov), 0.5);
        assert!((d.get(Statistic::Wasserstein) - 2f64.sqrt()).abs() < 1e-12);
        let far = distances(&[1.0, 2.0, 3.0], &[7.0, 8.0]).unwrap();
        assert_eq!(far.get(Statistic::KolmogorovSmirnov), 1.0);
    }

    #[test]
    fn what_has_no_scale_says_so() {
        assert_eq!(distances(&[1.0; 9], &[1.0, 2.0]), Err(Unsupported::Constant));
        assert_eq!(distances(&[1.0, f64::NAN], &[1.0, 2.0]), Err(Unsupported::NotFinite));
        assert!(matches!(distances(&[1.0, 2.0], &[1.0]), Err(Unsupported::TooFewValues { .. })));
    }

    proptest! {
        #[test]
        fn a_sample_is_at_no_distance_from_itself(values in prop::collection::vec(-50..50i32, 3..60)) {
            let values: Vec<f64> = values.into_iter().map(f64::from).collect();
            prop_assume!(values.iter().any(|v| *v != values[0]));
            let d = distances(&values, &values).unwrap();
            prop_assert!(Statistic::ALL.iter().all(|s| d.get(*s).abs() < 1e-9));
        }
    }
}

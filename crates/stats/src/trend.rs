//! Is a series drifting? Theil–Sen slope with its interval, and the Mann–Kendall test behind it.
//!
//! Both look at the signs and slopes of pairs, so outliers hardly move them (Mann 1945; Kendall 1975; Theil 1950;
//! Sen, Journal of the American Statistical Association 63 (1968), 1379–1389). Their variance is inflated by the
//! autocorrelation of the detrended series (Yue & Wang, Water Resources Management 18 (2004), 201–218).

use crate::autocorrelation::effective_sample_size;
use crate::distribution::{normal_cdf, normal_quantile};
use crate::quantile::{median, quantile, sort};
use crate::{Ci, Unsupported, require, require_probability};

/// Longer series are averaged in equal bins first: pairs grow with the square of the length.
pub const LONGEST: usize = 600;
/// Points needed for a trend.
pub const NEEDED: usize = 8;

/// A monotone trend of y over x.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Trend {
    /// Median slope of all pairs, in units of y per unit of x.
    pub slope: f64,
    /// Interval of the slope.
    pub ci: Ci,
    /// Kendall's S standardised, with continuity correction.
    pub z: f64,
    /// Two-sided p-value of the hypothesis that there is no trend.
    pub p: f64,
    /// Line through the medians, at the first x.
    pub start: f64,
    /// The same line at the last x.
    pub end: f64,
}

impl Trend {
    /// Change from start to end, relative to the start; `None` when the start is zero.
    pub fn relative_change(&self) -> Option<f64> {
        (self.start != 0.0).then(|| (self.end - self.start) / self.start.abs())
    }

    /// Whether the interval of the slope excludes zero.
    pub fn is_significant(&self) -> bool {
        self.ci.lo > 0.0 || self.ci.hi < 0.0
    }
}

/// Estimates the trend of `points` (x, y), given in ascending x.
///
/// # Errors
/// Fewer than [`NEEDED`] points, a value that is not finite, or x that does not vary.
pub fn theil_sen(points: &[(f64, f64)], level: f64) -> Result<Trend, Unsupported> {
    require_probability(level)?;
    let binned = bin(points);
    let (x, y): (Vec<f64>, Vec<f64>) = binned.iter().copied().unzip();
    require(&x, NEEDED)?;
    require(&y, NEEDED)?;

    let mut slopes = Vec::with_capacity(x.len() * (x.len() - 1) / 2);
    let mut s = 0.0;
    for i in 0..x.len() {
        for j in i + 1..x.len() {
            if x[j] > x[i] {
                slopes.push((y[j] - y[i]) / (x[j] - x[i]));
                s += sign(y[j] - y[i]);
            }
        }
    }
    if slopes.is_empty() {
        return Err(Unsupported::Constant);
    }
    sort(&mut slopes);
    let slope = quantile(&slopes, 0.5);
    let residuals: Vec<f64> = x.iter().zip(&y).map(|(x, y)| y - slope * x).collect();
    let inflation = x.len() as f64 / effective_sample_size(&residuals);
    let sd = (variance_of_s(&y) * inflation).sqrt();

    // Sen's interval: the slopes ranked (M ∓ z·sd)/2 from below.
    let pairs = slopes.len() as f64;
    let reach = normal_quantile(0.5 + level / 2.0) * sd;
    let at = |rank: f64| slopes[(rank.max(0.0) as usize).min(slopes.len() - 1)];
    let ci =
        Ci { level, lo: at(((pairs - reach) / 2.0).floor() - 1.0), hi: at(((pairs + reach) / 2.0).ceil()) };

    let z = if sd > 0.0 { (s - sign(s)) / sd } else { 0.0 };
    let (mx, my) = (median(&x), median(&y));
    let line = |at: f64| my + slope * (at - mx);
    let p = (2.0 * normal_cdf(-z.abs())).min(1.0);
    Ok(Trend { slope, ci, z, p, start: line(x[0]), end: line(x[x.len() - 1]) })
}

/// Variance of Kendall's S under no trend, with the correction for tied values.
fn variance_of_s(y: &[f64]) -> f64 {
    let term = |n: f64| n * (n - 1.0) * (2.0 * n + 5.0);
    let sorted = crate::quantile::sorted(y);
    let ties: f64 = sorted.chunk_by(|a, b| a == b).map(|group| term(group.len() as f64)).sum();
    (term(y.len() as f64) - ties) / 18.0
}

fn sign(v: f64) -> f64 {
    if v > 0.0 {
        1.0
    } else if v < 0.0 {
        -1.0
    } else {
        0.0
    }
}

/// Averages neighbours until at most [`LONGEST`] points are left.
fn bin(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let size = points.len().div_ceil(LONGEST).max(1);
    let mean = |bin: &[(f64, f64)]| {
        let n = bin.len() as f64;
        (bin.iter().map(|p| p.0).sum::<f64>() / n, bin.iter().map(|p| p.1).sum::<f64>() / n)
    };
    points.chunks(size).map(mean).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::series;

    fn numbered(y: &[f64]) -> Vec<(f64, f64)> {
        y.iter().enumerate().map(|(i, &v)| (i as f64, v)).collect()
    }

    #[test]
    fn known_slope() {
        // SciPy 1.17: theilslopes gives slope 1, kendalltau gives S = 0.911 111 × 45 = 41, so
        // z = (41 − 1)/√(10·9·25/18) = 40/√125 = 3.577 71. Sen's ranks by hand: C = 1.959 96 × √125 = 21.91,
        // (45 − 21.91)/2 = 11.5 → 11th smallest slope, (45 + 21.91)/2 = 33.5 → 35th.
        let y = [1.0, 2.0, 3.0, 4.0, 5.0, 7.0, 6.0, 9.0, 8.0, 12.0];
        let t = theil_sen(&numbered(&y), 0.95).unwrap();
        assert_eq!(t.slope, 1.0);
        let residuals: Vec<f64> = y.iter().enumerate().map(|(i, v)| v - i as f64).collect();
        let inflation = (10.0 / effective_sample_size(&residuals)).sqrt();
        assert!((t.z - 3.577_709 / inflation).abs() < 1e-6, "{t:?}");
        assert!(t.ci.lo <= 0.857_143 + 1e-6 && t.ci.hi >= 1.25 && t.is_significant());
    }

    #[test]
    fn ties_lower_the_variance() {
        // Gilbert, Statistical Methods for Environmental Pollution Monitoring (1987), eq. 16.3: n = 5 with one pair
        // tied: (5·4·15 − 2·1·9)/18.
        assert!((variance_of_s(&[1.0, 2.0, 2.0, 3.0, 4.0]) - 282.0 / 18.0).abs() < 1e-12);
    }

    #[test]
    fn outliers_do_not_bend_the_line() {
        let mut y: Vec<f64> = (0..50).map(|i| 10.0 + 0.1 * f64::from(i)).collect();
        y[20] = 1e6;
        y[40] = -1e6;
        let t = theil_sen(&numbered(&y), 0.95).unwrap();
        assert!((t.slope - 0.1).abs() < 1e-9);
        assert!((t.relative_change().unwrap() - 0.49).abs() < 0.01);
    }

    #[test]
    fn correlated_noise_is_rarely_called_a_trend() {
        let mut random = series::rng(11);
        let significant = (0..200)
            .filter(|_| {
                theil_sen(&numbered(&series::ar1(&mut random, 300, 0.6)), 0.95).unwrap().is_significant()
            })
            .count();
        // Nominally 10; without the inflation it would be about 60.
        assert!(significant <= 24, "{significant} of 200");
    }

    #[test]
    fn long_series_are_binned() {
        let points: Vec<(f64, f64)> = (0..100_000).map(|i| (f64::from(i), 5.0 + f64::from(i % 7))).collect();
        assert_eq!(bin(&points).len(), 599);
        assert!(!theil_sen(&points, 0.95).unwrap().is_significant());
    }

    #[test]
    fn few_points_have_no_trend() {
        assert!(matches!(
            theil_sen(&numbered(&[1.0; 7]), 0.95),
            Err(Unsupported::TooFewValues { n: 7, needed: 8 })
        ));
        let same_x = vec![(1.0, 2.0); 9];
        assert_eq!(theil_sen(&same_x, 0.95), Err(Unsupported::Constant));
    }

    proptest! {
        #[test]
        fn follows_a_line_exactly(slope in -5.0..5.0f64, offset in -10.0..10.0f64, n in 8usize..60) {
            let y: Vec<f64> = (0..n).map(|i| offset + slope * i as f64).collect();
            let t = theil_sen(&numbered(&y), 0.95).unwrap();
            prop_assert!((t.slope - slope).abs() < 1e-9);
            prop_assert!((t.start - offset).abs() < 1e-6);
        }
    }
}

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

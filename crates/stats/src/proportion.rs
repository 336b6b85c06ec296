//! Shares of two independent groups, and by how much they differ.

use crate::distribution::normal_quantile;
use crate::{Ci, Unsupported, require_probability};

/// Wilson's score interval of a share (Journal of the American Statistical Association 22 (1927), 209–212).
///
/// # Errors
/// No values, or more hits than values.
pub fn wilson(hits: u64, n: u64, level: f64) -> Result<Ci, Unsupported> {
    require_probability(level)?;
    if n == 0 || hits > n {
        return Err(Unsupported::TooFewValues { n: n as usize, needed: hits.max(1) as usize });
    }
    let (z, n) = (normal_quantile(0.5 + level / 2.0), n as f64);
    let p = hits as f64 / n;
    let centre = p + z * z / (2.0 * n);
    let half = z * (p * (1.0 - p) / n + z * z / (4.0 * n * n)).sqrt();
    let scale = 1.0 + z * z / n;
    Ok(Ci { level, lo: ((centre - half) / scale).max(0.0), hi: ((centre + half) / scale).min(1.0) })
}

/// Share of the candidate less that of the baseline, each given as hits and number, with Newcombe's hybrid score
/// interval (method 10 of "Interval estimation for the difference between independent proportions", Statistics in
/// Medicine 17 (1998), 873–890).
///
/// # Errors
/// As [`wilson`].
pub fn difference(baseline: (u64, u64), candidate: (u64, u64), level: f64) -> Result<(f64, Ci), Unsupported> {
    let (a, b) = (wilson(baseline.0, baseline.1, level)?, wilson(candidate.0, candidate.1, level)?);
    let (pa, pb) = (baseline.0 as f64 / baseline.1 as f64, candidate.0 as f64 / candidate.1 as f64);
    let d = pb - pa;
    let lo = d - ((pb - b.lo).powi(2) + (a.hi - pa).powi(2)).sqrt();
    let hi = d + ((b.hi - pb).powi(2) + (pa - a.lo).powi(2)).sqrt();
    Ok((d, Ci { level, lo, hi }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_values() {
        // Newcombe 1998, table II, method 10: 56/70 − 48/80 is 0.0524 to 0.3339, 9/10 − 3/10 is 0.1705 to 0.8090.
        for (b, a, lo, hi) in [((56, 70), (48, 80), 0.0524, 0.3339), ((9, 10), (3, 10), 0.1705, 0.8090)] {
            let (_, ci) = difference(a, b, 0.95).unwrap();
            assert!((ci.lo - lo).abs() < 5e-5 && (ci.hi - hi).abs() < 5e-5, "{ci:?}");
        }
        // Wilson, 0 of 10: z²/(n + z²) = 3.8415/13.8415.
        let none = wilson(0, 10, 0.95).unwrap();
        assert!(none.lo < 1e-12 && (none.hi - 0.277_533).abs() < 1e-5);
    }

    #[test]
    fn nothing_has_no_share() {
        assert!(wilson(0, 0, 0.95).is_err() && wilson(3, 2, 0.95).is_err());
        assert!(difference((0, 0), (1, 2), 0.95).is_err());
    }
}

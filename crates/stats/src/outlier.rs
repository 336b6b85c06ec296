//! Outliers by two rules. They are flagged with the rule that found them, and never removed.
//!
//! - Fences of Tukey, *Exploratory Data Analysis* (1977): beyond 1.5 interquartile ranges from the quartiles.
//! - Modified z-score of Iglewicz & Hoaglin, *How to Detect and Handle Outliers* (1993): |0.6745 (x − median) / MAD| > 3.5.

use crate::quantile::{median, quantile, sorted};

/// Tukey's fence, in interquartile ranges.
pub const FENCE: f64 = 1.5;
/// Largest modified z-score that is still ordinary.
pub const MODIFIED_Z: f64 = 3.5;
/// Values needed before a value can be called unusual.
pub const NEEDED: usize = 5;

/// One value that at least one rule calls an outlier.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Flag {
    /// Position in the input.
    pub index: usize,
    /// The value.
    pub value: f64,
    /// Whether it lies beyond the fences.
    pub by_iqr: bool,
    /// Whether its modified z-score is above 3.5.
    pub by_mad: bool,
    /// Modified z-score; infinite when more than half of the values are equal and this one is not.
    pub modified_z: f64,
}

/// Flags outliers, in order of position; empty for fewer than [`NEEDED`] values. NaN is never flagged.
pub fn flag(values: &[f64]) -> Vec<Flag> {
    if values.len() < NEEDED {
        return Vec::new();
    }
    let s = sorted(values);
    let (q1, q3) = (quantile(&s, 0.25), quantile(&s, 0.75));
    let (low, high) = (q1 - FENCE * (q3 - q1), q3 + FENCE * (q3 - q1));
    let centre = quantile(&s, 0.5);
    let mad = median(&values.iter().map(|v| (v - centre).abs()).collect::<Vec<_>>());
    let z = |v: f64| match v - centre {
        0.0 => 0.0,
        d => 0.6745 * d / mad,
    };
    let judge = |(index, &value): (usize, &f64)| {
        let modified_z = z(value);
        let (by_iqr, by_mad) = (value < low || value > high, modified_z.abs() > MODIFIED_Z);
        (by_iqr || by_mad).then_some(Flag { index, value, by_iqr, by_mad, modified_z })
    };
    values.iter().enumerate().filter_map(judge).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_rule_by_hand() {
        // Median 5, quartiles 3 and 7, so fences −3 and 13; MAD 2, so |z| > 3.5 beyond 5 ± 10.38.
        let mut v = vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0];
        assert!(flag(&v).is_empty());
        // With 14: sorted 1..9, 14: quartiles 3.25, 7.75, fence 14.5; nothing.
        v.push(14.0);
        assert!(flag(&v).is_empty());
        v[9] = 30.0;
        let f = flag(&v);
        assert_eq!((f.len(), f[0].index, f[0].by_iqr, f[0].by_mad), (1, 9, true, true));
        assert!((f[0].modified_z - 0.6745 * 24.5 / 2.5).abs() < 1e-12); // median 5.5, MAD 2.5
    }

    #[test]
    fn rules_may_disagree() {
        // Quartiles 10 and 10: every other value is beyond the fences; MAD is 0, so z is infinite too.
        let f = flag(&[10.0, 10.0, 10.0, 10.0, 10.0, 10.0, 10.0, 11.0]);
        assert_eq!(f.len(), 1);
        assert!(f[0].modified_z.is_infinite());
        // Wide quartiles: far from the median by MAD, inside the fences.
        let v = [1.0, 1.0, 1.0, 1.1, 1.1, 1.2, 5.0, 9.0, 9.0];
        assert!(flag(&v).iter().all(|f| f.by_mad && !f.by_iqr));
        assert!(!flag(&v).is_empty());
    }

    #[test]
    fn few_values_are_never_outliers() {
        assert!(flag(&[1.0, 1.0, 1.0, 100.0]).is_empty());
    }
}

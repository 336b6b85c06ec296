//! Mean, spread and range of a sample.

use crate::{Unsupported, require};

/// Moments and range of at least two finite values.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Summary {
    /// Number of values.
    pub n: usize,
    /// Arithmetic mean.
    pub mean: f64,
    /// Standard deviation with divisor n − 1.
    pub sd: f64,
    /// Smallest value.
    pub min: f64,
    /// Largest value.
    pub max: f64,
}

impl Summary {
    /// Summarises `values`.
    ///
    /// # Errors
    /// Fewer than two values, or one that is not finite.
    pub fn of(values: &[f64]) -> Result<Self, Unsupported> {
        require(values, 2)?;
        let mean = mean(values);
        let (min, max) =
            values.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(lo, hi), &v| (lo.min(v), hi.max(v)));
        Ok(Self { n: values.len(), mean, sd: variance(values, mean).sqrt(), min, max })
    }

    /// Standard error of the mean of independent values.
    pub fn standard_error(&self) -> f64 {
        self.sd / (self.n as f64).sqrt()
    }
}

/// Arithmetic mean; NaN for an empty slice. The second pass removes the rounding error of the first.
pub fn mean(values: &[f64]) -> f64 {
    let n = values.len() as f64;
    let first = values.iter().sum::<f64>() / n;
    first + values.iter().map(|v| v - first).sum::<f64>() / n
}

/// Standard deviation with divisor n − 1; `None` for fewer than two values.
pub fn sd(values: &[f64]) -> Option<f64> {
    (values.len() >= 2).then(|| variance(values, mean(values)).sqrt())
}

fn variance(values: &[f64], mean: f64) -> f64 {
    values.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>() / (values.len() - 1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_hand() {
        let s = Summary::of(&[2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0]).unwrap();
        assert_eq!((s.n, s.mean, s.min, s.max), (8, 5.0, 2.0, 9.0));
        assert!((s.sd - (32.0f64 / 7.0).sqrt()).abs() < 1e-14); // squares: 9 1 1 1 0 0 4 16 = 32
    }

    #[test]
    fn nist_numacc4_keeps_its_digits() {
        // NIST StRD univariate NumAcc4: 1001 values around 10 000 000.2, certified sd 0.1.
        let mut v = vec![10_000_000.2];
        for _ in 0..500 {
            v.extend([10_000_000.1, 10_000_000.3]);
        }
        let s = Summary::of(&v).unwrap();
        assert!((s.mean - 10_000_000.2).abs() < 1e-8);
        assert!((s.sd - 0.1).abs() < 1e-8);
    }

    #[test]
    fn one_value_has_no_spread() {
        assert_eq!(Summary::of(&[1.0]), Err(Unsupported::TooFewValues { n: 1, needed: 2 }));
        assert_eq!(Summary::of(&[1.0, f64::NAN]), Err(Unsupported::NotFinite));
        assert_eq!(sd(&[1.0]), None);
    }
}

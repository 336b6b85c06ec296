//! How much a series repeats itself: autocorrelation, effective sample size, block length.
//!
//! Latencies of one server come in runs (a queue takes time to drain), so n of them tell less than n independent
//! ones. Everything here needs the values in order of time.

use crate::describe::mean;

/// Autocovariances of lags 0..=`max_lag` with divisor n.
pub fn autocovariance(series: &[f64], max_lag: usize) -> Vec<f64> {
    let m = mean(series);
    let centred: Vec<f64> = series.iter().map(|v| v - m).collect();
    let n = centred.len();
    (0..=max_lag.min(n.saturating_sub(1)))
        .map(|lag| centred[lag..].iter().zip(&centred).map(|(a, b)| a * b).sum::<f64>() / n as f64)
        .collect()
}

/// Number of independent values that would give the mean the same variance: n / (1 + 2 Σ ρ), summed over Geyer's
/// initial positive sequence (Geyer, "Practical Markov chain Monte Carlo", Statistical Science 7 (1992), 473–483).
/// Never above n; a series that does not vary counts as n.
pub fn effective_sample_size(series: &[f64]) -> f64 {
    let n = series.len();
    if n < 4 {
        return n as f64;
    }
    let mut covariance = LazyCovariance::new(series);
    let variance = covariance.at(0);
    if variance <= 0.0 {
        return n as f64;
    }
    let mut sum = 0.0;
    let mut lag = 0;
    while lag + 1 < n / 2 {
        let pair = covariance.at(lag) + covariance.at(lag + 1);
        if pair <= 0.0 {
            break;
        }
        sum += pair;
        lag += 2;
    }
    // Pairs start at lag 0: 1 + 2 Σ_{k≥1} ρ_k = 2 Σ_{k≥0} ρ_k − 1.
    let inflation = (2.0 * sum / variance - 1.0).max(1.0);
    n as f64 / inflation
}

/// Block length for the circular block bootstrap of a mean, between 1 and ⌈min(3√n, n/3)⌉.
///
/// Politis & White, "Automatic block-length selection for the dependent bootstrap", Econometric Reviews 23 (2004),
/// 53–70, with the correction of Patton, Politis & White, Econometric Reviews 28 (2009), 372–375.
pub fn block_length(series: &[f64]) -> usize {
    let n = series.len();
    if n < 8 {
        return 1;
    }
    let longest = (3.0 * (n as f64).sqrt()).min(n as f64 / 3.0).ceil().max(1.0);
    let window = 5.max((n as f64).log10().sqrt().floor() as usize);
    let max_lag = ((n as f64).sqrt().ceil() as usize + window).min(n - 1);
    let mut covariance = LazyCovariance::new(series);
    let variance = covariance.at(0);
    if variance <= 0.0 {
        return 1;
    }
    // m̂: the first lag after which `window` correlations in a row are negligible.
    let negligible = 2.0 * ((n as f64).log10() / n as f64).sqrt();
    let mut quiet = 0;
    let mut m = None;
    for lag in 1..=max_lag {
        quiet = if (covariance.at(lag) / variance).abs() < negligible { quiet + 1 } else { 0 };
        if quiet == window {
            m = Some(lag - window);
            break;
        }
    }
    let bandwidth = (2 * m.unwrap_or(max_lag).max(1)).min(max_lag);
    let (mut g, mut long_run) = (0.0, variance);
    for lag in 1..=bandwidth {
        let r = lag as f64 / bandwidth as f64;
        let weight = if r <= 0.5 { 1.0 } else { 2.0 * (1.0 - r) };
        let c = 2.0 * weight * covariance.at(lag);
        g += c * lag as f64;
        long_run += c;
    }
    let d = 4.0 / 3.0 * long_run * long_run;
    if d <= 0.0 {
        return 1;
    }
    (2.0 * g * g / d * n as f64).cbrt().ceil().clamp(1.0, longest) as usize
}

/// Autocovariances computed when first asked for: most series need few lags.
struct LazyCovariance {
    centred: Vec<f64>,
    known: Vec<f64>,
}

impl LazyCovariance {
    fn new(series: &[f64]) -> Self {
        let m = mean(series);
        Self { centred: series.iter().map(|v| v - m).collect(), known: Vec::new() }
    }

    fn at(&mut self, lag: usize) -> f64 {
        while self.known.len() <= lag {
            let k = self.known.len();
            let c = &self.centred;
            self.known.push(c[k..].iter().zip(c).map(|(a, b)| a * b).sum::<f64>() / c.len() as f64);
        }
        self.known[lag]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::series;

    #[test]
    fn autocovariance_by_hand() {
        // Mean 3, deviations −2 −1 0 1 2: (4+1+0+1+4)/5, (2+0+0+2)/5, (0−1+0)/5.
        let c = autocovariance(&[1.0, 2.0, 3.0, 4.0, 5.0], 2);
        for (got, want) in c.iter().zip([2.0, 0.8, -0.2]) {
            assert!((got - want).abs() < 1e-15);
        }
    }

    #[test]
    fn effective_sample_size_of_an_ar1_series() {
        // n (1 − φ)/(1 + φ) for the mean of an AR(1) series: 20,000 × ⅓ at φ = ½.
        let s = series::ar1(&mut series::rng(1), 20_000, 0.5);
        let ess = effective_sample_size(&s);
        assert!((ess / 6666.7 - 1.0).abs() < 0.15, "{ess}");
        let independent = series::ar1(&mut series::rng(2), 20_000, 0.0);
        assert!(effective_sample_size(&independent) > 18_000.0);
        assert_eq!(effective_sample_size(&[2.0; 50]), 50.0);
    }

    #[test]
    fn block_length_grows_with_dependence() {
        // By hand for AR(1): G = 2φ/(1−φ)², g(0) = (1+φ)/(1−φ), so b = (2G²n / (4/3 g²))^⅓ = (6φ²n/(1−φ²)²)^⅓,
        // which is 29.9 at φ = ½ and n = 10,000.
        let at = |phi| block_length(&series::ar1(&mut series::rng(3), 10_000, phi));
        assert!(at(0.0) <= 8, "{}", at(0.0));
        assert!((15..=60).contains(&at(0.5)), "{}", at(0.5));
        assert!(at(0.9) > 2 * at(0.5));
        assert_eq!(block_length(&[1.0; 100]), 1);
        assert_eq!(block_length(&[1.0, 2.0]), 1);
    }
}

//! The few distributions that the intervals rest on: normal, Student t (central and not) and binomial.
//!
//! Central ones come from `statrs`. The noncentral t is algorithm AS 243 (Lenth, "Cumulative distribution
//! function of the non-central t distribution", Applied Statistics 38 (1989), 185–189).

use statrs::distribution::{ContinuousCDF, Normal, StudentsT};
use statrs::function::beta::beta_reg;
use statrs::function::gamma::ln_gamma;

/// Quantile of the standard normal distribution.
pub fn normal_quantile(p: f64) -> f64 {
    Normal::standard().inverse_cdf(p)
}

/// Distribution function of the standard normal distribution.
pub fn normal_cdf(x: f64) -> f64 {
    Normal::standard().cdf(x)
}

/// Quantile of Student's t with `df` > 0 degrees of freedom; NaN for others.
pub fn t_quantile(p: f64, df: f64) -> f64 {
    StudentsT::new(0.0, 1.0, df).map_or(f64::NAN, |t| t.inverse_cdf(p))
}

/// Distribution function of Student's t with `df` > 0 degrees of freedom; NaN for others.
pub fn t_cdf(x: f64, df: f64) -> f64 {
    StudentsT::new(0.0, 1.0, df).map_or(f64::NAN, |t| t.cdf(x))
}

/// P(X ≤ k) for X binomial with `n` tries of probability `p`. Negative `k` gives 0.
pub fn binomial_cdf(k: i64, n: u64, p: f64) -> f64 {
    match u64::try_from(k) {
        Err(_) => 0.0,
        Ok(k) if k >= n => 1.0,
        Ok(k) => beta_reg((n - k) as f64, k as f64 + 1.0, 1.0 - p),
    }
}

/// P(T ≤ t) for the noncentral t. Accurate to about 1e-10 for |delta| ≤ 37, where its first term underflows.
pub fn noncentral_t_cdf(t: f64, df: f64, delta: f64) -> f64 {
    if t < 0.0 {
        return 1.0 - upper_part(-t, df, -delta);
    }
    upper_part(t, df, delta)
}

/// AS 243 for t ≥ 0.
fn upper_part(t: f64, df: f64, delta: f64) -> f64 {
    let below_zero = normal_cdf(-delta);
    let x = t * t / (t * t + df);
    if x <= 0.0 {
        return below_zero;
    }
    let half_square = delta * delta / 2.0;
    let mut p = 0.5 * (-half_square).exp();
    let mut q = (2.0 / std::f64::consts::PI).sqrt() * p * delta;
    let (mut a, b) = (0.5, df / 2.0);
    let ln_beta_half = ln_gamma(0.5) + ln_gamma(b) - ln_gamma(0.5 + b);
    let mut odd = beta_reg(a, b, x);
    let mut odd_step = 2.0 * (a * x.ln() + b * (1.0 - x).ln() - ln_beta_half).exp();
    let mut even = 1.0 - (1.0 - x).powf(b);
    let mut even_step = b * x * (1.0 - x).powf(b);
    let mut sum = p * odd + q * even;
    let mut weight_left = 0.5 - p;
    for j in 1..=10_000u32 {
        a += 1.0;
        odd -= odd_step;
        even -= even_step;
        odd_step *= x * (a + b - 1.0) / a;
        even_step *= x * (a + b - 0.5) / (a + 0.5);
        p *= half_square / f64::from(j);
        q *= half_square / (f64::from(j) + 0.5);
        weight_left -= p;
        sum += p * odd + q * even;
        if 2.0 * weight_left * (odd - odd_step).abs() < 1e-12 && f64::from(j) > half_square {
            break;
        }
    }
    (sum + below_zero).clamp(0.0, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn near(a: f64, b: f64, by: f64) {
        assert!((a - b).abs() <= by, "{a} is not {b} ± {by}");
    }

    #[test]
    fn student_t_table() {
        // NIST/SEMATECH e-Handbook 1.3.6.7.2, upper critical values at 0.975.
        near(t_quantile(0.975, 1.0), 12.706, 5e-4);
        near(t_quantile(0.975, 4.0), 2.776, 5e-4);
        near(t_quantile(0.975, 9.0), 2.262, 5e-4);
        near(t_quantile(0.975, 30.0), 2.042, 5e-4);
        near(t_cdf(2.776_445, 4.0), 0.975, 1e-7);
    }

    #[test]
    fn binomial_by_hand() {
        // n = 4, p = ½: 1, 5, 11, 15, 16 sixteenths.
        for (k, sixteenths) in [(-1, 0.0), (0, 1.0), (1, 5.0), (2, 11.0), (3, 15.0), (4, 16.0), (9, 16.0)] {
            near(binomial_cdf(k, 4, 0.5), sixteenths / 16.0, 1e-12);
        }
    }

    #[test]
    fn noncentral_t_equals_another_implementation() {
        // SciPy 1.17, stats.nct.cdf(t, df, delta).
        for (t, df, delta, p) in [
            (2.0, 8.0, 1.0, 0.799_879_140_786),
            (0.5, 3.0, -1.5, 0.972_956_996_616),
            (-1.2, 10.0, 0.7, 0.035_177_611_323),
            (30.0, 5.0, 25.0, 0.627_151_592_745),
            (6.0, 60.0, 5.0, 0.803_760_355_177),
            (12.0, 20.0, 20.0, 0.000_149_083_051),
        ] {
            near(noncentral_t_cdf(t, df, delta), p, 1e-9);
        }
    }

    #[test]
    fn noncentral_t_meets_its_limits() {
        for t in [-2.5, -0.3, 0.0, 0.7, 3.1] {
            near(noncentral_t_cdf(t, 7.0, 0.0), t_cdf(t, 7.0), 1e-10);
        }
        // P(T ≤ 0) = Φ(−δ) for every df.
        near(noncentral_t_cdf(0.0, 5.0, 1.0), 0.158_655_253_931_457, 1e-10);
    }
}

//! Effect size: how large a difference is in units of the spread between trials.

use statrs::function::gamma::ln_gamma;

use crate::describe::Summary;
use crate::distribution::{noncentral_t_cdf, normal_quantile};
use crate::{Ci, Unsupported, require_probability};

/// A standardised difference with its interval.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Effect {
    /// Hedges g: positive when the candidate's mean is larger.
    pub g: f64,
    /// Its interval.
    pub ci: Ci,
}

/// Hedges g = J(n₁ + n₂ − 2) · (mean₂ − mean₁) / pooled sd, with the exact correction
/// J(m) = Γ(m/2) / (√(m/2) Γ((m − 1)/2)) (Hedges, Journal of Educational Statistics 6 (1981), 107–128).
///
/// The interval inverts the noncentral t distribution (Steiger & Fouladi 1997; Cumming & Finch, Educational and
/// Psychological Measurement 61 (2001), 532–574), which is exact for normal groups of equal variance also when they
/// are small. For a difference beyond 35 standard errors, where the noncentral t underflows, it falls back to the
/// large-sample variance of Hedges & Olkin, *Statistical Methods for Meta-Analysis* (1985), §5.B.
///
/// # Errors
/// A group of fewer than two values, a value that is not finite, or groups that do not vary.
pub fn hedges_g(baseline: &[f64], candidate: &[f64], level: f64) -> Result<Effect, Unsupported> {
    require_probability(level)?;
    let (a, b) = (Summary::of(baseline)?, Summary::of(candidate)?);
    let (na, nb) = (a.n as f64, b.n as f64);
    let m = na + nb - 2.0;
    let pooled = (((na - 1.0) * a.sd * a.sd + (nb - 1.0) * b.sd * b.sd) / m).sqrt();
    // Equal values can differ in the last bit of the mean: a spread at rounding level is no scale.
    let rounding = 1e-14 * a.mean.abs().max(b.mean.abs());
    if pooled <= rounding {
        return Err(Unsupported::Constant);
    }
    let d = (b.mean - a.mean) / pooled;
    let j = correction(m);
    let size = (na * nb / (na + nb)).sqrt();
    let t = d * size;
    let ci = if t.abs() <= 35.0 {
        let bound = |p: f64| j * noncentrality(t, m, p) / size;
        Ci { level, lo: bound(0.5 + level / 2.0), hi: bound(0.5 - level / 2.0) }
    } else {
        let g = j * d;
        let se = ((na + nb) / (na * nb) + g * g / (2.0 * (na + nb))).sqrt();
        let half = normal_quantile(0.5 + level / 2.0) * se;
        Ci { level, lo: g - half, hi: g + half }
    };
    Ok(Effect { g: j * d, ci })
}

/// The factor that makes g unbiased at `m` degrees of freedom.
pub fn correction(m: f64) -> f64 {
    (ln_gamma(m / 2.0) - ln_gamma((m - 1.0) / 2.0)).exp() / (m / 2.0).sqrt()
}

/// The noncentrality under which a t at most this large has probability `p`. Falls as `p` grows.
fn noncentrality(t: f64, df: f64, p: f64) -> f64 {
    let mut reach = 4.0 + t.abs() * 0.5;
    while noncentral_t_cdf(t, df, t - reach) < p && reach < 80.0 {
        reach *= 1.5;
    }
    let (mut lo, mut hi) = (t - reach, t + reach);
    for _ in 0..80 {
        let mid = (lo + hi) / 2.0;
        if noncentral_t_cdf(t, df, mid) > p { lo = mid } else { hi = mid }
    }
    (lo + hi) / 2.0
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(baseline: &[f64], candidate: &[f64], expected: [f64; 3]) {
        let e = hedges_g(baseline, candidate, 0.95).unwrap();
        for (got, want) in [e.g, e.ci.lo, e.ci.hi].into_iter().zip(expected) {
            assert!((got - want).abs() < 1e-6, "{e:?}, expected {expected:?}");
        }
    }

    #[test]
    fn known_values() {
        // By hand: d = 1/√2.5 = 0.632 456; J(8) = Γ(4)/(2 Γ(3.5)) = 6/(2 × 3.323 351) = 0.902 703; g = 0.570 920.
        // Bounds: noncentral t inverted with SciPy 1.17 (stats.nct).
        check(&[1., 2., 3., 4., 5.], &[2., 3., 4., 5., 6.], [0.570_919_7, -0.597_881_1, 1.706_720_0]);
        check(&[1., 2., 3., 4., 5.], &[5., 7., 6., 9., 8.5, 7.2], [2.450_758_0, 0.863_974_6, 3.973_918_0]);
    }

    #[test]
    fn correction_follows_the_published_table() {
        // Hedges 1981, table 1: J(2) = 0.5642, J(10) = 0.9228, J(50) = 0.9849.
        for (m, j) in [(2.0, 0.5642), (10.0, 0.9228), (50.0, 0.9849)] {
            assert!((correction(m) - j).abs() < 1e-4, "{m}: {}", correction(m));
        }
    }

    #[test]
    fn constant_samples_have_no_scale() {
        assert_eq!(hedges_g(&[1.0, 1.0], &[2.0, 2.0], 0.95), Err(Unsupported::Constant));
        assert_eq!(hedges_g(&[0.1 + 0.2; 5], &[0.3; 5], 0.95), Err(Unsupported::Constant));
    }

    #[test]
    fn a_huge_difference_still_has_an_interval() {
        let e = hedges_g(&[1.0, 1.001, 0.999], &[9.0, 9.001, 8.999], 0.95).unwrap();
        assert!(e.ci.lo < e.g && e.g < e.ci.hi && e.ci.hi.is_finite());
    }

    proptest! {
        #[test]
        fn swapping_groups_changes_the_sign(a in prop::collection::vec(0.0..1.0f64, 3..8), b in prop::collection::vec(0.5..2.0f64, 3..8)) {
            let (x, y) = (hedges_g(&a, &b, 0.95).unwrap(), hedges_g(&b, &a, 0.95).unwrap());
            prop_assert!((x.g + y.g).abs() < 1e-9);
            prop_assert!((x.ci.lo + y.ci.hi).abs() < 1e-5);
            prop_assert!(x.ci.lo <= x.g && x.g <= x.ci.hi);
        }
    }
}

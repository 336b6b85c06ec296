//! Two groups of trials: by how much does the candidate's mean differ from the baseline's, and how sure is that?
//!
//! ```text
//! trial values ──► difference and ratio of means, with intervals   how much
//!              ──► p of "no difference" (Welch, or paired t)       whether at all
//!              ──► p of "a difference that matters" (TOST)         whether it is negligible
//! ```
//!
//! How large the difference is against the noise is [`crate::effect`]'s business.
//!
//! Everything rests on one family of contrasts. For a ratio ρ and a shift δ the statistic
//! T(ρ, δ) = (b̄ − ρ ā − δ) / √(v_b + ρ² v_a − 2ρ c) follows Student t, where v are the squared standard errors of the
//! means and c is their covariance (0 for independent groups, whose degrees of freedom are Welch's and Satterthwaite's).
//! T(1, 0) is the usual test; the two one-sided tests of equivalence (Schuirmann, J. Pharmacokinetics and
//! Biopharmaceutics 15 (1987), 657–680) are T at the margins; the ρ at which |T| is the critical value bound the
//! ratio (Fieller, J. Royal Statistical Society B 16 (1954), 175–185). So intervals and tests never contradict each other.
//!
//! Use it on trial-level values only: observations inside one trial are not independent.

use crate::describe::Summary;
use crate::distribution::{t_cdf, t_quantile};
use crate::{Ci, Unsupported, require_probability};

/// How the trials of the two groups belong together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Design {
    /// Measured apart; groups may differ in size and variance.
    Independent,
    /// Trial i of one was measured next to trial i of the other: paired by position, never by rank.
    Paired,
}

/// The largest difference that does not matter.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Margin {
    /// Share of the baseline's mean, for instance 0.01.
    Relative(f64),
    /// In the unit of the values.
    Absolute(f64),
}

/// What two groups of trials say about each other.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Comparison {
    /// Mean of the baseline.
    pub baseline: f64,
    /// Mean of the candidate.
    pub candidate: f64,
    /// Candidate − baseline.
    pub difference: f64,
    /// Interval of the difference.
    pub difference_ci: Ci,
    /// Candidate / baseline − 1; `None` for a baseline of zero.
    pub change: Option<f64>,
    /// Interval of the change; `None` where the baseline's mean cannot be told from zero.
    pub change_ci: Option<Ci>,
    /// Two-sided p of "the means are equal".
    pub p: f64,
    /// p of "the difference is at least the margin, one way or the other"; small means equivalent.
    pub p_equivalence: f64,
}

/// Compares the means of two groups of trials.
///
/// Groups that do not vary and are equal (no failures on both sides, for instance) are equivalent with certainty.
///
/// # Errors
/// Fewer than two trials on a side, pairs of unequal number, a value that is not finite, or groups that differ and do
/// not vary, so that there is no noise to judge the difference by.
pub fn compare(
    baseline: &[f64],
    candidate: &[f64],
    design: Design,
    level: f64,
    margin: Margin,
) -> Result<Comparison, Unsupported> {
    require_probability(level)?;
    let c = Contrast::of(baseline, candidate, design)?;
    let difference = c.b.mean - c.a.mean;
    let change = (c.a.mean != 0.0).then(|| c.b.mean / c.a.mean - 1.0);
    let spread = c.error(1.0);
    // Equal values can differ in the last bit of the mean.
    if spread <= 1e-14 * c.a.mean.abs().max(c.b.mean.abs()) {
        if difference.abs() > 1e-12 * c.a.mean.abs().max(c.b.mean.abs()) {
            return Err(Unsupported::Constant);
        }
        let none = Ci { level, lo: difference, hi: difference };
        return Ok(Comparison {
            baseline: c.a.mean,
            candidate: c.b.mean,
            difference,
            difference_ci: none,
            change,
            change_ci: change.map(|v| Ci { level, lo: v, hi: v }),
            p: 1.0,
            p_equivalence: 0.0,
        });
    }
    let half = t_quantile(0.5 + level / 2.0, c.df(1.0)) * spread;
    let (low, high) = match margin {
        Margin::Relative(m) => {
            let at = |ratio: f64| c.t(ratio, 0.0) * c.a.mean.signum();
            (t_cdf(-at(1.0 - m), c.df(1.0 - m)), t_cdf(at(1.0 + m), c.df(1.0 + m)))
        }
        Margin::Absolute(m) => (t_cdf(-c.t(1.0, -m), c.df(1.0)), t_cdf(c.t(1.0, m), c.df(1.0))),
    };
    Ok(Comparison {
        baseline: c.a.mean,
        candidate: c.b.mean,
        difference,
        difference_ci: Ci { level, lo: difference - half, hi: difference + half },
        change,
        change_ci: c.ratio_bounds(level).map(|(lo, hi)| Ci { level, lo: lo - 1.0, hi: hi - 1.0 }),
        p: (2.0 * t_cdf(-c.t(1.0, 0.0).abs(), c.df(1.0))).min(1.0),
        p_equivalence: low.max(high),
    })
}

/// One-sided p-values that the candidate's mean lies below, and above, a limit set against the baseline's: `Relative(-0.2)`
/// is 20 % below it, `Absolute(0.1)` is 0.1 above it.
///
/// # Errors
/// As [`compare`].
pub fn against(
    baseline: &[f64],
    candidate: &[f64],
    design: Design,
    limit: Margin,
) -> Result<(f64, f64), Unsupported> {
    let c = Contrast::of(baseline, candidate, design)?;
    let (ratio, shift) = match limit {
        Margin::Relative(m) => (1.0 + m, 0.0),
        Margin::Absolute(m) => (1.0, m),
    };
    let t = c.t(ratio, shift);
    // Without any spread the difference itself decides; on the limit nothing is known.
    let below = match (t.is_nan(), t.is_infinite()) {
        (true, _) => 1.0,
        (_, true) => f64::from(u8::from(t > 0.0)),
        _ => t_cdf(t, c.df(ratio)),
    };
    let above = if t.is_nan() { 1.0 } else { 1.0 - below };
    Ok((below, above))
}

/// Trials per group at which a true relative change of `change` is found with probability `power`, when trials differ
/// by the relative standard deviation `sd` on both sides: the sample size of the two-sided t test, found by search over
/// the noncentral t. At most 10,000.
pub fn trials_needed(change: f64, sd: f64, level: f64, power: f64) -> Option<u32> {
    let found = |n: u32| {
        let df = f64::from(2 * n - 2);
        let critical = t_quantile(0.5 + level / 2.0, df);
        let noncentrality = change.abs() / sd * (f64::from(n) / 2.0).sqrt();
        noncentrality > 37.0
            || 1.0 - crate::distribution::noncentral_t_cdf(critical, df, noncentrality) >= power
    };
    let asked = change != 0.0 && change.is_finite() && sd > 0.0 && sd.is_finite();
    if !asked || !found(10_000) {
        return None;
    }
    let (mut low, mut high) = (1, 10_000);
    while high - low > 1 {
        let middle = (low + high) / 2;
        if found(middle) { high = middle } else { low = middle }
    }
    Some(high)
}

/// b̄ − ρ ā with its standard error and degrees of freedom.
struct Contrast {
    a: Summary,
    b: Summary,
    /// Squared standard errors of the means and their covariance.
    va: f64,
    vb: f64,
    covariance: f64,
    design: Design,
}

impl Contrast {
    fn of(baseline: &[f64], candidate: &[f64], design: Design) -> Result<Self, Unsupported> {
        let (a, b) = (Summary::of(baseline)?, Summary::of(candidate)?);
        let n = a.n as f64;
        let covariance = match design {
            Design::Independent => 0.0,
            Design::Paired if a.n != b.n => {
                return Err(Unsupported::TooFewTrials { trials: a.n.min(b.n), needed: a.n.max(b.n) });
            }
            Design::Paired => {
                let products = baseline.iter().zip(candidate).map(|(x, y)| (x - a.mean) * (y - b.mean));
                products.sum::<f64>() / (n - 1.0) / n
            }
        };
        Ok(Self { va: a.standard_error().powi(2), vb: b.standard_error().powi(2), a, b, covariance, design })
    }

    fn error(&self, ratio: f64) -> f64 {
        (self.vb + ratio * ratio * self.va - 2.0 * ratio * self.covariance).max(0.0).sqrt()
    }

    fn t(&self, ratio: f64, shift: f64) -> f64 {
        (self.b.mean - ratio * self.a.mean - shift) / self.error(ratio)
    }

    fn df(&self, ratio: f64) -> f64 {
        let (na, nb) = (self.a.n as f64 - 1.0, self.b.n as f64 - 1.0);
        match self.design {
            Design::Paired => na,
            Design::Independent => {
                let va = ratio * ratio * self.va;
                let sum = self.vb + va;
                if sum > 0.0 { sum * sum / (self.vb * self.vb / nb + va * va / na) } else { na + nb }
            }
        }
    }

    /// The ratios between which |T| stays below its critical value.
    fn ratio_bounds(&self, level: f64) -> Option<(f64, f64)> {
        let estimate = self.b.mean / self.a.mean;
        let inside = |ratio: f64| {
            let t = self.t(ratio, 0.0).abs();
            // A contrast without any error at this very ratio: only the estimate itself is inside.
            t.is_finite() && t <= t_quantile(0.5 + level / 2.0, self.df(ratio))
        };
        // Fieller's set is bounded exactly when the baseline's mean is told from zero.
        let known = self.va == 0.0
            || self.a.mean.abs() / self.va.sqrt() > t_quantile(0.5 + level / 2.0, self.a.n as f64 - 1.0);
        if !estimate.is_finite() || !known {
            return None;
        }
        let bound = |direction: f64| {
            let mut reach = (estimate.abs().max(1.0)) * 1e-6;
            while inside(estimate + direction * reach) {
                reach *= 2.0;
                if reach > 1e12 * estimate.abs().max(1.0) {
                    return None;
                }
            }
            let (mut near, mut far) = (if reach > 2e-6 { reach / 2.0 } else { 0.0 }, reach);
            for _ in 0..80 {
                let middle = (near + far) / 2.0;
                if inside(estimate + direction * middle) { near = middle } else { far = middle }
            }
            Some(estimate + direction * near)
        };
        Some((bound(-1.0)?, bound(1.0)?))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::welch::welch;

    const A: [f64; 5] = [10.0, 11.0, 9.0, 10.5, 9.5];
    const B: [f64; 5] = [8.0, 8.4, 7.6, 8.2, 7.8];

    fn independent(a: &[f64], b: &[f64]) -> Comparison {
        compare(a, b, Design::Independent, 0.95, Margin::Relative(0.01)).unwrap()
    }

    #[test]
    fn by_hand() {
        // Means 10 and 8, variances 0.625 and 0.1: v 0.125 and 0.02, se √0.145 = 0.380 789, T = −5.252 257.
        // df = 0.145² / (0.125²/4 + 0.02²/4) = 0.021 025 / 0.004 006 25 = 5.248 050.
        let c = independent(&A, &B);
        assert_eq!((c.baseline, c.candidate), (10.0, 8.0));
        assert!((c.change.unwrap() + 0.2).abs() < 1e-12 && (c.difference + 2.0).abs() < 1e-12);
        let w = welch(&A, &B, 0.95).unwrap();
        assert!((w.df - 5.248_050).abs() < 1e-5 && (c.p - w.p).abs() < 1e-12);
        assert!((c.difference_ci.lo - w.ci.lo).abs() < 1e-12);
        // Paired: differences −2, −2.6, −1.4, −2.3, −1.7: sd √0.225 = 0.474 342, se 0.212 132, t(4) 2.776 445.
        let paired = compare(&A, &B, Design::Paired, 0.95, Margin::Absolute(0.1)).unwrap();
        assert!((paired.difference_ci.lo - (-2.0 - 2.776_445 * 0.212_132)).abs() < 1e-5, "{paired:?}");
    }

    #[test]
    fn fieller_bounds_solve_his_equation() {
        // Paired, so the degrees of freedom are fixed: (b̄ − ρā)² = t² (v_b + ρ² v_a − 2ρc) with t = 2.776 445,
        // v_a 0.125, v_b 0.02, c 0.05: roots of (100 − 0.963 581) ρ² − (160 − 0.770 865) ρ + (64 − 0.154 173) = 0.
        let c = compare(&A, &B, Design::Paired, 0.95, Margin::Relative(0.01)).unwrap();
        let t2 = 2.776_445_105_f64.powi(2);
        let (x, y, z) = (100.0 - t2 * 0.125, -(160.0 - 2.0 * t2 * 0.05), 64.0 - t2 * 0.02);
        let root = (y * y - 4.0 * x * z).max(0.0).sqrt();
        let (lo, hi) = ((-y - root) / (2.0 * x), (-y + root) / (2.0 * x));
        let ci = c.change_ci.unwrap();
        assert!((ci.lo - (lo - 1.0)).abs() < 1e-6 && (ci.hi - (hi - 1.0)).abs() < 1e-6, "{ci:?} {lo} {hi}");
    }

    #[test]
    fn equivalence_needs_both_sides() {
        let near: Vec<f64> = [10.001, 10.002, 9.999, 10.0, 9.998].to_vec();
        let also: Vec<f64> = [10.0, 10.003, 9.998, 10.002, 9.999].to_vec();
        assert!(independent(&near, &also).p_equivalence < 0.001);
        assert!(independent(&A, &B).p_equivalence > 0.99);
        assert!(independent(&A, &[10.0, 11.2, 9.0, 10.4, 9.5]).p_equivalence > 0.05, "too noisy for 1 %");
    }

    #[test]
    fn constant_groups() {
        let zero = independent(&[0.0; 3], &[0.0; 3]);
        assert_eq!((zero.p, zero.p_equivalence, zero.change), (1.0, 0.0, None));
        let two = compare(&[1.0, 1.0], &[2.0, 2.0], Design::Independent, 0.95, Margin::Absolute(0.1));
        assert_eq!(two, Err(Unsupported::Constant));
        let few = compare(&[1.0], &[2.0, 2.0], Design::Independent, 0.95, Margin::Absolute(0.1));
        assert!(matches!(few, Err(Unsupported::TooFewValues { .. })));
    }

    #[test]
    fn a_baseline_near_zero_has_no_ratio() {
        let c = independent(&[-1.0, 1.0, 0.1], &[2.0, 2.1, 2.2]);
        assert!(c.change.is_some() && c.change_ci.is_none());
    }

    #[test]
    fn sample_sizes_follow_the_published_table() {
        // Cohen, Statistical Power Analysis (1988), table 2.4.1, two-sided 0.05, power 0.80: d 0.5: 64, d 0.8: 26, d 1: 17.
        for (d, n) in [(0.5, 64), (0.8, 26), (1.0, 17)] {
            assert_eq!(trials_needed(d * 0.01, 0.01, 0.95, 0.8), Some(n));
        }
        assert_eq!(trials_needed(0.0, 0.01, 0.95, 0.8), None);
    }

    proptest! {
        #[test]
        fn interval_and_test_agree(
            a in prop::collection::vec(1.0..3.0f64, 3..8),
            b in prop::collection::vec(1.0..3.0f64, 3..8),
        ) {
            let c = independent(&a, &b);
            if let Some(ci) = c.change_ci {
                prop_assert!(ci.lo <= c.change.unwrap() + 1e-9 && c.change.unwrap() <= ci.hi + 1e-9);
                let excludes = ci.lo > 1e-6 || ci.hi < -1e-6;
                prop_assert!(!excludes || c.p <= 0.05 + 1e-4, "{c:?}");
                prop_assert!(c.p > 0.05 - 1e-4 || ci.lo > -1e-4 || ci.hi < 1e-4, "{c:?}");
            }
        }

        #[test]
        fn scale_changes_nothing(a in prop::collection::vec(1.0..3.0f64, 3..6), b in prop::collection::vec(1.0..3.0f64, 3..6)) {
            let scale = |v: &[f64]| v.iter().map(|x| x * 1e-3).collect::<Vec<_>>();
            let (x, y) = (independent(&a, &b), independent(&scale(&a), &scale(&b)));
            prop_assert!((x.p - y.p).abs() < 1e-6 && (x.change.unwrap() - y.change.unwrap()).abs() < 1e-9);
        }
    }
}

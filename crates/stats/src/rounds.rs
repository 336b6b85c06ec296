//! Several rounds of one measurement: whether they agree, and what they say together.
//!
//! A round is a series of samples taken at one moment. Samples of one round are alike in whatever the moment decided
//! (a clock, a temperature, where buffers lie), so the spread within a round says nothing about the next one. The unit
//! of the interval is therefore the round.

use statrs::distribution::{ChiSquared, ContinuousCDF};

use crate::describe::Summary;
use crate::distribution::{normal_quantile, t_quantile};
use crate::quantile::{median, sorted};
use crate::{Ci, Unsupported, require, require_probability};

/// One round.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Round {
    /// Median of its samples.
    pub median: f64,
    /// Standard error of that median by the samples of the round alone; 0 where it is not known.
    pub error: f64,
}

/// What rounds say together.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Together {
    /// Median of the rounds' medians.
    pub median: f64,
    /// Interval around it; `None` for one round.
    pub ci: Option<Ci>,
    /// Standard deviation of the rounds' medians, relative to their median; `None` for one round.
    pub between: Option<f64>,
    /// Probability of rounds that differ so much or more by their own noise alone; `None` for one round.
    pub p: Option<f64>,
}

/// Combines rounds. `resolution` is what the clock cannot tell, relative to the median: medians are never taken to be
/// more certain than that.
///
/// The interval is Student's t over the rounds' medians, and at least as wide as the rounds' own noise makes it: three
/// medians may be equal by chance. Whether rounds differ by more than their noise is Cochran's Q, the weighted sum of
/// squares Σ (mᵢ − m̄)²/eᵢ² held against χ² with one degree of freedom less than rounds (Cochran, *Biometrics* 10
/// (1954), 101–129).
///
/// # Errors
/// No round, or a number that is not finite.
pub fn together(rounds: &[Round], level: f64, resolution: f64) -> Result<Together, Unsupported> {
    require_probability(level)?;
    let medians: Vec<f64> = rounds.iter().map(|r| r.median).collect();
    require(&medians, 1)?;
    let centre = median(&sorted(&medians));
    if rounds.len() < 2 {
        return Ok(Together { median: centre, ci: None, between: None, p: None });
    }
    let summary = Summary::of(&medians)?;
    let n = rounds.len() as f64;
    let floor = resolution * centre.abs();
    let errors: Vec<f64> = rounds.iter().map(|r| r.error.hypot(floor)).collect();
    require(&errors, 2)?;
    let own = errors.iter().map(|e| e * e).sum::<f64>().sqrt() / n;
    let half = (t_quantile(0.5 + level / 2.0, n - 1.0) * summary.standard_error())
        .max(normal_quantile(0.5 + level / 2.0) * own);
    Ok(Together {
        median: centre,
        ci: Some(Ci { level, lo: centre - half, hi: centre + half }),
        between: Some(summary.sd / centre.abs()),
        p: Some(agreement(&medians, &errors)),
    })
}

/// p-value of Cochran's Q.
fn agreement(medians: &[f64], errors: &[f64]) -> f64 {
    let weights: Vec<f64> = errors.iter().map(|e| 1.0 / (e * e)).collect();
    let all: f64 = weights.iter().sum();
    if !all.is_finite() {
        // Rounds without any noise either are equal or differ by more than it.
        return if medians.iter().all(|m| *m == medians[0]) { 1.0 } else { 0.0 };
    }
    let mean = medians.iter().zip(&weights).map(|(m, w)| m * w).sum::<f64>() / all;
    let q: f64 = medians.iter().zip(&weights).map(|(m, w)| w * (m - mean) * (m - mean)).sum();
    ChiSquared::new(medians.len() as f64 - 1.0).map_or(1.0, |chi| chi.sf(q))
}

/// Movement of one measurement between two occasions, relative to the first, with its interval.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Moved {
    /// b/a − 1.
    pub by: f64,
    /// Interval; `None` where either side has none.
    pub ci: Option<Ci>,
}

/// One occasion: a median and half the width of its 95 % interval over so many rounds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Occasion {
    /// Median.
    pub median: f64,
    /// Half the width of the 95 % interval; `None` without one.
    pub half: Option<f64>,
    /// Rounds behind it. With one, the interval is taken to rest on many samples.
    pub rounds: u32,
}

/// How far `b` moved from `a`, with the interval of Welch for the difference of the two.
pub fn moved(a: Occasion, b: Occasion) -> Moved {
    let by = b.median / a.median - 1.0;
    // Standard error, relative, and degrees of freedom that it rests on.
    let of = |o: Occasion| {
        let df = if o.rounds > 1 { f64::from(o.rounds - 1) } else { 1e6 };
        Some((o.half? / t_quantile(0.975, df) / o.median, df))
    };
    let ci = of(a).zip(of(b)).map(|((ea, da), (eb, db))| {
        let (va, vb) = (ea * ea, eb * eb);
        let variance = va + vb;
        let df =
            if variance > 0.0 { variance * variance / (va * va / da + vb * vb / db) } else { da.min(db) };
        let half = t_quantile(0.975, df) * variance.sqrt() * (1.0 + by);
        Ci { level: 0.95, lo: by - half, hi: by + half }
    });
    Moved { by, ci }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rounds(medians: &[f64], error: f64) -> Vec<Round> {
        medians.iter().map(|&median| Round { median, error }).collect()
    }

    #[track_caller]
    fn close(found: f64, expected: f64) {
        assert!((found - expected).abs() < 1e-3 * expected.abs().max(1e-3), "{found} instead of {expected}");
    }

    #[test]
    fn the_interval_is_that_of_the_rounds() {
        // By hand: 99, 100, 104: median 100, SD 2.645 75, t(0.975; 2) = 4.302 65, half width 6.572 5.
        let all = together(&rounds(&[104.0, 99.0, 100.0], 0.1), 0.95, 0.0).unwrap();
        assert_eq!(all.median, 100.0);
        let ci = all.ci.unwrap();
        close(ci.hi - 100.0, 6.5725);
        close(100.0 - ci.lo, 6.5725);
        close(all.between.unwrap(), 0.026_457_5);
    }

    #[test]
    fn rounds_that_are_equal_by_chance_keep_the_width_of_their_noise() {
        // By hand: 1.959 96 · 0.3 · √3 / 3.
        let ci = together(&rounds(&[100.0; 3], 0.3), 0.95, 0.0).unwrap().ci.unwrap();
        close(ci.hi - 100.0, 0.339_49);
        // A clock that tells steps of 1 %: the same with 1.
        let ci = together(&rounds(&[100.0; 3], 0.0), 0.95, 0.01).unwrap().ci.unwrap();
        close(ci.hi - 100.0, 1.131_6);
    }

    #[test]
    fn disagreement_is_cochran_s_q() {
        // By hand: errors of 1, medians 9, 10, 13: mean 32/3, Q = 26/3; χ² with 2 degrees: exp(−Q/2) = 0.013 124.
        close(together(&rounds(&[9.0, 10.0, 13.0], 1.0), 0.95, 0.0).unwrap().p.unwrap(), 0.013_124);
        assert!(together(&rounds(&[9.0, 10.0, 13.0], 0.1), 0.95, 0.0).unwrap().p.unwrap() < 1e-9);
        assert_eq!(together(&rounds(&[9.0, 9.0], 0.0), 0.95, 0.0).unwrap().p, Some(1.0));
        assert_eq!(together(&rounds(&[9.0, 9.1], 0.0), 0.95, 0.0).unwrap().p, Some(0.0));
    }

    #[test]
    fn one_round_has_no_interval() {
        let one = together(&rounds(&[5.0], 0.1), 0.95, 0.0).unwrap();
        assert_eq!((one.median, one.ci, one.p), (5.0, None, None));
        assert!(together(&[], 0.95, 0.0).is_err());
    }

    #[test]
    fn intervals_cover_at_their_rate() {
        // Rounds that differ by 1 %, with little noise within: of 2000 repetitions about 95 % cover.
        let mut state = 7_u64;
        let mut normal = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            normal_quantile(((state >> 11) as f64 + 0.5) / (1_u64 << 53) as f64)
        };
        let mut covered = 0;
        for _ in 0..2000 {
            let medians: Vec<f64> = (0..3).map(|_| 1.0 + 0.01 * normal()).collect();
            let ci = together(&rounds(&medians, 0.0005), 0.95, 0.0).unwrap().ci.unwrap();
            covered += u32::from(ci.lo <= 1.0 && 1.0 <= ci.hi);
        }
        assert!((1860..=1940).contains(&covered), "{covered} of 2000");
    }

    #[test]
    fn movement_has_the_interval_of_both_sides() {
        let occasion = |median, half| Occasion { median, half: Some(half), rounds: 3 };
        // By hand: both half widths 4.302 65 % of the median, so errors of 1 % and 4 degrees: 2.776 4 · √2 %, and 1.02
        // of it around +2 %.
        let m = moved(occasion(100.0, 4.302_65), occasion(102.0, 4.302_65 * 1.02));
        close(m.by, 0.02);
        close(m.ci.unwrap().hi, 0.02 + 0.040_05);
        assert_eq!(moved(occasion(100.0, 0.0), occasion(101.0, 0.0)).ci.map(|c| c.lo > 0.009), Some(true));
        let none = Occasion { median: 1.0, half: None, rounds: 1 };
        assert_eq!(moved(none, occasion(1.0, 0.1)).ci, None);
    }
}

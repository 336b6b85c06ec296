//! How far a calibrated prediction may be off, by what the engine is busy with: intervals from loads that were left out.
//!
//! ```text
//! score of a left-out load = |ln(measured / predicted)| / usual size of such errors in its regime
//! interval = predicted · exp(± usual size in the regime · the score that 90 % of new loads stay below)
//! ```
//!
//! The last is the ⌈0.9·(n + 1)⌉-th smallest of the scores, which holds for a new load whatever the errors' distribution,
//! as long as it is one like those left out (split conformal prediction on leave-one-out residuals). Loads of one regime
//! are few, so the usual size of a regime leans on that of all loads as if `LEANING` more loads had it, and the score of
//! a load is taken against the others alone.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::corrector::unseen;
use crate::simulate::Outcome;

/// Share of new loads that an interval is to hold.
const SHARE: f64 = 0.9;
/// Loads that the mean of all counts for beside those of a regime.
const LEANING: f64 = 3.0;
/// Below this mean number of sequences a step, requests are mostly alone.
const ALONE: f64 = 1.5;
/// Above this share of the time to the first token in the queue, the engine is full.
const FULL: f64 = 0.5;
/// Relative error below which no interval goes: what repeats of one load differ by anyway.
const LEAST: f64 = 0.01;

/// What an engine is busy with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Regime {
    /// One request at a time.
    Alone,
    /// Several, which begin soon after they come.
    #[default]
    Together,
    /// More than a step takes: requests wait longer than their prompts take.
    Queueing,
}

impl Regime {
    /// Every regime.
    pub const ALL: [Self; 3] = [Self::Alone, Self::Together, Self::Queueing];

    /// Name in tables.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Alone => "alone",
            Self::Together => "together",
            Self::Queueing => "queueing",
        }
    }

    /// That of a simulated load whose requests spend this share of their time to the first token in the queue.
    #[must_use]
    pub fn of(outcome: &Outcome, queue: f64) -> Self {
        if queue > FULL {
            Self::Queueing
        } else if (outcome.sequences as f64) < ALONE * outcome.steps as f64 {
            Self::Alone
        } else {
            Self::Together
        }
    }
}

/// Factors on predicted means within which 90 % of new loads should lie.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Factors {
    /// Time to the first token.
    pub ttft: [f64; 2],
    /// Time an output token.
    pub tpot: [f64; 2],
    /// Time to the last token, and with it output tokens a second of a closed loop.
    pub e2e: [f64; 2],
}

impl Factors {
    /// The same where the host sets the pace of decoding, and only larger models were fitted.
    #[must_use]
    pub fn of_unseen_host(self) -> Self {
        let wider = |[lo, hi]: [f64; 2]| [lo * unseen::SPREAD[0], hi * unseen::SPREAD[1]];
        Self { ttft: self.ttft, tpot: wider(self.tpot), e2e: wider(self.e2e) }
    }
}

/// Factors by regime.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Spreads(BTreeMap<Regime, Factors>);

/// A load that was left out of a fit: measured over predicted.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Left {
    /// Its regime, as predicted.
    pub regime: Regime,
    /// Of the time to the first token.
    pub ttft: f64,
    /// Of the time an output token.
    pub tpot: Option<f64>,
    /// Of the time to the last token.
    pub e2e: f64,
}

impl Spreads {
    /// From left-out loads.
    #[must_use]
    pub fn of(left: &[Left]) -> Self {
        let metric = |of: &dyn Fn(&Left) -> Option<f64>| -> Vec<(Regime, f64)> {
            let errors = left.iter().filter_map(|l| Some((l.regime, of(l)?.ln().abs())));
            errors.filter(|(_, e)| e.is_finite()).collect()
        };
        let (ttft, tpot, e2e) = (metric(&|l| Some(l.ttft)), metric(&|l| l.tpot), metric(&|l| Some(l.e2e)));
        let factors = |regime| {
            let of = |errors: &[(Regime, f64)]| {
                let far = half_width(errors, regime).max(LEAST);
                [(-far).exp(), far.exp()]
            };
            (regime, Factors { ttft: of(&ttft), tpot: of(&tpot), e2e: of(&e2e) })
        };
        Self(Regime::ALL.map(factors).into())
    }

    /// Those of a regime.
    ///
    /// A file without it gives the widest of the others.
    #[must_use]
    pub fn factors(&self, regime: Regime) -> Factors {
        let widest = |of: fn(&Factors) -> [f64; 2]| {
            let all = self.0.values().map(of);
            all.fold([1.0_f64, 1.0_f64], |[lo, hi], [l, h]: [f64; 2]| [lo.min(l), hi.max(h)])
        };
        self.0.get(&regime).copied().unwrap_or_else(|| Factors {
            ttft: widest(|f| f.ttft),
            tpot: widest(|f| f.tpot),
            e2e: widest(|f| f.e2e),
        })
    }
}

/// Usual size of the errors of a regime, but for one of them.
fn usual(errors: &[(Regime, f64)], regime: Regime, without: Option<usize>) -> f64 {
    let others = || errors.iter().enumerate().filter(|(i, _)| Some(*i) != without).map(|(_, e)| *e);
    let all = others().map(|(_, e)| e).sum::<f64>() / (others().count().max(1) as f64);
    let own = || others().filter(|(r, _)| *r == regime);
    (own().map(|(_, e)| e).sum::<f64>() + LEANING * all) / (own().count() as f64 + LEANING)
}

/// Half of the interval of a regime, as a logarithm.
fn half_width(errors: &[(Regime, f64)], regime: Regime) -> f64 {
    let n = errors.len();
    let mut scores: Vec<f64> =
        (0..n).map(|i| errors[i].1 / usual(errors, errors[i].0, Some(i)).max(f64::MIN_POSITIVE)).collect();
    scores.sort_by(f64::total_cmp);
    let place = (SHARE * (n + 1) as f64).ceil() as usize;
    match scores.get(place.wrapping_sub(1)) {
        Some(score) => score * usual(errors, regime, None),
        // Fewer than nine loads support no such score: the widest error and half as much again, 10 % at least.
        None => 1.5 * errors.iter().map(|(_, e)| *e).fold(0.1, f64::max),
    }
}

#[cfg(test)]
mod tests {
    use stopwatt_serving::random::{Draws, Purpose};

    use super::*;

    /// A load of a regime whose errors have this deviation.
    fn left(draws: &mut Draws, regime: Regime, deviation: f64) -> Left {
        let ratio = (deviation * draws.normal()).exp();
        Left { regime, ttft: ratio, tpot: Some(ratio), e2e: ratio }
    }

    #[test]
    fn ninety_of_a_hundred_new_loads_lie_inside_in_every_regime_and_no_more_than_needed() {
        let mut draws = Draws::new(Purpose::Order, [11, 0, 0, 0]);
        let deviations = [(Regime::Alone, 0.02), (Regime::Together, 0.05), (Regime::Queueing, 0.10)];
        let mut inside = [0_u32; 3];
        for _ in 0..600 {
            let seen: Vec<Left> = (0..27)
                .map(|i| {
                    let (regime, deviation) = deviations[i % 3];
                    left(&mut draws, regime, deviation)
                })
                .collect();
            let spreads = Spreads::of(&seen);
            for (count, (regime, deviation)) in inside.iter_mut().zip(deviations) {
                let [lo, hi] = spreads.factors(regime).ttft;
                *count += u32::from((lo..=hi).contains(&left(&mut draws, regime, deviation).ttft));
            }
        }
        let shares = inside.map(|n| f64::from(n) / 600.0);
        let mean = shares.iter().sum::<f64>() / 3.0;
        assert!((0.88..=0.96).contains(&mean), "{shares:?}");
        assert!(shares.iter().all(|s| (0.80..=0.995).contains(s)), "{shares:?}");
    }

    #[test]
    fn half_widths_by_hand() {
        // Ten equal errors in one regime: every score is 1, the usual size is the error.
        let equal = [(Regime::Together, 0.05); 10];
        assert!((half_width(&equal, Regime::Together) - 0.05).abs() < 1e-12);
        // A regime without loads leans on all.
        assert!((half_width(&equal, Regime::Alone) - 0.05).abs() < 1e-12);
        // Eight are too few: half as much again, from 10 % on.
        assert!((half_width(&equal[..8], Regime::Together) - 0.15).abs() < 1e-12);
        // Two errors of 2 % in a regime, eight of 5 %: (2·0.02 + 3·0.044) / 5.
        let mut mixed = [(Regime::Together, 0.05); 10];
        (mixed[0], mixed[1]) = ((Regime::Alone, 0.02), (Regime::Alone, 0.02));
        assert!((usual(&mixed, Regime::Alone, None) - 0.0344).abs() < 1e-12);
    }
}

//! Arrival processes: *when* each request is sent.
//!
//! ```text
//! Workload ──► ArrivalProcess ──► Dispatcher ──► Client ──► RequestRecord
//! (what)       (when: this module)               (how)
//! ```
//!
//! Send times are open-loop: they never depend on how fast the server answers, so a slow server cannot hide its
//! own queue (*coordinated omission*). They are absolute: each is computed from the begin of the schedule and not
//! from the send before it, so lateness never adds up.
//!
//! Every process is one law: a unit process (even, exponential or gamma gaps with mean 1) whose time is stretched
//! so that its rate is the one asked for: constant, or linear in time for a ramp.
//!
//! Invariants, each held by a test below:
//!
//! - send times never decrease;
//! - one seed gives one sequence, on every platform;
//! - the mean rate is the one asked for, and a constant rate is exact to the nanosecond.
//!
//! A closed loop is not here: its send times depend on the server.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use stopwatt_core::Nanos;

use crate::random::{Draws, Purpose};

/// An arrival process as a file writes it, for instance `poisson: {rate_rps: 20}`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum ArrivalSpec {
    /// Equal gaps; the first request at 0.
    Constant {
        /// Requests a second.
        rate_rps: f64,
    },
    /// Independent exponential gaps.
    Poisson {
        /// Mean requests a second.
        rate_rps: f64,
    },
    /// Independent gamma gaps.
    Gamma {
        /// Mean requests a second.
        rate_rps: f64,
        /// Shape of the gaps: 1 is Poisson, less comes in bursts, more is evener. Gaps vary by 1/√burstiness.
        burstiness: f64,
    },
    /// A rate that moves linearly from one value to another, then ends.
    Ramp {
        /// Requests a second at the begin.
        from_rps: f64,
        /// Requests a second at the end.
        to_rps: f64,
        /// Length of the ramp, in seconds.
        duration_s: f64,
        /// How requests lie around the moving rate.
        #[serde(default)]
        spacing: Spacing,
    },
}

/// How the requests of a ramp lie around its rate.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Spacing {
    /// One request each time the rate has added up to another one.
    #[default]
    Even,
    /// As a Poisson process of this rate.
    Poisson,
    /// As gamma gaps in stretched time.
    Gamma {
        /// Shape of the gaps; see [`ArrivalSpec::Gamma`].
        burstiness: f64,
    },
}

/// A checked arrival process.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "ArrivalSpec", into = "ArrivalSpec")]
pub struct ArrivalProcess(ArrivalSpec);

/// Why an arrival process makes no sense.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ArrivalError {
    /// A rate that is not above zero (a ramp may touch zero at one end).
    #[error("request rate {rate_rps}/s is not above zero")]
    Rate {
        /// Requests a second.
        rate_rps: f64,
    },
    /// A burstiness outside 0.01 to 10,000.
    #[error("burstiness {burstiness} is not in 0.01..=10000")]
    Burstiness {
        /// The value.
        burstiness: f64,
    },
    /// A ramp without length.
    #[error("ramp of {duration_s} s")]
    Duration {
        /// The length, in seconds.
        duration_s: f64,
    },
}

impl ArrivalProcess {
    /// Equal gaps.
    pub fn constant(rate_rps: f64) -> Result<Self, ArrivalError> {
        ArrivalSpec::Constant { rate_rps }.try_into()
    }

    /// Independent exponential gaps.
    pub fn poisson(rate_rps: f64) -> Result<Self, ArrivalError> {
        ArrivalSpec::Poisson { rate_rps }.try_into()
    }

    /// The process as written in a file.
    pub fn spec(&self) -> ArrivalSpec {
        self.0
    }

    /// Mean requests a second; of a ramp, over its whole length.
    pub fn mean_rate_rps(&self) -> f64 {
        match self.0 {
            ArrivalSpec::Constant { rate_rps }
            | ArrivalSpec::Poisson { rate_rps }
            | ArrivalSpec::Gamma { rate_rps, .. } => rate_rps,
            ArrivalSpec::Ramp { from_rps, to_rps, .. } => (from_rps + to_rps) / 2.0,
        }
    }

    /// Send times in nanoseconds since the begin of the schedule. Without end, except for a ramp.
    ///
    /// Shard `i` of `n` takes `.skip(i).step_by(n)`: together the shards send exactly this process.
    pub fn offsets(&self, seed: u64) -> Offsets {
        let (spacing, law) = match self.0 {
            ArrivalSpec::Constant { rate_rps } => (Spacing::Even, Law::Steady { rate_rps }),
            ArrivalSpec::Poisson { rate_rps } => (Spacing::Poisson, Law::Steady { rate_rps }),
            ArrivalSpec::Gamma { rate_rps, burstiness } => {
                (Spacing::Gamma { burstiness }, Law::Steady { rate_rps })
            }
            ArrivalSpec::Ramp { from_rps, to_rps, duration_s, spacing } => {
                (spacing, Law::Linear { from_rps, to_rps, duration_s })
            }
        };
        let draws = Draws::new(Purpose::Arrival, [seed, 0, 0, 0]);
        Offsets { spacing, law, draws, index: 0, mass: 0.0, last: 0 }
    }
}

impl TryFrom<ArrivalSpec> for ArrivalProcess {
    type Error = ArrivalError;

    fn try_from(spec: ArrivalSpec) -> Result<Self, ArrivalError> {
        let check_burstiness = |burstiness: f64| {
            (0.01..=10_000.0)
                .contains(&burstiness)
                .then_some(())
                .ok_or(ArrivalError::Burstiness { burstiness })
        };
        let check_rate = |rate_rps: f64, ok: bool| {
            (rate_rps.is_finite() && ok).then_some(()).ok_or(ArrivalError::Rate { rate_rps })
        };
        match spec {
            ArrivalSpec::Constant { rate_rps } | ArrivalSpec::Poisson { rate_rps } => {
                check_rate(rate_rps, rate_rps > 0.0)?;
            }
            ArrivalSpec::Gamma { rate_rps, burstiness } => {
                check_rate(rate_rps, rate_rps > 0.0)?;
                check_burstiness(burstiness)?;
            }
            ArrivalSpec::Ramp { from_rps, to_rps, duration_s, spacing } => {
                check_rate(from_rps, from_rps >= 0.0)?;
                check_rate(to_rps, to_rps >= 0.0 && from_rps + to_rps > 0.0)?;
                if !(duration_s.is_finite() && duration_s > 0.0) {
                    return Err(ArrivalError::Duration { duration_s });
                }
                if let Spacing::Gamma { burstiness } = spacing {
                    check_burstiness(burstiness)?;
                }
            }
        }
        Ok(Self(spec))
    }
}

impl From<ArrivalProcess> for ArrivalSpec {
    fn from(process: ArrivalProcess) -> Self {
        process.0
    }
}

/// Expected number of requests as a function of time.
#[derive(Debug, Clone, Copy)]
enum Law {
    Steady { rate_rps: f64 },
    Linear { from_rps: f64, to_rps: f64, duration_s: f64 },
}

impl Law {
    /// When the expected number of requests reaches `mass`; `None` when it never does.
    fn reached_ns(self, mass: f64) -> Option<f64> {
        match self {
            Self::Steady { rate_rps } => Some(mass * 1e9 / rate_rps),
            Self::Linear { from_rps, to_rps, duration_s } => {
                if mass >= (from_rps + to_rps) / 2.0 * duration_s {
                    return None;
                }
                // Solves from·t + (to − from)·t²/(2·duration) = mass, in the form that loses no digits.
                let root =
                    (from_rps * from_rps + 2.0 * (to_rps - from_rps) * mass / duration_s).max(0.0).sqrt();
                let t = if mass == 0.0 { 0.0 } else { 2.0 * mass / (from_rps + root) };
                Some(t.min(duration_s) * 1e9)
            }
        }
    }
}

/// Iterator over send times; made by [`ArrivalProcess::offsets`].
#[derive(Debug, Clone)]
pub struct Offsets {
    spacing: Spacing,
    law: Law,
    draws: Draws,
    index: u64,
    /// Expected number of requests up to the present one.
    mass: f64,
    last: Nanos,
}

impl Iterator for Offsets {
    type Item = Nanos;

    fn next(&mut self) -> Option<Nanos> {
        self.mass = match self.spacing {
            // From the index and not by adding, so that rounding cannot add up.
            Spacing::Even => self.index as f64,
            Spacing::Poisson => self.mass + self.draws.exponential(),
            Spacing::Gamma { burstiness } => self.mass + self.draws.gamma(burstiness),
        };
        self.index += 1;
        let ns = self.law.reached_ns(self.mass)?;
        // The schedule ends where stamps do, after 292 years.
        if ns >= i64::MAX as f64 {
            return None;
        }
        // Rounding of a ramp's square root must not turn two requests around.
        self.last = self.last.max(ns.round() as Nanos);
        Some(self.last)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn process(spec: ArrivalSpec) -> ArrivalProcess {
        spec.try_into().unwrap()
    }

    /// Mean rate and coefficient of variation of the gaps.
    fn rate_and_cv(process: ArrivalProcess, seed: u64, n: usize) -> (f64, f64) {
        let times: Vec<f64> = process.offsets(seed).take(n).map(|t| t as f64 / 1e9).collect();
        let gaps: Vec<f64> = times.windows(2).map(|w| w[1] - w[0]).collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let variance = gaps.iter().map(|g| (g - mean).powi(2)).sum::<f64>() / gaps.len() as f64;
        (1.0 / mean, variance.sqrt() / mean)
    }

    #[test]
    fn a_constant_rate_is_exact_to_the_nanosecond_after_a_day() {
        // 333 requests a second: request i belongs at i × 10⁹/333 ns.
        let times = ArrivalProcess::constant(333.0).unwrap().offsets(0);
        for (i, t) in times.enumerate().step_by(999_983).take(30) {
            let exact = i as i128 * 1_000_000_000;
            assert!((i128::from(t) * 333 - exact).abs() * 2 <= 333, "request {i} at {t}");
        }
    }

    #[test]
    fn a_constant_rate_begins_at_zero_and_has_equal_gaps() {
        let times: Vec<_> = ArrivalProcess::constant(50.0).unwrap().offsets(9).take(4).collect();
        assert_eq!(times, [0, 20_000_000, 40_000_000, 60_000_000]);
    }

    #[test]
    fn rates_and_burstiness_are_those_asked_for() {
        let check = |spec, cv: f64| {
            let (rate, got) = rate_and_cv(process(spec), 17, 40_000);
            // Standard error of the mean gap is cv/√40,000 = cv/200.
            assert!((rate / 80.0 - 1.0).abs() < 0.02 * (1.0 + cv), "{spec:?}: rate {rate}");
            assert!((got - cv).abs() < 0.03 * (1.0 + cv), "{spec:?}: cv {got}");
        };
        check(ArrivalSpec::Constant { rate_rps: 80.0 }, 0.0);
        check(ArrivalSpec::Poisson { rate_rps: 80.0 }, 1.0);
        // CV of a gamma with shape k is 1/√k.
        check(ArrivalSpec::Gamma { rate_rps: 80.0, burstiness: 1.0 }, 1.0);
        check(ArrivalSpec::Gamma { rate_rps: 80.0, burstiness: 0.25 }, 2.0);
        check(ArrivalSpec::Gamma { rate_rps: 80.0, burstiness: 16.0 }, 0.25);
    }

    #[test]
    fn counts_of_a_poisson_process_scatter_as_much_as_their_mean() {
        let mut counts = vec![0_f64; 4_000];
        for t in ArrivalProcess::poisson(5.0).unwrap().offsets(3) {
            match counts.get_mut((t / 1_000_000_000) as usize) {
                Some(count) => *count += 1.0,
                None => break,
            }
        }
        let mean = counts.iter().sum::<f64>() / 4_000.0;
        let variance = counts.iter().map(|c| (c - mean).powi(2)).sum::<f64>() / 4_000.0;
        assert!((mean - 5.0).abs() < 0.15 && (variance / mean - 1.0).abs() < 0.1, "{mean} {variance}");
    }

    #[test]
    fn a_ramp_is_solved_by_hand() {
        // 0 to 10/s in 10 s: t²/2 requests up to t, 50 in all.
        let up = ArrivalSpec::Ramp { from_rps: 0.0, to_rps: 10.0, duration_s: 10.0, spacing: Spacing::Even };
        let times: Vec<_> = process(up).offsets(0).collect();
        assert_eq!(times.len(), 50);
        assert_eq!(
            (times[0], times[2], times[8], times[32]),
            (0, 2_000_000_000, 4_000_000_000, 8_000_000_000)
        );
        // 10 to 0/s: 10 t − t²/2. The 32nd request comes after 4 s.
        let down =
            ArrivalSpec::Ramp { from_rps: 10.0, to_rps: 0.0, duration_s: 10.0, spacing: Spacing::Even };
        let times: Vec<_> = process(down).offsets(0).collect();
        assert_eq!((times.len(), times[32]), (50, 4_000_000_000));
        // A ramp that does not rise is a constant rate.
        let flat = ArrivalSpec::Ramp { from_rps: 8.0, to_rps: 8.0, duration_s: 2.0, spacing: Spacing::Even };
        let steady: Vec<_> = ArrivalProcess::constant(8.0).unwrap().offsets(0).take(16).collect();
        assert_eq!(process(flat).offsets(0).collect::<Vec<_>>(), steady);
    }

    #[test]
    fn a_random_ramp_has_its_rate_at_every_time() {
        let spec =
            ArrivalSpec::Ramp { from_rps: 20.0, to_rps: 180.0, duration_s: 100.0, spacing: Spacing::Poisson };
        let times: Vec<f64> = process(spec).offsets(5).map(|t| t as f64 / 1e9).collect();
        // Quarters of the ramp hold 25 s × the mean rate there: 1,000, 2,000, 3,000, 4,000; ±4 standard errors.
        for (quarter, expected) in [1_000.0, 2_000.0, 3_000.0, 4_000.0_f64].into_iter().enumerate() {
            let count = times.iter().filter(|&&t| (t / 25.0) as usize == quarter).count() as f64;
            assert!((count - expected).abs() < 4.0 * expected.sqrt(), "quarter {quarter}: {count}");
        }
    }

    #[test]
    fn send_times_are_these_on_every_platform() {
        let first = |spec| process(spec).offsets(42).take(3).collect::<Vec<_>>();
        assert_eq!(first(ArrivalSpec::Poisson { rate_rps: 10.0 }), [25_771_660, 104_061_821, 184_606_663]);
        assert_eq!(
            first(ArrivalSpec::Gamma { rate_rps: 10.0, burstiness: 0.5 }),
            [516_325_818, 917_096_897, 931_029_107]
        );
    }

    #[test]
    fn shards_together_send_the_whole_process() {
        let whole: Vec<_> = ArrivalProcess::poisson(100.0).unwrap().offsets(1).take(90).collect();
        let mut merged: Vec<_> = (0..3)
            .flat_map(|i| ArrivalProcess::poisson(100.0).unwrap().offsets(1).skip(i).step_by(3).take(30))
            .collect();
        merged.sort_unstable();
        assert_eq!(merged, whole);
    }

    #[test]
    fn processes_that_make_no_sense_are_refused() {
        let refused = |spec| ArrivalProcess::try_from(spec).unwrap_err();
        for rate_rps in [0.0, -1.0, f64::INFINITY] {
            assert_eq!(refused(ArrivalSpec::Poisson { rate_rps }), ArrivalError::Rate { rate_rps });
        }
        assert_eq!(
            refused(ArrivalSpec::Gamma { rate_rps: 1.0, burstiness: 0.0 }),
            ArrivalError::Burstiness { burstiness: 0.0 }
        );
        let ramp = |from_rps, to_rps, duration_s| {
            refused(ArrivalSpec::Ramp { from_rps, to_rps, duration_s, spacing: Spacing::Even })
        };
        assert_eq!(ramp(0.0, 0.0, 1.0), ArrivalError::Rate { rate_rps: 0.0 });
        assert_eq!(ramp(1.0, 2.0, 0.0), ArrivalError::Duration { duration_s: 0.0 });
        let error = toml::from_str::<ArrivalProcess>("[poisson]\nrate = 3").unwrap_err().to_string();
        assert!(error.contains("rate = 3") && error.contains("rate_rps"), "{error}");
    }

    fn any_spec() -> impl Strategy<Value = ArrivalSpec> {
        let rate = || 0.01..5_000.0_f64;
        let burstiness = || 0.05..50.0_f64;
        let spacing = prop_oneof![
            Just(Spacing::Even),
            Just(Spacing::Poisson),
            burstiness().prop_map(|burstiness| Spacing::Gamma { burstiness })
        ];
        prop_oneof![
            rate().prop_map(|rate_rps| ArrivalSpec::Constant { rate_rps }),
            rate().prop_map(|rate_rps| ArrivalSpec::Poisson { rate_rps }),
            (rate(), burstiness())
                .prop_map(|(rate_rps, burstiness)| ArrivalSpec::Gamma { rate_rps, burstiness }),
            (0.0..500.0_f64, 0.01..500.0_f64, 0.1..1e5_f64, spacing).prop_map(
                |(from_rps, to_rps, duration_s, spacing)| {
                    ArrivalSpec::Ramp { from_rps, to_rps, duration_s, spacing }
                }
            ),
        ]
    }

    proptest! {
        #[test]
        fn send_times_never_decrease_and_one_seed_gives_one_sequence(spec in any_spec(), seed: u64) {
            let times: Vec<_> = process(spec).offsets(seed).take(300).collect();
            prop_assert!(times.is_sorted() && times.first().is_none_or(|&t| t >= 0));
            prop_assert_eq!(&times, &process(spec).offsets(seed).take(300).collect::<Vec<_>>());
            if let ArrivalSpec::Ramp { duration_s, .. } = spec {
                prop_assert!(times.iter().all(|&t| t as f64 <= duration_s * 1e9 + 0.5));
            }
        }

        #[test]
        fn an_even_ramp_sends_its_mean_rate(from in 0.0..50.0_f64, to in 1.0..50.0_f64, duration_s in 1.0..100.0_f64) {
            let spec = ArrivalSpec::Ramp { from_rps: from, to_rps: to, duration_s, spacing: Spacing::Even };
            let count = process(spec).offsets(0).count() as f64;
            prop_assert!((count - process(spec).mean_rate_rps() * duration_s).abs() <= 1.0);
        }
    }
}

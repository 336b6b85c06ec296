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
mod tests;

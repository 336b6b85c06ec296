//! Numbers in, numbers out: the statistics behind every value that Stopwatt prints.
//!
//! ```text
//! observations ──► quantile, describe            what was seen
//! trials       ──► sample, interval, bootstrap   how sure that is
//! series       ──► steady, trend, autocorrelation  whether it may be summarised at all
//! two groups   ──► compare, effect, welch, holm, proportion  whether they differ
//! past, now    ──► drift                         whether something has changed, at a stated rate of false alarms
//! rounds       ──► rounds                        whether moments agree, and what they say together
//! two scores an item ──► items                   whether the one side is worse
//! loads        ──► edge, share, backlog          how much is too much
//! ```
//!
//! Invariants:
//!
//! - a sample that cannot support an answer gives [`Unsupported`], never a number;
//! - one seed gives one result, whatever the number of threads;
//! - there is one definition of a quantile ([`quantile::quantile`], type 7).
//!
//! The crate knows no metric, unit, file or clock.

pub mod autocorrelation;
pub mod backlog;
pub mod bootstrap;
pub mod compare;
pub mod describe;
pub mod distribution;
pub mod drift;
pub mod edge;
pub mod effect;
pub mod holm;
pub mod interval;
pub mod items;
pub mod nnls;
pub mod outlier;
pub mod proportion;
pub mod quantile;
pub mod rounds;
pub mod sample;
pub mod share;
pub mod staircase;
pub mod steady;
pub mod trend;
pub mod welch;

pub use sample::Sample;

#[cfg(test)]
#[path = "../tests/support/series.rs"]
mod series;

/// Two bounds and the share of repetitions in which they enclose the truth.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ci {
    /// Nominal coverage, for instance 0.95.
    pub level: f64,
    /// Lower bound.
    pub lo: f64,
    /// Upper bound.
    pub hi: f64,
}

/// Why a sample does not support what was asked of it.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Unsupported {
    /// The sample is too small.
    #[error("needs n >= {needed}, has {n}")]
    TooFewValues {
        /// Values given.
        n: usize,
        /// Values needed.
        needed: usize,
    },
    /// The values follow each other so closely that they count for too few independent ones.
    #[error("needs {needed} independent observations, has about {effective:.0} (n = {n}, autocorrelated)")]
    TooDependent {
        /// Values given.
        n: usize,
        /// Effective sample size.
        effective: f64,
        /// Effective sample size needed.
        needed: usize,
    },
    /// Too few independent repetitions.
    #[error("needs at least {needed} trials, has {trials}")]
    TooFewTrials {
        /// Trials given.
        trials: usize,
        /// Trials needed.
        needed: usize,
    },
    /// A value is NaN or infinite.
    #[error("a value is not finite")]
    NotFinite,
    /// The values do not vary, so there is no scale to measure by.
    #[error("the values do not vary")]
    Constant,
    /// A probability or level outside (0, 1).
    #[error("{value} is not between 0 and 1")]
    NotAProbability {
        /// What was given.
        value: f64,
    },
}

impl Unsupported {
    /// What would help, when anything does.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::TooFewValues { .. } | Self::TooDependent { .. } => Some("measure more requests"),
            Self::TooFewTrials { .. } => Some("repeat the measurement (--repeats)"),
            _ => None,
        }
    }
}

/// Refuses samples with fewer than `needed` values or with a value that is not finite.
pub(crate) fn require(values: &[f64], needed: usize) -> Result<(), Unsupported> {
    if values.len() < needed {
        return Err(Unsupported::TooFewValues { n: values.len(), needed });
    }
    if values.iter().all(|v| v.is_finite()) { Ok(()) } else { Err(Unsupported::NotFinite) }
}

/// Refuses what is not strictly between 0 and 1.
pub(crate) fn require_probability(value: f64) -> Result<(), Unsupported> {
    if value > 0.0 && value < 1.0 { Ok(()) } else { Err(Unsupported::NotAProbability { value }) }
}

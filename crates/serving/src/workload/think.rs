//! How long a user thinks before the next turn.

use std::fmt;
use std::str::FromStr;

use stopwatt_core::Nanos;

use crate::random::Draws;

/// A distribution of think times, in seconds. Written `2`, `1:5` (uniform), `exponential:MEAN`, `lognormal:MEAN:STD`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ThinkTime {
    /// Always the same.
    Fixed {
        /// Seconds.
        s: f64,
    },
    /// Evenly between two times.
    Uniform {
        /// Least seconds.
        lo: f64,
        /// Most seconds.
        hi: f64,
    },
    /// Exponential.
    Exponential {
        /// Mean seconds.
        mean: f64,
    },
    /// Log-normal.
    Lognormal {
        /// Mean seconds (of the time, not of its logarithm).
        mean: f64,
        /// Standard deviation in seconds.
        std: f64,
    },
}

/// Longest think time that is waited for, whatever is drawn: an hour.
const LONGEST_S: f64 = 3_600.0;

impl ThinkTime {
    /// No thought at all.
    pub const NONE: Self = Self::Fixed { s: 0.0 };

    /// Draws a time, an hour at most.
    pub fn draw(self, draws: &mut Draws) -> Nanos {
        let s = match self {
            Self::Fixed { s } => s,
            Self::Uniform { lo, hi } => lo + (hi - lo) * draws.unit(),
            Self::Exponential { mean } => mean * draws.exponential(),
            Self::Lognormal { mean, std } => {
                let variance = libm::log1p((std / mean) * (std / mean));
                libm::exp(libm::log(mean) - variance / 2.0 + variance.sqrt() * draws.normal())
            }
        };
        (s.min(LONGEST_S) * 1e9).round() as Nanos
    }
}

/// Text that is no think time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is not a think time: write 2, 1:5, exponential:MEAN or lognormal:MEAN:STD, in seconds up to 3600"
)]
pub struct ThinkTimeError {
    /// The text.
    pub text: String,
}

impl FromStr for ThinkTime {
    type Err = ThinkTimeError;

    fn from_str(text: &str) -> Result<Self, ThinkTimeError> {
        let bad = || ThinkTimeError { text: text.to_owned() };
        let real = |t: &str| match t.trim().trim_end_matches('s').parse::<f64>() {
            Ok(s) if (0.0..=LONGEST_S).contains(&s) => Ok(s),
            _ => Err(bad()),
        };
        let parts: Vec<&str> = text.split(':').collect();
        let time = match parts[..] {
            [s] => Self::Fixed { s: real(s)? },
            ["exponential", mean] => Self::Exponential { mean: real(mean)? },
            ["lognormal", mean, std] => Self::Lognormal { mean: real(mean)?, std: real(std)? },
            [lo, hi] | ["uniform", lo, hi] => Self::Uniform { lo: real(lo)?, hi: real(hi)? },
            _ => return Err(bad()),
        };
        match time {
            Self::Uniform { lo, hi } if lo > hi => Err(bad()),
            Self::Lognormal { mean: 0.0, .. } => Err(bad()),
            fine => Ok(fine),
        }
    }
}

impl fmt::Display for ThinkTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed { s } => write!(f, "{s}"),
            Self::Uniform { lo, hi } => write!(f, "{lo}:{hi}"),
            Self::Exponential { mean } => write!(f, "exponential:{mean}"),
            Self::Lognormal { mean, std } => write!(f, "lognormal:{mean}:{std}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Purpose;

    #[test]
    fn times_are_read_and_printed() {
        for text in ["2", "0.5", "1:5", "exponential:3", "lognormal:4:2"] {
            assert_eq!(text.parse::<ThinkTime>().unwrap().to_string(), text);
        }
        assert_eq!("2s".parse(), Ok(ThinkTime::Fixed { s: 2.0 }));
        for text in ["", "-1", "5:1", "lognormal:0:1", "gamma:1", "4000", "NaN", "1:2:3:4"] {
            assert!(text.parse::<ThinkTime>().is_err(), "{text}");
        }
    }

    #[test]
    fn means_are_those_asked_for() {
        for (text, mean) in [("2", 2.0), ("1:5", 3.0), ("exponential:3", 3.0), ("lognormal:4:2", 4.0)] {
            let time: ThinkTime = text.parse().unwrap();
            let mut draws = Draws::new(Purpose::Turn, [1, 0, 0, 0]);
            let sum: f64 = (0..20_000).map(|_| time.draw(&mut draws) as f64 * 1e-9).sum();
            assert!((sum / 20_000.0 / mean - 1.0).abs() < 0.03, "{text}: {}", sum / 20_000.0);
        }
    }
}

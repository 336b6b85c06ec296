//! Distributions of lengths in tokens.
//!
//! A [`Length`] has passed its checks: bounds are in order, at least one token, and a mean lies inside its bounds.
//! [`LengthSpec`] is the same as written in a file or on the command line.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::random::Draws;

/// A distribution of lengths as a file writes it, for instance `uniform: {lo: 50, hi: 200}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum LengthSpec {
    /// Always the same.
    Fixed {
        /// Tokens.
        tokens: u32,
    },
    /// Every integer from `lo` to `hi` equally likely, both included.
    Uniform {
        /// Least tokens.
        lo: u32,
        /// Most tokens.
        hi: u32,
    },
    /// Normal, drawn again until it lies inside the bounds.
    Normal {
        /// Mean before the bounds, in tokens.
        mean: f64,
        /// Standard deviation before the bounds, in tokens.
        std: f64,
        /// Least tokens.
        lo: u32,
        /// Most tokens.
        hi: u32,
    },
    /// Log-normal, drawn again until it lies inside the bounds.
    Lognormal {
        /// Mean before the bounds, in tokens (of the length, not of its logarithm).
        mean: f64,
        /// Standard deviation before the bounds, in tokens.
        std: f64,
        /// Least tokens.
        lo: u32,
        /// Most tokens.
        hi: u32,
    },
    /// One of the listed lengths, each entry equally likely.
    Empirical {
        /// Lengths in tokens, repeated as often as they weigh.
        values: Vec<u32>,
    },
}

/// A checked distribution of lengths in tokens.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "LengthSpec", into = "LengthSpec")]
pub struct Length(LengthSpec);

/// Why a distribution of lengths makes no sense.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum LengthError {
    /// A length of no tokens.
    #[error("length of 0 tokens: a request needs at least 1")]
    Zero,
    /// Bounds in the wrong order.
    #[error("length bounds {lo}:{hi} are in the wrong order")]
    Bounds {
        /// Least tokens.
        lo: u32,
        /// Most tokens.
        hi: u32,
    },
    /// The mean lies outside the bounds, so that nearly every draw would be thrown away.
    #[error("mean length {mean} lies outside its bounds {lo}:{hi}")]
    Mean {
        /// The mean.
        mean: f64,
        /// Least tokens.
        lo: u32,
        /// Most tokens.
        hi: u32,
    },
    /// A standard deviation that is negative or not a number.
    #[error("standard deviation {std} of a length is not a number of tokens")]
    Deviation {
        /// The value.
        std: f64,
    },
    /// A list without entries.
    #[error("empirical lengths are an empty list")]
    Empty,
    /// Text that is no distribution.
    #[error("`{text}` is not a length")]
    Syntax {
        /// The text.
        text: String,
    },
}

impl LengthError {
    /// What to write instead.
    pub fn hint(&self) -> Option<&'static str> {
        matches!(self, Self::Syntax { .. }).then_some(
            "write 128, 50:200, normal:MEAN:STD:LO:HI, lognormal:MEAN:STD:LO:HI or a list such as 100,200,200",
        )
    }
}

impl Length {
    /// Always `tokens` long.
    pub fn fixed(tokens: u32) -> Result<Self, LengthError> {
        LengthSpec::Fixed { tokens }.try_into()
    }

    /// Every integer from `lo` to `hi` equally likely.
    pub fn uniform(lo: u32, hi: u32) -> Result<Self, LengthError> {
        LengthSpec::Uniform { lo, hi }.try_into()
    }

    /// The distribution as written in a file.
    pub fn spec(&self) -> &LengthSpec {
        &self.0
    }

    /// Shortest and longest length that can be drawn.
    pub fn bounds(&self) -> (u32, u32) {
        match &self.0 {
            LengthSpec::Fixed { tokens } => (*tokens, *tokens),
            LengthSpec::Uniform { lo, hi }
            | LengthSpec::Normal { lo, hi, .. }
            | LengthSpec::Lognormal { lo, hi, .. } => (*lo, *hi),
            LengthSpec::Empirical { values } => {
                values.iter().fold((u32::MAX, 0), |(lo, hi), &v| (lo.min(v), hi.max(v)))
            }
        }
    }

    /// The only length that can be drawn; `None` when lengths vary.
    pub fn single(&self) -> Option<u32> {
        let (lo, hi) = self.bounds();
        (lo == hi).then_some(lo)
    }

    /// Mean in tokens, for planning: of a normal or log-normal before its bounds cut it.
    pub fn nominal_mean(&self) -> f64 {
        match &self.0 {
            LengthSpec::Fixed { tokens } => f64::from(*tokens),
            LengthSpec::Uniform { lo, hi } => (f64::from(*lo) + f64::from(*hi)) / 2.0,
            LengthSpec::Normal { mean, .. } | LengthSpec::Lognormal { mean, .. } => *mean,
            LengthSpec::Empirical { values } => {
                values.iter().map(|&v| f64::from(v)).sum::<f64>() / values.len() as f64
            }
        }
    }

    /// Draws a length.
    pub fn draw(&self, draws: &mut Draws) -> u32 {
        match &self.0 {
            LengthSpec::Fixed { tokens } => *tokens,
            // Cannot overflow: `lo` is at least 1.
            LengthSpec::Uniform { lo, hi } => lo + draws.below(hi - lo + 1),
            LengthSpec::Normal { mean, std, lo, hi } => {
                // Half a token of room on each side, so that rounding gives the ends their full share.
                let x = draws.truncated_normal(*mean, *std, f64::from(*lo) - 0.5, f64::from(*hi) + 0.5);
                (x.round() as u32).clamp(*lo, *hi)
            }
            LengthSpec::Lognormal { mean, std, lo, hi } => {
                let variance = libm::log1p((std / mean) * (std / mean));
                let (from, to) = (libm::log(f64::from(*lo) - 0.5), libm::log(f64::from(*hi) + 0.5));
                let x = draws.truncated_normal(libm::log(*mean) - variance / 2.0, variance.sqrt(), from, to);
                (libm::exp(x).round() as u32).clamp(*lo, *hi)
            }
            LengthSpec::Empirical { values } => values[draws.below(values.len() as u32) as usize],
        }
    }
}

impl TryFrom<LengthSpec> for Length {
    type Error = LengthError;

    fn try_from(spec: LengthSpec) -> Result<Self, LengthError> {
        if let LengthSpec::Empirical { values } = &spec {
            // A list beyond u32 entries could not be drawn from evenly; it would be 16 GiB of configuration.
            if values.is_empty() || u32::try_from(values.len()).is_err() {
                return Err(LengthError::Empty);
            }
        }
        let length = Self(spec);
        let (lo, hi) = length.bounds();
        if let LengthSpec::Normal { mean, std, .. } | LengthSpec::Lognormal { mean, std, .. } = length.0 {
            if !(std.is_finite() && std >= 0.0) {
                return Err(LengthError::Deviation { std });
            }
            if lo <= hi && !(f64::from(lo)..=f64::from(hi)).contains(&mean) {
                return Err(LengthError::Mean { mean, lo, hi });
            }
        }
        match (lo, hi) {
            (0, _) => Err(LengthError::Zero),
            (lo, hi) if lo > hi => Err(LengthError::Bounds { lo, hi }),
            _ => Ok(length),
        }
    }
}

impl From<Length> for LengthSpec {
    fn from(length: Length) -> Self {
        length.0
    }
}

impl FromStr for Length {
    type Err = LengthError;

    fn from_str(text: &str) -> Result<Self, LengthError> {
        let bad = || LengthError::Syntax { text: text.to_owned() };
        let int = |s: &str| s.trim().parse::<u32>().map_err(|_| bad());
        let real = |s: &str| s.trim().parse::<f64>().map_err(|_| bad());
        let parts: Vec<&str> = text.split(':').collect();
        match parts[..] {
            [list] if list.contains(',') => {
                LengthSpec::Empirical { values: list.split(',').map(int).collect::<Result<_, _>>()? }
            }
            [tokens] => LengthSpec::Fixed { tokens: int(tokens)? },
            [lo, hi] | ["uniform", lo, hi] => LengthSpec::Uniform { lo: int(lo)?, hi: int(hi)? },
            ["normal", mean, std, lo, hi] => {
                LengthSpec::Normal { mean: real(mean)?, std: real(std)?, lo: int(lo)?, hi: int(hi)? }
            }
            ["lognormal", mean, std, lo, hi] => {
                LengthSpec::Lognormal { mean: real(mean)?, std: real(std)?, lo: int(lo)?, hi: int(hi)? }
            }
            _ => return Err(bad()),
        }
        .try_into()
    }
}

impl fmt::Display for Length {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            LengthSpec::Fixed { tokens } => write!(f, "{tokens}"),
            LengthSpec::Uniform { lo, hi } => write!(f, "{lo}:{hi}"),
            LengthSpec::Normal { mean, std, lo, hi } => write!(f, "normal:{mean}:{std}:{lo}:{hi}"),
            LengthSpec::Lognormal { mean, std, lo, hi } => write!(f, "lognormal:{mean}:{std}:{lo}:{hi}"),
            LengthSpec::Empirical { values } => values
                .iter()
                .enumerate()
                .try_for_each(|(i, v)| write!(f, "{}{v}", if i == 0 { "" } else { "," })),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Purpose;

    #[track_caller]
    fn check_text(text: &str, expected: Result<LengthSpec, LengthError>) {
        let parsed = text.parse::<Length>();
        if let Ok(length) = &parsed {
            assert_eq!(
                length.to_string().parse::<Length>().as_ref(),
                Ok(length),
                "does not survive printing"
            );
        }
        assert_eq!(parsed.map(LengthSpec::from), expected);
    }

    #[test]
    fn lengths_are_read_from_the_command_line() {
        check_text("128", Ok(LengthSpec::Fixed { tokens: 128 }));
        check_text("50:200", Ok(LengthSpec::Uniform { lo: 50, hi: 200 }));
        check_text("uniform:50:200", Ok(LengthSpec::Uniform { lo: 50, hi: 200 }));
        check_text("100, 200,200", Ok(LengthSpec::Empirical { values: vec![100, 200, 200] }));
        check_text(
            "normal:100:20.5:1:200",
            Ok(LengthSpec::Normal { mean: 100.0, std: 20.5, lo: 1, hi: 200 }),
        );
        check_text("lognormal:9:9:1:99", Ok(LengthSpec::Lognormal { mean: 9.0, std: 9.0, lo: 1, hi: 99 }));
        for text in ["", "a", "1:2:3", "-4", "poisson:1:2:3:4", "1,,2"] {
            check_text(text, Err(LengthError::Syntax { text: text.to_owned() }));
        }
    }

    #[test]
    fn lengths_that_make_no_sense_are_refused() {
        check_text("0", Err(LengthError::Zero));
        check_text("0:5", Err(LengthError::Zero));
        check_text("9:5", Err(LengthError::Bounds { lo: 9, hi: 5 }));
        check_text("7,0", Err(LengthError::Zero));
        check_text("normal:300:20:1:200", Err(LengthError::Mean { mean: 300.0, lo: 1, hi: 200 }));
        check_text("normal:30:-1:1:200", Err(LengthError::Deviation { std: -1.0 }));
        // Not by `check_text`: NaN does not equal itself.
        assert!(matches!("lognormal:NaN:1:1:200".parse::<Length>(), Err(LengthError::Mean { .. })));
    }

    #[track_caller]
    fn check_moments(text: &str, mean: f64, std: f64) {
        let length: Length = text.parse().unwrap();
        let mut draws = Draws::new(Purpose::Shape, [5, 0, 0, 0]);
        let values: Vec<f64> = (0..20_000).map(|_| f64::from(length.draw(&mut draws))).collect();
        let m = values.iter().sum::<f64>() / values.len() as f64;
        let s = (values.iter().map(|v| (v - m).powi(2)).sum::<f64>() / values.len() as f64).sqrt();
        assert!((m / mean - 1.0).abs() < 0.02, "{text}: mean {m}, expected {mean}");
        assert!((s - std).abs() < 0.04 * std + 1e-9, "{text}: std {s}, expected {std}");
    }

    #[test]
    fn moments_are_those_asked_for() {
        check_moments("777", 777.0, 0.0);
        // Variance of the integers lo..=hi is (n² − 1)/12 with n = 151.
        check_moments("50:200", 125.0, 43.589);
        check_moments("normal:500:50:1:1000", 500.0, 50.0);
        // Bounds far out: the mean and deviation of the length itself, not of its logarithm.
        check_moments("lognormal:400:300:1:100000", 400.0, 300.0);
        check_moments("100,200,300,400", 250.0, 111.803);
    }

    #[test]
    fn both_ends_of_a_range_are_drawn() {
        let length = Length::uniform(3, 5).unwrap();
        let mut draws = Draws::new(Purpose::Shape, [0; 4]);
        let mut seen = [0; 6];
        (0..300).for_each(|_| seen[length.draw(&mut draws) as usize] += 1);
        assert!(seen[..3] == [0; 3] && seen[3..].iter().all(|&n| n > 60), "{seen:?}");
    }

    #[test]
    fn a_length_tells_its_bounds_and_its_single_value() {
        let of = |text: &str| text.parse::<Length>().unwrap();
        assert_eq!((of("128").bounds(), of("128").single()), ((128, 128), Some(128)));
        assert_eq!((of("5,3,9").bounds(), of("5,3,9").single()), ((3, 9), None));
        assert_eq!(of("4:4").single(), Some(4));
        assert_eq!(of("5,3,10").nominal_mean(), 6.0);
    }
}

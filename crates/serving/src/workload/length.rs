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
    /// Exponential, inside the bounds.
    Exponential {
        /// Mean before the bounds, in tokens.
        mean: f64,
        /// Least tokens.
        lo: u32,
        /// Most tokens.
        hi: u32,
    },
    /// Zipf: a length is likely in proportion to its power −`exponent`.
    Zipf {
        /// 0 is uniform; 1 halves the probability with each doubling of the length.
        exponent: f64,
        /// Least tokens.
        lo: u32,
        /// Most tokens.
        hi: u32,
    },
    /// Lengths with weights, as counted from real traffic.
    Histogram {
        /// Each length once.
        bins: Vec<Bin>,
    },
    /// One of the listed lengths, each entry equally likely.
    Empirical {
        /// Lengths in tokens, repeated as often as they weigh.
        values: Vec<u32>,
    },
}

/// A length and how often it occurs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Bin {
    /// The length.
    pub tokens: u32,
    /// How often, relative to the other bins.
    pub weight: u32,
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
    /// An exponent that is negative or not a number.
    #[error("exponent {exponent} of a Zipf law is not in 0..=20")]
    Exponent {
        /// The value.
        exponent: f64,
    },
    /// A mean that is not above zero.
    #[error("mean {mean} of an exponential length is not above 0")]
    NoMean {
        /// The value.
        mean: f64,
    },
    /// Weights that leave nothing to draw, or add up beyond 2³².
    #[error("the weights of a histogram add up to {sum}")]
    Weights {
        /// Their sum.
        sum: u64,
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
            "write 128, 50:200, normal:MEAN:STD:LO:HI, lognormal:MEAN:STD:LO:HI, exponential:MEAN:LO:HI, \
             zipf:EXPONENT:LO:HI, a list such as 100,200,200 or weights such as 128*5,512*2",
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
            | LengthSpec::Lognormal { lo, hi, .. }
            | LengthSpec::Exponential { lo, hi, .. }
            | LengthSpec::Zipf { lo, hi, .. } => (*lo, *hi),
            LengthSpec::Histogram { bins } => bins
                .iter()
                .filter(|b| b.weight > 0)
                .fold((u32::MAX, 0), |(lo, hi), b| (lo.min(b.tokens), hi.max(b.tokens))),
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

    /// The distribution in a few words, for labels.
    pub fn label(&self) -> String {
        let many = match &self.0 {
            LengthSpec::Histogram { bins } => bins.len() > 4,
            LengthSpec::Empirical { values } => values.len() > 4,
            _ => false,
        };
        let (lo, hi) = self.bounds();
        if many { format!("{lo}..{hi}") } else { self.to_string() }
    }

    /// Mean in tokens, for planning: of a normal, log-normal or exponential before its bounds cut it.
    pub fn nominal_mean(&self) -> f64 {
        match &self.0 {
            LengthSpec::Fixed { tokens } => f64::from(*tokens),
            LengthSpec::Uniform { lo, hi } => (f64::from(*lo) + f64::from(*hi)) / 2.0,
            LengthSpec::Normal { mean, .. }
            | LengthSpec::Lognormal { mean, .. }
            | LengthSpec::Exponential { mean, .. } => *mean,
            LengthSpec::Zipf { exponent, lo, hi } => {
                let sum = |power: f64| (*lo..=*hi).map(|k| libm::pow(f64::from(k), power)).sum::<f64>();
                sum(1.0 - exponent) / sum(-exponent)
            }
            LengthSpec::Histogram { bins } => {
                let total: f64 = bins.iter().map(|b| f64::from(b.weight)).sum();
                bins.iter().map(|b| f64::from(b.tokens) * f64::from(b.weight)).sum::<f64>() / total
            }
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
            LengthSpec::Exponential { mean, lo, hi } => {
                let x = draws.truncated_exponential(*mean, f64::from(*lo) - 0.5, f64::from(*hi) + 0.5);
                (x.round() as u32).clamp(*lo, *hi)
            }
            LengthSpec::Zipf { exponent, lo, hi } => draws.power_law(*exponent, *lo, *hi),
            LengthSpec::Histogram { bins } => {
                let total: u32 = bins.iter().map(|b| b.weight).sum();
                let mut left = draws.below(total);
                let drawn = bins.iter().find(|b| {
                    let here = left < b.weight;
                    left = left.wrapping_sub(if here { 0 } else { b.weight });
                    here
                });
                drawn.expect("a draw below the sum of the weights falls into a bin").tokens
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
        match &spec {
            LengthSpec::Exponential { mean, .. } if !(mean.is_finite() && *mean > 0.0) => {
                return Err(LengthError::NoMean { mean: *mean });
            }
            LengthSpec::Zipf { exponent, .. } if !(0.0..=20.0).contains(exponent) => {
                return Err(LengthError::Exponent { exponent: *exponent });
            }
            LengthSpec::Histogram { bins } => {
                let sum: u64 = bins.iter().map(|b| u64::from(b.weight)).sum();
                if sum == 0 || u32::try_from(sum).is_err() {
                    return Err(LengthError::Weights { sum });
                }
            }
            _ => {}
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
            [list] if list.contains('*') => {
                let bin = |text: &str| {
                    let (tokens, weight) = text.split_once('*').unwrap_or((text, "1"));
                    Ok(Bin { tokens: int(tokens)?, weight: int(weight)? })
                };
                LengthSpec::Histogram { bins: list.split(',').map(bin).collect::<Result<_, _>>()? }
            }
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
            ["exponential", mean, lo, hi] => {
                LengthSpec::Exponential { mean: real(mean)?, lo: int(lo)?, hi: int(hi)? }
            }
            ["zipf", exponent, lo, hi] => {
                LengthSpec::Zipf { exponent: real(exponent)?, lo: int(lo)?, hi: int(hi)? }
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
            LengthSpec::Exponential { mean, lo, hi } => write!(f, "exponential:{mean}:{lo}:{hi}"),
            LengthSpec::Zipf { exponent, lo, hi } => write!(f, "zipf:{exponent}:{lo}:{hi}"),
            LengthSpec::Histogram { bins } => bins.iter().enumerate().try_for_each(|(i, b)| {
                write!(f, "{}{}*{}", if i == 0 { "" } else { "," }, b.tokens, b.weight)
            }),
            LengthSpec::Empirical { values } => values
                .iter()
                .enumerate()
                .try_for_each(|(i, v)| write!(f, "{}{v}", if i == 0 { "" } else { "," })),
        }
    }
}

#[cfg(test)]
mod tests;

//! How much of its prompts a workload shares.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::random::Draws;

/// How much of the prompts is shared.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "PrefixShareSpec", into = "PrefixShareSpec")]
pub struct PrefixShare {
    ratio: f64,
    groups: u32,
    tokens: Option<u32>,
    exponent: f64,
}

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct PrefixShareSpec {
    /// Share of each prompt's tokens that its group has in common, from 0 to below 1.
    #[serde(default)]
    ratio: f64,
    /// Number of different shared prefixes.
    #[serde(default = "one")]
    groups: u32,
    /// Tokens in common, in place of a share of each prompt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tokens: Option<u32>,
    /// How unevenly groups are asked for: group *k* in proportion to *k*^−exponent (Zipf); 0 is evenly.
    #[serde(default, skip_serializing_if = "is_zero")]
    exponent: f64,
}

fn is_zero(x: &f64) -> bool {
    *x == 0.0
}

fn one() -> u32 {
    1
}

impl PrefixShare {
    /// Nothing is shared.
    pub const NONE: Self = Self { ratio: 0.0, groups: 1, tokens: None, exponent: 0.0 };

    /// `ratio` of each prompt's tokens, in `groups` different prefixes.
    pub fn new(ratio: f64, groups: u32) -> Result<Self, PrefixShareError> {
        if !(0.0..1.0).contains(&ratio) {
            return Err(PrefixShareError::Ratio { ratio });
        }
        if groups == 0 {
            return Err(PrefixShareError::NoGroup);
        }
        Ok(Self { ratio, groups, tokens: None, exponent: 0.0 })
    }

    /// The same in this many groups.
    pub fn with_groups(self, groups: u32) -> Result<Self, PrefixShareError> {
        if groups == 0 {
            return Err(PrefixShareError::NoGroup);
        }
        Ok(Self { groups, ..self })
    }

    /// The same with this many tokens in common, in place of a share of each prompt.
    pub fn with_tokens(self, tokens: Option<u32>) -> Self {
        Self { tokens, ..self }
    }

    /// The same with groups asked for by Zipf's law: group *k* in proportion to *k*^−exponent.
    pub fn with_popularity(self, exponent: f64) -> Result<Self, PrefixShareError> {
        if !(0.0..=20.0).contains(&exponent) {
            return Err(PrefixShareError::Exponent { exponent });
        }
        Ok(Self { exponent, ..self })
    }

    /// The group of a request; group 0 is the most popular.
    pub fn draw_group(self, draws: &mut Draws) -> u32 {
        if self.exponent == 0.0 {
            draws.below(self.groups)
        } else {
            draws.power_law(self.exponent, 1, self.groups) - 1
        }
    }

    /// Share of each prompt's tokens that its group has in common.
    pub fn ratio(self) -> f64 {
        self.ratio
    }

    /// Number of different shared prefixes.
    pub fn groups(self) -> u32 {
        self.groups
    }

    /// Shared tokens of a prompt of `input` tokens; at least one token stays the request's own.
    pub fn tokens_of(self, input: u32) -> u32 {
        let wanted = self.tokens.unwrap_or((f64::from(input) * self.ratio).round() as u32);
        wanted.min(input.saturating_sub(1))
    }
}

impl TryFrom<PrefixShareSpec> for PrefixShare {
    type Error = PrefixShareError;

    fn try_from(spec: PrefixShareSpec) -> Result<Self, PrefixShareError> {
        Self::new(spec.ratio, spec.groups)?.with_tokens(spec.tokens).with_popularity(spec.exponent)
    }
}

impl From<PrefixShare> for PrefixShareSpec {
    fn from(share: PrefixShare) -> Self {
        Self { ratio: share.ratio, groups: share.groups, tokens: share.tokens, exponent: share.exponent }
    }
}

/// Why a prefix share makes no sense.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum PrefixShareError {
    /// A share of prefix tokens that leaves nothing to the request, or is negative.
    #[error("prefix share {ratio} is not in 0..1")]
    Ratio {
        /// The value.
        ratio: f64,
    },
    /// A popularity that is no exponent.
    #[error("popularity exponent {exponent} is not in 0..=20")]
    Exponent {
        /// The value.
        exponent: f64,
    },
    /// No group to share a prefix in.
    #[error("prefix share with 0 groups")]
    NoGroup,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_keeps_at_least_one_token_of_its_own() {
        let share = PrefixShare::new(0.99, 1).unwrap();
        assert_eq!((share.tokens_of(1), share.tokens_of(2), share.tokens_of(1000)), (0, 1, 990));
        assert_eq!(PrefixShare::NONE.tokens_of(1000), 0);
        let fixed = PrefixShare::NONE.with_tokens(Some(64));
        assert_eq!((fixed.tokens_of(1000), fixed.tokens_of(50)), (64, 49));
    }

    #[test]
    fn popular_groups_come_as_often_as_zipf_says() {
        use crate::random::Purpose;
        let share = PrefixShare::new(0.5, 4).unwrap().with_popularity(1.0).unwrap();
        let mut draws = Draws::new(Purpose::Shape, [1, 0, 0, 0]);
        let mut counts = [0_f64; 4];
        (0..25_000).for_each(|_| counts[share.draw_group(&mut draws) as usize] += 1.0);
        // 1/k over 25/12: 12,000, 6,000, 4,000, 3,000.
        for (count, expected) in counts.into_iter().zip([12_000.0, 6_000.0, 4_000.0, 3_000.0_f64]) {
            assert!((count - expected).abs() < 4.5 * expected.sqrt(), "{counts:?}");
        }
    }

    #[test]
    fn shares_that_make_no_sense_are_refused() {
        assert_eq!(PrefixShare::new(1.0, 1), Err(PrefixShareError::Ratio { ratio: 1.0 }));
        assert_eq!(PrefixShare::new(-0.1, 1), Err(PrefixShareError::Ratio { ratio: -0.1 }));
        assert_eq!(PrefixShare::new(0.5, 0), Err(PrefixShareError::NoGroup));
        assert_eq!(
            PrefixShare::NONE.with_popularity(-1.0),
            Err(PrefixShareError::Exponent { exponent: -1.0 })
        );
    }
}

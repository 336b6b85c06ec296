//! How much of its prompts a workload shares.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How much of the prompts is shared.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "PrefixShareSpec", into = "PrefixShareSpec")]
pub struct PrefixShare {
    ratio: f64,
    groups: u32,
}

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct PrefixShareSpec {
    /// Share of each prompt's tokens that its group has in common, from 0 to below 1.
    ratio: f64,
    /// Number of different shared prefixes.
    #[serde(default = "one")]
    groups: u32,
}

fn one() -> u32 {
    1
}

impl PrefixShare {
    /// Nothing is shared.
    pub const NONE: Self = Self { ratio: 0.0, groups: 1 };

    /// `ratio` of each prompt's tokens, in `groups` different prefixes.
    pub fn new(ratio: f64, groups: u32) -> Result<Self, PrefixShareError> {
        if !(0.0..1.0).contains(&ratio) {
            return Err(PrefixShareError::Ratio { ratio });
        }
        if groups == 0 {
            return Err(PrefixShareError::NoGroup);
        }
        Ok(Self { ratio, groups })
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
        ((f64::from(input) * self.ratio).round() as u32).min(input.saturating_sub(1))
    }
}

impl TryFrom<PrefixShareSpec> for PrefixShare {
    type Error = PrefixShareError;

    fn try_from(spec: PrefixShareSpec) -> Result<Self, PrefixShareError> {
        Self::new(spec.ratio, spec.groups)
    }
}

impl From<PrefixShare> for PrefixShareSpec {
    fn from(share: PrefixShare) -> Self {
        Self { ratio: share.ratio, groups: share.groups }
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
    }

    #[test]
    fn shares_that_make_no_sense_are_refused() {
        assert_eq!(PrefixShare::new(1.0, 1), Err(PrefixShareError::Ratio { ratio: 1.0 }));
        assert_eq!(PrefixShare::new(-0.1, 1), Err(PrefixShareError::Ratio { ratio: -0.1 }));
        assert_eq!(PrefixShare::new(0.5, 0), Err(PrefixShareError::NoGroup));
    }
}

//! How good a target's outputs are: the score of each item of a fixed set. Never a prompt, never an answer.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::metric::Direction;
use crate::metrics_doc::Estimate;

/// Where scores come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum QualityMethod {
    /// A command of the user's printed them.
    Command,
    /// Answers to a set of prompts, without sampling; the score is 1 where an answer equals the baseline's.
    Answers,
    /// Perplexity of chunks of a text, under what was done to the model.
    Perplexity,
}

/// What a score is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum QualityScale {
    /// Between 0 and 1; sides differ in percentage points.
    #[default]
    Share,
    /// Between 0 and 100; sides differ in percentage points.
    Percent,
    /// Positive, of any size, as perplexity is; sides differ in per cent of the baseline's mean.
    Relative,
}

/// One item.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct QualityItem {
    /// Which one: the first 16 hex digits of the SHA-256 of its name or prompt.
    pub key: String,
    /// Its score; `None` for an answer that was compared with none.
    pub score: Option<f64>,
    /// First 16 hex digits of the SHA-256 of the answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answer: Option<String>,
    /// Characters of the answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chars: Option<u32>,
    /// Tokens of the answer, where the engine gives their ids.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens: Option<u32>,
    /// Characters that the answer has in common with the baseline's before the first that differs; `None` where none does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub differs_at_char: Option<u32>,
    /// The same in tokens, where both sides give their ids.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub differs_at_token: Option<u32>,
    /// Perplexity of the model as it is, on the same chunk.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reference: Option<f64>,
    /// Kullback–Leibler divergence of the logits from those of the model as it is, in nats a token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kl_nats: Option<f64>,
}

/// Scores of a fixed set of items.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Quality {
    /// Where they come from.
    pub method: QualityMethod,
    /// Which scores are better.
    pub better: Direction,
    /// What a score is.
    pub scale: QualityScale,
    /// One entry an item, in order.
    pub items: Vec<QualityItem>,
}

impl Quality {
    /// Loss of a score: how far it is from the best, between 0 and 1; on a relative scale the score itself.
    pub fn loss(&self, score: f64) -> f64 {
        let full = match self.scale {
            QualityScale::Share => 1.0,
            QualityScale::Percent => 100.0,
            QualityScale::Relative => return score,
        };
        match self.better {
            Direction::Higher => 1.0 - score / full,
            Direction::Lower | Direction::Neutral => score / full,
        }
    }
}

/// By how much a candidate is worse than its baseline, over the items of both.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct QualityDelta {
    /// Run of the baseline.
    pub baseline: String,
    /// In percentage points, on a relative scale in per cent of the baseline's mean. Positive is worse. `n` counts items.
    pub pct: Estimate,
}

/// Quality in `metrics.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct QualitySummary {
    /// Where scores come from.
    pub method: QualityMethod,
    /// Which scores are better.
    pub better: Direction,
    /// What a score is.
    pub scale: QualityScale,
    /// Items.
    pub items: u64,
    /// Mean score.
    pub score: Estimate,
    /// Answers that differ from the baseline's.
    pub different: Option<u64>,
    /// Median place of the first character that differs, over the answers that do.
    pub differs_at_char: Option<f64>,
    /// The same in tokens.
    pub differs_at_token: Option<f64>,
    /// Mean score of the untransformed model on the same items, where it was asked too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<Estimate>,
    /// Mean divergence of the logits from the untransformed model's, in nats a token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kl_nats: Option<Estimate>,
    /// Against a baseline; `None` where there is none. Its figures are `quality_delta_pct` with its interval.
    pub delta: Option<QualityDelta>,
}

//! How long one step of an engine takes, as a function of what the step computes.
//!
//! ```text
//! Scheduler ──► StepPlan ──► StepShape ──► StepModel ──► Duration
//!               (which)      (how much: this module)
//! ```
//!
//! A model is asked in real time by the simulated engine and in virtual time by prediction.
//!
//! [`LinearStepModel`] is the simplest useful model: a floor plus costs that grow with the work. It describes a
//! shape of behaviour; it claims nothing about any device unless someone fitted it there.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One piece of a prompt computed in a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Chunk {
    /// Tokens computed in this step; more than one.
    pub tokens: u32,
    /// Tokens before them, whose KV is read.
    pub past: u32,
}

/// What a step computes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StepShape {
    /// Sequences that compute one token: decodes, and prompts of which one token is left.
    pub decode_seqs: u32,
    /// Σ over those of the KV tokens read, the new one included.
    pub decode_context_tokens: u64,
    /// Prompt pieces of more than one token.
    pub chunks: Vec<Chunk>,
    /// Σ tokens of the chunks.
    pub prefill_tokens: u32,
    /// Sequences whose last position is sampled: rows of the output head.
    pub sampled: u32,
    /// Requests that this step admits, for costs of the host that come once a request.
    pub admitted: u32,
}

impl StepShape {
    /// Tokens computed.
    pub fn tokens(&self) -> u32 {
        self.decode_seqs + self.prefill_tokens
    }

    /// Σ over all sequences of the KV tokens that are there at the end of the step.
    pub fn context_tokens(&self) -> u64 {
        let chunks: u64 = self.chunks.iter().map(|c| u64::from(c.tokens) + u64::from(c.past)).sum();
        self.decode_context_tokens + chunks
    }

    /// Makes the shape empty and keeps its memory.
    pub fn clear(&mut self) {
        let mut chunks = std::mem::take(&mut self.chunks);
        chunks.clear();
        *self = Self { chunks, ..Self::default() };
    }

    /// Adds a sequence that computes `tokens` after `past`.
    pub fn add(&mut self, tokens: u32, past: u32, sampled: bool) {
        if tokens == 1 {
            self.decode_seqs += 1;
            self.decode_context_tokens += u64::from(past) + 1;
        } else if tokens > 1 {
            self.prefill_tokens += tokens;
            self.chunks.push(Chunk { tokens, past });
        }
        self.sampled += u32::from(sampled);
    }
}

/// Says how long a step takes.
pub trait StepModel: Send + Sync {
    /// Time of one step. A step without tokens takes none of the engine's time and is not asked for.
    fn step(&self, shape: &StepShape) -> Duration;

    /// Of that, how long the host is busy launching it, so that tokens of the step before wait to be sent. Nothing where
    /// that is not known.
    fn launching(&self, _shape: &StepShape) -> Duration {
        Duration::ZERO
    }
}

impl<M: StepModel + ?Sized> StepModel for Box<M> {
    fn step(&self, shape: &StepShape) -> Duration {
        (**self).step(shape)
    }

    fn launching(&self, shape: &StepShape) -> Duration {
        (**self).launching(shape)
    }
}

/// Coefficients of [`LinearStepModel`], in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LinearCoefficients {
    /// Of every step.
    pub base_s: f64,
    /// Of every prompt token computed.
    pub per_prefill_token_s: f64,
    /// Of every sequence that decodes.
    pub per_decode_seq_s: f64,
    /// Of every KV token read.
    pub per_context_token_s: f64,
}

/// base + a·(prefill tokens) + b·(decoding sequences) + c·(KV tokens read).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "LinearCoefficients", into = "LinearCoefficients")]
pub struct LinearStepModel(LinearCoefficients);

/// Why a step model makes no sense.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum StepModelError {
    /// A coefficient that is negative, infinite or not a number.
    #[error("{name} is {value}, which is not a time")]
    Coefficient {
        /// Which one.
        name: &'static str,
        /// Its value.
        value: f64,
    },
    /// All coefficients are zero, so that time would stand still.
    #[error("base_s is zero, so that a step could take no time")]
    NoBase,
}

impl LinearStepModel {
    /// Made-up coefficients to try things with: 8 ms a step, 0.1 ms a prompt token, 0.05 ms a decoding sequence,
    /// 20 ns a KV token. They are of no device.
    pub fn illustrative_example() -> Self {
        Self(LinearCoefficients {
            base_s: 8e-3,
            per_prefill_token_s: 1e-4,
            per_decode_seq_s: 5e-5,
            per_context_token_s: 2e-8,
        })
    }

    /// The coefficients.
    pub fn coefficients(&self) -> LinearCoefficients {
        self.0
    }
}

impl TryFrom<LinearCoefficients> for LinearStepModel {
    type Error = StepModelError;

    fn try_from(c: LinearCoefficients) -> Result<Self, StepModelError> {
        for (name, value) in [
            ("base_s", c.base_s),
            ("per_prefill_token_s", c.per_prefill_token_s),
            ("per_decode_seq_s", c.per_decode_seq_s),
            ("per_context_token_s", c.per_context_token_s),
        ] {
            if !(value.is_finite() && value >= 0.0) {
                return Err(StepModelError::Coefficient { name, value });
            }
        }
        if c.base_s == 0.0 {
            return Err(StepModelError::NoBase);
        }
        Ok(Self(c))
    }
}

impl From<LinearStepModel> for LinearCoefficients {
    fn from(model: LinearStepModel) -> Self {
        model.0
    }
}

impl StepModel for LinearStepModel {
    fn step(&self, shape: &StepShape) -> Duration {
        let c = &self.0;
        let seconds = c.base_s
            + c.per_prefill_token_s * f64::from(shape.prefill_tokens)
            + c.per_decode_seq_s * f64::from(shape.decode_seqs)
            + c.per_context_token_s * shape.context_tokens() as f64;
        Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_costs_what_the_formula_says() {
        let mut shape = StepShape::default();
        shape.add(1, 999, true); // reads 1,000 tokens
        shape.add(1, 499, true); // reads 500
        shape.add(100, 400, false); // reads 500
        assert_eq!((shape.tokens(), shape.context_tokens(), shape.sampled), (102, 2_000, 2));
        // 8 ms + 100 × 0.1 ms + 2 × 0.05 ms + 2,000 × 20 ns = 18.14 ms
        let time = LinearStepModel::illustrative_example().step(&shape);
        assert_eq!(time, Duration::from_micros(18_140));
        shape.clear();
        assert_eq!(shape, StepShape::default());
    }

    #[test]
    fn coefficients_that_are_no_times_are_refused() {
        let good = LinearStepModel::illustrative_example().coefficients();
        let refused = |c| LinearStepModel::try_from(c).unwrap_err();
        assert_eq!(
            refused(LinearCoefficients { per_decode_seq_s: -1.0, ..good }),
            StepModelError::Coefficient { name: "per_decode_seq_s", value: -1.0 }
        );
        assert!(matches!(
            refused(LinearCoefficients { base_s: f64::NAN, ..good }),
            StepModelError::Coefficient { name: "base_s", .. }
        ));
        assert_eq!(refused(LinearCoefficients { base_s: 0.0, ..good }), StepModelError::NoBase);
    }
}

//! What can be told of one answer without knowing the right one, as numbers that hold none of its text.
//!
//! | measure | meaning | better |
//! |---|---|---|
//! | length | characters | as the baseline |
//! | repetition | [`crate::repetition`] | low |
//! | relevance | cosine of the n-gram vectors of prompt and answer ([`crate::ngram`]) | as the baseline |
//! | fluency | mean log-probability of the tokens where the engine gives them; its negative exponential is the perplexity | high |
//! | empty, refusal, loop, cut off | what only a generating model does ([`crate::anomaly`]) | rare |
//!
//! None says by itself that an answer is bad. They are for comparing like traffic over time, by version and by variant
//! ([`crate::track`]).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ngram::Vector;
use crate::{anomaly, repetition};

/// Measures of an answer.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Answer {
    /// Characters.
    pub chars: u64,
    /// Nothing but white space.
    pub empty: bool,
    /// It opens as a refusal.
    pub refusal: bool,
    /// It repeats a passage several times in a row.
    pub repetition_loop: bool,
    /// It ended because of its limit of tokens; `None` where it is not known why it ended.
    pub cut_off: Option<bool>,
    /// Replacement characters (U+FFFD): bytes that were no text.
    pub replacement_chars: u64,
    /// Share of repeated pairs of characters.
    pub rep_2: Option<f64>,
    /// Share of repeated triples.
    pub rep_3: Option<f64>,
    /// Share of repeated runs of four.
    pub rep_4: Option<f64>,
    /// Longest passage that stands twice, as a share of the answer.
    pub longest_repeat: Option<f64>,
    /// Bytes over compressed bytes.
    pub compression: Option<f64>,
    /// Cosine of prompt and answer; `None` without a prompt or an answer.
    pub relevance: Option<f64>,
    /// Mean natural log-probability a token; `None` where the engine gives none.
    pub mean_log_prob: Option<f64>,
}

impl Answer {
    /// Looks at an answer. `log_probs` are natural logarithms, one a token, as engines return them.
    pub fn of(prompt: Option<&str>, answer: &str, finish_reason: Option<&str>, log_probs: &[f64]) -> Self {
        let chars: Vec<char> = answer.chars().collect();
        let relevance = || Some(Vector::of(prompt?)?.cosine(&Vector::of(answer)?));
        Self {
            chars: chars.len() as u64,
            empty: answer.trim().is_empty(),
            refusal: anomaly::refuses(&chars),
            repetition_loop: anomaly::repeats(&chars),
            cut_off: finish_reason.map(|reason| reason == "length"),
            replacement_chars: chars.iter().filter(|c| **c == char::REPLACEMENT_CHARACTER).count() as u64,
            rep_2: repetition::rep(&chars, 2),
            rep_3: repetition::rep(&chars, 3),
            rep_4: repetition::rep(&chars, 4),
            longest_repeat: repetition::longest_repeat(&chars),
            compression: repetition::compression(answer),
            relevance: relevance(),
            mean_log_prob: mean_log_prob(log_probs),
        }
    }

    /// e to the negative mean log-probability; `None` without log-probabilities.
    pub fn perplexity(&self) -> Option<f64> {
        self.mean_log_prob.map(|mean| (-mean).exp())
    }
}

/// `None` for no tokens, or where a value is no log-probability.
fn mean_log_prob(log_probs: &[f64]) -> Option<f64> {
    let sound = !log_probs.is_empty() && log_probs.iter().all(|p| p.is_finite() && *p <= 0.0);
    sound.then(|| log_probs.iter().sum::<f64>() / log_probs.len() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_becomes_numbers() {
        let a = Answer::of(
            Some("혈압약은 언제 먹나요?"),
            "혈압약은 아침에 먹습니다.",
            Some("stop"),
            &[-0.5, -1.5],
        );
        assert_eq!(
            (a.chars, a.empty, a.refusal, a.repetition_loop, a.cut_off),
            (14, false, false, false, Some(false))
        );
        assert_eq!(a.mean_log_prob, Some(-1.0));
        assert!((a.perplexity().unwrap() - std::f64::consts::E).abs() < 1e-12);
        assert!(a.relevance.unwrap() > 0.2);
        assert_eq!(a.compression, None, "too short");
    }

    #[test]
    fn what_goes_wrong_is_told() {
        assert!(Answer::of(None, " \n", None, &[]).empty);
        let refused = Answer::of(None, "죄송합니다. 그 질문에는 답변을 드릴 수 없습니다.", Some("stop"), &[]);
        assert!(refused.refusal && refused.relevance.is_none() && refused.mean_log_prob.is_none());
        let looped = Answer::of(None, &"식후 30분 ".repeat(40), Some("length"), &[]);
        assert!(looped.repetition_loop && looped.cut_off == Some(true) && looped.rep_4.unwrap() > 0.9);
        assert_eq!(Answer::of(None, "a\u{fffd}b\u{fffd}", None, &[]).replacement_chars, 2);
        assert_eq!(Answer::of(None, "a", None, &[f64::NAN]).mean_log_prob, None);
    }
}

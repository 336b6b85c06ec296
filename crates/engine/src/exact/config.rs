//! What the exact server plays: latencies, the shape of its streams, and faults.
//!
//! Everything random is drawn from `seed` and the request's `x-request-id` (its order of arrival when it has none),
//! so one request is answered alike however the others interleave with it.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::error::ServeError;

/// The script of the exact server. Times are seconds; shares are between 0 and 1.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ExactConfig {
    /// From the last byte of the request being read to the write of the first token.
    pub ttft_s: f64,
    /// Scatter of `ttft_s`, drawn once a request.
    pub ttft_jitter: Jitter,
    /// Between two tokens; a chunk of several tokens takes as many times this.
    pub itl_s: f64,
    /// Scatter of `itl_s`, drawn once a chunk.
    pub itl_jitter: Jitter,
    /// Tokens in one event.
    pub tokens_per_chunk: u32,
    /// Events in one write.
    pub events_per_write: u32,
    /// Output tokens of a request that gives no limit.
    pub default_output: u32,
    /// Output ends by itself, with `stop`, after this many tokens, unless the request says `ignore_eos`.
    pub stop_after: Option<u32>,
    /// Longest prompt and output together.
    pub max_model_len: u32,
    /// Seed of jitter and faults.
    pub seed: u64,
    /// What the shape of the stream is.
    pub shape: Shape,
    /// What goes wrong.
    pub faults: Faults,
    /// All streams stand still once.
    pub freeze: Option<Freeze>,
    /// Where to write what was sent when, one JSON line a request; `None` writes nothing.
    pub truth_log: Option<PathBuf>,
    /// How long before a deadline the thread stops sleeping and spins, while at most four streams are open.
    pub spin_s: f64,
}

impl Default for ExactConfig {
    fn default() -> Self {
        Self {
            ttft_s: 0.050,
            ttft_jitter: Jitter::None,
            itl_s: 0.010,
            itl_jitter: Jitter::None,
            tokens_per_chunk: 1,
            events_per_write: 1,
            default_output: 128,
            stop_after: None,
            max_model_len: 131_072,
            seed: 0,
            shape: Shape::default(),
            faults: Faults::default(),
            freeze: None,
            truth_log: None,
            spin_s: 0.000_050,
        }
    }
}

/// Scatter around a time; what comes out is never negative.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Jitter {
    /// Always the same.
    #[default]
    None,
    /// Evenly within ± this.
    Uniform {
        /// Half of the width.
        half_width_s: f64,
    },
    /// Normally, with this standard deviation.
    Normal {
        /// Standard deviation.
        std_s: f64,
    },
}

/// What the streams look like.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Shape {
    /// When the role chunk of a chat stream is sent.
    pub role_chunk: RoleChunk,
    /// Words of the output.
    pub text: Words,
    /// Share of the output tokens of a chat that come first and are reasoning.
    pub reasoning_share: f64,
    /// The field that carries reasoning.
    pub reasoning_field: ReasoningField,
    /// An event without text stands before every n-th token event; 0: none.
    pub empty_every: u32,
    /// A `: ping` comment stands before every n-th token event; 0: none.
    pub comment_every: u32,
    /// The usage chunk is left out though it was asked for.
    pub no_usage: bool,
    /// `[DONE]` is left out.
    pub no_done: bool,
    /// Lines end with CR LF.
    pub crlf: bool,
    /// Every token event is cut inside its first character of several bytes and sent in two writes, this far apart;
    /// 0: not cut. Needs text with such characters.
    pub split_s: f64,
    /// The end of the answer is held back for this long after the last event.
    pub slow_close_s: f64,
}

/// When the role chunk of a chat stream is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RoleChunk {
    /// Just before the first token, as an event and a write of its own, as vLLM does.
    #[default]
    WithFirstToken,
    /// As soon as the request is accepted.
    AtOnce,
    /// Never.
    Absent,
}

/// The words of the output; each is one token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Words {
    /// English, one byte a character.
    #[default]
    English,
    /// Korean, three bytes a character.
    Korean,
}

/// The field of a delta that carries reasoning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReasoningField {
    /// `reasoning_content`.
    #[default]
    ReasoningContent,
    /// `reasoning`.
    Reasoning,
}

/// Shares of the requests that fail. A request has one fault at most.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Faults {
    /// Answered with status 500 after the TTFT.
    pub http_500: f64,
    /// The connection is reset in the stream.
    pub reset: f64,
    /// The connection is closed in the stream, without its end.
    pub cut: f64,
    /// One event of the stream is not JSON; the stream goes on.
    pub garbled: f64,
    /// The stream ends with an error event, at status 200.
    pub error_event: f64,
    /// The stream stops for ever, with its connection open.
    pub stall: f64,
    /// Where in the output a fault of the stream strikes: 0 before the first token, 1 after the last.
    pub at: f64,
}

impl Default for Faults {
    fn default() -> Self {
        Self { http_500: 0.0, reset: 0.0, cut: 0.0, garbled: 0.0, error_event: 0.0, stall: 0.0, at: 0.5 }
    }
}

/// All streams stand still once, as in a long pause of a garbage collector; later tokens shift by as much.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Freeze {
    /// Begin, counted from the first request.
    pub after_s: f64,
    /// Length.
    pub for_s: f64,
}

impl ExactConfig {
    /// Answers as fast as it can: the load for measuring a client's own ceiling.
    pub fn flood() -> Self {
        Self { ttft_s: 0.0, itl_s: 0.0, ..Self::default() }
    }

    /// Refuses what cannot be played.
    pub fn check(&self) -> Result<(), ServeError> {
        let bad = |setting, problem: &str| Err(ServeError::Setting { setting, problem: problem.to_owned() });
        let time = |v: f64| v.is_finite() && (0.0..=86_400.0).contains(&v);
        let share = |v: f64| (0.0..=1.0).contains(&v);
        let spread = |j| match j {
            Jitter::None => true,
            Jitter::Uniform { half_width_s: v } | Jitter::Normal { std_s: v } => time(v),
        };
        let f = &self.faults;
        let shares = [f.http_500, f.reset, f.cut, f.garbled, f.error_event, f.stall];
        if ![self.ttft_s, self.itl_s, self.spin_s, self.shape.split_s, self.shape.slow_close_s]
            .into_iter()
            .all(time)
        {
            return bad("exact", "times must be between 0 and 86400 seconds");
        }
        if !spread(self.ttft_jitter) || !spread(self.itl_jitter) {
            return bad("exact.jitter", "the spread must be between 0 and 86400 seconds");
        }
        if self.tokens_per_chunk == 0 || self.events_per_write == 0 || self.default_output == 0 {
            return bad("exact", "tokens_per_chunk, events_per_write and default_output must be at least 1");
        }
        if self.stop_after == Some(0) || self.max_model_len < 2 {
            return bad("exact", "stop_after must be at least 1, max_model_len at least 2");
        }
        if !shares.into_iter().chain([f.at, self.shape.reasoning_share]).all(share) {
            return bad("exact.faults", "shares must be between 0 and 1");
        }
        if shares.iter().sum::<f64>() > 1.0 + 1e-9 {
            return bad("exact.faults", "the shares add up to more than 1");
        }
        if self.freeze.is_some_and(|z| !time(z.after_s) || !time(z.for_s)) {
            return bad("exact.freeze", "times must be between 0 and 86400 seconds");
        }
        Ok(())
    }
}

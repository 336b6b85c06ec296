//! What is recorded of one request: a row of `events.parquet`.
//!
//! A failed or cut-off request is data too: it keeps its row, with the kind of its end. No content is stored.

use serde::{Deserialize, Serialize};

use crate::chunk_shape::ChunkShape;
use crate::clock::Nanos;

macro_rules! names {
    ($(#[$m:meta])* $v:vis enum $t:ident { $($(#[$vm:meta])* $k:ident = $n:literal),+ $(,)? }) => {
        $(#[$m])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema)]
        $v enum $t { $($(#[$vm])* #[serde(rename = $n)] $k),+ }
        impl $t {
            /// Every value, in file order.
            pub const ALL: &'static [Self] = &[$(Self::$k),+];
            /// The name used in files.
            pub const fn name(self) -> &'static str { match self { $(Self::$k => $n),+ } }
            /// Reads the name used in files.
            pub fn from_name(name: &str) -> Option<Self> { match name { $($n => Some(Self::$k),)+ _ => None } }
        }
        impl std::fmt::Display for $t {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result { f.write_str(self.name()) }
        }
    };
}

names! {
    /// What a chunk of the stream carried. A chunk is one server-sent event.
    pub enum ChunkKind {
        /// Only a role, as chat streams begin.
        Role = "role",
        /// Answer text.
        Content = "content",
        /// Reasoning text.
        Reasoning = "reasoning",
        /// A tool call.
        Tool = "tool",
        /// A choice without any text, for instance the one with the finish reason.
        Empty = "empty",
        /// The usage chunk.
        Usage = "usage",
        /// The `[DONE]` mark.
        Done = "done",
    }
}

impl ChunkKind {
    /// Whether the chunk carries generated tokens.
    pub fn is_token(self) -> bool {
        matches!(self, Self::Content | Self::Reasoning | Self::Tool)
    }
}

names! {
    /// How a request ended.
    pub enum EndKind {
        /// A complete stream.
        Ok = "ok",
        /// The name was not resolved or the connection was refused, reset or timed out before anything was sent.
        Connect = "connect",
        /// The TLS handshake failed.
        Tls = "tls",
        /// An HTTP status other than 2xx.
        Http = "http",
        /// The answer was not HTTP.
        Protocol = "protocol",
        /// An event was not JSON of the expected shape.
        Malformed = "malformed",
        /// The engine sent an error inside a stream that began well.
        StreamError = "stream_error",
        /// The connection was closed or reset before the stream was complete.
        Truncated = "truncated",
        /// A complete stream without a single token.
        NoTokens = "no_tokens",
        /// Nothing arrived for the idle timeout.
        IdleTimeout = "idle_timeout",
        /// The request took longer than its total timeout.
        Timeout = "timeout",
        /// Failed in another tool, whose file does not tell how.
        Unknown = "unknown",
        /// Still in flight when the run was stopped by a signal.
        Interrupted = "interrupted",
        /// Still in flight when its measuring window closed; neither a success nor a failure.
        Cancelled = "cancelled",
    }
}

impl EndKind {
    /// Whether the engine or the network failed the request.
    pub fn is_failure(self) -> bool {
        !matches!(self, Self::Ok | Self::Interrupted | Self::Cancelled)
    }
}

names! {
    /// Why the engine stopped generating.
    pub enum FinishReason {
        /// A stop token or string.
        Stop = "stop",
        /// The token limit.
        Length = "length",
        /// Anything else.
        Other = "other",
    }
}

names! {
    /// Which part of a run a request belongs to.
    pub enum Phase {
        /// Before the steady state; never in a metric.
        Warmup = "warmup",
        /// Inside a trial.
        Measure = "measure",
    }
}

/// One chunk of a stream, stamped when it was read and before it was parsed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChunkStamp {
    /// Since `t0`.
    pub t_ns: Nanos,
    /// Tokens in the chunk; `None` when the engine did not say.
    pub tokens: Option<u32>,
    /// What it carried.
    pub kind: ChunkKind,
    /// What the event held in detail, for reading the stream by another tool's rule.
    #[serde(default)]
    pub shape: ChunkShape,
}

impl ChunkStamp {
    /// A stamp of an event whose shape is not known.
    pub fn new(t_ns: Nanos, tokens: Option<u32>, kind: ChunkKind) -> Self {
        Self { t_ns, tokens, kind, shape: ChunkShape::UNKNOWN }
    }

    /// Whether the text is there and empty, with nothing else.
    fn is_silent(&self) -> bool {
        let shape = self.shape;
        self.kind == ChunkKind::Empty && shape.has(ChunkShape::EMPTY_TEXT) && !shape.has(ChunkShape::ROLE)
    }

    /// The shape; where it was not recorded, the one that events of this kind mostly have.
    pub fn shape_or_typical(&self) -> ChunkShape {
        use ChunkShape as S;
        if !self.shape.is_unknown() {
            return self.shape;
        }
        let choice = S::KNOWN.with(S::CHOICE);
        match self.kind {
            ChunkKind::Role => choice.with(S::DELTA).with(S::ROLE).with(S::EMPTY_TEXT),
            ChunkKind::Content => choice.with(S::TEXT),
            ChunkKind::Reasoning => choice.with(S::DELTA).with(S::REASONING_CONTENT),
            ChunkKind::Tool => choice.with(S::DELTA).with(S::TOOL).with(S::TOOL_TEXT),
            ChunkKind::Empty => choice,
            ChunkKind::Usage => S::KNOWN.with(S::USAGE),
            ChunkKind::Done => S::KNOWN,
        }
    }
}

/// One request, from plan to end. Stamps are nanoseconds since `t0`; `None` when the moment never came.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RequestRecord {
    /// Unique in the run, in order of planning.
    pub id: u64,
    /// Index of the sweep point.
    pub point: u32,
    /// Index of the trial inside the point; 0 during warm-up.
    pub trial: u32,
    /// Warm-up or measured.
    pub phase: Phase,
    /// Conversation that the request is a turn of; `None` for a request on its own.
    #[serde(default)]
    pub session: Option<u64>,
    /// Which turn of its conversation, from 0.
    #[serde(default)]
    pub turn: Option<u32>,
    /// Input tokens the plan asked for.
    pub input_asked: u32,
    /// Output tokens the plan asked for (`max_tokens`).
    pub output_asked: u32,
    /// Prompt tokens by the server's usage.
    pub input_usage: Option<u32>,
    /// Completion tokens by the server's usage.
    pub output_usage: Option<u32>,
    /// Prompt tokens served from the prefix cache, by the server's usage.
    pub cached_usage: Option<u32>,
    /// Completion tokens by the client's tokenizer.
    pub output_tokenizer: Option<u32>,
    /// When the schedule wanted it sent. In a closed loop: when its slot became free.
    pub intended_ns: Nanos,
    /// When the client took it up.
    pub dispatched_ns: Option<Nanos>,
    /// When a new connection stood (TLS included); `None` when a kept-alive one was used or none came about.
    pub connected_ns: Option<Nanos>,
    /// When the last byte of the request was given to the socket.
    pub written_ns: Option<Nanos>,
    /// When the first byte of the answer was read.
    pub first_byte_ns: Option<Nanos>,
    /// When the request ended, well or not.
    pub end_ns: Nanos,
    /// How it ended.
    pub end: EndKind,
    /// HTTP status, when an answer came.
    pub status: Option<u16>,
    /// Length of the error body or text, in bytes.
    pub error_len: Option<u32>,
    /// First 16 hex digits of the SHA-256 of the error body, so that equal errors can be counted without storing them.
    pub error_hash: Option<String>,
    /// Why the engine stopped.
    pub finish: Option<FinishReason>,
    /// The stream, in order of arrival; empty when the run drops chunks.
    pub chunks: Vec<ChunkStamp>,
}

impl RequestRecord {
    /// A request that nothing is known of, to be filled.
    pub fn blank() -> Self {
        Self {
            id: 0,
            point: 0,
            trial: 0,
            phase: Phase::Warmup,
            session: None,
            turn: None,
            input_asked: 0,
            output_asked: 0,
            input_usage: None,
            output_usage: None,
            cached_usage: None,
            output_tokenizer: None,
            intended_ns: 0,
            dispatched_ns: None,
            connected_ns: None,
            written_ns: None,
            first_byte_ns: None,
            end_ns: 0,
            end: EndKind::Ok,
            status: None,
            error_len: None,
            error_hash: None,
            finish: None,
            chunks: Vec::new(),
        }
    }

    /// Output tokens: the server's usage, else the tokenizer, else the chunks when each states its tokens.
    pub fn output_tokens(&self) -> Option<u32> {
        self.output_usage.or(self.output_tokenizer).or_else(|| {
            let mut tokens = self.chunks.iter().filter(|c| c.kind.is_token()).map(|c| c.tokens).peekable();
            tokens.peek()?;
            tokens.try_fold(0u32, |sum, n| Some(sum.saturating_add(n?)))
        })
    }

    /// When sending began: the connection stood and the request was taken up.
    pub fn send_begin_ns(&self) -> Option<Nanos> {
        self.connected_ns.or(self.dispatched_ns)
    }

    /// Counts chunks without text as tokens where the engine counted as many, and answers whether there are any.
    ///
    /// A token whose text is empty (special, part of a character, unknown to the tokenizer) is sent as a chunk with an
    /// empty text; so are other things by other engines, mostly one at the end with the finish reason. The usage tells
    /// them apart: the first so many are tokens as it counts beyond the chunks with text. Two and more that it does not
    /// count are something else, and so is a single one at the end of a stream whose chunks hold several tokens.
    pub fn count_silent_tokens(&mut self) -> bool {
        let Some(told) = self.output_usage else { return false };
        if !matches!(self.end, EndKind::Ok | EndKind::NoTokens) {
            return false;
        }
        let seen = self.token_chunks().count();
        let spare = (told as usize).saturating_sub(seen);
        let silent = self.chunks.iter().filter(|c| c.is_silent()).count();
        if silent == 0 || spare == 0 || silent > spare + 1 || (silent == 1 && seen > 0 && spare > 1) {
            return false;
        }
        for chunk in self.chunks.iter_mut().filter(|c| c.is_silent()).take(spare) {
            chunk.kind = ChunkKind::Content;
        }
        self.end = EndKind::Ok;
        true
    }

    /// Chunks that carry tokens.
    pub fn token_chunks(&self) -> impl DoubleEndedIterator<Item = &ChunkStamp> {
        self.chunks.iter().filter(|c| c.kind.is_token())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip() {
        for &k in EndKind::ALL {
            assert_eq!(EndKind::from_name(k.name()), Some(k));
        }
        for &k in ChunkKind::ALL {
            assert_eq!(ChunkKind::from_name(k.name()), Some(k));
        }
        assert_eq!(EndKind::from_name("nonsense"), None);
    }

    /// Chunks of a stream whose engine says `told`: `t` has a text, `e` an empty one, `o` none at all, `r` is a role.
    fn stream(chunks: &str, told: u32) -> RequestRecord {
        let stamp = |(at, c): (usize, char)| {
            let choice = ChunkShape::KNOWN.with(ChunkShape::CHOICE);
            let (kind, shape) = match c {
                't' => (ChunkKind::Content, choice.with(ChunkShape::TEXT)),
                'e' => (ChunkKind::Empty, choice.with(ChunkShape::EMPTY_TEXT)),
                'r' => (ChunkKind::Role, choice.with(ChunkShape::EMPTY_TEXT).with(ChunkShape::ROLE)),
                _ => (ChunkKind::Empty, choice),
            };
            ChunkStamp { shape, ..ChunkStamp::new(at as Nanos, None, kind) }
        };
        let end = if chunks.contains('t') { EndKind::Ok } else { EndKind::NoTokens };
        let chunks = chunks.chars().enumerate().map(stamp).collect();
        RequestRecord { output_usage: Some(told), end, chunks, ..RequestRecord::blank() }
    }

    #[test]
    fn chunks_without_text_are_tokens_where_the_engine_counted_them() {
        let counted = |chunks: &str, told| {
            let mut record = stream(chunks, told);
            let changed = record.count_silent_tokens();
            assert_eq!(
                record.end,
                if changed || chunks.contains('t') { EndKind::Ok } else { EndKind::NoTokens }
            );
            record.token_chunks().map(|c| c.t_ns).collect::<Vec<_>>()
        };
        assert_eq!(counted("etet", 4), [0, 1, 2, 3], "every second one");
        assert_eq!(counted("eee", 3), [0, 1, 2], "none has a text");
        assert_eq!(counted("ette", 3), [0, 1, 2], "the last is the finish reason's");
        assert_eq!(counted("tte", 3), [0, 1, 2], "the last one is a token");
        assert_eq!(counted("tte", 2), [0, 1], "every token has a text");
        assert_eq!(counted("tte", 6), [0, 1], "two tokens a chunk, and the finish reason");
        assert_eq!(counted("eteete", 2), [1, 4], "more than the engine counts: something else");
        assert_eq!(counted("rtto", 4), [1, 2], "neither a role nor a choice without text");
        let mut cut = RequestRecord { end: EndKind::Truncated, ..stream("ee", 2) };
        assert!(!cut.count_silent_tokens());
    }
}

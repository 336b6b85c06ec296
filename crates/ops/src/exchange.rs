//! What became of a request that went through the proxy: the row that metrics, traces and alerts are made of.
//!
//! It holds no text of the request or of the answer.

use stopwatt_core::{FinishReason, Nanos};

use crate::trace::Traced;

/// Why an attempt at an upstream failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Failure {
    /// The connection was refused, or the name not resolved.
    Refused,
    /// The connection was not made in time.
    ConnectTimeout,
    /// TLS: the upstream's certificate is not trusted, or it speaks none.
    Tls,
    /// An HTTP status that tells of the upstream and not of the request: 429, 500, 502, 503, 504 or 529.
    Status(u16),
    /// The connection broke before the first token.
    Broken,
    /// No token in time.
    FirstTokenTimeout,
    /// The upstream was found sick while the first token was waited for.
    Ejected,
    /// The stream stood still.
    ChunkTimeout,
    /// The request took too long as a whole.
    TotalTimeout,
    /// The connection broke inside the stream.
    Reset,
    /// The stream ended without `[DONE]` and without a finish reason.
    Truncated,
    /// An event was not JSON of the expected shape.
    Malformed,
    /// The upstream sent an error event.
    ErrorEvent,
    /// The proxy ended before the stream did.
    Draining,
    /// There was no upstream to ask.
    NoUpstream,
}

impl Failure {
    /// Every kind; a status stands for all of them.
    pub const ALL: [Self; 15] = [
        Self::Refused,
        Self::ConnectTimeout,
        Self::Tls,
        Self::Status(500),
        Self::Broken,
        Self::FirstTokenTimeout,
        Self::Ejected,
        Self::ChunkTimeout,
        Self::TotalTimeout,
        Self::Reset,
        Self::Truncated,
        Self::Malformed,
        Self::ErrorEvent,
        Self::Draining,
        Self::NoUpstream,
    ];

    /// Stable name, for labels and for the client.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Refused => "connect_refused",
            Self::ConnectTimeout => "connect_timeout",
            Self::Tls => "tls_handshake",
            Self::Status(_) => "http_status",
            Self::Broken => "broken_before_first_token",
            Self::FirstTokenTimeout => "first_token_timeout",
            Self::Ejected => "ejected",
            Self::ChunkTimeout => "chunk_timeout",
            Self::TotalTimeout => "total_timeout",
            Self::Reset => "reset",
            Self::Truncated => "truncated",
            Self::Malformed => "malformed",
            Self::ErrorEvent => "error_event",
            Self::Draining => "draining",
            Self::NoUpstream => "no_upstream",
        }
    }

    /// Position in [`Self::ALL`].
    pub fn index(self) -> usize {
        Self::ALL.iter().position(|f| f.name() == self.name()).unwrap_or(0)
    }

    /// What it means, for the client. Nothing of the upstream's own words.
    pub const fn message(self) -> &'static str {
        match self {
            Self::Refused => "the upstream refused the connection",
            Self::ConnectTimeout => "the upstream did not accept the connection in time",
            Self::Tls => "the upstream could not be spoken to over TLS",
            Self::Status(_) => "the upstream answered with an error",
            Self::Broken => "the connection to the upstream broke before the first token",
            Self::FirstTokenTimeout => "the upstream sent no token in time",
            Self::Ejected => "the upstream was found sick before the first token",
            Self::ChunkTimeout => "the stream of the upstream stood still for too long",
            Self::TotalTimeout => "the request took too long",
            Self::Reset => "the connection to the upstream broke inside the stream",
            Self::Truncated => "the stream of the upstream ended before it was complete",
            Self::Malformed => "the upstream sent an event that cannot be read",
            Self::ErrorEvent => "the upstream reported an error inside the stream",
            Self::Draining => "the proxy is shutting down",
            Self::NoUpstream => "no upstream is available",
        }
    }

    /// HTTP status for a client that has not been answered yet.
    pub const fn status(self) -> u16 {
        match self {
            Self::Status(status) => status,
            Self::FirstTokenTimeout | Self::TotalTimeout | Self::ConnectTimeout | Self::ChunkTimeout => 504,
            Self::NoUpstream | Self::Draining => 503,
            _ => 502,
        }
    }

    /// Whether it counts against the upstream's admission.
    pub(crate) const fn blames_upstream(self) -> bool {
        // A full upstream says so with 429; that is order, not sickness.
        !matches!(
            self,
            Self::Status(429) | Self::TotalTimeout | Self::Draining | Self::NoUpstream | Self::Ejected
        )
    }
}

/// How a request ended for its client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// A complete answer, or an error that is the request's own.
    Answered,
    /// It failed.
    Failed(Failure),
    /// The client went away first.
    ClientGone,
}

/// A request that has ended. Times are raw monotonic nanoseconds.
#[derive(Debug, Clone)]
pub struct Exchange {
    /// Position of the upstream that answered, or was asked last; `None` when none was asked.
    pub upstream: Option<usize>,
    /// Path of the request.
    pub path: &'static str,
    /// Model that the request named.
    pub model: Option<String>,
    /// HTTP status that the client got.
    pub status: u16,
    /// How it ended.
    pub end: End,
    /// Whether the client had been given tokens by then.
    pub committed: bool,
    /// Whether it was a stream of events.
    pub streamed: bool,
    /// Attempts that were made, hedges included.
    pub attempts: u32,
    /// When the request was read.
    pub received: Nanos,
    /// When its first token came; `None` when none came, or when it was no stream.
    pub first_token: Option<Nanos>,
    /// When its last token came.
    pub last_token: Option<Nanos>,
    /// When it ended.
    pub ended: Nanos,
    /// Tokens of the prompt, as the upstream said.
    pub prompt_tokens: Option<u32>,
    /// Generated tokens: what the upstream said, else chunks with tokens.
    pub tokens: u32,
    /// Why the engine stopped.
    pub finish: Option<FinishReason>,
    /// Prompt tokens that came from the prefix cache, as the upstream said.
    pub cached_tokens: Option<u32>,
    /// Its share of what the upstream's machine costs, in dollars (`cost.rs`); `None` without a price.
    pub cost_dollars: Option<f64>,
    /// Hash of the session that the client names; `None` when it names none.
    pub session: Option<u64>,
    /// Hash of the `user` that the request names.
    pub user: Option<u64>,
    /// Hash of how the prompt begins: requests made of one template have one.
    pub template: Option<u64>,
    /// Version of the prompt, from the header `x-stopwatt-prompt-version`.
    pub prompt_version: Option<String>,
    /// What traces tell besides; `None` when there are none.
    pub traced: Option<Box<Traced>>,
}

impl Exchange {
    /// A request that was just read, and of which nothing has become yet.
    pub fn new(path: &'static str, received: Nanos) -> Self {
        Self {
            upstream: None,
            path,
            model: None,
            status: 0,
            end: End::ClientGone,
            committed: false,
            streamed: false,
            attempts: 0,
            received,
            first_token: None,
            last_token: None,
            ended: received,
            prompt_tokens: None,
            tokens: 0,
            finish: None,
            cached_tokens: None,
            cost_dollars: None,
            session: None,
            user: None,
            template: None,
            prompt_version: None,
            traced: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_failure_has_a_name_of_its_own_and_knows_its_place() {
        for (i, failure) in Failure::ALL.iter().enumerate() {
            assert_eq!(failure.index(), i);
            assert!((429..600).contains(&failure.status()));
        }
        assert_eq!(Failure::Status(429).index(), Failure::Status(500).index());
    }
}

//! What a request and its answer said, for those who were asked to look at it: judged or sent on, then dropped.
//!
//! Nothing here is kept, logged or counted, and no [`Exchange`] holds any of it. Without anybody who asked, it is not
//! even collected.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use crate::exchange::Exchange;

/// Longest text of a stream that is collected, in bytes. A longer answer is judged by its begin.
pub(crate) const MOST_TEXT: usize = 256 << 10;
/// Most bytes of raw events that are collected, where the request asks for log-probabilities.
const MOST_EVENTS: usize = 4 << 20;

/// What was said. It does not print.
#[derive(Clone)]
pub struct Content {
    /// The body of the request.
    pub request: Bytes,
    /// The answer.
    pub answer: Answered,
}

/// An answer.
#[derive(Clone)]
pub enum Answered {
    /// None came.
    Nothing,
    /// A stream.
    Stream(Kept),
    /// A body in one piece.
    Whole(Bytes),
}

/// What was collected of a stream.
#[derive(Clone, Default)]
pub struct Kept {
    /// Answer text.
    pub text: String,
    /// The stream as it came, where the request asks for log-probabilities.
    pub events: Option<Vec<u8>>,
    /// There was more.
    pub cut: bool,
}

impl Content {
    /// About how many bytes it holds.
    pub(crate) fn bytes(&self) -> usize {
        let answer = match &self.answer {
            Answered::Nothing => 0,
            Answered::Stream(kept) => kept.text.len() + kept.events.as_ref().map_or(0, Vec::len),
            Answered::Whole(body) => body.len(),
        };
        self.request.len() + answer
    }
}

impl Kept {
    /// Collects text, and events when asked to.
    pub(crate) fn new(events: bool) -> Self {
        Self { text: String::new(), events: events.then(Vec::new), cut: false }
    }

    pub(crate) fn events(&mut self, bytes: &[u8]) {
        if let Some(events) = &mut self.events
            && events.len() + bytes.len() <= MOST_EVENTS
        {
            events.extend_from_slice(bytes);
        }
    }
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Content").field("request_bytes", &self.request.len()).finish_non_exhaustive()
    }
}

impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kept").field("bytes", &self.text.len()).finish_non_exhaustive()
    }
}

/// Is given every request that has ended, with what was said.
#[derive(Clone)]
pub struct Keeper(Arc<Look>);

type Look = dyn Fn(&Exchange, &Arc<Content>) + Send + Sync;

impl Keeper {
    /// Calls `look`, on the thread that passes tokens on: it must hand over and return.
    pub fn new(look: impl Fn(&Exchange, &Arc<Content>) + Send + Sync + 'static) -> Self {
        Self(Arc::new(look))
    }

    pub(crate) fn look(&self, exchange: &Exchange, content: &Arc<Content>) {
        (self.0)(exchange, content);
    }
}

impl fmt::Debug for Keeper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keeper")
    }
}

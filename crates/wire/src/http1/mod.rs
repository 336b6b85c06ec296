//! Reads HTTP/1.1 answers from bytes, wherever they were cut.
//!
//! ```text
//! feed(bytes) ──► Part::Head ──► Part::Body … ──► is_complete()
//! ```
//!
//! Invariants, each held by a test:
//!
//! - the parts do not depend on how the bytes were cut;
//! - a body is passed on without a copy;
//! - no input makes the decoder keep more than [`MAX_HEAD`] bytes.
//!
//! Interim answers (1xx) are skipped. Upgrades and compressed bodies are errors: the client asks for neither.

mod body;
mod head;

pub use head::{Framing, Head};

use body::BodyDecoder;

/// Longest head, and longest trailer section, in bytes.
pub const MAX_HEAD: usize = 64 * 1024;

/// Why bytes are not a usable HTTP/1.1 answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HttpError {
    /// The head is not HTTP/1.
    #[error("the head of the answer is not HTTP/1")]
    Head,
    /// The head, a chunk-size line or the trailers are longer than [`MAX_HEAD`], or there are too many headers.
    #[error("the head or the trailers of the answer are too long")]
    TooLong,
    /// Contradicting or unreadable lengths.
    #[error("the answer does not say clearly how long it is")]
    Length,
    /// A chunk of a chunked body is not framed right.
    #[error("the answer is not chunked as it says")]
    Chunk,
    /// The server switched protocols.
    #[error("the server switched to another protocol")]
    Upgrade,
    /// The body is compressed although nobody asked for that.
    #[error("the answer is compressed")]
    Compressed,
}

/// A piece of an answer.
#[derive(Debug)]
pub enum Part<'a> {
    /// The head, once.
    Head(&'a Head),
    /// Some of the body.
    Body(&'a [u8]),
}

/// What the decoder waits for.
#[derive(Debug)]
enum State {
    Head,
    Body(BodyDecoder),
    Complete,
}

/// Decoder of one answer after another on a connection.
#[derive(Debug)]
pub struct ResponseDecoder {
    state: State,
    /// The beginning of a head that was cut.
    partial: Vec<u8>,
    head: Head,
}

impl Default for ResponseDecoder {
    fn default() -> Self {
        Self::new()
    }
}

impl ResponseDecoder {
    /// A decoder that waits for a head.
    pub fn new() -> Self {
        Self { state: State::Head, partial: Vec::new(), head: Head::default() }
    }

    /// Waits for the next answer of the connection.
    pub fn reset(&mut self) {
        self.state = State::Head;
        self.partial.clear();
        self.head = Head::default();
    }

    /// Decodes `bytes` and passes the parts on. Returns how many bytes belong to this answer: fewer than given when it
    /// is complete and more follows.
    pub fn feed<E: From<HttpError>>(
        &mut self,
        bytes: &[u8],
        mut on_part: impl FnMut(Part<'_>) -> Result<(), E>,
    ) -> Result<usize, E> {
        let mut pos = 0;
        loop {
            match &mut self.state {
                State::Complete => return Ok(pos),
                State::Head => {
                    if pos == bytes.len() {
                        return Ok(pos);
                    }
                    let Some(used) = self.head(&bytes[pos..])? else { return Ok(bytes.len()) };
                    pos += used;
                    if !self.head.is_interim() {
                        self.state = State::Body(BodyDecoder::new(self.head.framing));
                        on_part(Part::Head(&self.head))?;
                    }
                }
                State::Body(body) => {
                    pos += body.feed(&bytes[pos..], |b| on_part(Part::Body(b)))?;
                    if !body.is_complete() {
                        return Ok(pos);
                    }
                    self.state = State::Complete;
                }
            }
        }
    }

    /// Reads a head; `None` when more bytes are needed. Returns how many of `bytes` were its.
    fn head(&mut self, bytes: &[u8]) -> Result<Option<usize>, HttpError> {
        if self.partial.is_empty()
            && let Some((head, used)) = Head::parse(bytes)?
        {
            self.head = head;
            return Ok(Some(used));
        }
        let before = self.partial.len();
        let room = MAX_HEAD.saturating_sub(before);
        self.partial.extend_from_slice(&bytes[..bytes.len().min(room)]);
        match Head::parse(&self.partial)? {
            Some((head, used)) => {
                self.partial.clear();
                self.head = head;
                Ok(Some(used - before))
            }
            None if bytes.len() >= room => Err(HttpError::TooLong),
            None => Ok(None),
        }
    }

    /// The connection was closed: whether the answer is complete by that.
    pub fn end_of_input(&mut self) -> bool {
        if matches!(&self.state, State::Body(b) if b.ends_with_connection()) {
            self.state = State::Complete;
        }
        self.is_complete()
    }

    /// The head, once it was read.
    pub fn head_read(&self) -> Option<&Head> {
        (!matches!(self.state, State::Head)).then_some(&self.head)
    }

    /// Whether the answer is complete.
    pub fn is_complete(&self) -> bool {
        matches!(self.state, State::Complete)
    }

    /// Whether the connection can carry another request: the answer is complete and nothing forbids it.
    pub fn can_keep_alive(&self) -> bool {
        self.is_complete() && self.head.keep_alive && self.head.framing != Framing::UntilClose
    }
}

#[cfg(test)]
mod tests;

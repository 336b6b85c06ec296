//! The head of an answer: status, how the body is framed, whether the connection stays.

use super::{HttpError, MAX_HEAD};

/// How the end of a body is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// So many bytes.
    Length(u64),
    /// `Transfer-Encoding: chunked`.
    Chunked,
    /// The server closes the connection.
    UntilClose,
}

/// What a load client needs of a head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Status code.
    pub status: u16,
    /// How the end of the body is found.
    pub framing: Framing,
    /// Whether the server keeps the connection open.
    pub keep_alive: bool,
    /// Whether the body says to be `text/event-stream`.
    pub event_stream: bool,
}

impl Default for Head {
    fn default() -> Self {
        Self { status: 0, framing: Framing::Length(0), keep_alive: false, event_stream: false }
    }
}

/// Most headers of an answer.
const MAX_HEADERS: usize = 128;

impl Head {
    /// Whether another head follows.
    pub(super) fn is_interim(&self) -> bool {
        (100..200).contains(&self.status)
    }

    /// Whether the status says success.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// Reads a head and its length in bytes; `None` when it is not all there.
    pub(super) fn parse(bytes: &[u8]) -> Result<Option<(Self, usize)>, HttpError> {
        let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut response = httparse::Response::new(&mut headers);
        let used = match response.parse(bytes) {
            Ok(httparse::Status::Complete(used)) if used <= MAX_HEAD => used,
            Ok(httparse::Status::Complete(_)) | Err(httparse::Error::TooManyHeaders) => {
                return Err(HttpError::TooLong);
            }
            Ok(httparse::Status::Partial) => return Ok(None),
            Err(_) => return Err(HttpError::Head),
        };
        let status = response.code.ok_or(HttpError::Head)?;
        if status == 101 {
            return Err(HttpError::Upgrade);
        }
        let mut facts = Facts::default();
        for h in response.headers.iter() {
            facts.read(h)?;
        }
        let bodiless = matches!(status, 204 | 304) || (100..200).contains(&status);
        if facts.compressed && !bodiless {
            return Err(HttpError::Compressed);
        }
        let framing = match (bodiless, facts.coding, facts.length) {
            (true, ..) => Framing::Length(0),
            (_, Coding::Chunked, _) => Framing::Chunked,
            // RFC 9112 §6.3: a transfer coding that does not end in chunked lasts until the connection closes.
            (_, Coding::Other, _) | (_, Coding::None, None) => Framing::UntilClose,
            (_, Coding::None, Some(n)) => Framing::Length(n),
        };
        let keep_alive =
            if response.version == Some(1) { !facts.close } else { facts.keep_alive && !facts.close };
        Ok(Some((Self { status, framing, keep_alive, event_stream: facts.event_stream }, used)))
    }
}

#[derive(Default)]
enum Coding {
    #[default]
    None,
    Chunked,
    Other,
}

/// What the headers say, gathered over repeated ones.
#[derive(Default)]
struct Facts {
    length: Option<u64>,
    coding: Coding,
    close: bool,
    keep_alive: bool,
    event_stream: bool,
    compressed: bool,
}

impl Facts {
    fn read(&mut self, header: &httparse::Header<'_>) -> Result<(), HttpError> {
        let is = |name: &str| header.name.eq_ignore_ascii_case(name);
        let tokens = || header.value.split(|b| *b == b',').map(<[u8]>::trim_ascii).filter(|t| !t.is_empty());
        if is("content-length") {
            for token in tokens() {
                let digits =
                    std::str::from_utf8(token).ok().filter(|t| t.bytes().all(|b| b.is_ascii_digit()));
                let n: u64 = digits.and_then(|t| t.parse().ok()).ok_or(HttpError::Length)?;
                if self.length.replace(n).is_some_and(|earlier| earlier != n) {
                    return Err(HttpError::Length);
                }
            }
        } else if is("transfer-encoding") {
            for token in tokens() {
                self.coding =
                    if token.eq_ignore_ascii_case(b"chunked") { Coding::Chunked } else { Coding::Other };
            }
        } else if is("connection") {
            for token in tokens() {
                self.close |= token.eq_ignore_ascii_case(b"close");
                self.keep_alive |= token.eq_ignore_ascii_case(b"keep-alive");
            }
        } else if is("content-encoding") {
            self.compressed |= tokens().any(|t| !t.eq_ignore_ascii_case(b"identity"));
        } else if is("content-type") {
            let kind = header.value.split(|b| *b == b';').next().unwrap_or_default();
            self.event_stream = kind.trim_ascii().eq_ignore_ascii_case(b"text/event-stream");
        }
        Ok(())
    }
}

//! The body of an answer: counted, chunked (extensions and trailers are skipped), or until the connection closes.

use super::{Framing, HttpError, MAX_HEAD};

/// Where in the body the next byte is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// So many bytes of a counted body are left.
    Counted(u64),
    UntilClose,
    /// In the digits of a chunk size. `None` before the first digit.
    Size(Option<u64>),
    /// Behind the digits, before the line ends; with the size.
    Extension(u64),
    /// So many bytes of the chunk are left.
    Data(u64),
    /// Behind the data of a chunk.
    DataEnd,
    /// In a trailer line. Whether it has any content.
    Trailer(bool),
    Complete,
}

/// Decoder of one body.
#[derive(Debug)]
pub(super) struct BodyDecoder {
    state: State,
    /// Bytes of the size line or of the trailers so far.
    overhead: usize,
}

impl BodyDecoder {
    pub(super) fn new(framing: Framing) -> Self {
        let state = match framing {
            Framing::Length(0) => State::Complete,
            Framing::Length(n) => State::Counted(n),
            Framing::Chunked => State::Size(None),
            Framing::UntilClose => State::UntilClose,
        };
        Self { state, overhead: 0 }
    }

    pub(super) fn is_complete(&self) -> bool {
        self.state == State::Complete
    }

    pub(super) fn ends_with_connection(&self) -> bool {
        self.state == State::UntilClose
    }

    /// Passes the content of `bytes` on; returns how many of them belong to the body.
    pub(super) fn feed<E: From<HttpError>>(
        &mut self,
        bytes: &[u8],
        mut on_data: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<usize, E> {
        let mut pos = 0;
        while pos < bytes.len() {
            match self.state {
                State::Complete => break,
                State::UntilClose => {
                    on_data(&bytes[pos..])?;
                    pos = bytes.len();
                }
                State::Counted(left) | State::Data(left) => {
                    let take = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len() - pos);
                    let rest = left - take as u64;
                    self.state = match (self.state, rest) {
                        (State::Counted(_), 0) => State::Complete,
                        (State::Counted(_), n) => State::Counted(n),
                        (_, 0) => State::DataEnd,
                        (_, n) => State::Data(n),
                    };
                    let data = &bytes[pos..pos + take];
                    pos += take;
                    on_data(data)?;
                }
                State::Size(_) | State::Extension(_) | State::DataEnd | State::Trailer(_) => {
                    self.line_byte(bytes[pos])?;
                    pos += 1;
                }
            }
        }
        Ok(pos)
    }

    /// One byte of what is between the data. Lines may end in CR LF or in a bare LF.
    fn line_byte(&mut self, byte: u8) -> Result<(), HttpError> {
        self.overhead += 1;
        if self.overhead > MAX_HEAD {
            return Err(HttpError::TooLong);
        }
        self.state = match (self.state, byte) {
            (State::Size(Some(n)), b'\n') | (State::Extension(n), b'\n') => self.chunk(n),
            (State::Size(Some(n)), b';' | b' ' | b'\t' | b'\r') => State::Extension(n),
            (State::Size(n), _) => {
                let digit = (byte as char).to_digit(16).ok_or(HttpError::Chunk)?;
                let n = n.unwrap_or(0).checked_mul(16).ok_or(HttpError::Chunk)?;
                State::Size(Some(n + u64::from(digit)))
            }
            (state @ State::Extension(_), _) => state,
            (State::DataEnd, b'\r') => State::DataEnd,
            (State::DataEnd, b'\n') => {
                self.overhead = 0;
                State::Size(None)
            }
            (State::DataEnd, _) => return Err(HttpError::Chunk),
            (State::Trailer(false), b'\n') => State::Complete,
            (State::Trailer(true), b'\n') => State::Trailer(false),
            (state @ State::Trailer(_), b'\r') => state,
            (State::Trailer(_), _) => State::Trailer(true),
            (state, _) => state,
        };
        Ok(())
    }

    fn chunk(&mut self, size: u64) -> State {
        self.overhead = 0;
        if size == 0 { State::Trailer(false) } else { State::Data(size) }
    }
}

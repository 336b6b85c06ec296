//! Server-sent events from bytes, wherever they were cut.
//!
//! Follows the event-stream grammar of the WHATWG HTML standard (§9.2.6): lines end in LF, CR LF or CR, a byte order
//! mark may lead, lines that begin with a colon are comments, several `data` lines join with LF, an empty line ends
//! the event.
//!
//! Beyond the grammar: a field `error:` is taken as the data of an event of that name, since older llama.cpp servers
//! report errors so.
//!
//! Invariants, each held by a test:
//!
//! - the events do not depend on how the bytes were cut;
//! - an event that lies in one piece is passed on without a copy;
//! - no input makes the scanner keep more than its limit.

use memchr::memchr2;

/// Longest event by default. Engines that echo prompt token ids send megabytes in the first one.
pub const DEFAULT_LIMIT: usize = 32 * 1024 * 1024;

/// An event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event<'a> {
    /// Its data.
    pub data: &'a [u8],
    /// Whether its name is `error`.
    pub is_error: bool,
}

/// Why bytes are not a usable event stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SseError {
    /// An event does not end.
    #[error("an event of the stream is longer than {limit} bytes")]
    TooLong {
        /// The limit.
        limit: usize,
    },
}

/// Data of the event that is being read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Held {
    Nothing,
    /// A range of the bytes being fed.
    Piece(usize, usize),
    /// In `Scanner::data`.
    Copied,
}

/// Finds events in a stream of bytes.
#[derive(Debug)]
pub struct Scanner {
    /// The beginning of a line that was cut.
    line: Vec<u8>,
    data: Vec<u8>,
    has_data: bool,
    is_error: bool,
    /// The last byte was CR: an LF that follows belongs to it.
    after_cr: bool,
    /// Bytes of the byte order mark seen; 3 when it is out of question.
    bom: u8,
    limit: usize,
}

const BOM: [u8; 3] = [0xEF, 0xBB, 0xBF];

impl Default for Scanner {
    fn default() -> Self {
        Self::new()
    }
}

impl Scanner {
    /// A scanner at the begin of a stream.
    pub fn new() -> Self {
        Self::with_limit(DEFAULT_LIMIT)
    }

    /// The same with another limit for an event, in bytes.
    pub fn with_limit(limit: usize) -> Self {
        Self {
            line: Vec::new(),
            data: Vec::new(),
            has_data: false,
            is_error: false,
            after_cr: false,
            bom: 0,
            limit,
        }
    }

    /// Goes back to the begin of a stream, keeping its memory.
    pub fn reset(&mut self) {
        self.line.clear();
        self.data.clear();
        *self = Self {
            line: std::mem::take(&mut self.line),
            data: std::mem::take(&mut self.data),
            ..Self::with_limit(self.limit)
        };
    }

    /// Scans `bytes` and passes on every event that ends in them. Stops at the first error of `on_event`.
    pub fn feed<E: From<SseError>>(
        &mut self,
        bytes: &[u8],
        mut on_event: impl FnMut(Event<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut pos = self.skip_bom(bytes);
        let mut held = if self.has_data { Held::Copied } else { Held::Nothing };
        while pos < bytes.len() {
            if std::mem::take(&mut self.after_cr) && bytes[pos] == b'\n' {
                pos += 1;
                continue;
            }
            let Some(len) = memchr2(b'\n', b'\r', &bytes[pos..]) else {
                self.keep_line(&bytes[pos..])?;
                break;
            };
            let end = pos + len;
            self.after_cr = bytes[end] == b'\r';
            if self.line.is_empty() {
                if len == 0 {
                    self.dispatch(bytes, &mut held, &mut on_event)?;
                } else {
                    self.field(bytes, pos, end, &mut held)?;
                }
            } else {
                self.keep_line(&bytes[pos..end])?;
                let line = std::mem::take(&mut self.line);
                self.cut_field(&line, bytes, &mut held)?;
                self.line = line;
                self.line.clear();
            }
            pos = end + 1;
        }
        if let Held::Piece(begin, end) = held {
            self.copy(&bytes[begin..end])?;
        }
        Ok(())
    }

    /// The stream ended: passes on an event whose closing empty line is missing but whose last line is whole.
    ///
    /// The standard drops such an event; some servers end their streams so.
    pub fn finish<E: From<SseError>>(
        &mut self,
        mut on_event: impl FnMut(Event<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        if self.line.is_empty() && self.has_data {
            let event = Event { data: &self.data, is_error: self.is_error };
            on_event(event)?;
        }
        self.reset();
        Ok(())
    }

    /// Whether the stream stopped inside an event or a line.
    pub fn is_mid_event(&self) -> bool {
        self.has_data || !self.line.is_empty()
    }

    fn skip_bom(&mut self, bytes: &[u8]) -> usize {
        let mut pos = 0;
        while self.bom < 3 && pos < bytes.len() {
            if bytes[pos] == BOM[usize::from(self.bom)] {
                self.bom += 1;
                pos += 1;
            } else {
                // What looked like a mark was text.
                self.line.extend_from_slice(&BOM[..usize::from(self.bom)]);
                self.bom = 3;
            }
        }
        pos
    }

    /// A line that lies whole in `bytes`.
    fn field(&mut self, bytes: &[u8], begin: usize, end: usize, held: &mut Held) -> Result<(), SseError> {
        let Some((is_error, skip)) = data_field(&bytes[begin..end]) else {
            self.note_name(&bytes[begin..end]);
            return Ok(());
        };
        self.is_error |= is_error;
        let value = (begin + skip, end);
        match *held {
            Held::Nothing => *held = Held::Piece(value.0, value.1),
            Held::Piece(a, b) => {
                self.copy(&bytes[a..b])?;
                self.append_line(&bytes[value.0..value.1])?;
                *held = Held::Copied;
            }
            Held::Copied => self.append_line(&bytes[value.0..value.1])?,
        }
        Ok(())
    }

    /// A line that began in an earlier piece.
    fn cut_field(&mut self, line: &[u8], bytes: &[u8], held: &mut Held) -> Result<(), SseError> {
        let Some((is_error, skip)) = data_field(line) else {
            self.note_name(line);
            return Ok(());
        };
        self.is_error |= is_error;
        match *held {
            Held::Nothing => self.copy(&line[skip..])?,
            Held::Piece(a, b) => {
                self.copy(&bytes[a..b])?;
                self.append_line(&line[skip..])?;
            }
            Held::Copied => self.append_line(&line[skip..])?,
        }
        *held = Held::Copied;
        Ok(())
    }

    fn note_name(&mut self, line: &[u8]) {
        if let Some(name) = line.strip_prefix(b"event:") {
            self.is_error = name.strip_prefix(b" ").unwrap_or(name) == b"error";
        }
    }

    fn dispatch<E>(
        &mut self,
        bytes: &[u8],
        held: &mut Held,
        on_event: &mut impl FnMut(Event<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let is_error = std::mem::take(&mut self.is_error);
        self.has_data = false;
        match std::mem::replace(held, Held::Nothing) {
            Held::Nothing => Ok(()),
            Held::Piece(a, b) => on_event(Event { data: &bytes[a..b], is_error }),
            Held::Copied => {
                let result = on_event(Event { data: &self.data, is_error });
                self.data.clear();
                result
            }
        }
    }

    fn keep_line(&mut self, piece: &[u8]) -> Result<(), SseError> {
        self.check(self.line.len() + piece.len())?;
        self.line.extend_from_slice(piece);
        Ok(())
    }

    fn copy(&mut self, value: &[u8]) -> Result<(), SseError> {
        self.check(value.len())?;
        self.data.clear();
        self.data.extend_from_slice(value);
        self.has_data = true;
        Ok(())
    }

    fn append_line(&mut self, value: &[u8]) -> Result<(), SseError> {
        self.check(self.data.len() + value.len() + 1)?;
        self.data.push(b'\n');
        self.data.extend_from_slice(value);
        Ok(())
    }

    fn check(&self, len: usize) -> Result<(), SseError> {
        if len > self.limit { Err(SseError::TooLong { limit: self.limit }) } else { Ok(()) }
    }
}

/// Whether a line is data: whether it is error data, and where its value begins.
fn data_field(line: &[u8]) -> Option<(bool, usize)> {
    let (is_error, name) = if line.starts_with(b"data") {
        (false, 4)
    } else if line.starts_with(b"error:") {
        (true, 5)
    } else {
        return None;
    };
    match line.get(name) {
        None => Some((is_error, name)),
        Some(b':') => Some((is_error, name + 1 + usize::from(line.get(name + 1) == Some(&b' ')))),
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests;

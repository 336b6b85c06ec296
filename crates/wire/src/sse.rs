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
mod tests {
    use super::*;
    use proptest::prelude::*;

    type Events = Vec<(Vec<u8>, bool)>;

    fn scan(bytes: &[u8], cuts: &[usize]) -> Events {
        let mut scanner = Scanner::new();
        let mut events = Events::new();
        let mut push = |e: Event<'_>| {
            events.push((e.data.to_vec(), e.is_error));
            Ok::<(), SseError>(())
        };
        let mut ends: Vec<usize> = cuts.iter().map(|c| c % (bytes.len() + 1)).chain([bytes.len()]).collect();
        ends.sort_unstable();
        let mut begin = 0;
        for end in ends {
            scanner.feed(&bytes[begin..end], &mut push).unwrap();
            begin = end;
        }
        scanner.finish(&mut push).unwrap();
        events
    }

    #[track_caller]
    fn check(stream: &str, expected: &[&str]) {
        let bytes = stream.as_bytes();
        let expected: Events = expected.iter().map(|e| (e.as_bytes().to_vec(), false)).collect();
        assert_eq!(scan(bytes, &[]), expected);
        for cut in 0..=bytes.len() {
            assert_eq!(scan(bytes, &[cut]), expected, "cut at {cut}");
        }
        let every: Vec<usize> = (0..bytes.len()).collect();
        assert_eq!(scan(bytes, &every), expected);
    }

    #[test]
    fn every_line_end_is_understood() {
        check("data: a\n\ndata: b\n\n", &["a", "b"]);
        check("data: a\r\n\r\ndata: b\r\n\r\n", &["a", "b"]);
        check("data: a\r\rdata: b\r\r", &["a", "b"]);
        check("data: a\r\n\ndata: b\n\r\n", &["a", "b"]);
    }

    #[test]
    fn the_grammar_of_the_standard() {
        check("\u{feff}data:a\n\n", &["a"]);
        check(": ping\n\n:\n\ndata: a\n: in between\n\n", &["a"]);
        check("data: a\ndata:  b\ndata\n\n", &["a\n b\n"]);
        check("id: 1\nevent: message\nretry: 5\ndata: a\n\n", &["a"]);
        check("database: no\nDATA: no\n data: no\n\n\n\n", &[]);
        check("data\n\ndata:\n\n", &["", ""]);
        check("data: 한\u{1F600}글\n\n", &["한\u{1F600}글"]);
    }

    #[test]
    fn a_missing_last_empty_line_is_forgiven_but_not_a_cut_line() {
        check("data: a\n\ndata: [DONE]\n", &["a", "[DONE]"]);
        check("data: a\n\ndata: [DO", &["a"]);
    }

    #[test]
    fn errors_are_marked() {
        for stream in [
            "event: error\ndata: x\n\ndata: y\n\n",
            "event:error\r\ndata: x\r\n\r\ndata: y\r\n\r\n",
            "error: x\n\ndata: y\n\n",
        ] {
            let expected: Events = vec![(b"x".to_vec(), true), (b"y".to_vec(), false)];
            for cut in 0..stream.len() {
                assert_eq!(scan(stream.as_bytes(), &[cut]), expected, "{stream:?} cut at {cut}");
            }
        }
    }

    #[test]
    fn an_event_in_one_piece_is_not_copied() {
        let bytes = b"data: abc\n\n";
        Scanner::new()
            .feed::<SseError>(bytes, |e| {
                assert_eq!(e.data.as_ptr(), bytes[6..].as_ptr());
                Ok(())
            })
            .unwrap();
    }

    #[test]
    fn an_event_without_end_is_refused() {
        let mut scanner = Scanner::with_limit(100);
        let mut feed = |bytes: &[u8]| scanner.feed::<SseError>(bytes, |_| Ok(()));
        feed(&[b'x'; 100]).unwrap();
        assert_eq!(feed(b"x").unwrap_err(), SseError::TooLong { limit: 100 });
        let mut scanner = Scanner::with_limit(100);
        let lines = b"data: 0123456789\n".repeat(11);
        assert!(scanner.feed::<SseError>(&lines, |_| Ok(())).is_err());
    }

    proptest! {
        #[test]
        fn any_cut_gives_the_same_events(
            lines in prop::collection::vec("(data: ?|event: error|: c|id: 1|error: )?[a-z한😀 :]{0,8}(\n|\r\n|\r)(\n|\r\n|\r)?", 0..12),
            cuts in prop::collection::vec(any::<usize>(), 0..12),
        ) {
            let stream = lines.concat();
            prop_assert_eq!(scan(stream.as_bytes(), &cuts), scan(stream.as_bytes(), &[]));
        }

        #[test]
        fn no_bytes_cause_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), cuts in prop::collection::vec(any::<usize>(), 0..5)) {
            prop_assert_eq!(scan(&bytes, &cuts), scan(&bytes, &[]));
        }
    }
}

//! A JSON reader that walks over text once, keeps nothing and skips what is not asked for.
//!
//! A stream event is some 250 bytes of which ten matter, and there are hundreds of thousands a second. Everything is
//! still checked as RFC 8259 has it, so that a garbled event is found; a test holds the reader to the same verdict as
//! `serde_json`. Unpaired surrogates in `\u` escapes pass, since engines send halves of a character in two tokens.
//!
//! Keys are compared as written: a key spelt with escapes counts as another key.

/// Where the text stops being JSON of the expected shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Malformed {
    /// In bytes.
    pub(crate) offset: usize,
}

pub(crate) type Read<T> = Result<T, Malformed>;

/// Deepest nesting, as in `serde_json`.
const MAX_DEPTH: u32 = 128;

/// A position in a JSON text.
pub(crate) struct Reader<'a> {
    text: &'a str,
    pos: usize,
    depth: u32,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        Self { text, pos: 0, depth: 0 }
    }

    fn bytes(&self) -> &'a [u8] {
        self.text.as_bytes()
    }

    fn fail<T>(&self) -> Read<T> {
        Err(Malformed { offset: self.pos })
    }

    /// The next byte that is not white space.
    #[inline]
    pub(crate) fn peek(&mut self) -> Option<u8> {
        while let Some(&b) = self.bytes().get(self.pos) {
            if !matches!(b, b' ' | b'\n' | b'\r' | b'\t') {
                return Some(b);
            }
            self.pos += 1;
        }
        None
    }

    #[inline]
    fn expect(&mut self, byte: u8) -> Read<()> {
        if self.peek() != Some(byte) {
            return self.fail();
        }
        self.pos += 1;
        Ok(())
    }

    /// Nothing but white space follows.
    pub(crate) fn end(&mut self) -> Read<()> {
        if self.peek().is_none() { Ok(()) } else { self.fail() }
    }

    /// Reads an object; `field` must consume the value of each key.
    pub(crate) fn object(&mut self, mut field: impl FnMut(&mut Self, &'a str) -> Read<()>) -> Read<()> {
        self.expect(b'{')?;
        self.nest()?;
        if self.peek() == Some(b'}') {
            self.pos += 1;
        } else {
            loop {
                if self.peek() != Some(b'"') {
                    return self.fail();
                }
                let key = self.string()?;
                self.expect(b':')?;
                field(self, key)?;
                match self.peek() {
                    Some(b',') => self.pos += 1,
                    Some(b'}') => break self.pos += 1,
                    _ => return self.fail(),
                }
            }
        }
        self.depth -= 1;
        Ok(())
    }

    /// Reads an array; `item` must consume each value.
    pub(crate) fn array(&mut self, mut item: impl FnMut(&mut Self) -> Read<()>) -> Read<()> {
        self.expect(b'[')?;
        self.nest()?;
        if self.peek() == Some(b']') {
            self.pos += 1;
        } else {
            loop {
                item(self)?;
                match self.peek() {
                    Some(b',') => self.pos += 1,
                    Some(b']') => break self.pos += 1,
                    _ => return self.fail(),
                }
            }
        }
        self.depth -= 1;
        Ok(())
    }

    fn nest(&mut self) -> Read<()> {
        self.depth += 1;
        if self.depth > MAX_DEPTH { self.fail() } else { Ok(()) }
    }

    /// Reads a string; gives what is between the quotes, escapes as they are.
    pub(crate) fn string(&mut self) -> Read<&'a str> {
        self.expect(b'"')?;
        let begin = self.pos;
        loop {
            self.pos += plain_length(&self.bytes()[self.pos..]);
            match self.bytes().get(self.pos) {
                Some(b'"') => break,
                Some(b'\\') => self.escape()?,
                _ => return self.fail(),
            }
        }
        let Some(raw) = self.text.get(begin..self.pos) else { return self.fail() };
        self.pos += 1;
        Ok(raw)
    }

    fn escape(&mut self) -> Read<()> {
        let rest = &self.bytes()[self.pos + 1..];
        let len = match rest.first() {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => 2,
            Some(b'u') if rest.get(1..5).is_some_and(|h| h.iter().all(u8::is_ascii_hexdigit)) => 6,
            _ => return self.fail(),
        };
        self.pos += len;
        Ok(())
    }

    /// Skips any value.
    pub(crate) fn skip(&mut self) -> Read<()> {
        match self.peek() {
            Some(b'"') => self.string().map(drop),
            Some(b'{') => self.object(|r, _| r.skip()),
            Some(b'[') => self.array(Self::skip),
            Some(b't') => self.literal("true"),
            Some(b'f') => self.literal("false"),
            Some(b'n') => self.literal("null"),
            _ => self.number().map(drop),
        }
    }

    fn literal(&mut self, word: &str) -> Read<()> {
        if !self.bytes()[self.pos..].starts_with(word.as_bytes()) {
            return self.fail();
        }
        self.pos += word.len();
        Ok(())
    }

    /// Reads a number; gives its text.
    fn number(&mut self) -> Read<&'a str> {
        self.peek();
        let begin = self.pos;
        self.accept(b"-");
        match self.bytes().get(self.pos) {
            Some(b'0') => self.pos += 1,
            _ => self.digits()?,
        }
        if self.accept(b".") {
            self.digits()?;
        }
        if self.accept(b"eE") {
            self.accept(b"+-");
            self.digits()?;
        }
        Ok(&self.text[begin..self.pos])
    }

    fn accept(&mut self, any_of: &[u8]) -> bool {
        let found = self.bytes().get(self.pos).is_some_and(|b| any_of.contains(b));
        self.pos += usize::from(found);
        found
    }

    fn digits(&mut self) -> Read<()> {
        let begin = self.pos;
        while self.bytes().get(self.pos).is_some_and(u8::is_ascii_digit) {
            self.pos += 1;
        }
        if self.pos == begin { self.fail() } else { Ok(()) }
    }

    /// Reads a count. Anything that is none (`null`, text, negative) is skipped.
    pub(crate) fn count(&mut self) -> Read<Option<u32>> {
        match self.peek() {
            Some(b'0'..=b'9') => {
                let text = self.number()?;
                Ok(text.parse().ok().or_else(|| text.parse::<f64>().ok().map(|n| n as u32)))
            }
            _ => self.skip().map(|()| None),
        }
    }

    /// Reads a string; anything else is skipped.
    #[inline]
    pub(crate) fn optional_string(&mut self) -> Read<Option<&'a str>> {
        if self.peek() == Some(b'"') { self.string().map(Some) } else { self.skip().map(|()| None) }
    }

    /// Reads an object; anything else is skipped. Whether it was one.
    pub(crate) fn optional_object(
        &mut self,
        field: impl FnMut(&mut Self, &'a str) -> Read<()>,
    ) -> Read<bool> {
        if self.peek() == Some(b'{') {
            self.object(field).map(|()| true)
        } else {
            self.skip().map(|()| false)
        }
    }

    /// Reads an array and counts its items; anything else is skipped.
    pub(crate) fn optional_array(
        &mut self,
        mut item: impl FnMut(&mut Self) -> Read<()>,
    ) -> Read<Option<u32>> {
        if self.peek() != Some(b'[') {
            return self.skip().map(|()| None);
        }
        let mut n = 0;
        self.array(|r| {
            n += 1;
            item(r)
        })?;
        Ok(Some(n))
    }
}

/// How many bytes come before a quote, a backslash or a control character. Looks at eight at a time.
#[inline]
pub(crate) fn plain_length(bytes: &[u8]) -> usize {
    const ONES: u64 = u64::MAX / 255;
    const HIGH: u64 = ONES << 7;
    let mut pos = 0;
    while let Some(word) = bytes.get(pos..).and_then(<[u8]>::first_chunk::<8>) {
        let w = u64::from_le_bytes(*word);
        // A byte b is zero exactly if (b − 1) & !b has its high bit set and no lower byte was zero: the first hit,
        // the only one used, is therefore right.
        let zero = |x: u64| x.wrapping_sub(ONES) & !x;
        let control = w.wrapping_sub(ONES * 0x20) & !w;
        let hits =
            (zero(w ^ (ONES * u64::from(b'"'))) | zero(w ^ (ONES * u64::from(b'\\'))) | control) & HIGH;
        if hits != 0 {
            return pos + (hits.trailing_zeros() / 8) as usize;
        }
        pos += 8;
    }
    let rest = &bytes[pos..];
    pos + rest.iter().position(|b| matches!(b, b'"' | b'\\' | 0..=0x1F)).unwrap_or(rest.len())
}

/// Appends the text of a string that [`Reader::string`] gave. Unpaired surrogates become U+FFFD.
pub(crate) fn unescape(raw: &str, out: &mut String) {
    let mut rest = raw;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let Some(escape) = rest.chars().next() else { return };
        rest = &rest[escape.len_utf8()..];
        match escape {
            'b' => out.push('\u{8}'),
            'f' => out.push('\u{c}'),
            'n' => out.push('\n'),
            'r' => out.push('\r'),
            't' => out.push('\t'),
            'u' => rest = unescape_unicode(rest, out),
            other => out.push(other),
        }
    }
    out.push_str(rest);
}

/// Reads the digits of a `\u` escape and, for the first half of a pair, the second one. Returns what follows.
fn unescape_unicode<'a>(rest: &'a str, out: &mut String) -> &'a str {
    let unit = |s: &str| s.get(..4).and_then(|h| u16::from_str_radix(h, 16).ok());
    let Some(first) = unit(rest) else { return rest };
    let rest = &rest[4..];
    let second = rest.strip_prefix("\\u").and_then(unit);
    let mut units = [first, second.unwrap_or(0)].into_iter().take(1 + usize::from(second.is_some()));
    match char::decode_utf16(&mut units).next() {
        Some(Ok(c)) => {
            out.push(c);
            if c.len_utf16() == 2 { &rest[6..] } else { rest }
        }
        _ => {
            out.push(char::REPLACEMENT_CHARACTER);
            rest
        }
    }
}

#[cfg(test)]
mod tests;

//! Looks at the bytes of a stream as they pass: the first token, the tokens, the end. It changes nothing.

use bytes::{Bytes, BytesMut};
use stopwatt_core::{ChunkKind, FinishReason};
use stopwatt_wire::event::{EventReader, StreamEvent};
use stopwatt_wire::sse::{Scanner, SseError};

use crate::content::{Kept, MOST_TEXT};

/// What has been seen of a stream.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    scanner: Scanner,
    reader: EventReader,
    /// Chunks and tokens with answer, reasoning or tool text.
    pub(crate) tokens: u32,
    /// Tokens that came in the piece that was fed last.
    pub(crate) new_tokens: u32,
    /// Prompt and generated tokens as the upstream counts them.
    pub(crate) prompt_tokens: Option<u32>,
    pub(crate) completion_tokens: Option<u32>,
    pub(crate) finish: Option<FinishReason>,
    pub(crate) done: bool,
    pub(crate) error_event: bool,
    pub(crate) malformed: bool,
    pub(crate) cached_tokens: Option<u32>,
    /// What is said, where somebody asked for it.
    pub(crate) kept: Option<Box<Kept>>,
}

impl Watch {
    /// One that collects what is said, where somebody asked for it.
    pub(crate) fn keeping(kept: Option<Box<Kept>>) -> Self {
        Self { kept, ..Self::default() }
    }

    /// Looks at the next piece.
    pub(crate) fn feed(&mut self, bytes: &[u8]) {
        self.new_tokens = 0;
        let Self { scanner, reader, kept, .. } = self;
        if let Some(kept) = kept {
            kept.events(bytes);
        }
        let (mut new, mut prompt, mut completion, mut cached) = (0, None, None, None);
        let (mut finish, mut done, mut error, mut malformed) = (None, false, false, false);
        let fed = scanner.feed::<SseError>(bytes, |event| {
            match reader.read(event) {
                Ok(StreamEvent::Chunk(chunk)) => {
                    if chunk.kind.is_token() {
                        // A tool call may name itself without a token id; it is progress all the same.
                        new += chunk.tokens.unwrap_or(1).max(u32::from(chunk.kind == ChunkKind::Tool));
                    }
                    if let Some(kept) = kept {
                        if kept.text.len() < MOST_TEXT {
                            chunk.text.push_to(&mut kept.text);
                        } else {
                            kept.cut |= !chunk.text.is_empty();
                        }
                    }
                    finish = chunk.finish.or(finish);
                    if let Some(usage) = chunk.usage {
                        prompt = usage.prompt.or(prompt);
                        completion = usage.completion.or(completion);
                        cached = usage.cached.or(cached);
                    }
                }
                Ok(StreamEvent::Done) => done = true,
                Ok(StreamEvent::Error(_)) => error = true,
                Err(_) => malformed = true,
            }
            Ok(())
        });
        self.new_tokens = new;
        self.tokens = self.tokens.saturating_add(new);
        self.prompt_tokens = prompt.or(self.prompt_tokens);
        self.completion_tokens = completion.or(self.completion_tokens);
        self.cached_tokens = cached.or(self.cached_tokens);
        self.finish = finish.or(self.finish);
        self.done |= done;
        self.error_event |= error;
        self.malformed |= malformed || fed.is_err();
    }

    /// Whether the client has what it needs to call the answer whole.
    pub(crate) fn is_complete(&self) -> bool {
        self.done || self.finish.is_some()
    }

    /// Generated tokens.
    pub(crate) fn counted(&self) -> u32 {
        self.completion_tokens.unwrap_or(self.tokens)
    }
}

/// Passes on whole events only, so that an error event can follow at any time. A piece that ends with an event, as
/// almost all do, goes through as it is.
#[derive(Debug, Default)]
pub(crate) struct WholeEvents {
    rest: BytesMut,
}

impl WholeEvents {
    /// The events that are whole now; empty when none is.
    pub(crate) fn pass(&mut self, mut piece: Bytes) -> Bytes {
        if !self.rest.is_empty() {
            self.rest.extend_from_slice(&piece);
            piece = std::mem::take(&mut self.rest).freeze();
        }
        let whole = whole_events(&piece);
        if whole < piece.len() {
            self.rest.extend_from_slice(&piece[whole..]);
            piece.truncate(whole);
        }
        piece
    }

    /// What was held back, for a stream that ended well without its last empty line.
    pub(crate) fn rest(&mut self) -> Bytes {
        std::mem::take(&mut self.rest).freeze()
    }
}

/// Length of the events before the first that cannot be read. `events` are whole.
pub(crate) fn readable(events: &[u8]) -> usize {
    let mut from = 0;
    while from < events.len() {
        let end = from + first_event(&events[from..]);
        let mut good = true;
        let fed = Scanner::new().feed::<SseError>(&events[from..end], |event| {
            good &= StreamEvent::parse(event).is_ok();
            Ok(())
        });
        if !good || fed.is_err() {
            return from;
        }
        from = end;
    }
    events.len()
}

/// Length up to and including the first empty line; all of it where there is none.
fn first_event(bytes: &[u8]) -> usize {
    let mut line = 0;
    while let Some(at) = memchr::memchr2(b'\n', b'\r', &bytes[line..]).map(|i| line + i) {
        let next = at + if bytes[at..].starts_with(b"\r\n") { 2 } else { 1 };
        if at == line {
            return next;
        }
        line = next;
    }
    bytes.len()
}

/// Length up to and including the last empty line.
fn whole_events(bytes: &[u8]) -> usize {
    let mut end = bytes.len();
    while let Some(at) = memchr::memrchr2(b'\n', b'\r', &bytes[..end]) {
        let before = &bytes[..at];
        // The line break before this one; CR LF is one break.
        let before = if bytes[at] == b'\n' { before.strip_suffix(b"\r").unwrap_or(before) } else { before };
        if matches!(before.last(), Some(b'\n' | b'\r')) {
            return at + 1;
        }
        end = before.len();
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_seen_through_every_cut() {
        let text = b"data: {\"choices\":[{\"delta\":{\"role\":\"assistant\"}}]}\n\n\
            data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n\
            data: {\"choices\":[{\"delta\":{\"content\":\"b\"},\"finish_reason\":\"stop\"}]}\n\n\
            data: {\"choices\":[],\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":2}}\n\ndata: [DONE]\n\n";
        for cut in 0..text.len() {
            let mut watch = Watch::default();
            watch.feed(&text[..cut]);
            watch.feed(&text[cut..]);
            assert_eq!((watch.tokens, watch.counted(), watch.prompt_tokens), (2, 2, Some(5)));
            assert!(watch.done && !watch.malformed && !watch.error_event && watch.is_complete());
        }
    }

    #[test]
    fn a_role_is_no_token_and_an_error_is_seen() {
        let mut watch = Watch::default();
        watch.feed(
            b"data: {\"choices\":[{\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}\n\n: ping\n\n",
        );
        assert_eq!((watch.tokens, watch.is_complete()), (0, false));
        watch.feed(b"data: {\"error\":{\"message\":\"x\"}}\n\n");
        assert!(watch.error_event);
        watch.feed(b"data: {\"choi\n\n");
        assert!(watch.malformed);
    }

    #[test]
    fn only_whole_events_pass() {
        for end in ["\n", "\r\n", "\r"] {
            let event = |text: &str| format!("data: {text}{end}{end}");
            let (a, b) = (event("1"), event("2"));
            let mut whole = WholeEvents::default();
            assert_eq!(whole.pass(Bytes::from(a.clone())), a.as_bytes());
            let cut = format!("{a}{}", &b[..4]);
            assert_eq!(whole.pass(Bytes::from(cut)), a.as_bytes(), "{end:?}");
            assert_eq!(whole.pass(Bytes::from(b[4..].to_owned())), b.as_bytes(), "{end:?}");
            assert!(whole.pass(Bytes::from(format!("data: x{end}"))).is_empty());
            assert_eq!(whole.rest(), format!("data: x{end}").as_bytes());
        }
    }

    #[test]
    fn what_comes_before_an_unreadable_event_is_readable() {
        for end in ["\n", "\r\n", "\r"] {
            let event = |text: &str| format!("data: {text}{end}{end}");
            let good = event(r#"{"choices":[{"delta":{"content":"a"}}]}"#) + &format!(": ping{end}{end}");
            let bad = event(r#"{"choices":[{"del"#);
            let all = format!("{good}{bad}{good}");
            assert_eq!(readable(all.as_bytes()), good.len(), "{end:?}");
            assert_eq!(readable(good.as_bytes()), good.len(), "{end:?}");
            assert_eq!(readable(bad.as_bytes()), 0, "{end:?}");
        }
        assert_eq!(readable(b""), 0);
    }

    #[test]
    fn nothing_is_lost_whatever_the_cuts() {
        let text = "data: 1\n\n: c\n\ndata: a\ndata: b\r\n\r\nevent: x\rdata: y\r\rdata: z\n\n";
        for i in 0..text.len() {
            for j in i..text.len() {
                let mut whole = WholeEvents::default();
                let mut out = Vec::new();
                for piece in [&text[..i], &text[i..j], &text[j..]] {
                    out.extend_from_slice(&whole.pass(Bytes::from(piece.to_owned())));
                }
                out.extend_from_slice(&whole.rest());
                assert_eq!(out, text.as_bytes());
            }
        }
    }
}

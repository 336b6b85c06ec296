//! Reads the events of one stream, most of them without parsing.
//!
//! Two successive events of a stream differ in their text only; the other 95 % of the bytes repeat. The reader keeps
//! the last parsed event and where its text stood. An event that has the same bytes before and after a text without
//! quotes, escapes or control characters parses to the same chunk with that text: there is nothing to read again.
//! Everything else is parsed, so the answer is always that of [`StreamEvent::parse`]; a test holds it to that.

use stopwatt_core::ChunkKind;

use super::{Chunk, EventError, RawText, StreamEvent};
use crate::json::plain_length;
use crate::sse::Event;

/// Longest event that is kept.
const MAX_KEPT: usize = 4096;

/// Reader of the events of one stream.
#[derive(Debug, Default)]
pub struct EventReader {
    /// The last parsed chunk with answer text: bytes up to the text, then bytes from its closing quote.
    kept: Vec<u8>,
    /// Where the text stood.
    text_at: usize,
    /// What the event said besides its text.
    said: Option<Chunk<'static>>,
}

impl EventReader {
    /// Reads the next event of the stream.
    #[inline]
    pub fn read<'a>(&mut self, event: Event<'a>) -> Result<StreamEvent<'a>, EventError> {
        if let Some(chunk) = self.recognise(event) {
            return Ok(StreamEvent::Chunk(chunk));
        }
        let read = StreamEvent::parse(event)?;
        if let StreamEvent::Chunk(chunk) = &read {
            self.keep(event.data, chunk);
        }
        Ok(read)
    }

    #[inline]
    fn recognise<'a>(&self, event: Event<'a>) -> Option<Chunk<'a>> {
        let said = self.said?;
        let (before, after) = self.kept.split_at(self.text_at);
        let rest = event.data.strip_prefix(before)?;
        let text = rest.strip_suffix(after)?;
        if event.is_error || text.is_empty() || plain_length(text) != text.len() {
            return None;
        }
        Some(Chunk { text: RawText(std::str::from_utf8(text).ok()?), ..said })
    }

    fn keep(&mut self, data: &[u8], chunk: &Chunk<'_>) {
        self.said = None;
        if chunk.kind != ChunkKind::Content || chunk.text.is_empty() || data.len() > MAX_KEPT {
            return;
        }
        // Both point into the same event.
        let begin = chunk.text.0.as_ptr() as usize - data.as_ptr() as usize;
        let Chunk { kind, shape, tokens, finish, usage, .. } = *chunk;
        if !chunk.reasoning.is_empty() {
            return;
        }
        self.kept.clear();
        self.kept.extend_from_slice(&data[..begin]);
        self.kept.extend_from_slice(&data[begin + chunk.text.0.len()..]);
        self.text_at = begin;
        self.said =
            Some(Chunk { kind, shape, tokens, finish, usage, text: RawText(""), reasoning: RawText("") });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn check(events: &[Vec<u8>]) {
        let mut reader = EventReader::default();
        for data in events {
            for is_error in [false, true] {
                let event = Event { data, is_error };
                assert_eq!(
                    reader.read(event),
                    StreamEvent::parse(event),
                    "{}",
                    String::from_utf8_lossy(data)
                );
            }
        }
    }

    fn chat(text: &str) -> Vec<u8> {
        format!(
            r#"{{"id":"a","choices":[{{"delta":{{"content":"{text}"}},"finish_reason":null}}],"usage":null}}"#
        )
        .into_bytes()
    }

    #[test]
    fn texts_of_every_kind_after_a_plain_one() {
        let texts = [
            "a",
            "b",
            "",
            "한",
            r"\n",
            "\"",
            r#"\""#,
            "\n",
            r"\",
            "c",
            "\",\"x\":\"",
            "d\"}],\"error\":{},\"z\":[{\"e\":\"",
        ];
        check(&texts.map(chat));
        let mut cut = chat("e");
        cut.truncate(cut.len() - 2);
        check(&[
            chat("a"),
            cut,
            chat("b"),
            chat("한")[..40].to_vec(),
            b"[DONE]".to_vec(),
            chat("c"),
            vec![0xFF],
            chat("d"),
        ]);
        let mut broken = chat("한");
        let at = broken.iter().position(|b| *b > 127).unwrap();
        broken.remove(at);
        check(&[chat("a"), broken]);
    }

    #[test]
    fn a_repeated_event_is_recognised() {
        let mut reader = EventReader::default();
        let (first, second) = (chat("a"), chat(" longer text"));
        let event = |data| Event { data, is_error: false };
        assert!(reader.recognise(event(&first)).is_none());
        reader.read(event(&first)).unwrap();
        assert!(reader.recognise(event(&second)).is_some());
    }

    proptest! {
        #[test]
        fn the_answer_is_that_of_parsing(
            events in prop::collection::vec(
                (".{0,6}|[a-z]{1,4}", prop::sample::select(vec!["null", "\"stop\""]), 0..3u32, any::<prop::sample::Index>(), prop::option::of(any::<u8>())),
                1..12,
            ),
        ) {
            let events: Vec<Vec<u8>> = events.into_iter().map(|(text, finish, ids, at, byte)| {
                let text = serde_json::to_string(&text).unwrap();
                let ids = vec!["7"; ids as usize].join(",");
                let mut data = format!(r#"{{"choices":[{{"text":{text},"finish_reason":{finish},"token_ids":[{ids}]}}]}}"#).into_bytes();
                if let Some(byte) = byte {
                    let at = at.index(data.len());
                    data[at] = byte;
                }
                data
            }).collect();
            check(&events);
        }
    }
}

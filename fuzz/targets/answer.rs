//! An engine's answer as bytes: HTTP head, chunked body, server-sent events, JSON of the events.
//!
//! Nothing panics, and where reads are cut makes no difference: the first byte says how long the pieces are.
#![no_main]

use libfuzzer_sys::fuzz_target;
use stopwatt_wire::event::StreamEvent;
use stopwatt_wire::http1::{HttpError, Part, ResponseDecoder};
use stopwatt_wire::sse::{Scanner, SseError};

#[derive(Debug, PartialEq)]
enum Wrong {
    Http(String),
    Sse(String),
}

impl From<HttpError> for Wrong {
    fn from(error: HttpError) -> Self {
        Self::Http(format!("{error:?}"))
    }
}

impl From<SseError> for Wrong {
    fn from(error: SseError) -> Self {
        Self::Sse(format!("{error:?}"))
    }
}

/// What the answer comes to, read in pieces of `piece` bytes.
fn read(bytes: &[u8], piece: usize) -> (Vec<String>, Option<Wrong>) {
    let (mut http, mut sse) = (ResponseDecoder::new(), Scanner::with_limit(1 << 16));
    let mut seen = Vec::new();
    for bytes in bytes.chunks(piece.max(1)) {
        let fed = http.feed::<Wrong>(bytes, |part| match part {
            Part::Head(head) => {
                seen.push(format!("{head:?}"));
                Ok(())
            }
            Part::Body(body) => sse.feed::<Wrong>(body, |event| {
                // What cannot be understood is told in the same words, however it was cut.
                seen.push(format!("{:?}", StreamEvent::parse(event)));
                Ok(())
            }),
        });
        match fed {
            Err(wrong) => return (seen, Some(wrong)),
            Ok(used) if used < bytes.len() => break,
            Ok(_) => {}
        }
    }
    http.end_of_input();
    let _ = sse.finish::<Wrong>(|event| {
        seen.push(format!("{:?}", StreamEvent::parse(event)));
        Ok(())
    });
    (seen, None)
}

fuzz_target!(|data: &[u8]| {
    let Some((piece, bytes)) = data.split_first() else { return };
    assert_eq!(read(bytes, bytes.len()), read(bytes, usize::from(*piece)));
});

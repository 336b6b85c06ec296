//! Bodies in chunked coding, RFC 9112 §7.1.

use super::request::{Refusal, refuse};

/// Takes a body in chunked coding out of a buffer, piece by piece.
#[derive(Debug, Default)]
pub(super) struct ChunkDecoder {
    body: Vec<u8>,
    state: ChunkState,
}

#[derive(Debug, Default, Clone, Copy)]
enum ChunkState {
    #[default]
    Size,
    /// Bytes of the chunk that are still to come.
    Data(usize),
    /// The line end after a chunk.
    DataEnd,
    Trailers,
}

impl ChunkDecoder {
    /// The whole body once it is there; what was read of it is removed from `input`.
    pub(super) fn decode(
        &mut self,
        input: &mut Vec<u8>,
        max_body: usize,
    ) -> Result<Option<Vec<u8>>, Refusal> {
        const MALFORMED: Refusal = Refusal { status: 400, message: "the chunked body is malformed" };
        let mut at = 0;
        let done = loop {
            let rest = &input[at..];
            match self.state {
                ChunkState::Size => match httparse::parse_chunk_size(rest).map_err(|_| MALFORMED)? {
                    httparse::Status::Partial if rest.len() > 4096 => return Err(MALFORMED),
                    httparse::Status::Partial => break false,
                    httparse::Status::Complete((used, size)) => {
                        at += used;
                        let size = usize::try_from(size).unwrap_or(usize::MAX);
                        if size.saturating_add(self.body.len()) > max_body {
                            return refuse(413, "the request body is too long");
                        }
                        self.state = if size == 0 { ChunkState::Trailers } else { ChunkState::Data(size) };
                    }
                },
                ChunkState::Data(left) => {
                    let take = left.min(rest.len());
                    self.body.extend_from_slice(&rest[..take]);
                    at += take;
                    if take < left {
                        self.state = ChunkState::Data(left - take);
                        break false;
                    }
                    self.state = ChunkState::DataEnd;
                }
                ChunkState::DataEnd => match rest {
                    [b'\r', b'\n', ..] => {
                        at += 2;
                        self.state = ChunkState::Size;
                    }
                    [] | [b'\r'] => break false,
                    _ => return Err(MALFORMED),
                },
                ChunkState::Trailers => match rest.iter().position(|b| *b == b'\n') {
                    None if rest.len() > 4096 => return Err(MALFORMED),
                    None => break false,
                    Some(end) => {
                        at += end + 1;
                        if matches!(&rest[..=end], b"\n" | b"\r\n") {
                            break true;
                        }
                    }
                },
            }
        };
        input.drain(..at);
        Ok(done.then(|| std::mem::take(&mut self.body)))
    }
}

//! Writing answers: heads, bodies of known length, and the chunked coding of streams.

use std::io::Write;

/// How the end of a body is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    /// Its length is stated.
    Length(usize),
    /// Chunked coding.
    Chunked,
    /// The connection ends with it: for HTTP/1.0 clients, who know no chunks.
    UntilClose,
}

/// A whole answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) content_type: &'static str,
    pub(crate) body: Vec<u8>,
    /// One more header, for the statuses that require one.
    pub(crate) header: Option<(&'static str, &'static str)>,
}

impl Reply {
    pub(crate) fn json(status: u16, body: Vec<u8>) -> Self {
        Self { status, content_type: "application/json", body, header: None }
    }

    pub(crate) fn text(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self { status, content_type: "text/plain; charset=utf-8", body: body.into(), header: None }
    }
}

/// Appends the status line and the headers.
pub(crate) fn push_head(
    out: &mut Vec<u8>,
    status: u16,
    content_type: &str,
    framing: Framing,
    keep_alive: bool,
    header: Option<(&str, &str)>,
) {
    let infallible = "writing to memory cannot fail";
    write!(
        out,
        "HTTP/1.1 {status} {}\r\nserver: stopwatt\r\ncontent-type: {content_type}\r\n",
        reason(status)
    )
    .expect(infallible);
    match framing {
        Framing::Length(n) => write!(out, "content-length: {n}\r\n").expect(infallible),
        Framing::Chunked => {
            out.extend_from_slice(b"cache-control: no-cache\r\ntransfer-encoding: chunked\r\n")
        }
        Framing::UntilClose => out.extend_from_slice(b"cache-control: no-cache\r\n"),
    }
    if let Some((name, value)) = header {
        write!(out, "{name}: {value}\r\n").expect(infallible);
    }
    if !keep_alive {
        out.extend_from_slice(b"connection: close\r\n");
    }
    out.extend_from_slice(b"\r\n");
}

/// Appends one piece of a stream.
pub(crate) fn push_chunk(out: &mut Vec<u8>, framing: Framing, payload: &[u8]) {
    if payload.is_empty() {
        return; // an empty chunk would end the stream
    }
    if framing == Framing::Chunked {
        write!(out, "{:x}\r\n", payload.len()).expect("writing to memory cannot fail");
        out.extend_from_slice(payload);
        out.extend_from_slice(b"\r\n");
    } else {
        out.extend_from_slice(payload);
    }
}

/// Appends the end of a stream.
pub(crate) fn push_last_chunk(out: &mut Vec<u8>, framing: Framing) {
    if framing == Framing::Chunked {
        out.extend_from_slice(b"0\r\n\r\n");
    }
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        413 => "Content Too Large",
        417 => "Expectation Failed",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        503 => "Service Unavailable",
        _ => "Unknown",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_state_their_length_in_hex() {
        let mut out = Vec::new();
        push_chunk(&mut out, Framing::Chunked, b"data: 0123456789\n");
        push_chunk(&mut out, Framing::Chunked, b"");
        push_last_chunk(&mut out, Framing::Chunked);
        assert_eq!(out, b"11\r\ndata: 0123456789\n\r\n0\r\n\r\n");
    }
}

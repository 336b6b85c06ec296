//! Reading requests: heads by `httparse`, bodies of stated length or in chunks.
//!
//! Bytes go in as they arrive, whole requests come out. What follows a request in the buffer is the next one.

use stopwatt_core::clock::Nanos;

use super::chunked::ChunkDecoder;

/// Longest head.
const MAX_HEAD: usize = 64 << 10;
const MAX_HEADERS: usize = 96;

/// What the client wants to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Method {
    Get,
    Post,
    Other,
}

/// The parts of a head that anything here looks at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) method: Method,
    /// Without the query.
    pub(crate) path: String,
    pub(crate) keep_alive: bool,
    /// Whether the client understands chunked coding.
    pub(crate) http11: bool,
    pub(crate) host: Option<String>,
    pub(crate) origin: Option<String>,
    pub(crate) authorization: Option<Vec<u8>>,
    pub(crate) request_id: Option<String>,
}

/// A whole request.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) head: Head,
    pub(crate) body: Vec<u8>,
    /// When its last byte had been read; raw monotonic.
    pub(crate) received_ns: Nanos,
}

/// Why a request cannot be read. The connection is of no more use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) status: u16,
    pub(crate) message: &'static str,
}

pub(super) const fn refuse<T>(status: u16, message: &'static str) -> Result<T, Refusal> {
    Err(Refusal { status, message })
}

/// Takes requests out of a buffer.
#[derive(Debug, Default)]
pub(crate) struct RequestReader {
    head: Option<(Head, Body)>,
}

#[derive(Debug)]
enum Body {
    Length { length: usize, continue_asked: bool },
    Chunked { decoder: ChunkDecoder, continue_asked: bool },
}

impl RequestReader {
    /// The next request, if `input` holds all of it; its bytes are removed.
    pub(crate) fn next(
        &mut self,
        input: &mut Vec<u8>,
        max_body: usize,
    ) -> Result<Option<(Head, Vec<u8>)>, Refusal> {
        if self.head.is_none() {
            let Some((head, body, length)) = parse_head(input)? else {
                return if input.len() > MAX_HEAD {
                    refuse(431, "the head of the request is too long")
                } else {
                    Ok(None)
                };
            };
            input.drain(..length);
            self.head = Some((head, body));
        }
        let Some((_, framing)) = &mut self.head else { return Ok(None) };
        let body = match framing {
            Body::Length { length, .. } if *length > max_body => {
                return refuse(413, "the request body is too long");
            }
            Body::Length { length, .. } if input.len() < *length => return Ok(None),
            Body::Length { length, .. } => {
                let rest = input.split_off(*length);
                std::mem::replace(input, rest)
            }
            Body::Chunked { decoder, .. } => match decoder.decode(input, max_body)? {
                Some(body) => body,
                None => return Ok(None),
            },
        };
        Ok(self.head.take().map(|(head, _)| (head, body)))
    }

    /// Whether the client waits for `100 Continue`; true once.
    pub(crate) fn take_continue(&mut self) -> bool {
        match &mut self.head {
            Some((_, Body::Length { continue_asked, .. } | Body::Chunked { continue_asked, .. })) => {
                std::mem::take(continue_asked)
            }
            None => false,
        }
    }

    /// Whether a request has begun and not ended.
    pub(crate) fn is_inside(&self, input: &[u8]) -> bool {
        self.head.is_some() || !input.is_empty()
    }
}

fn parse_head(input: &[u8]) -> Result<Option<(Head, Body, usize)>, Refusal> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut parsed = httparse::Request::new(&mut headers);
    let length = match parsed.parse(input) {
        Ok(httparse::Status::Complete(n)) => n,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(httparse::Error::TooManyHeaders) => return refuse(431, "the request has too many headers"),
        Err(_) => return refuse(400, "this is not an HTTP/1.1 request"),
    };
    let http11 = parsed.version == Some(1);
    let mut head = Head {
        method: match parsed.method {
            Some("GET") => Method::Get,
            Some("POST") => Method::Post,
            _ => Method::Other,
        },
        path: parsed.path.unwrap_or_default().split('?').next().unwrap_or_default().to_owned(),
        keep_alive: http11,
        http11,
        host: None,
        origin: None,
        authorization: None,
        request_id: None,
    };
    let (mut content_length, mut chunked, mut continue_asked) = (None, false, false);
    for header in parsed.headers.iter() {
        let name = header.name;
        let text = || String::from_utf8_lossy(header.value).into_owned();
        if name.eq_ignore_ascii_case("content-length") {
            let value = std::str::from_utf8(header.value).ok().map(str::trim);
            // `parse` alone would take a sign.
            let digits = value.filter(|v| !v.is_empty() && v.bytes().all(|b| b.is_ascii_digit()));
            let Some(n) = digits.and_then(|v| v.parse::<usize>().ok()) else {
                return refuse(400, "Content-Length is not a number");
            };
            if content_length.is_some_and(|other| other != n) {
                return refuse(400, "Content-Length is given twice");
            }
            content_length = Some(n);
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            if !header.value.eq_ignore_ascii_case(b"chunked") || chunked {
                return refuse(501, "only the chunked transfer coding is known");
            }
            chunked = true;
        } else if name.eq_ignore_ascii_case("connection") {
            for option in header.value.split(|b| *b == b',').map(<[u8]>::trim_ascii) {
                if option.eq_ignore_ascii_case(b"close") {
                    head.keep_alive = false;
                } else if option.eq_ignore_ascii_case(b"keep-alive") && !http11 {
                    head.keep_alive = true;
                }
            }
        } else if name.eq_ignore_ascii_case("expect") {
            if !header.value.eq_ignore_ascii_case(b"100-continue") {
                return refuse(417, "only the expectation 100-continue is known");
            }
            continue_asked = http11;
        } else if name.eq_ignore_ascii_case("host") {
            head.host = Some(text());
        } else if name.eq_ignore_ascii_case("origin") {
            head.origin = Some(text());
        } else if name.eq_ignore_ascii_case("authorization") {
            head.authorization = Some(header.value.to_vec());
        } else if name.eq_ignore_ascii_case("x-request-id") {
            head.request_id = Some(text());
        }
    }
    let body = match (chunked, content_length) {
        // Two framings at once are how requests are smuggled.
        (true, Some(_)) => return refuse(400, "both Content-Length and Transfer-Encoding are given"),
        (true, None) => Body::Chunked { decoder: ChunkDecoder::default(), continue_asked },
        (false, length) => Body::Length { length: length.unwrap_or(0), continue_asked },
    };
    Ok(Some((head, body, length)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Feeds `bytes` in pieces of `step` and returns the requests and the refusal that ended it.
    fn read(bytes: &[u8], step: usize) -> (Vec<(Head, Vec<u8>)>, Option<Refusal>) {
        let (mut reader, mut input, mut got) = (RequestReader::default(), Vec::new(), Vec::new());
        for piece in bytes.chunks(step) {
            input.extend_from_slice(piece);
            loop {
                match reader.next(&mut input, 64) {
                    Ok(Some(request)) => got.push(request),
                    Ok(None) => break,
                    Err(refusal) => return (got, Some(refusal)),
                }
            }
        }
        assert!(!reader.is_inside(&input), "left over: {input:?}");
        (got, None)
    }

    #[track_caller]
    fn refused(bytes: &[u8], status: u16) {
        let (_, refusal) = read(bytes, bytes.len());
        assert_eq!(refusal.map(|r| r.status), Some(status));
    }

    #[test]
    fn requests_are_the_same_however_they_are_cut() {
        let bytes = b"POST /v1/completions?x=1 HTTP/1.1\r\nHost: localhost\r\nX-Request-Id: r7\r\ncontent-length: 5\r\n\r\nhello\
            POST /b HTTP/1.1\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n3\r\nabc\r\nA;x=y\r\n0123456789\r\n0\r\nT: 1\r\n\r\n\
            GET /c HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n";
        let (whole, refusal) = read(bytes, bytes.len());
        assert_eq!(refusal, None);
        let bodies: Vec<_> =
            whole.iter().map(|(h, b)| (h.path.as_str(), b.as_slice(), h.keep_alive)).collect();
        assert_eq!(
            bodies,
            [
                ("/v1/completions", b"hello".as_slice(), true),
                ("/b", b"abc0123456789".as_slice(), false),
                ("/c", b"".as_slice(), true),
            ]
        );
        assert_eq!(whole[0].0.request_id.as_deref(), Some("r7"));
        assert!(!whole[2].0.http11);
        for step in 1..40 {
            assert_eq!(read(bytes, step), (whole.clone(), None), "pieces of {step}");
        }
    }

    #[test]
    fn bad_requests_are_refused() {
        refused(b"nonsense\r\n\r\n", 400);
        refused(b"POST / HTTP/1.1\r\ncontent-length: +3\r\n\r\nabc", 400);
        refused(b"POST / HTTP/1.1\r\ncontent-length: 3\r\ncontent-length: 4\r\n\r\nabc", 400);
        refused(b"POST / HTTP/1.1\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\nabc", 400);
        refused(b"POST / HTTP/1.1\r\ntransfer-encoding: gzip, chunked\r\n\r\n", 501);
        refused(b"POST / HTTP/1.1\r\nexpect: miracles\r\n\r\n", 417);
        refused(b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n", 400);
        refused(b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n2\r\nabc\r\n", 400);
    }

    #[test]
    fn too_much_is_refused_before_it_is_read() {
        refused(b"POST / HTTP/1.1\r\ncontent-length: 65\r\n\r\n", 413);
        refused(b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n41\r\n", 413);
        let mut long = b"GET / HTTP/1.1\r\nx: ".to_vec();
        long.resize(MAX_HEAD + 100, b'y');
        refused(&long, 431);
    }

    #[test]
    fn a_client_that_waits_to_be_told_is_told_once() {
        let mut reader = RequestReader::default();
        let mut input = b"POST / HTTP/1.1\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n".to_vec();
        assert_eq!(reader.next(&mut input, 64), Ok(None));
        assert!(reader.take_continue());
        assert!(!reader.take_continue());
        input.extend_from_slice(b"ok");
        assert_eq!(reader.next(&mut input, 64).unwrap().unwrap().1, b"ok");
    }

    proptest! {
        #[test]
        fn no_bytes_cause_a_panic_or_are_kept_without_bound(
            pieces in prop::collection::vec(piece(), 0..12),
            step in 1_usize..50,
        ) {
            let bytes = pieces.concat();
            let (mut reader, mut input) = (RequestReader::default(), Vec::new());
            'read: for piece in bytes.chunks(step) {
                input.extend_from_slice(piece);
                loop {
                    match reader.next(&mut input, 64) {
                        Ok(Some((_, body))) => prop_assert!(body.len() <= 64),
                        Ok(None) => break,
                        Err(refusal) => {
                            prop_assert!(refusal.status >= 400);
                            break 'read;
                        }
                    }
                }
                prop_assert!(input.len() <= MAX_HEAD + step);
            }
        }
    }

    /// Parts that requests are made of, and some that they are not.
    fn piece() -> impl Strategy<Value = Vec<u8>> {
        let known = prop::sample::select(vec![
            "GET / HTTP/1.1\r\n",
            "POST /v1/completions HTTP/1.0\r\n",
            "content-length: 5\r\n",
            "\r\n",
            "hello",
            "transfer-encoding: chunked\r\n",
            "5\r\nhello\r\n",
            "0\r\n\r\n",
            "expect: 100-continue\r\n",
            "connection: close\r\n",
        ]);
        prop_oneof![4 => known.prop_map(|s| s.as_bytes().to_vec()), 1 => prop::collection::vec(any::<u8>(), 0..20)]
    }
}

use super::*;
use proptest::prelude::*;

#[derive(Debug, PartialEq, Eq, Clone)]
struct Read {
    status: u16,
    body: Vec<u8>,
    complete: bool,
    keep_alive: bool,
    used: usize,
}

/// Feeds `bytes` cut at `cuts`, then closes the connection when `close` says so.
fn read(bytes: &[u8], cuts: &[usize], close: bool) -> Result<Read, HttpError> {
    let mut decoder = ResponseDecoder::new();
    let (mut status, mut body, mut used) = (0, Vec::new(), 0);
    let mut ends: Vec<usize> = cuts.iter().map(|c| c % (bytes.len() + 1)).chain([bytes.len()]).collect();
    ends.sort_unstable();
    let mut begin = 0;
    for end in ends {
        let piece = &bytes[begin..end];
        let n = decoder.feed::<HttpError>(piece, |part| {
            match part {
                Part::Head(h) => status = h.status,
                Part::Body(b) => body.extend_from_slice(b),
            }
            Ok(())
        })?;
        used += n;
        begin = end;
        if n < piece.len() {
            break;
        }
    }
    if close {
        decoder.end_of_input();
    }
    Ok(Read { status, body, complete: decoder.is_complete(), keep_alive: decoder.can_keep_alive(), used })
}

/// Checks the whole, every single cut, and byte by byte.
#[track_caller]
fn check(bytes: &str, close: bool, body: &str, complete: bool, keep_alive: bool) {
    let bytes = bytes.as_bytes();
    let whole = read(bytes, &[], close).unwrap();
    assert_eq!(String::from_utf8_lossy(&whole.body), body);
    assert_eq!((whole.complete, whole.keep_alive), (complete, keep_alive));
    for cut in 0..=bytes.len() {
        assert_eq!(read(bytes, &[cut], close).unwrap(), whole, "cut at {cut}");
    }
    let every: Vec<usize> = (0..bytes.len()).collect();
    assert_eq!(read(bytes, &every, close).unwrap(), whole);
}

#[test]
fn counted_bodies_end_by_themselves() {
    check("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", false, "hello", true, true);
    check("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel", true, "hel", false, false);
    check("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", false, "", true, true);
    check("HTTP/1.1 200 OK\r\ncontent-length: 2, 2\r\n\r\nab", false, "ab", true, true);
    check("HTTP/1.1 204 No Content\r\n\r\n", false, "", true, true);
}

#[test]
fn chunked_bodies_may_have_extensions_and_trailers() {
    let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    check(&format!("{head}5\r\nhello\r\n6;a=b\r\n world\r\n0\r\n\r\n"), false, "hello world", true, true);
    check(
        &format!("{head}A \r\n0123456789\r\n000\r\nX-T: 1\r\nY: 2\r\n\r\n"),
        false,
        "0123456789",
        true,
        true,
    );
    check(&format!("{head}5\nhello\n0\n\n"), false, "hello", true, true);
    check(&format!("{head}5\r\nhel"), true, "hel", false, false);
    check(&format!("{head}5\r\nhello\r\n"), true, "hello", false, false);
}

#[test]
fn the_keep_alive_decision_follows_version_and_connection() {
    check("HTTP/1.1 200 OK\r\nConnection: close\r\ncontent-length: 1\r\n\r\nx", false, "x", true, false);
    check("HTTP/1.0 200 OK\r\ncontent-length: 1\r\n\r\nx", false, "x", true, false);
    check("HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\ncontent-length: 1\r\n\r\nx", false, "x", true, true);
    check("HTTP/1.1 200 OK\r\nConnection: foo, Close\r\ncontent-length: 1\r\n\r\nx", false, "x", true, false);
    check("HTTP/1.1 200 OK\r\n\r\nall of it", true, "all of it", true, false);
    check("HTTP/1.1 200 OK\r\n\r\nall of it", false, "all of it", false, false);
    check("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nx", true, "x", true, false);
}

#[test]
fn interim_answers_are_skipped() {
    let interim = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n";
    check(&format!("{interim}HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nx"), false, "x", true, true);
}

#[test]
fn what_follows_an_answer_is_left_over() {
    let one = b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nx";
    let two = [&one[..], b"HTTP/1.1 500"].concat();
    assert_eq!(read(&two, &[], false).unwrap().used, one.len());
}

#[track_caller]
fn refused(bytes: &[u8], expected: HttpError) {
    assert_eq!(read(bytes, &[], false).unwrap_err(), expected);
    let every: Vec<usize> = (0..bytes.len().min(5_000)).collect();
    assert_eq!(read(bytes, &every, false).unwrap_err(), expected, "byte by byte");
}

#[test]
fn hostile_answers_are_refused_with_a_reason() {
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    refused(b"SSH-2.0-OpenSSH_9.6\r\n", HttpError::Head);
    refused(b"\x15\x03\x01\x00\x02\x02\x46", HttpError::Head);
    refused(b"HTTP/1.1 101 Switching\r\n\r\n", HttpError::Upgrade);
    refused(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", HttpError::Length);
    refused(b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", HttpError::Length);
    refused(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n", HttpError::Length);
    refused(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n", HttpError::Compressed);
    refused(format!("{chunked}zz\r\n").as_bytes(), HttpError::Chunk);
    refused(format!("{chunked}\r\n").as_bytes(), HttpError::Chunk);
    refused(format!("{chunked}fffffffffffffffff\r\n").as_bytes(), HttpError::Chunk);
    refused(format!("{chunked}1\r\nab").as_bytes(), HttpError::Chunk);
    refused(format!("HTTP/1.1 200 OK\r\n{}\r\n", "a: b\r\n".repeat(200)).as_bytes(), HttpError::TooLong);
    let long = "x".repeat(MAX_HEAD + 1);
    refused(format!("HTTP/1.1 200 OK\r\na: {long}").as_bytes(), HttpError::TooLong);
    refused(format!("{chunked}1;{long}").as_bytes(), HttpError::TooLong);
    refused(format!("{chunked}0\r\n{}", "a: b\r\n".repeat(MAX_HEAD / 6 + 1)).as_bytes(), HttpError::TooLong);
}

#[test]
fn recorded_errors_of_real_engines() {
    for (bytes, status) in [
        (&include_bytes!("../../tests/samples/llamacpp-error-too-long.txt")[..], 400),
        (include_bytes!("../../tests/samples/vllm-error-bad-model.txt"), 404),
        (include_bytes!("../../tests/samples/vllm-error-too-long.txt"), 400),
    ] {
        let read = read(bytes, &[], false).unwrap();
        assert_eq!((read.status, read.complete), (status, true));
        let error = crate::openai::ErrorBody::parse(&read.body).unwrap();
        assert_eq!(error.code.as_deref(), Some(status.to_string().as_str()));
        assert!(!error.message.is_empty());
    }
}

proptest! {
    #[test]
    fn any_cut_gives_the_same_answer(
        chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 0..8),
        cuts in prop::collection::vec(any::<usize>(), 0..12),
    ) {
        let mut bytes = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
        for c in &chunks {
            bytes.extend_from_slice(format!("{:x};q\r\n", c.len()).as_bytes());
            bytes.extend_from_slice(c);
            bytes.extend_from_slice(b"\r\n");
        }
        bytes.extend_from_slice(b"0\r\nt: 1\r\n\r\n");
        let got = read(&bytes, &cuts, false).unwrap();
        prop_assert_eq!(got.body, chunks.concat());
        prop_assert!(got.complete && got.keep_alive);
        prop_assert_eq!(got.used, bytes.len());
    }

    #[test]
    fn no_bytes_cause_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), cuts in prop::collection::vec(any::<usize>(), 0..5)) {
        let _ = read(&bytes, &cuts, true);
        let _ = read(&[b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", &bytes[..]].concat(), &cuts, true);
    }
}

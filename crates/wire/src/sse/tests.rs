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

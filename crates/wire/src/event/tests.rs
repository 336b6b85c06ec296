use super::*;
use crate::sse::Scanner;

fn parse(data: &str) -> Result<StreamEvent<'_>, EventError> {
    StreamEvent::parse(Event { data: data.as_bytes(), is_error: false })
}

#[track_caller]
fn chunk(data: &str) -> Chunk<'_> {
    match parse(data).unwrap() {
        StreamEvent::Chunk(c) => c,
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn check(data: &str, kind: ChunkKind, tokens: Option<u32>) {
    let c = chunk(data);
    assert_eq!((c.kind, c.tokens), (kind, tokens), "{data}");
}

#[test]
fn kinds_of_chat_chunks() {
    let delta =
        |d: &str| format!(r#"{{"choices":[{{"index":0,"delta":{d},"finish_reason":null}}],"usage":null}}"#);
    check(&delta(r#"{"role":"assistant","content":""}"#), ChunkKind::Role, None);
    check(&delta(r#"{"role":"assistant","content":null}"#), ChunkKind::Role, None);
    check(&delta(r#"{"role":"assistant","content":"a"}"#), ChunkKind::Content, None);
    check(&delta(r#"{"content":" "}"#), ChunkKind::Content, None);
    check(&delta(r#"{"content":[{"type":"text","text":"a"}]}"#), ChunkKind::Content, None);
    check(&delta(r#"{"refusal":"no"}"#), ChunkKind::Content, None);
    check(&delta(r#"{"content":""}"#), ChunkKind::Empty, None);
    check(&delta("{}"), ChunkKind::Empty, None);
    check(&delta(r#"{"reasoning_content":"hm"}"#), ChunkKind::Reasoning, None);
    check(&delta(r#"{"content":null,"reasoning":"hm"}"#), ChunkKind::Reasoning, None);
    check(&delta(r#"{"content":"","reasoning_content":""}"#), ChunkKind::Empty, None);
    check(&delta(r#"{"reasoning_content":"hm","content":"a"}"#), ChunkKind::Content, None);
    check(&delta(r#"{"tool_calls":[{"index":0,"function":{"arguments":"{"}}]}"#), ChunkKind::Tool, None);
    check(&delta(r#"{"content":"a","tool_calls":[]}"#), ChunkKind::Content, None);
}

#[test]
fn kinds_of_completion_chunks() {
    check(r#"{"choices":[{"text":"a"}]}"#, ChunkKind::Content, None);
    check(r#"{"choices":[{"text":"","finish_reason":"length"}]}"#, ChunkKind::Empty, None);
    check(r#"{"choices":[],"usage":{"prompt_tokens":1}}"#, ChunkKind::Usage, None);
    check(r#"{"choices":[]}"#, ChunkKind::Empty, None);
    check("{}", ChunkKind::Empty, None);
}

#[test]
fn shapes_tell_what_other_tools_look_at() {
    use ChunkShape as S;
    let check = |data: &str, bits: &[S]| {
        let expected = bits.iter().fold(S::KNOWN, |all, bit| all.with(*bit));
        assert_eq!(chunk(data).shape, expected, "{data}");
    };
    let delta = |inner: &str| format!(r#"{{"choices":[{{"delta":{inner}}}]}}"#);
    let chat = [S::CHOICE, S::DELTA];
    let checked = |inner: &str, more: &[S]| check(&delta(inner), &[&chat[..], more].concat());
    checked(r#"{"role":"assistant","content":""}"#, &[S::ROLE, S::EMPTY_TEXT]);
    checked(r#"{"role":null,"content":null}"#, &[S::ROLE]);
    checked(r#"{"content":""}"#, &[S::EMPTY_TEXT]);
    checked("{}", &[]);
    checked(r#"{"content":"a"}"#, &[S::TEXT]);
    checked(r#"{"refusal":"no"}"#, &[]);
    checked(r#"{"reasoning":"hm"}"#, &[S::REASONING]);
    checked(r#"{"reasoning_content":"hm","content":""}"#, &[S::REASONING_CONTENT, S::EMPTY_TEXT]);
    checked(r#"{"tool_calls":[{"index":0,"function":{"name":"f"}}]}"#, &[S::TOOL, S::TOOL_TEXT]);
    checked(r#"{"tool_calls":[{"index":0,"function":{"arguments":""}}]}"#, &[S::TOOL]);
    checked(r#"{"tool_calls":[]}"#, &[]);
    checked(r#"{"function_call":{"name":"f"}}"#, &[S::TOOL, S::TOOL_TEXT]);
    check(r#"{"choices":[{"text":""}]}"#, &[S::CHOICE, S::EMPTY_TEXT]);
    check(r#"{"choices":[{"text":"a"}],"usage":{"completion_tokens":1}}"#, &[S::CHOICE, S::TEXT, S::USAGE]);
    check(r#"{"choices":[],"usage":{"prompt_tokens":1}}"#, &[S::USAGE]);
    check(r#"{"choices":[],"usage":null,"timings":{"predicted_n":1}}"#, &[]);
}

#[test]
fn token_ids_are_counted() {
    check(r#"{"choices":[{"text":"abc","token_ids":[1, 2,3]}]}"#, ChunkKind::Content, Some(3));
    check(r#"{"choices":[{"text":"a","token_ids":null}]}"#, ChunkKind::Content, None);
    check(r#"{"choices":[{"text":"","token_ids":[7]}]}"#, ChunkKind::Content, Some(1));
    check(r#"{"choices":[{"text":"","token_ids":[]}]}"#, ChunkKind::Empty, Some(0));
    check(
        r#"{"choices":[{"text":"a","token_ids":[1]},{"text":"b","token_ids":[1,2]}]}"#,
        ChunkKind::Content,
        Some(3),
    );
    check(r#"{"prompt_token_ids":[1,2,3],"choices":[{"text":"a"}]}"#, ChunkKind::Content, None);
}

#[test]
fn usage_and_finish_reasons_are_read() {
    let c = chunk(
        r#"{"choices":[{"delta":{},"finish_reason":"stop"}],
            "usage":{"prompt_tokens":37,"completion_tokens":8.0,"prompt_tokens_details":{"cached_tokens":16}}}"#,
    );
    assert_eq!(c.usage, Some(Usage { prompt: Some(37), completion: Some(8), cached: Some(16) }));
    assert_eq!((c.kind, c.finish), (ChunkKind::Empty, Some(FinishReason::Stop)));
    let reason = |r: &str| {
        let data = format!(r#"{{"choices":[{{"finish_reason":"{r}"}}]}}"#);
        chunk(&data).finish
    };
    assert_eq!(reason("length"), Some(FinishReason::Length));
    assert_eq!(reason("eos_token"), Some(FinishReason::Stop));
    assert_eq!(reason("tool_calls"), Some(FinishReason::Other));
    assert_eq!(chunk(r#"{"choices":[],"usage":null}"#).usage, None);
    let c = chunk(r#"{"choices":[{"delta":{}}],"timings":{"cache_n":3,"prompt_n":4,"predicted_n":5}}"#);
    assert_eq!(c.usage, Some(Usage { prompt: Some(7), completion: Some(5), cached: Some(3) }));
}

#[test]
fn errors_inside_a_stream_are_errors() {
    for data in [
        r#"{"error":{"message":"boom","code":500}}"#,
        r#"{"error":"boom"}"#,
        r#"{"object":"error","message":"boom","code":400}"#,
    ] {
        assert_eq!(parse(data).unwrap(), StreamEvent::Error(data.as_bytes()));
    }
    let named = StreamEvent::parse(Event { data: b"out of memory", is_error: true }).unwrap();
    assert_eq!(named, StreamEvent::Error(b"out of memory"));
    check(r#"{"error":null,"choices":[{"text":"a"}]}"#, ChunkKind::Content, None);
}

#[test]
fn garbled_events_are_typed_errors() {
    for data in ["{\"choices\":[{\"te", "", "hello", "[1]", "{} {}", "{\"choices\":[1]}", "{\"a\":01}"] {
        assert!(matches!(parse(data), Err(EventError::NotJson { .. })), "{data}");
    }
    let cut = StreamEvent::parse(Event { data: b"{\"a\":\"\xed\x95\"}", is_error: false });
    assert_eq!(cut, Err(EventError::NotUtf8 { offset: 6 }));
    assert_eq!(parse(" [DONE] ").unwrap(), StreamEvent::Done);
}

/// Kinds as letters, text, usage and finish reason of a recorded stream.
#[track_caller]
fn check_stream(bytes: &[u8], kinds: &str, text: &str, usage: Usage, reason: FinishReason) {
    for step in [1, 2, 7, 64, 1460, bytes.len()] {
        let (mut got, mut said, mut counts, mut end) = (String::new(), String::new(), None, None);
        let mut scanner = Scanner::new();
        let mut on_event = |e: Event<'_>| {
            match StreamEvent::parse(e).unwrap() {
                StreamEvent::Chunk(c) => {
                    got.push(c.kind.name().chars().next().unwrap());
                    c.text.push_to(&mut said);
                    counts = c.usage.or(counts);
                    end = c.finish.or(end);
                }
                StreamEvent::Done => got.push('!'),
                StreamEvent::Error(e) => panic!("{e:?}"),
            }
            Ok::<(), crate::sse::SseError>(())
        };
        for piece in bytes.chunks(step) {
            scanner.feed(piece, &mut on_event).unwrap();
        }
        scanner.finish(&mut on_event).unwrap();
        assert_eq!((got.as_str(), said.as_str()), (kinds, text));
        assert_eq!((counts, end), (Some(usage), Some(reason)));
    }
}

#[test]
fn recorded_streams_of_real_engines() {
    let usage = |p, c, cached| Usage { prompt: Some(p), completion: Some(c), cached };
    check_stream(
        include_bytes!("../../tests/samples/vllm-chat-stream.sse"),
        "rccccccceu!",
        "Hello, welcome to my world!",
        usage(36, 8, None),
        FinishReason::Stop,
    );
    check_stream(
        include_bytes!("../../tests/samples/transformers-chat-stream.sse"),
        "rccccccce",
        "The capital of France is Paris.",
        usage(37, 8, None),
        FinishReason::Stop,
    );
    check_stream(
        include_bytes!("../../tests/samples/llamacpp-chat-stream.sse"),
        "rcccccccccccccccceu!",
        "L'Étoile, la Marseillaise, la femme,",
        usage(37, 16, Some(0)),
        FinishReason::Length,
    );
}

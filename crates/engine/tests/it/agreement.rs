//! What the server writes, read by the readers of `wire` that the load client uses.

use serde_json::json;
use stopwatt_core::ChunkKind;
use stopwatt_engine::ExactConfig;
use stopwatt_engine::exact::config::{Shape, Words};
use stopwatt_wire::engine_metrics;
use stopwatt_wire::event::StreamEvent;
use stopwatt_wire::openai::{Completion, ErrorBody, models};
use stopwatt_wire::sse::{Event, Scanner, SseError};

use crate::client::Answer;
use crate::exact::{chat, completion, fast, start};

/// The chunks of a stream: kind and tokens.
fn chunks(answer: &Answer) -> Vec<(ChunkKind, Option<u32>)> {
    let (mut scanner, mut found) = (Scanner::new(), Vec::new());
    let mut on_event = |event: Event<'_>| -> Result<(), SseError> {
        found.push(match StreamEvent::parse(event).expect("the event is JSON") {
            StreamEvent::Chunk(chunk) => (chunk.kind, chunk.tokens),
            StreamEvent::Done => (ChunkKind::Done, None),
            StreamEvent::Error(data) => panic!("{}", String::from_utf8_lossy(data)),
        });
        Ok(())
    };
    for piece in &answer.pieces {
        scanner.feed(piece, &mut on_event).expect("a stream of events");
    }
    assert!(!scanner.is_mid_event());
    found
}

#[test]
fn every_shape_is_read_as_it_is_meant() {
    use ChunkKind::{Content, Done, Empty, Reasoning, Role, Usage};
    let shape = Shape {
        reasoning_share: 0.5,
        text: Words::Korean,
        empty_every: 2,
        comment_every: 2,
        crlf: true,
        split_s: 0.000_1,
        ..Shape::default()
    };
    let (_server, mut client) = start(ExactConfig { shape, tokens_per_chunk: 2, ..fast() });
    let body = chat(json!({"max_tokens": 6, "stream_options": {"include_usage": true}}));
    let kinds: Vec<ChunkKind> =
        chunks(&client.post("/v1/chat/completions", &body)).into_iter().map(|(kind, _)| kind).collect();
    assert_eq!(kinds, [Role, Empty, Reasoning, Reasoning, Empty, Content, Content, Usage, Done]);
    let body = completion(json!({"max_tokens": 5, "return_token_ids": true}));
    let tokens: Vec<Option<u32>> = chunks(&client.post("/v1/completions", &body))
        .into_iter()
        .filter(|(kind, _)| kind.is_token())
        .map(|(_, tokens)| tokens)
        .collect();
    assert_eq!(tokens, [Some(2), Some(2), Some(1)]);
}

#[test]
fn answers_that_are_read_whole() {
    let (server, mut client) = start(fast());
    let listed = models(&client.get("/v1/models").body()).unwrap();
    assert_eq!((listed[0].id.as_str(), listed[0].max_model_len), (server.model_name(), Some(131_072)));
    let body = chat(json!({"max_tokens": 4, "stream": false, "return_token_ids": true}));
    let answer = Completion::parse(&client.post("/v1/chat/completions", &body).body()).unwrap();
    assert_eq!(answer.text.split_whitespace().count(), 4);
    assert_eq!(answer.token_ids.map(|ids| ids.len()), Some(4));
    let usage = answer.usage.unwrap();
    assert_eq!((usage.completion, usage.cached), (Some(4), Some(0)));
    let error = client.post("/v1/completions", &completion(json!({"model": "other"})));
    let error = ErrorBody::parse(&error.body()).unwrap();
    assert_eq!((error.kind.as_deref(), error.code.as_deref()), (Some("NotFoundError"), Some("404")));
}

#[test]
fn the_counters_have_the_names_of_vllm() {
    let (_server, mut client) = start(fast());
    client.post("/v1/completions", &completion(json!({"max_tokens": 5})));
    let counters = engine_metrics::counters(&client.get("/metrics").text());
    let expected = [
        (engine_metrics::RUNNING, 0.0),
        (engine_metrics::WAITING, 0.0),
        (engine_metrics::KV_USAGE, 0.0),
        (engine_metrics::PREFIX_CACHE_QUERIES_TOKENS, 0.0),
        (engine_metrics::PREFIX_CACHE_HITS_TOKENS, 0.0),
        (engine_metrics::PROMPT_TOKENS, 3.0),
        (engine_metrics::GENERATION_TOKENS, 5.0),
        (engine_metrics::PREEMPTIONS, 0.0),
        (engine_metrics::KV_EVICTIONS, 0.0),
        (engine_metrics::REQUESTS_SUCCESS, 1.0),
    ];
    assert_eq!(counters, expected.map(|(name, value)| (name.to_owned(), value)).into());
}

//! The exact kind: what it sends, when, and what it writes down of it.

use serde_json::{Value, json};
use stopwatt_engine::exact::config::{Freeze, Jitter, RoleChunk, Shape, Words};
use stopwatt_engine::exact::truth::{FlushKind, TruthEnd, TruthRecord};
use stopwatt_engine::exact::{self, ExactHandle};
use stopwatt_engine::{ExactConfig, Kind, ServeConfig, Shutdown};

use crate::client::{Answer, Client, End};

pub(crate) fn fast() -> ExactConfig {
    ExactConfig { ttft_s: 0.004, itl_s: 0.001, ..ExactConfig::default() }
}

pub(crate) fn start(config: ExactConfig) -> (ExactHandle, Client) {
    let server = exact::spawn(config).expect("the server starts");
    let client = Client::connect(server.addr());
    (server, client)
}

pub(crate) fn completion(extra: Value) -> Value {
    merge(json!({"model": "stopwatt-exact", "prompt": "one two three", "stream": true}), extra)
}

pub(crate) fn chat(extra: Value) -> Value {
    let messages = json!([{"role": "user", "content": "one two three"}]);
    merge(json!({"model": "stopwatt-exact", "messages": messages, "stream": true}), extra)
}

fn merge(mut base: Value, extra: Value) -> Value {
    for (key, value) in extra.as_object().expect("an object") {
        base[key] = value.clone();
    }
    base
}

#[test]
fn a_chat_stream_byte_by_byte() {
    let (_server, mut client) = start(fast());
    let body = chat(json!({"max_tokens": 3, "stream_options": {"include_usage": true}}));
    client.begin_post("/v1/chat/completions", &body, "x-request-id: r1\r\n");
    let answer = client.answer();
    let created = answer.values()[0]["created"].to_string();
    let shown = answer.head.clone() + &answer.text().replace(&created, "CREATED");
    insta::assert_snapshot!(shown.replace("\r\n", "\n"));
    assert_eq!(answer.pieces.len(), 6, "each event is a piece of its own");
}

#[test]
fn a_completion_that_does_not_stream() {
    let (_server, mut client) = start(fast());
    let body = completion(json!({"max_tokens": 3, "stream": false, "return_token_ids": true}));
    let answer = client.post_as("/v1/completions", &body, "x-request-id: r1\r\n");
    let created = answer.json()["created"].to_string();
    insta::assert_snapshot!(answer.text().replace(&created, "CREATED"));
}

#[test]
fn streamed_or_not_the_text_is_the_same() {
    let (_server, mut client) =
        start(ExactConfig { shape: Shape { reasoning_share: 0.0, ..Shape::default() }, ..fast() });
    for (path, body) in [
        ("/v1/completions", completion(json!({"max_tokens": 20}))),
        ("/v1/chat/completions", chat(json!({"max_tokens": 20, "stream_options": {"include_usage": true}}))),
    ] {
        let streamed = client.post_as(path, &body, "x-request-id: same\r\n");
        let mut whole = body.clone();
        whole["stream"] = json!(false);
        let whole = client.post_as(path, &whole, "x-request-id: same\r\n");
        assert_eq!(streamed.generated(), whole.generated());
        assert_eq!(streamed.finish(), whole.finish());
        assert_eq!(whole.generated().split_whitespace().count(), 20);
        assert_eq!(whole.usage().unwrap()["completion_tokens"], 20);
    }
}

#[test]
fn usage_is_sent_only_when_asked_for() {
    let (_server, mut client) = start(fast());
    let without = client.post("/v1/completions", &completion(json!({"max_tokens": 2})));
    assert_eq!(without.usage(), None);
    let asked = completion(json!({"max_tokens": 2, "stream_options": {"include_usage": true}}));
    let usage = client.post("/v1/completions", &asked).usage().unwrap();
    assert_eq!(
        usage,
        json!({"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5, "prompt_tokens_details": {"cached_tokens": 0}})
    );
    let every = completion(json!({"max_tokens": 2, "stream_options": {"continuous_usage_stats": true}}));
    let answer = client.post("/v1/completions", &every);
    let counts: Vec<_> = answer.values().iter().map(|v| v["usage"]["completion_tokens"].as_u64()).collect();
    assert_eq!(counts, [Some(1), Some(2)]);
}

#[test]
fn the_truth_joins_by_request_id_and_holds_the_script() {
    let (server, mut client) = start(ExactConfig { ttft_s: 0.02, itl_s: 0.003, ..ExactConfig::default() });
    let body = completion(json!({"max_tokens": 5, "stream_options": {"include_usage": true}}));
    let answer = client.post_as("/v1/completions", &body, "x-request-id: abc\r\n");
    assert_eq!(answer.end, End::Complete);
    let truth = server.wait_for_truth(1).remove(0);
    assert_eq!(truth.request_id.as_deref(), Some("abc"));
    assert_eq!((truth.prompt_tokens, truth.output_tokens, truth.status), (3, 5, 200));
    assert_eq!((truth.end, truth.fault), (TruthEnd::Complete, None));
    assert_eq!(truth.flush_tokens, [0, 1, 1, 1, 1, 1, 0]);
    let content = [FlushKind::Content; 5];
    assert_eq!(truth.flush_kind[0], FlushKind::Head);
    assert_eq!(truth.flush_kind[1..6], content);
    assert_eq!(truth.flush_kind[6], FlushKind::Usage);
    assert!(truth.flush_ns.windows(2).all(|w| w[0] <= w[1]));
    let ttft = truth.flush_ns[1] - truth.received_ns;
    assert!(ttft >= 20_000_000, "never before its time: {ttft}");
    let last = truth.flush_ns[5] - truth.received_ns;
    assert!(last >= 32_000_000, "gaps are counted from when tokens were due: {last}");
    assert!(truth.end_ns >= truth.flush_ns[6]);
}

#[test]
fn several_tokens_an_event_and_several_events_a_write() {
    let (server, mut client) = start(ExactConfig { tokens_per_chunk: 4, events_per_write: 2, ..fast() });
    let body = completion(json!({"max_tokens": 18, "return_token_ids": true}));
    let answer = client.post("/v1/completions", &body);
    let tokens: Vec<_> = answer
        .values()
        .iter()
        .filter_map(|v| Some(v.pointer("/choices/0/token_ids")?.as_array()?.len()))
        .collect();
    assert_eq!(tokens, [4, 4, 4, 4, 2]);
    let truth = server.wait_for_truth(1).remove(0);
    assert_eq!(truth.flush_tokens, [0, 8, 8, 2, 0]);
    let last = truth.flush_ns[3] - truth.received_ns;
    assert!(last >= 14_000_000, "4 ms to the first write, 8 and 2 to the next: {last}");
}

#[test]
fn one_request_has_one_script_whenever_it_comes() {
    let jitter = Jitter::Uniform { half_width_s: 0.001 };
    let config =
        ExactConfig { ttft_s: 0.002, itl_s: 0.001, itl_jitter: jitter, ttft_jitter: jitter, ..fast() };
    let text = |seed, id: &str| {
        let (_server, mut client) = start(ExactConfig { seed, ..config.clone() });
        client
            .post_as(
                "/v1/completions",
                &completion(json!({"max_tokens": 9})),
                &format!("x-request-id: {id}\r\n"),
            )
            .generated()
    };
    assert_eq!(text(1, "a"), text(1, "a"));
    assert_ne!(text(1, "a"), text(1, "b"));
    assert_ne!(text(1, "a"), text(2, "a"));
}

#[test]
fn the_role_chunk_comes_when_it_is_told_to() {
    let kinds = |role_chunk| {
        let (server, mut client) =
            start(ExactConfig { shape: Shape { role_chunk, ..Shape::default() }, ..fast() });
        let answer = client.post("/v1/chat/completions", &chat(json!({"max_tokens": 1})));
        let roles = answer.values().iter().filter(|v| v.pointer("/choices/0/delta/role").is_some()).count();
        (roles, server.wait_for_truth(1).remove(0).flush_kind)
    };
    use FlushKind::{Content, Done, Head, Role};
    assert_eq!(kinds(RoleChunk::WithFirstToken), (1, vec![Head, Role, Content, Done]));
    assert_eq!(kinds(RoleChunk::AtOnce), (1, vec![Role, Content, Done]));
    assert_eq!(kinds(RoleChunk::Absent), (0, vec![Head, Content, Done]));
}

#[test]
fn reasoning_comes_first_and_only_in_chats() {
    let shape = Shape { reasoning_share: 0.4, ..Shape::default() };
    let (server, mut client) = start(ExactConfig { shape, tokens_per_chunk: 3, ..fast() });
    let answer = client.post("/v1/chat/completions", &chat(json!({"max_tokens": 10})));
    let texts = |field: &str| -> String {
        answer
            .values()
            .iter()
            .filter_map(|v| v.pointer(&format!("/choices/0/delta/{field}"))?.as_str().map(str::to_owned))
            .collect()
    };
    assert_eq!(texts("reasoning_content").split_whitespace().count(), 4);
    assert_eq!(texts("content").split_whitespace().count(), 6);
    let truth = server.wait_for_truth(1).remove(0);
    assert_eq!(
        truth.flush_tokens.iter().filter(|n| **n > 0).copied().collect::<Vec<_>>(),
        [3, 1, 3, 3],
        "kinds are not mixed"
    );
    let whole = client.post("/v1/chat/completions", &chat(json!({"max_tokens": 10, "stream": false})));
    assert!(whole.json().pointer("/choices/0/message/reasoning_content").is_some());
    let plain = client.post("/v1/completions", &completion(json!({"max_tokens": 10})));
    assert_eq!(plain.generated().split_whitespace().count(), 10);
}

#[test]
fn korean_text_is_cut_inside_a_character() {
    let shape = Shape { text: Words::Korean, split_s: 0.001, ..Shape::default() };
    let (server, mut client) = start(ExactConfig { shape, itl_s: 0.003, ..fast() });
    let answer = client.post("/v1/completions", &completion(json!({"max_tokens": 4})));
    assert_eq!(answer.generated().split_whitespace().count(), 4);
    assert!(answer.generated().chars().any(|c| c.len_utf8() == 3));
    let truth = server.wait_for_truth(1).remove(0);
    assert_eq!(
        truth.flush_kind[1..5],
        [FlushKind::Content, FlushKind::Rest, FlushKind::Content, FlushKind::Rest]
    );
    assert_eq!(truth.flush_tokens[1..5], [0, 1, 0, 1], "a token counts when the last of it is sent");
}

#[test]
fn a_freeze_shifts_what_follows() {
    let freeze = Some(Freeze { after_s: 0.010, for_s: 0.050 });
    let (server, mut client) = start(ExactConfig { freeze, ..fast() });
    client.post("/v1/completions", &completion(json!({"max_tokens": 20})));
    let truth = server.wait_for_truth(1).remove(0);
    let last = truth.flush_ns[20] - truth.received_ns;
    assert!(last >= 72_000_000, "4 + 19 ms and at least 49 of the freeze: {last}");
}

#[test]
fn many_streams_at_once_are_each_answered() {
    let (server, _) = start(ExactConfig { ttft_s: 0.05, itl_s: 0.002, ..ExactConfig::default() });
    let addr = server.addr();
    let threads: Vec<_> = (0..8)
        .map(|t| {
            std::thread::spawn(move || {
                let mut clients: Vec<_> = (0..16).map(|_| Client::connect(addr)).collect();
                let body = completion(json!({"max_tokens": 10}));
                for (i, client) in clients.iter_mut().enumerate() {
                    client.begin_post("/v1/completions", &body, &format!("x-request-id: {t}-{i}\r\n"));
                }
                clients.iter_mut().map(Client::answer).collect::<Vec<Answer>>()
            })
        })
        .collect();
    for thread in threads {
        for answer in thread.join().unwrap() {
            assert_eq!((answer.status, answer.end), (200, End::Complete));
            assert_eq!(answer.generated().split_whitespace().count(), 10);
        }
    }
    let truth = server.wait_for_truth(128);
    assert_eq!(truth.len(), 128);
    for record in &truth {
        assert!(record.flush_ns[1] - record.received_ns >= 50_000_000);
    }
}

#[test]
fn a_flood_into_a_slow_reader_loses_nothing() {
    let (server, mut client) = start(ExactConfig { max_model_len: 100_000, ..ExactConfig::flood() });
    client.begin_post("/v1/completions", &completion(json!({"max_tokens": 60_000})), "");
    // Larger than the buffers of both sockets: the server has to wait, and others are served meanwhile.
    std::thread::sleep(std::time::Duration::from_millis(100));
    assert_eq!(Client::connect(server.addr()).get("/health").status, 200);
    let answer = client.answer();
    assert_eq!(answer.generated().split_whitespace().count(), 60_000);
    let truth = server.wait_for_truth(1).remove(0);
    assert_eq!((truth.output_tokens, truth.end), (60_000, TruthEnd::Complete));
    assert!(truth.flush_ns.iter().all(|t| *t > 0), "every write has its stamp");
    assert!(truth.flush_ns.windows(2).all(|w| w[0] <= w[1]));
}

#[test]
fn the_truth_file_holds_a_line_a_request() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("truth.jsonl");
    let config = ExactConfig { truth_log: Some(path.clone()), ..fast() };
    let shutdown = Shutdown::new();
    let (sender, receiver) = std::sync::mpsc::channel();
    let handle = shutdown.clone();
    let serve = move || {
        let config = ServeConfig::new(Kind::Exact(config));
        stopwatt_engine::serve(config, |l| sender.send(l.clone()).unwrap(), handle)
    };
    let thread = std::thread::spawn(serve);
    let listening = receiver.recv().unwrap();
    assert_eq!(listening.facts["kind"], "exact");
    let mut client = Client::connect(listening.addr);
    for id in ["a", "b"] {
        client.post_as(
            "/v1/completions",
            &completion(json!({"max_tokens": 2})),
            &format!("x-request-id: {id}\r\n"),
        );
    }
    shutdown.trigger();
    thread.join().unwrap().unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    let records: Vec<TruthRecord> = text.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    let ids: Vec<_> = records.iter().map(|r| r.request_id.as_deref().unwrap()).collect();
    assert_eq!(ids, ["a", "b"]);
    assert_eq!(records[1].flush_tokens, [0, 1, 1, 0]);
}

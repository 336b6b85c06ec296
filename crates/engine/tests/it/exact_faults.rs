//! Each fault of the exact kind, as a client sees it and as the truth tells it.

use std::time::Duration;

use serde_json::json;
use stopwatt_engine::ExactConfig;
use stopwatt_engine::exact::config::{Faults, Shape};
use stopwatt_engine::exact::truth::{Fault, TruthEnd, TruthRecord};

use crate::client::{Answer, End};
use crate::exact::{chat, completion, fast, start};

/// Streams 8 tokens under `faults`.
fn strike(faults: Faults) -> (Answer, TruthRecord) {
    let (server, mut client) = start(ExactConfig { faults, ..fast() });
    client.silent_after(Duration::from_millis(1500));
    let answer = client.post("/v1/completions", &completion(json!({"max_tokens": 8})));
    drop(client);
    (answer, server.wait_for_truth(1).remove(0))
}

fn words(answer: &Answer) -> usize {
    String::from_utf8_lossy(&answer.body()).matches("\"text\":\" ").count()
}

fn shaped(shape: Shape) -> Answer {
    let (_server, mut client) = start(ExactConfig { shape, ..fast() });
    client.post(
        "/v1/completions",
        &completion(json!({"max_tokens": 4, "stream_options": {"include_usage": true}})),
    )
}

#[test]
fn status_500() {
    let (answer, truth) = strike(Faults { http_500: 1.0, ..Faults::default() });
    assert_eq!((answer.status, answer.end), (500, End::Complete));
    assert_eq!(answer.json()["error"]["code"], 500);
    assert_eq!((truth.status, truth.fault, truth.end), (500, Some(Fault::Http500), TruthEnd::Fault));
    assert_eq!(truth.output_tokens, 0);
}

#[test]
fn reset_in_the_stream() {
    let (answer, truth) = strike(Faults { reset: 1.0, ..Faults::default() });
    assert_eq!((answer.status, answer.end), (200, End::Reset));
    assert_eq!((truth.fault, truth.end, truth.output_tokens), (Some(Fault::Reset), TruthEnd::Fault, 4));
}

#[test]
fn cut_in_the_stream() {
    let (answer, truth) = strike(Faults { cut: 1.0, ..Faults::default() });
    assert_eq!((answer.end, words(&answer)), (End::Closed, 4));
    assert_eq!((truth.fault, truth.end, truth.output_tokens), (Some(Fault::Cut), TruthEnd::Fault, 4));
}

#[test]
fn garbled_event() {
    let (answer, truth) = strike(Faults { garbled: 1.0, ..Faults::default() });
    assert_eq!((answer.end, words(&answer)), (End::Complete, 8));
    let bad = |e: &String| e != "[DONE]" && serde_json::from_str::<serde_json::Value>(e).is_err();
    assert_eq!(answer.events().iter().filter(|e| bad(e)).count(), 1);
    assert_eq!((truth.fault, truth.end, truth.output_tokens), (Some(Fault::Garbled), TruthEnd::Complete, 8));
}

#[test]
fn error_event_at_status_200() {
    let (answer, truth) = strike(Faults { error_event: 1.0, ..Faults::default() });
    assert_eq!((answer.status, answer.end, words(&answer)), (200, End::Complete, 4));
    let events = answer.events();
    assert!(events[4].starts_with("{\"error\":"), "{}", events[4]);
    assert_eq!(events[5], "[DONE]");
    assert_eq!((truth.fault, truth.end), (Some(Fault::ErrorEvent), TruthEnd::Fault));
}

#[test]
fn stall_for_ever() {
    let (answer, truth) = strike(Faults { stall: 1.0, ..Faults::default() });
    assert_eq!((answer.end, words(&answer)), (End::Silent, 4));
    assert_eq!((truth.fault, truth.end, truth.output_tokens), (Some(Fault::Stall), TruthEnd::ClientGone, 4));
}

#[test]
fn faults_strike_where_they_are_told_to() {
    let first = strike(Faults { cut: 1.0, at: 0.0, ..Faults::default() });
    assert_eq!((first.0.status, first.1.output_tokens), (200, 0));
    let last = strike(Faults { cut: 1.0, at: 1.0, ..Faults::default() });
    assert_eq!((last.0.end, last.1.output_tokens), (End::Closed, 8));
    let garbled = strike(Faults { garbled: 1.0, at: 1.0, ..Faults::default() });
    assert_eq!((garbled.0.end, garbled.1.output_tokens), (End::Complete, 8));
}

#[test]
fn only_the_asked_share_fails() {
    let faults = Faults { http_500: 0.3, ..Faults::default() };
    let (server, mut client) = start(ExactConfig { faults, ..ExactConfig::flood() });
    let body = completion(json!({"max_tokens": 1}));
    let failed = (0..100).filter(|_| client.post("/v1/completions", &body).status == 500).count();
    let truth = server.wait_for_truth(100);
    assert_eq!(truth.iter().filter(|t| t.fault.is_some()).count(), failed);
    assert!((10..=50).contains(&failed), "{failed}");
}

#[test]
fn shapes_that_clients_must_read() {
    let empty = shaped(Shape { empty_every: 1, ..Shape::default() });
    assert_eq!((empty.text().matches("\"text\":\"\"").count(), words(&empty)), (4, 4));
    let comments = shaped(Shape { comment_every: 2, ..Shape::default() });
    assert_eq!((comments.text().matches(": ping\n\n").count(), words(&comments)), (2, 4));
    let crlf = shaped(Shape { crlf: true, ..Shape::default() });
    assert!(crlf.text().ends_with("data: [DONE]\r\n\r\n"));
    assert_eq!(crlf.text().matches('\n').count(), crlf.text().matches("\r\n").count());
    assert_eq!(crlf.usage().unwrap()["completion_tokens"], 4);
    let no_usage = shaped(Shape { no_usage: true, ..Shape::default() });
    assert_eq!((no_usage.usage(), no_usage.end), (None, End::Complete));
    let no_done = shaped(Shape { no_done: true, ..Shape::default() });
    assert!(!no_done.text().contains("[DONE]"));
    assert_eq!((no_done.end, no_done.usage().is_some()), (End::Complete, true));
    let bare = shaped(Shape { no_done: true, no_usage: true, ..Shape::default() });
    assert_eq!((bare.end, words(&bare)), (End::Complete, 4));
}

#[test]
fn a_slow_close_holds_back_the_end() {
    let shape = Shape { slow_close_s: 0.05, ..Shape::default() };
    let (server, mut client) = start(ExactConfig { shape, ..fast() });
    let answer = client.post("/v1/chat/completions", &chat(json!({"max_tokens": 2})));
    assert_eq!(answer.end, End::Complete);
    assert_eq!(client.get("/health").status, 200, "the connection is still of use");
    let truth = server.wait_for_truth(1).remove(0);
    let n = truth.flush_ns.len();
    // Of the 50 ms some may be gone before the last token is stamped.
    assert!(truth.flush_ns[n - 1] - truth.flush_ns[n - 2] >= 25_000_000);
}

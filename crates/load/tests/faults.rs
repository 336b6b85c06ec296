//! Every way in which an answer can be odd, late or broken, and the kind of end it must get.

#![allow(clippy::unwrap_used, reason = "a failed set-up must end the test")]

mod support;

use std::net::TcpStream;
use std::time::Duration;

use stopwatt_core::{ChunkKind, EndKind, FinishReason};
use stopwatt_load::{Completed, Limits, Target};
use support::*;

#[track_caller]
fn check_end(done: &Completed, end: EndKind, status: Option<u16>) {
    assert_eq!((done.record.end, done.record.status), (end, status), "{:?}", done.error);
}

/// A stream of these events, in order, with the last chunk.
fn stream(events: &[String]) -> String {
    [HEAD, &events.concat(), END].concat()
}

#[test]
fn a_good_stream_gives_a_full_record() {
    let done = answered(&good());
    let r = &done.record;
    check_end(&done, EndKind::Ok, Some(200));
    assert_eq!((r.id, r.point, r.trial, r.input_asked, r.output_asked), (100, 1, 2, 3, 2));
    assert_eq!((r.input_usage, r.output_usage, r.cached_usage), (Some(3), Some(2), None));
    assert_eq!(r.finish, Some(FinishReason::Length));
    use ChunkKind::{Content, Done, Empty, Usage};
    assert_eq!(kinds(&done), [Content, Content, Empty, Usage, Done]);
    assert_eq!((done.text.as_deref(), done.reasoning.as_deref(), &done.error), (Some("ab"), Some(""), &None));
    let stamps =
        [Some(r.intended_ns), r.dispatched_ns, r.connected_ns, r.written_ns, r.first_byte_ns, Some(r.end_ns)];
    assert!(stamps.iter().all(Option::is_some), "{stamps:?}");
    assert!(stamps.is_sorted(), "{stamps:?}");
    assert!(r.chunks.iter().all(|c| Some(c.t_ns) >= r.first_byte_ns && c.t_ns <= r.end_ns));
    assert_eq!((r.error_len, &r.error_hash), (None, &None));
}

#[test]
fn an_http_error_keeps_status_length_and_hash_only() {
    let body = r#"{"error":{"message":"boom","type":"x","code":500}}"#;
    let answer = format!("HTTP/1.1 500 Oops\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    let done = answered(&answer);
    check_end(&done, EndKind::Http, Some(500));
    assert_eq!(done.record.error_len, Some(body.len() as u32));
    assert_eq!(done.record.error_hash, answered(&answer).record.error_hash);
    assert_eq!(done.record.error_hash.as_ref().map(String::len), Some(16));
    assert_eq!(done.error.as_deref(), Some("boom"));
    assert!(!format!("{done:?}").contains("boom"));
    check_end(
        &answered("HTTP/1.1 302 Found\r\nlocation: /x\r\ncontent-length: 0\r\n\r\n"),
        EndKind::Http,
        Some(302),
    );
    let cut = one(|s| {
        send(s, "HTTP/1.1 503 Busy\r\ncontent-length: 99\r\n\r\nbusy");
        Then::Close
    });
    check_end(&cut, EndKind::Http, Some(503));
}

fn cut_after(text: String, reset: bool) -> Completed {
    one(move |socket: &mut TcpStream| {
        send(socket, &text);
        if reset {
            // Closing with unread or lingering data resets the connection; zero linger does it always.
            rustix::net::sockopt::set_socket_linger(&*socket, Some(Duration::ZERO)).unwrap();
        }
        Then::Close
    })
}

#[test]
fn a_connection_lost_in_mid_stream_is_truncated() {
    for reset in [false, true] {
        let done = cut_after([HEAD, &token("a")].concat(), reset);
        assert_eq!(done.record.end, EndKind::Truncated);
        assert!(done.error.is_some() && done.record.error_hash.is_some());
    }
    check_end(&cut_after([HEAD, &token("a")].concat(), false), EndKind::Truncated, Some(200));
    check_end(&cut_after("HTTP/1.1 200".to_owned(), false), EndKind::Truncated, None);
    check_end(&cut_after(String::new(), false), EndKind::Truncated, None);
    // In the middle of an event.
    check_end(
        &cut_after([HEAD, &token("a"), "40\r\ndata: {\"ch"].concat(), false),
        EndKind::Truncated,
        Some(200),
    );
}

#[test]
fn a_stream_that_said_it_is_over_is_complete_without_its_end() {
    check_end(&cut_after([HEAD, &token("a"), &finish()].concat(), false), EndKind::Ok, Some(200));
    check_end(&cut_after([HEAD, &token("a"), &event("[DONE]")].concat(), false), EndKind::Ok, Some(200));
    // The last event lacks its empty line.
    let last = chunk("data: {\"choices\":[],\"usage\":{\"completion_tokens\":1}}\n");
    let done = answered(&[HEAD, &token("a"), &last, END].concat());
    check_end(&done, EndKind::Ok, Some(200));
    assert_eq!(done.record.output_usage, Some(1));
}

#[test]
fn a_stream_without_done_is_complete_when_http_says_so() {
    check_end(&answered(&stream(&[token("a"), token("b")])), EndKind::Ok, Some(200));
    let body = "data: {\"choices\":[{\"text\":\"a\"}]}\n\n";
    let counted = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    check_end(&answered(&counted), EndKind::Ok, Some(200));
    // Nothing tells the end of such a body from a cut.
    let until_close = format!("HTTP/1.1 200 OK\r\n\r\n{body}");
    check_end(&cut_after(until_close.clone(), false), EndKind::Truncated, Some(200));
    check_end(&cut_after(format!("{until_close}data: [DONE]\n\n"), false), EndKind::Ok, Some(200));
}

#[test]
fn an_end_that_never_comes_is_not_waited_for_after_done() {
    let done = answered(&[HEAD, &token("a"), &event("[DONE]")].concat());
    check_end(&done, EndKind::Ok, Some(200));
}

#[test]
fn a_garbled_event_is_malformed() {
    for data in ["{\"choices\":[{\"te", "garbage", "{\"choices\":\"\u{1}\"}"] {
        let done = answered(&stream(&[token("a"), event(data), token("b"), event("[DONE]")]));
        check_end(&done, EndKind::Malformed, Some(200));
        assert_eq!((kinds(&done).len(), done.record.error_len), (1, Some(data.len() as u32)));
    }
}

#[test]
fn an_error_inside_a_good_stream_is_an_error() {
    for data in [
        r#"{"error":{"message":"boom","code":500}}"#,
        r#"{"object":"error","message":"boom"}"#,
        r#"{"error":"boom"}"#,
    ] {
        let done = answered(&stream(&[token("a"), event(data), event("[DONE]")]));
        check_end(&done, EndKind::StreamError, Some(200));
        assert_eq!(done.error.as_deref(), Some("boom"));
    }
    let named = answered(&[HEAD, &chunk("event: error\ndata: boom\n\n"), END].concat());
    check_end(&named, EndKind::StreamError, Some(200));
}

#[test]
fn a_success_that_is_no_stream_is_told_apart() {
    let json = |body: &str| {
        format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    check_end(&answered(&json(r#"{"error":{"message":"boom"}}"#)), EndKind::StreamError, Some(200));
    check_end(&answered(&json(r#"{"choices":[{"text":"whole"}]}"#)), EndKind::Malformed, Some(200));
    check_end(&answered(&stream(&[finish(), event("[DONE]")])), EndKind::NoTokens, Some(200));
    check_end(&answered(&stream(&[])), EndKind::NoTokens, Some(200));
}

#[test]
fn what_is_not_http_is_a_protocol_error() {
    check_end(&answered("SSH-2.0-OpenSSH_9.6\r\n"), EndKind::Protocol, None);
    check_end(&answered(&[HEAD, &token("a"), "xyz\r\n"].concat()), EndKind::Protocol, Some(200));
    check_end(&answered("HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\n\r\n"), EndKind::Protocol, None);
}

#[test]
fn a_stall_ends_by_the_idle_timeout_and_keeps_what_came() {
    let server = Server::start(|_, _, socket| {
        send(socket, &[HEAD, &token("a")].concat());
        std::thread::sleep(Duration::from_secs(30));
        Then::Close
    });
    let (done, _) =
        run(&server.target(), 2, 2, &Limits { idle_timeout: Duration::from_millis(300), ..limits() });
    assert_eq!(done.len(), 2);
    for d in &done {
        check_end(d, EndKind::IdleTimeout, Some(200));
        assert_eq!(kinds(d), [ChunkKind::Content]);
        assert!(d.record.end_ns - d.record.chunks[0].t_ns >= 300_000_000);
    }
}

#[test]
fn a_trickle_ends_by_the_total_timeout() {
    let server = Server::start(|_, _, socket| {
        send(socket, HEAD);
        for _ in 0..1000 {
            send(socket, &token("a"));
            std::thread::sleep(Duration::from_millis(20));
        }
        Then::Close
    });
    let (done, _) =
        run(&server.target(), 1, 1, &Limits { total_timeout: Duration::from_millis(300), ..limits() });
    check_end(&done[0], EndKind::Timeout, Some(200));
    assert!(done[0].record.end_ns - done[0].record.dispatched_ns.unwrap() >= 300_000_000);
}

#[test]
fn several_tokens_a_chunk_and_empty_chunks_keep_their_counts() {
    let ids =
        |text: &str, ids: &str| event(&format!(r#"{{"choices":[{{"text":"{text}","token_ids":{ids}}}]}}"#));
    let done =
        answered(&stream(&[ids("abcd", "[1,2,3,4]"), ids("", "[]"), ids("e", "[5]"), event("[DONE]")]));
    check_end(&done, EndKind::Ok, Some(200));
    assert_eq!(done.record.output_usage, None);
    let tokens: Vec<_> = done.record.chunks.iter().map(|c| (c.kind, c.tokens)).collect();
    let expected = [
        (ChunkKind::Content, Some(4)),
        (ChunkKind::Empty, Some(0)),
        (ChunkKind::Content, Some(1)),
        (ChunkKind::Done, None),
    ];
    assert_eq!(tokens, expected);
    assert_eq!(done.record.output_tokens(), Some(5));
}

#[test]
fn an_early_role_chunk_is_no_token() {
    let role = event(r#"{"choices":[{"delta":{"role":"assistant","content":""},"finish_reason":null}]}"#);
    let done = one(move |socket| {
        send(socket, &[HEAD, &role].concat());
        std::thread::sleep(Duration::from_millis(50));
        send(socket, &[&token("a"), &event("[DONE]"), END].concat());
        Then::Keep
    });
    check_end(&done, EndKind::Ok, Some(200));
    assert_eq!(kinds(&done), [ChunkKind::Role, ChunkKind::Content, ChunkKind::Done]);
    let first_token = done.record.token_chunks().next().unwrap().t_ns;
    assert!(first_token - done.record.dispatched_ns.unwrap() >= 50_000_000);
}

#[test]
fn reasoning_is_told_from_the_answer() {
    let delta = |d: &str| event(&format!(r#"{{"choices":[{{"delta":{d}}}]}}"#));
    let events =
        [delta(r#"{"reasoning_content":"h"}"#), delta(r#"{"reasoning":"m"}"#), delta(r#"{"content":"a"}"#)];
    let done = answered(&stream(&events));
    assert_eq!(kinds(&done), [ChunkKind::Reasoning, ChunkKind::Reasoning, ChunkKind::Content]);
    assert_eq!((done.text.as_deref(), done.reasoning.as_deref()), (Some("a"), Some("hm")));
}

#[test]
fn line_ends_pings_and_split_characters_do_not_matter() {
    let body =
        ": ping\r\n\r\ndata: {\"choices\":[{\"text\":\"한글\"}]}\r\n\r\n: ping\r\n\r\ndata: [DONE]\r\n\r\n";
    let whole = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let done = one(move |socket| {
        for byte in whole.as_bytes() {
            std::io::Write::write_all(socket, &[*byte]).unwrap();
        }
        Then::Keep
    });
    check_end(&done, EndKind::Ok, Some(200));
    assert_eq!(
        (kinds(&done), done.text.as_deref()),
        (vec![ChunkKind::Content, ChunkKind::Done], Some("한글"))
    );
}

#[test]
fn nobody_listening_is_a_connect_failure_on_every_address() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let target = Target::parse(&format!("http://localhost:{free}")).unwrap();
    let (done, outcome) = run(&target, 2, 5, &limits());
    assert_eq!((done.len(), outcome.sent, outcome.retries), (5, 5, 0));
    for d in &done {
        check_end(d, EndKind::Connect, None);
        assert_eq!((d.record.connected_ns, d.record.written_ns), (None, None));
        assert!(d.record.dispatched_ns.is_some() && d.record.error_hash.is_some());
    }
}

#[test]
fn mixed_faults_leave_every_request_accounted_for() {
    let server = Server::start(|n, _, socket| {
        match n % 5 {
            0 => send(socket, "HTTP/1.1 429 Slow down\r\ncontent-length: 4\r\n\r\nslow"),
            1 => {
                send(socket, &[HEAD, &token("a")].concat());
                return Then::Close;
            }
            _ => send(socket, &good()),
        }
        Then::Keep
    });
    let (done, outcome) = run(&server.target(), 4, 100, &limits());
    let mut ids: Vec<_> = done.iter().map(|d| d.record.id).collect();
    ids.sort_unstable();
    assert_eq!(ids, (100..200).collect::<Vec<u64>>());
    let count = |end| done.iter().filter(|d| d.record.end == end).count();
    assert_eq!((count(EndKind::Http), count(EndKind::Truncated), count(EndKind::Ok)), (20, 20, 60));
    assert_eq!(outcome.retries, 0);
}

/// 200 requests on 16 streams, of which every 25th gets `fault` instead of its answer.
#[track_caller]
fn eight_of_200(end: EndKind, fault: impl Fn(&mut TcpStream) -> Then + Send + Sync + 'static) {
    let server = Server::start(move |n, _, socket| {
        if n % 25 == 24 {
            return fault(socket);
        }
        send(socket, &good());
        Then::Keep
    });
    let (done, outcome) = run(&server.target(), 16, 200, &limits());
    let count = |end| done.iter().filter(|d| d.record.end == end).count();
    assert_eq!((count(EndKind::Ok), count(end), outcome.sent), (192, 8, 200), "{end}");
    let failed: Vec<_> = done.iter().filter(|d| d.record.end == end).collect();
    assert!(failed.iter().all(|d| d.record.error_hash.is_some()), "{end}");
}

#[test]
fn every_fault_is_counted_by_its_cause_and_spoils_no_other_request() {
    eight_of_200(EndKind::Http, |s| {
        send(s, "HTTP/1.1 500 Internal Server Error\r\ncontent-length: 4\r\n\r\noops");
        Then::Keep
    });
    for reset in [false, true] {
        eight_of_200(EndKind::Truncated, move |s| {
            send(s, &[HEAD, &token("a")].concat());
            if reset {
                rustix::net::sockopt::set_socket_linger(&*s, Some(Duration::ZERO)).unwrap();
            }
            Then::Close
        });
    }
    eight_of_200(EndKind::Malformed, |s| {
        send(s, &stream(&[token("a"), event("{\"choices\":[{\"te"), finish(), event("[DONE]")]));
        Then::Keep
    });
    eight_of_200(EndKind::StreamError, |s| {
        send(s, &stream(&[token("a"), event(r#"{"error":{"message":"boom"}}"#), event("[DONE]")]));
        Then::Keep
    });
}

#[test]
fn two_stalls_of_100_end_by_themselves_and_the_others_do_not_wait() {
    let server = Server::start(|n, _, socket| {
        if n % 50 == 7 {
            send(socket, &[HEAD, &token("a")].concat());
            std::thread::sleep(Duration::from_secs(30));
            return Then::Close;
        }
        send(socket, &good());
        Then::Keep
    });
    let limits = Limits { idle_timeout: Duration::from_secs(1), ..limits() };
    let (done, _) = run(&server.target(), 16, 100, &limits);
    let count = |end| done.iter().filter(|d| d.record.end == end).count();
    assert_eq!((count(EndKind::Ok), count(EndKind::IdleTimeout)), (98, 2));
}

#[test]
fn lines_may_end_in_cr_lf() {
    let event = |data: &str| chunk(&format!("data: {data}\r\n\r\n"));
    let token = |text: &str| event(&format!(r#"{{"choices":[{{"text":"{text}"}}]}}"#));
    let done = answered(&stream(&[token("a"), token("b"), token("c"), event("[DONE]")]));
    check_end(&done, EndKind::Ok, Some(200));
    assert_eq!((kinds(&done).len(), done.text.as_deref()), (4, Some("abc")));
}

#[test]
fn comments_between_events_are_no_events() {
    let ping = chunk(": ping\n\n");
    let done =
        answered(&stream(&[ping.clone(), token("a"), ping.clone(), token("b"), ping, event("[DONE]")]));
    check_end(&done, EndKind::Ok, Some(200));
    assert_eq!(kinds(&done), [ChunkKind::Content, ChunkKind::Content, ChunkKind::Done]);
}

#[test]
fn a_character_in_two_writes_is_one_token_when_its_rest_came() {
    let whole = stream(&[token("a"), token("한"), event("[DONE]")]);
    let cut = whole.find('한').unwrap() + 1;
    let done = one(move |socket| {
        std::io::Write::write_all(socket, &whole.as_bytes()[..cut]).unwrap();
        std::thread::sleep(Duration::from_millis(60));
        std::io::Write::write_all(socket, &whole.as_bytes()[cut..]).unwrap();
        Then::Keep
    });
    check_end(&done, EndKind::Ok, Some(200));
    assert_eq!((kinds(&done).len(), done.text.as_deref()), (3, Some("a한")));
    let t: Vec<_> = done.record.token_chunks().map(|c| c.t_ns).collect();
    // The first may be read late, the second not early.
    assert!(t[1] - t[0] >= 20_000_000, "{t:?}");
}

#[test]
fn tokens_without_text_count_where_the_usage_counts_them() {
    let usage = event(r#"{"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":3}}"#);
    let silent = |events: &[String]| answered(&stream(events));
    let done = silent(&[token(""), token("a"), token(""), usage.clone(), event("[DONE]")]);
    let expected = [ChunkKind::Content, ChunkKind::Content, ChunkKind::Content];
    check_end(&done, EndKind::Ok, Some(200));
    assert_eq!(kinds(&done)[..3], expected);
    let none = silent(&[token(""), token(""), token(""), usage, event("[DONE]")]);
    check_end(&none, EndKind::Ok, Some(200));
    assert_eq!(kinds(&none)[..3], expected, "not even one has a text");
}

#[test]
fn several_tokens_a_chunk_without_counts_are_not_guessed() {
    let events = [token("one two three four"), token(""), token("five six seven eight"), event("[DONE]")];
    let done = answered(&stream(&events));
    check_end(&done, EndKind::Ok, Some(200));
    let tokens: Vec<_> = done.record.chunks.iter().map(|c| (c.kind, c.tokens)).collect();
    let expected = [ChunkKind::Content, ChunkKind::Empty, ChunkKind::Content, ChunkKind::Done];
    assert_eq!(tokens, expected.map(|kind| (kind, None)));
    assert_eq!(done.record.output_tokens(), None, "neither usage nor ids say how many");
}

#[test]
fn the_first_token_is_the_first_reasoning_token() {
    let reasoning = event(r#"{"choices":[{"delta":{"reasoning_content":"hm"}}]}"#);
    let done = one(move |socket| {
        send(socket, &[HEAD, &reasoning].concat());
        std::thread::sleep(Duration::from_millis(60));
        send(socket, &[&token("a"), &event("[DONE]"), END].concat());
        Then::Keep
    });
    check_end(&done, EndKind::Ok, Some(200));
    assert_eq!(kinds(&done), [ChunkKind::Reasoning, ChunkKind::Content, ChunkKind::Done]);
    let t: Vec<_> = done.record.token_chunks().map(|c| c.t_ns).collect();
    assert!(t.len() == 2 && t[1] - t[0] >= 20_000_000, "{t:?}");
}

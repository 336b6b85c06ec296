//! Connections: kept alive, shared between runs, replaced when stale; what goes over them.

#![allow(clippy::unwrap_used, reason = "a failed set-up must end the test")]

mod support;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use stopwatt_core::EndKind;
use stopwatt_load::{Client, LoadError, Pace, Path, RequestError, Stop, Target, get, post};
use support::*;

#[test]
fn connections_are_kept_alive_and_shared_between_runs() {
    let server = Server::start(|_, _, socket| {
        send(socket, &good());
        Then::Keep
    });
    let mut client = Client::new(&server.target()).unwrap();
    for run in 0..3 {
        let (done, outcome) =
            run_with(&mut client, Pace::Closed { concurrency: 3 }, 30, &limits(), &Stop::new());
        assert!(done.iter().all(|d| d.record.end == EndKind::Ok));
        let fresh = done.iter().filter(|d| d.record.connected_ns.is_some()).count();
        assert_eq!(
            (outcome.connections, fresh as u64, outcome.max_in_flight),
            (if run == 0 { 3 } else { 0 }, outcome.connections, 3)
        );
    }
    assert_eq!(server.accepted.load(Ordering::SeqCst), 3);
}

#[test]
fn a_name_with_an_address_that_refuses_still_works() {
    let server = Server::start(|_, _, socket| {
        send(socket, &good());
        Then::Keep
    });
    // Most systems give `localhost` the address `::1` too, where nobody listens.
    let target = Target::parse(&format!("http://localhost:{}", server.address.port())).unwrap();
    let (done, outcome) = run(&target, 20, 100, &limits());
    assert!(done.iter().all(|d| d.record.end == EndKind::Ok));
    assert_eq!((done.len(), outcome.max_in_flight, outcome.retries), (100, 20, 0));
}

#[test]
fn a_server_that_closes_after_each_answer_gets_new_connections() {
    let server = Server::start(|_, _, socket| {
        send(socket, &good().replacen("\r\n", "\r\nconnection: close\r\n", 1));
        Then::Close
    });
    let (done, outcome) = run(&server.target(), 2, 10, &limits());
    assert!(done.iter().all(|d| d.record.end == EndKind::Ok && d.record.connected_ns.is_some()));
    assert_eq!((outcome.connections, outcome.retries), (10, 0));
}

#[test]
fn a_stale_connection_is_replaced_once_and_a_fresh_one_never() {
    // Says keep-alive, reads the second request of a connection, and closes without a byte.
    let served = Mutex::new(std::collections::HashSet::new());
    let server = Server::start(move |_, _, socket| {
        if !served.lock().unwrap().insert(socket.peer_addr().unwrap()) {
            return Then::Close;
        }
        send(socket, &good());
        Then::Keep
    });
    let (done, outcome) = run(&server.target(), 1, 6, &limits());
    assert!(done.iter().all(|d| d.record.end == EndKind::Ok && d.record.connected_ns.is_some()), "{done:?}");
    assert_eq!((outcome.connections, outcome.retries), (6, 5));

    let server = Server::start(|_, _, _| Then::Close);
    let (done, outcome) = run(&server.target(), 1, 3, &limits());
    assert!(done.iter().all(|d| d.record.end == EndKind::Truncated));
    assert_eq!((outcome.connections, outcome.retries), (3, 0));
}

#[test]
fn a_connection_closed_between_runs_is_noticed() {
    let server = Server::start(|_, _, socket| {
        send(socket, &good());
        Then::Close
    });
    let mut client = Client::new(&server.target()).unwrap();
    for _ in 0..2 {
        let (done, _) = run_with(&mut client, Pace::Closed { concurrency: 1 }, 1, &limits(), &Stop::new());
        assert_eq!(done[0].record.end, EndKind::Ok);
        std::thread::sleep(Duration::from_millis(30));
    }
}

#[test]
fn requests_carry_body_id_length_and_given_headers() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let seen_by_server = Arc::clone(&seen);
    let server = Server::start(move |_, request, socket| {
        seen_by_server.lock().unwrap().push((request.head.clone(), request.body.clone()));
        send(socket, &good());
        Then::Keep
    });
    let target = Target::parse(&format!("http://{}/gw/v1", server.address)).unwrap();
    let target = target.with_api_key("sk-1").unwrap().with_header("x-team", "a b").unwrap();
    run(&target, 1, 1, &limits());
    let (head, body) = seen.lock().unwrap().remove(0);
    assert!(head.starts_with("POST /gw/v1/chat/completions HTTP/1.1\r\n"), "{head}");
    for line in [
        "authorization: Bearer sk-1",
        "x-team: a b",
        "x-request-id: 100",
        "content-length: 13",
        "content-type: application/json",
    ] {
        assert!(head.lines().any(|l| l == line), "{line} in {head}");
    }
    assert_eq!(body, br#"{"model":"m"}"#);
}

#[test]
fn a_prompt_larger_than_the_socket_buffers_arrives_whole() {
    let received = Arc::new(Mutex::new(0));
    let by_server = Arc::clone(&received);
    let server = Server::start(move |_, request, socket| {
        *by_server.lock().unwrap() += request.body.len();
        send(socket, &good());
        Then::Keep
    });
    let body = vec![b'x'; 20 << 20];
    let mut done = Vec::new();
    let mut jobs = |i: u64| {
        (i < 3).then(|| stopwatt_load::Job { body: body.clone(), path: Path::Completions, ..job(i) })
    };
    stopwatt_load::run(
        &server.target(),
        Pace::Closed { concurrency: 2 },
        &mut jobs,
        &limits(),
        &Stop::new(),
        stopwatt_core::Clock::start(),
        &mut |c| done.push(c),
    )
    .unwrap();
    assert!(done.iter().all(|d| d.record.end == EndKind::Ok && d.record.written_ns.is_some()));
    assert_eq!(*received.lock().unwrap(), 3 * body.len());
}

#[test]
fn an_answer_before_the_request_was_read_counts() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let over = Arc::new(AtomicBool::new(false));
    let done_flag = Arc::clone(&over);
    let server = std::thread::spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        send(&mut socket, "HTTP/1.1 413 Too large\r\ncontent-length: 3\r\nconnection: close\r\n\r\nbig");
        while !done_flag.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(5));
        }
    });
    let target = Target::parse(&format!("http://{address}")).unwrap();
    let mut done = Vec::new();
    let mut jobs = |i: u64| (i < 1).then(|| stopwatt_load::Job { body: vec![b'x'; 30 << 20], ..job(i) });
    let (pace, clock) = (Pace::Closed { concurrency: 1 }, stopwatt_core::Clock::start());
    stopwatt_load::run(&target, pace, &mut jobs, &limits(), &Stop::new(), clock, &mut |c| done.push(c))
        .unwrap();
    over.store(true, Ordering::SeqCst);
    server.join().unwrap();
    assert_eq!(
        (done[0].record.end, done[0].record.status, done[0].error.as_deref()),
        (EndKind::Http, Some(413), Some("big"))
    );
}

#[test]
fn single_requests_read_whole_answers() {
    let server = Server::start(|_, request, socket| {
        let line = request.head.lines().next().unwrap().to_owned();
        let body = format!("{line}|{}", String::from_utf8_lossy(&request.body));
        send(socket, &format!("HTTP/1.1 404 No\r\ntransfer-encoding: chunked\r\n\r\n{}{END}", chunk(&body)));
        Then::Close
    });
    let target = server.target();
    let got = get(&target, "/v1/models", Duration::from_secs(20)).unwrap();
    assert_eq!((got.status, got.body.as_slice()), (404, b"GET /v1/models HTTP/1.1|".as_slice()));
    let got = post(&target, "/tokenize", b"{}", Duration::from_secs(20)).unwrap();
    assert_eq!(got.body, b"POST /tokenize HTTP/1.1|{}");
}

#[test]
fn single_requests_fail_with_a_reason() {
    let timeout = Duration::from_secs(20);
    let at = |url: String| Target::parse(&url).unwrap();
    let silent = Server::start(|_, _, _| {
        std::thread::sleep(Duration::from_secs(30));
        Then::Close
    });
    let got = get(&silent.target(), "/", Duration::from_millis(100));
    assert!(matches!(got, Err(RequestError::Timeout)), "{got:?}");
    let got = get(&at(format!("https://{}", greets("HTTP/1.1 400 Bad\r\n\r\n"))), "/", timeout);
    assert!(matches!(got, Err(RequestError::Tls { .. })), "{got:?}");
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let got = get(&at(format!("http://{free}")), "/", timeout);
    assert!(matches!(got, Err(RequestError::Connect { .. })), "{got:?}");
    let odd = Server::start(|_, _, socket| {
        send(socket, "220 smtp ready\r\n");
        Then::Close
    });
    let got = get(&odd.target(), "/", timeout);
    assert!(matches!(got, Err(RequestError::Protocol { .. })), "{got:?}");
    let got = get(&at("http://no-such-host.invalid".to_owned()), "/", timeout);
    assert!(matches!(got, Err(RequestError::Resolve { .. })), "{got:?}");
    let got = Client::new(&at("http://no-such-host.invalid".to_owned()));
    assert!(matches!(got, Err(LoadError::Resolve { .. })), "{got:?}");
}

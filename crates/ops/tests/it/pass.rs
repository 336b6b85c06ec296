//! What goes through, and who may ask.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use stopwatt_engine::exact::config::RoleChunk;
use stopwatt_ops::exchange::End;
use stopwatt_ops::proxy::{Settings, bind};

use crate::support::{CHAT, Proxy, Raw, engine, exchange, nobody, spec, wait_for};

#[test]
fn a_stream_arrives_as_the_engine_sent_it() {
    let engine = engine(|_| {});
    let proxy = Proxy::start(&[spec(&engine)], |_| {});
    let headers = "x-request-id: 5\r\n";
    let direct = exchange(engine.addr(), "POST", "/v1/chat/completions", headers, CHAT);
    let through = proxy.post("/v1/chat/completions", headers, CHAT);
    assert_eq!((through.status, through.whole, through.is_done()), (200, true, true));
    // Only the id and the time of an answer differ.
    let strip = |body: &str| -> Vec<String> {
        let cut = |l: &str| l.split_once("\"choices\"").map_or(l, |(_, rest)| rest).to_owned();
        body.lines().map(cut).collect()
    };
    assert_eq!(strip(&through.body), strip(&direct.body));
    assert!(through.header("content-type").unwrap().starts_with("text/event-stream"));
    assert_eq!(through.header("x-stopwatt-upstream"), Some(engine.addr().to_string().as_str()));
    assert_eq!(through.header("x-stopwatt-attempts"), Some("1"));
    let seen = proxy.recorded(1).remove(0);
    assert_eq!((seen.end, seen.tokens, seen.model.as_deref()), (End::Answered, 20, Some("stopwatt-exact")));
    // The engine is never early, but any one chunk can be late: only times since the request are bounded.
    let since = |stamp: Option<i64>| stamp.unwrap() - seen.received;
    assert!(since(seen.first_token) >= 5_000_000 && since(seen.last_token) >= 24_000_000, "{seen:?}");
    let page = proxy.get("/metrics").body;
    assert!(page.contains("stopwatt_ttft_seconds_count{"), "{page}");
}

#[test]
fn what_is_no_stream_arrives_whole_and_with_its_status() {
    let engine = engine(|_| {});
    let proxy = Proxy::start(&[spec(&engine)], |_| {});
    let body = r#"{"model":"stopwatt-exact","prompt":"hi","max_tokens":3}"#;
    let answer = proxy.post("/v1/completions", "", body);
    let value: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!(value["usage"]["completion_tokens"], 3);
    assert!(proxy.get("/v1/models").body.contains("stopwatt-exact"));
    let wrong = proxy.post("/v1/completions", "", r#"{"model":"no such","prompt":"hi"}"#);
    assert_eq!(wrong.status, 404, "the engine's own answer: {}", wrong.body);
    assert!(wrong.body.contains("model"));
    assert_eq!(proxy.recorded(3)[2].end, End::Answered, "a wrong request is not the upstream's failure");
}

#[test]
fn a_role_that_comes_at_once_is_held_back_and_not_lost() {
    let engine = engine(|c| {
        c.shape.role_chunk = RoleChunk::AtOnce;
        c.ttft_s = 0.2;
    });
    let proxy = Proxy::start(&[spec(&engine)], |_| {});
    let mut stream = TcpStream::connect(proxy.addr).unwrap();
    let head = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-length: {}\r\n\r\n{CHAT}",
        CHAT.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    let mut buffer = [0; 16384];
    assert!(stream.read(&mut buffer).is_err(), "nothing may come before the first token");
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let mut text = String::new();
    while !text.contains("[DONE]") {
        let n = stream.read(&mut buffer).unwrap();
        text.push_str(std::str::from_utf8(&buffer[..n]).unwrap());
    }
    assert_eq!(text.matches("\"role\":\"assistant\"").count(), 1);
}

#[test]
fn only_this_machine_asks_without_a_token_and_only_its_holder_with_one() {
    let engine = engine(|_| {});
    let proxy = Proxy::start(&[spec(&engine)], |_| {});
    let foreign = "origin: http://example.org\r\n";
    assert_eq!(proxy.post("/v1/chat/completions", foreign, CHAT).status, 403);
    let rebound = {
        let mut stream = TcpStream::connect(proxy.addr).unwrap();
        stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: example.org\r\nconnection: close\r\n\r\n").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text
    };
    assert!(rebound.starts_with("HTTP/1.1 403"), "{rebound}");
    assert_eq!(proxy.get("/sleep").status, 404);

    let token = Some(stopwatt_engine::Token::new("secret"));
    let guarded = Proxy::start(&[spec(&engine)], |s| s.token = token);
    assert_eq!(guarded.chat().status, 401);
    assert_eq!(guarded.get("/health").status, 200);
    let with = guarded.post("/v1/chat/completions", "authorization: Bearer secret\r\n", CHAT);
    assert_eq!(with.status, 200);

    let open = Settings { listen: "0.0.0.0:0".parse().unwrap(), ..Settings::default() };
    assert!(bind(open).unwrap_err().hint().is_some());
}

#[test]
fn no_secret_reaches_an_upstream_that_is_not_to_have_it() {
    let raw = || {
        Raw::start(Some("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}"))
    };
    let (keyed, bare) = (raw(), raw());
    let proxy = Proxy::start(
        &[format!("{},variant=a,key-env=KEY", keyed.spec()), format!("{},variant=b", bare.spec())],
        |_| {},
    );
    let headers = |n: u32| {
        format!("authorization: Bearer client-key\r\ncookie: c=client-key\r\nx-session-id: s{n}\r\n")
    };
    for n in 0..12 {
        assert_eq!(proxy.post("/v1/completions", &headers(n), "{}").status, 200);
    }
    let (keyed, bare) = (keyed.requests.lock().unwrap().concat(), bare.requests.lock().unwrap().concat());
    assert!(!keyed.is_empty() && !bare.is_empty());
    assert!(keyed.contains("Bearer own-key") && !keyed.contains("client-key"), "{keyed}");
    assert!(!bare.contains("own-key") && !bare.contains("client-key"), "{bare}");
}

#[test]
fn a_session_keeps_its_variant() {
    let (a, b) = (engine(|_| {}), engine(|_| {}));
    let proxy = Proxy::start(
        &[format!("{},variant=a,weight=3", spec(&a)), format!("{},variant=b", spec(&b))],
        |_| {},
    );
    let variant = |session: u32| {
        let answer = proxy.post("/v1/chat/completions", &format!("x-session-id: {session}\r\n"), CHAT);
        answer.header("x-stopwatt-variant").unwrap().to_owned()
    };
    let first: Vec<_> = (0..16).map(variant).collect();
    assert_eq!((0..16).map(variant).collect::<Vec<_>>(), first);
    assert!(first.iter().any(|v| v == "a") && first.iter().any(|v| v == "b"), "{first:?}");
    let page = proxy.get("/metrics").body;
    assert!(
        page.contains("variant=\"a\",end=\"answered\"") && page.contains("variant=\"b\",end=\"answered\"")
    );
}

#[test]
fn a_refused_upstream_costs_nobody_a_request() {
    let engine = engine(|_| {});
    let proxy = Proxy::start(&[nobody(), spec(&engine)], |_| {});
    for _ in 0..10 {
        assert!(proxy.chat().is_done());
    }
    assert!(proxy.fleet.upstreams()[0].ejected().is_some());
    let alone = Proxy::start(&[nobody()], |_| {});
    let answer = alone.chat();
    assert_eq!(answer.status, 502);
    assert!(answer.body.contains("connect_refused"), "{}", answer.body);
}

#[test]
fn a_stream_that_goes_on_is_let_end_and_nobody_else_is_let_in() {
    let engine = engine(|c| c.itl_s = 0.02);
    let mut proxy = Proxy::start(&[spec(&engine)], |_| {});
    let addr = proxy.addr;
    let going = std::thread::spawn(move || exchange(addr, "POST", "/v1/chat/completions", "", CHAT));
    std::thread::sleep(Duration::from_millis(100));
    proxy.join();
    let answer = going.join().unwrap();
    assert!(answer.is_done() && answer.whole);
    assert!(TcpStream::connect(addr).is_err());
}

#[test]
fn a_stream_that_does_not_end_in_time_is_told_why() {
    let engine = engine(|c| {
        c.itl_s = 0.02;
        c.default_output = 1000;
    });
    let mut proxy = Proxy::start(&[spec(&engine)], |s| s.drain = Duration::from_millis(100));
    let addr = proxy.addr;
    let going = std::thread::spawn(move || exchange(addr, "POST", "/v1/chat/completions", "", CHAT));
    std::thread::sleep(Duration::from_millis(200));
    proxy.join();
    let answer = going.join().unwrap();
    assert_eq!(
        (answer.error_code().as_deref(), answer.is_done(), answer.whole),
        (Some("draining"), false, true)
    );
}

#[test]
fn tokens_and_cost_are_told_of_streams_and_of_whole_answers() {
    let engine = engine(|_| {});
    let proxy = Proxy::start(&[format!("{},gpu-hour=3600", spec(&engine))], |_| {});
    proxy.chat();
    let whole = CHAT.replace("\"stream\":true,\"stream_options\":{\"include_usage\":true},", "");
    assert_eq!(proxy.post("/v1/chat/completions", "x-stopwatt-prompt-version: v2\r\n", &whole).status, 200);
    let seen = proxy.recorded(2);
    for x in &seen {
        assert_eq!((x.tokens, x.prompt_tokens.is_some(), x.finish.is_some()), (20, true, true), "{x:?}");
        let took = (x.ended - x.received) as f64 * 1e-9;
        // A dollar a second, alone at the engine: the cost is the time at it.
        assert!(x.cost_dollars.unwrap() > 0.02 && x.cost_dollars.unwrap() <= took + 0.005, "{x:?}");
        assert!(x.traced.is_none() && x.session.is_none() && x.user.is_none());
    }
    assert_eq!(seen[0].template, seen[1].template);
    assert_eq!((&seen[0].prompt_version, seen[1].prompt_version.as_deref()), (&None, Some("v2")));
    let page = proxy.get("/metrics").body;
    assert!(
        page.lines()
            .any(|l| l.starts_with("stopwatt_output_tokens_total{")
                && l.ends_with("model=\"stopwatt-exact\"} 40")),
        "{page}"
    );
}

#[test]
fn a_page_of_metrics_in_the_making_holds_up_no_request() {
    let engine = engine(|_| {});
    let proxy = Proxy::start(&[spec(&engine)], |_| {});
    let making = Arc::new(AtomicUsize::new(0));
    let (go, gone) = std::sync::mpsc::channel::<()>();
    let gone = Mutex::new(gone);
    let now = Arc::clone(&making);
    proxy.telemetry.add(Box::new(move |_, _| {
        now.fetch_add(1, SeqCst);
        // Until the test has had its answer.
        let _ = gone.lock().unwrap().recv_timeout(Duration::from_secs(20));
        now.fetch_sub(1, SeqCst);
    }));
    let addr = proxy.addr;
    let pages: Vec<_> =
        (0..4).map(|_| std::thread::spawn(move || exchange(addr, "GET", "/metrics", "", ""))).collect();
    wait_for("a page in the making", || making.load(SeqCst) == 1);
    assert!(proxy.chat().is_done());
    assert_eq!(making.load(SeqCst), 1, "the answer came while the page was made");
    drop(go);
    for page in pages {
        let page = page.join().unwrap();
        assert!(page.status == 200 && page.body.contains("stopwatt_requests_total"), "{}", page.head);
    }
}

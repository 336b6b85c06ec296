//! The live page without a browser: who gets what.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use stopwatt_engine::Token;
use stopwatt_ops::page::{Hub, Sources};
use stopwatt_ops::rules;
use stopwatt_ops::store::{Reader, Settings, Store};

use crate::support::{self, CHAT, Proxy, wait_for};

fn watched(token: Option<&str>) -> (Proxy, Hub) {
    let engine = support::engine(|_| {});
    // The engine ends with its handle, and the page does not need it.
    kept(&support::spec(&engine), token, None)
}

fn kept(spec: &str, token: Option<&str>, store: Option<&Path>) -> (Proxy, Hub) {
    let mut hub = None;
    let proxy = Proxy::with_page(&[spec.to_owned()], |settings, fleet, telemetry| {
        settings.token = token.map(Token::new);
        let (scraped, of) = (Arc::clone(telemetry), Arc::clone(fleet));
        let started = Hub::start(Sources {
            fleet: Arc::clone(fleet),
            scrape: Box::new(move || scraped.render(&of)),
            rules: rules::Settings::default().alerts().unwrap(),
            store: store.map(|d| (Store::open(Settings::new(d.to_owned())).unwrap(), d.to_owned())),
        })
        .unwrap();
        settings.page = Some(started.page());
        hub = Some(started);
    });
    (proxy, hub.unwrap())
}

#[test]
fn files_come_without_the_token_and_data_does_not() {
    let (proxy, _hub) = watched(Some("secret"));
    for path in ["/", "/page/app.js", "/page/texts.json"] {
        let answer = proxy.get(path);
        assert_eq!(answer.status, 200, "{path}");
        assert!(answer.header("content-security-policy").unwrap().contains("default-src 'none'"));
        assert!(!answer.body.contains("secret"));
    }
    for path in ["/page/live", "/page/history?seconds=900", "/metrics", "/status"] {
        assert_eq!(proxy.get(path).status, 401, "{path}");
    }
    assert_eq!(proxy.post("/", "", "").status, 401, "a file is only got");
    let with = "authorization: Bearer secret\r\n";
    let history = support::exchange(proxy.addr, "GET", "/page/history?seconds=900", with, "");
    assert_eq!(history.status, 400, "there is no store");
}

#[test]
fn a_foreign_page_gets_nothing() {
    let (proxy, _hub) = watched(None);
    for path in ["/", "/page/live"] {
        let answer = support::exchange(proxy.addr, "GET", path, "origin: http://evil.example\r\n", "");
        assert_eq!(answer.status, 403, "{path}");
    }
}

/// Reads the stream until it holds `until`.
fn stream(proxy: &Proxy, until: &str) -> (TcpStream, String) {
    let mut socket = TcpStream::connect(proxy.addr).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    socket.write_all(b"GET /page/live?after=0 HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
    let (mut text, mut buffer) = (String::new(), [0; 4096]);
    while !text.contains(until) {
        let n = socket.read(&mut buffer).unwrap();
        assert!(n > 0, "the stream ended");
        text.push_str(&String::from_utf8_lossy(&buffer[..n]));
    }
    (socket, text)
}

#[test]
fn frames_come_and_an_open_page_holds_up_no_shutdown() {
    let (mut proxy, _hub) = watched(None);
    let (mut socket, text) = stream(&proxy, "\"frame\":");
    assert!(text.contains("event: hello") && text.contains("\"keys\":[\"requests_per_s\""), "{text}");
    let began = stopwatt_core::clock::monotonic_raw();
    proxy.join();
    assert!(stopwatt_core::clock::monotonic_raw() - began < 5_000_000_000, "drain is 30 s");
    let mut rest = Vec::new();
    socket.read_to_end(&mut rest).unwrap();
    assert!(rest.ends_with(b"0\r\n\r\n"), "the stream has an end");
}

#[test]
fn what_ends_while_the_proxy_drains_is_stored() {
    let dir = tempfile::tempdir().unwrap();
    let engine = support::engine(|c| c.itl_s = 0.05);
    let (mut proxy, hub) = kept(&support::spec(&engine), None, Some(dir.path()));
    let addr = proxy.addr;
    let answer =
        std::thread::spawn(move || support::exchange(addr, "POST", "/v1/chat/completions", "", CHAT));
    wait_for("the request", || proxy.fleet.upstreams()[0].in_flight() == 1);
    proxy.join();
    assert!(answer.join().unwrap().is_done());
    drop(hub);
    let mut rows = Vec::new();
    Reader::open(dir.path()).unwrap().requests(0, i64::MAX, |row| rows.push(row)).unwrap();
    assert_eq!(rows.len(), 1);
    assert!(rows[0].tokens > 0, "{:?}", rows[0]);
}

#[test]
fn an_upstream_that_dies_is_an_incident() {
    let (proxy, hub) = watched(None);
    let (sender, events) = std::sync::mpsc::channel();
    proxy.fleet.tell(sender);
    let page = hub.page();
    std::thread::spawn(move || events.iter().for_each(|event| page.event(event)));
    // Its engine has ended already, so that the monitor finds it dead.
    wait_for("the ejection", || proxy.fleet.upstreams()[0].ejected().is_some());
    wait_for("the incident", || {
        let (_, text) = stream(&proxy, "\"state\":");
        text.contains("\"kind\":\"upstream\"") && text.contains("\"kind\":\"service\"")
    });
}

//! A proxy in a thread, engines behind it, and a client that reads to the end of a connection.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use stopwatt_core::clock::monotonic_raw;
use stopwatt_engine::ExactConfig;
use stopwatt_engine::exact::{self, ExactHandle};
use stopwatt_ops::exchange::Exchange;
use stopwatt_ops::fleet::{self, Fleet};
use stopwatt_ops::health::{self, Monitor, Pace};
use stopwatt_ops::proxy::{self, Deadlines, Running};
use stopwatt_ops::telemetry::Telemetry;
use stopwatt_ops::upstream::Spec;

/// An engine that answers 20 tokens in about 30 ms.
pub(crate) fn engine(change: impl FnOnce(&mut ExactConfig)) -> ExactHandle {
    let mut config =
        ExactConfig { ttft_s: 0.005, itl_s: 0.001, default_output: 20, ..ExactConfig::default() };
    change(&mut config);
    exact::spawn(config).unwrap()
}

/// Deadlines that a test can wait for.
pub(crate) fn short() -> Deadlines {
    Deadlines {
        connect: Duration::from_millis(500),
        first_token: Duration::from_secs(5),
        between_chunks: Duration::from_millis(300),
        total: Duration::from_secs(20),
    }
}

pub(crate) struct Proxy {
    pub(crate) addr: SocketAddr,
    pub(crate) fleet: Arc<Fleet>,
    pub(crate) telemetry: Arc<Telemetry>,
    pub(crate) seen: Arc<Mutex<Vec<Exchange>>>,
    pub(crate) running: Running,
    thread: Option<JoinHandle<()>>,
    _monitor: Option<Monitor>,
}

impl Proxy {
    /// A proxy that does not look at the health of its upstreams.
    pub(crate) fn start(specs: &[String], change: impl FnOnce(&mut proxy::Settings)) -> Self {
        Self::start_with(specs, Vec::new(), |settings, _, _| change(settings), None)
    }

    /// One that tells others of what has ended.
    pub(crate) fn observed(
        specs: &[String],
        observers: Vec<proxy::Observer>,
        change: impl FnOnce(&mut proxy::Settings),
    ) -> Self {
        Self::start_with(specs, observers, |settings, _, _| change(settings), None)
    }

    /// One that does.
    pub(crate) fn watching(specs: &[String], change: impl FnOnce(&mut proxy::Settings)) -> Self {
        Self::start_with(
            specs,
            Vec::new(),
            |settings, _, _| change(settings),
            Some(health::Settings::default()),
        )
    }

    /// One before these.
    pub(crate) fn of_specs(specs: Vec<Spec>) -> Self {
        Self::with_specs(specs, Vec::new(), |_, _, _| {}, None)
    }

    /// One whose settings need to know its upstreams and counters.
    pub(crate) fn with_page(
        specs: &[String],
        change: impl FnOnce(&mut proxy::Settings, &Arc<Fleet>, &Arc<Telemetry>),
    ) -> Self {
        Self::start_with(specs, Vec::new(), change, Some(health::Settings::default()))
    }

    fn start_with(
        specs: &[String],
        observers: Vec<proxy::Observer>,
        change: impl FnOnce(&mut proxy::Settings, &Arc<Fleet>, &Arc<Telemetry>),
        health: Option<health::Settings>,
    ) -> Self {
        let specs = specs.iter().map(|s| Spec::parse(s).unwrap()).collect();
        Self::with_specs(specs, observers, change, health)
    }

    fn with_specs(
        specs: Vec<Spec>,
        mut observers: Vec<proxy::Observer>,
        change: impl FnOnce(&mut proxy::Settings, &Arc<Fleet>, &Arc<Telemetry>),
        health: Option<health::Settings>,
    ) -> Self {
        let key = |name: &str| (name == "KEY").then(|| "own-key".to_owned());
        let fleet = Arc::new(Fleet::new(specs, fleet::Settings::default(), key).unwrap());
        let telemetry = Arc::new(Telemetry::new(fleet.upstreams().len()));
        let mut settings = proxy::Settings { deadlines: short(), ..proxy::Settings::default() };
        change(&mut settings, &fleet, &telemetry);
        let page = settings.page.as_ref().map(|p| p.observer(Arc::clone(&fleet)));
        let listening = proxy::bind(settings).unwrap();
        let addr = listening.addr;
        let running = Running::new();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (f, t, r, s) = (Arc::clone(&fleet), Arc::clone(&telemetry), running.clone(), Arc::clone(&seen));
        let thread = std::thread::spawn(move || {
            observers.push(Box::new(move |x| s.lock().unwrap().push(x.clone())));
            observers.extend(page);
            listening.run(f, t, observers, &r).unwrap();
        });
        let monitor = health.map(|h| Monitor::start(&fleet, &telemetry, h, Pace::default()).unwrap());
        Self { addr, fleet, telemetry, seen, running, thread: Some(thread), _monitor: monitor }
    }

    pub(crate) fn chat(&self) -> Answer {
        self.post("/v1/chat/completions", "", CHAT)
    }

    pub(crate) fn post(&self, path: &str, headers: &str, body: &str) -> Answer {
        exchange(self.addr, "POST", path, headers, body)
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        exchange(self.addr, "GET", path, "", "")
    }

    /// Waits for so many requests to be recorded.
    pub(crate) fn recorded(&self, n: usize) -> Vec<Exchange> {
        wait_for("requests to be recorded", || self.seen.lock().unwrap().len() >= n);
        self.seen.lock().unwrap().clone()
    }

    pub(crate) fn join(&mut self) {
        self.running.stop();
        self.thread.take().unwrap().join().unwrap();
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if self.thread.is_some() {
            self.join();
        }
    }
}

/// A chat that streams.
pub(crate) const CHAT: &str = r#"{"model":"stopwatt-exact","stream":true,"stream_options":{"include_usage":true},"messages":[{"role":"user","content":"hi"}]}"#;

pub(crate) fn spec(engine: &ExactHandle) -> String {
    format!("http://{}", engine.addr())
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
    /// The chunked body ended as it should.
    pub(crate) whole: bool,
    pub(crate) took: Duration,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|l| {
            let (key, value) = l.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    pub(crate) fn is_done(&self) -> bool {
        self.body.trim_end().ends_with("data: [DONE]")
    }

    pub(crate) fn error_code(&self) -> Option<String> {
        let at = self.body.find("event: error\n")?;
        let data = self.body[at..].lines().nth(1)?.strip_prefix("data: ")?;
        let value: serde_json::Value = serde_json::from_str(data).unwrap();
        Some(value["error"]["code"].as_str().unwrap().to_owned())
    }
}

/// Sends a request and reads to the end of the connection.
pub(crate) fn exchange(addr: SocketAddr, method: &str, path: &str, headers: &str, body: &str) -> Answer {
    let began = monotonic_raw();
    let mut stream = TcpStream::connect(addr).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let length = body.len();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {length}\r\n{headers}\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(body.as_bytes()).unwrap();
    let mut bytes = Vec::new();
    // A connection that is cut is an answer as well.
    let _ = stream.read_to_end(&mut bytes);
    let took = Duration::from_nanos((monotonic_raw() - began).unsigned_abs());
    let at = bytes.windows(4).position(|w| w == b"\r\n\r\n").map_or(bytes.len(), |p| p + 4);
    let head = String::from_utf8(bytes[..at].to_vec()).unwrap();
    let status = head.split(' ').nth(1).map_or(0, |s| s.parse().unwrap());
    let chunked = head.to_ascii_lowercase().contains("transfer-encoding: chunked");
    let (body, whole) = if chunked { unchunk(&bytes[at..]) } else { (bytes[at..].to_vec(), true) };
    Answer { status, head, body: String::from_utf8(body).unwrap(), whole, took }
}

fn unchunk(mut rest: &[u8]) -> (Vec<u8>, bool) {
    let mut body = Vec::new();
    loop {
        let Some(end) = rest.windows(2).position(|w| w == b"\r\n") else { return (body, false) };
        let size = usize::from_str_radix(std::str::from_utf8(&rest[..end]).unwrap(), 16).unwrap();
        if size == 0 {
            return (body, true);
        }
        let Some(data) = rest.get(end + 2..end + 2 + size) else { return (body, false) };
        body.extend_from_slice(data);
        rest = rest.get(end + 4 + size..).unwrap_or_default();
    }
}

/// An upstream that answers each connection with fixed bytes and closes, or holds it open without an answer.
pub(crate) struct Raw {
    pub(crate) addr: SocketAddr,
    pub(crate) requests: Arc<Mutex<Vec<String>>>,
    then: Arc<Mutex<Option<&'static str>>>,
}

impl Raw {
    pub(crate) fn start(answer: Option<&'static str>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&requests);
        let then = Arc::new(Mutex::new(None));
        let later: Arc<Mutex<Option<&'static str>>> = Arc::clone(&then);
        std::thread::spawn(move || {
            let mut held = Vec::new();
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let Some(answer) = answer else {
                    held.push(stream);
                    continue;
                };
                let mut buffer = vec![0; 65536];
                let n = stream.read(&mut buffer).unwrap_or(0);
                kept.lock().unwrap().push(String::from_utf8_lossy(&buffer[..n]).into_owned());
                let _ = stream.write_all(answer.as_bytes());
                if let Some(rest) = *later.lock().unwrap() {
                    std::thread::sleep(Duration::from_millis(100));
                    let _ = stream.write_all(rest.as_bytes());
                }
            }
        });
        Self { addr, requests, then }
    }

    /// What follows its answer a moment later.
    pub(crate) fn then(&self, rest: &'static str) {
        *self.then.lock().unwrap() = Some(rest);
    }

    pub(crate) fn spec(&self) -> String {
        format!("http://{}", self.addr)
    }
}

/// An address that refuses connections.
pub(crate) fn nobody() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

/// Waits for `condition`, at most 20 seconds.
#[track_caller]
pub(crate) fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
    for _ in 0..2000 {
        if condition() {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("waited for {what}");
}

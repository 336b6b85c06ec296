//! A server that does what a test says, and a client run that collects every record.

#![allow(clippy::unwrap_used, reason = "a failed set-up must end the test")]
#![allow(dead_code, reason = "each test file uses a part")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use stopwatt_core::{ChunkKind, Clock, Phase};
use stopwatt_load::{Client, Completed, Job, Limits, Outcome, Pace, Path, Stop, Target};

/// A request as the server read it.
pub(crate) struct Request {
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

/// Whether the server goes on with a connection.
pub(crate) enum Then {
    Keep,
    Close,
}

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) accepted: Arc<AtomicUsize>,
}

impl Server {
    /// Calls `script` with the number of the request (over all connections) and the socket.
    pub(crate) fn start(
        script: impl Fn(usize, &Request, &mut TcpStream) -> Then + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let accepted = Arc::new(AtomicUsize::new(0));
        let (count, script, number) =
            (Arc::clone(&accepted), Arc::new(script), Arc::new(AtomicUsize::new(0)));
        std::thread::spawn(move || {
            for socket in listener.incoming() {
                let Ok(mut socket) = socket else {
                    // Out of descriptors: the connection waits in the backlog.
                    std::thread::sleep(Duration::from_millis(10));
                    continue;
                };
                count.fetch_add(1, Ordering::SeqCst);
                let (script, number) = (Arc::clone(&script), Arc::clone(&number));
                std::thread::spawn(move || {
                    socket.set_nodelay(true).unwrap();
                    while let Some(request) = read_request(&mut socket) {
                        if let Then::Close =
                            script(number.fetch_add(1, Ordering::SeqCst), &request, &mut socket)
                        {
                            break;
                        }
                    }
                });
            }
        });
        Self { address, accepted }
    }

    pub(crate) fn target(&self) -> Target {
        Target::parse(&format!("http://{}", self.address)).unwrap()
    }
}

/// A server that sends `text` to whoever connects and closes.
pub(crate) fn greets(text: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || listener.incoming().for_each(|socket| send(&mut socket.unwrap(), text)));
    address
}

pub(crate) fn read_request(socket: &mut impl Read) -> Option<Request> {
    let mut bytes = Vec::new();
    let mut byte = [0];
    while !bytes.ends_with(b"\r\n\r\n") {
        match socket.read(&mut byte) {
            Ok(1) => bytes.push(byte[0]),
            _ => return None,
        }
    }
    let head = String::from_utf8(bytes).unwrap();
    let length =
        head.lines().find_map(|l| l.strip_prefix("content-length: ")).map_or(0, |l| l.parse().unwrap());
    let mut body = vec![0; length];
    socket.read_exact(&mut body).ok()?;
    Some(Request { head, body })
}

pub(crate) const HEAD: &str =
    "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
pub(crate) const END: &str = "0\r\n\r\n";

/// Bytes as one chunk of a chunked body.
pub(crate) fn chunk(data: &str) -> String {
    format!("{:x}\r\n{data}\r\n", data.len())
}

/// An event as one chunk.
pub(crate) fn event(data: &str) -> String {
    chunk(&format!("data: {data}\n\n"))
}

pub(crate) fn token(text: &str) -> String {
    event(&format!(r#"{{"choices":[{{"index":0,"delta":{{"content":"{text}"}},"finish_reason":null}}]}}"#))
}

pub(crate) fn finish() -> String {
    event(r#"{"choices":[{"index":0,"delta":{},"finish_reason":"length"}]}"#)
}

pub(crate) fn usage(prompt: u32, completion: u32) -> String {
    event(&format!(
        r#"{{"choices":[],"usage":{{"prompt_tokens":{prompt},"completion_tokens":{completion}}}}}"#
    ))
}

/// A whole good answer of two tokens.
pub(crate) fn good() -> String {
    [HEAD, &token("a"), &token("b"), &finish(), &usage(3, 2), &event("[DONE]"), END].concat()
}

pub(crate) fn send(socket: &mut impl Write, text: &str) {
    // The client may have left: that is its right.
    let _ = socket.write_all(text.as_bytes());
}

pub(crate) fn job(index: u64) -> Job {
    Job {
        id: 100 + index,
        point: 1,
        trial: 2,
        phase: Phase::Measure,
        session: None,
        turn: None,
        input_asked: 3,
        output_asked: 2,
        path: Path::Chat,
        body: br#"{"model":"m"}"#.to_vec(),
    }
}

/// Limits long enough for a loaded machine.
pub(crate) fn limits() -> Limits {
    Limits {
        connect_timeout: Duration::from_secs(20),
        idle_timeout: Duration::from_secs(20),
        total_timeout: Duration::from_secs(40),
        keep_text: true,
        ..Limits::default()
    }
}

/// Sends `n` jobs and collects what comes back.
pub(crate) fn run_with(
    client: &mut Client,
    pace: Pace,
    n: u64,
    limits: &Limits,
    stop: &Stop,
) -> (Vec<Completed>, Outcome) {
    let done = Mutex::new(Vec::new());
    let outcome = client
        .run(pace, &mut |i| (i < n).then(|| job(i)), limits, stop, Clock::start(), &mut |c| {
            done.lock().unwrap().push(c)
        })
        .unwrap();
    (done.into_inner().unwrap(), outcome)
}

pub(crate) fn run(target: &Target, concurrency: usize, n: u64, limits: &Limits) -> (Vec<Completed>, Outcome) {
    run_with(&mut Client::new(target).unwrap(), Pace::Closed { concurrency }, n, limits, &Stop::new())
}

/// One request against one scripted answer.
pub(crate) fn one(answer: impl Fn(&mut TcpStream) -> Then + Send + Sync + 'static) -> Completed {
    let server = Server::start(move |_, _, socket| answer(socket));
    let (mut done, outcome) = run(&server.target(), 1, 1, &limits());
    assert_eq!((done.len(), outcome.sent, outcome.planned), (1, 1, 1));
    done.remove(0)
}

/// One request against one answer of fixed bytes on a connection that stays.
pub(crate) fn answered(text: &str) -> Completed {
    let text = text.to_owned();
    one(move |socket| {
        send(socket, &text);
        Then::Keep
    })
}

pub(crate) fn kinds(c: &Completed) -> Vec<ChunkKind> {
    c.record.chunks.iter().map(|c| c.kind).collect()
}

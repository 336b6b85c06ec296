//! The least that a streaming client can cost: one thread, one event loop, HTTP, SSE and JSON of every event decoded,
//! one stamp kept for each token, nothing else. What `benchmarks/client-speed` holds every client against.
//!
//! ```text
//! floor http://127.0.0.1:8000 --streams 64 --requests 2000 --tokens 128 --model NAME
//! ```

#![allow(clippy::print_stdout, reason = "the result of the example")]

use std::collections::HashMap;
use std::error::Error;
use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use serde::Deserialize;
use stopwatt_core::Nanos;
use stopwatt_core::clock::monotonic_raw;
use stopwatt_wire::http1::{HttpError, Part, ResponseDecoder};
use stopwatt_wire::sse::{Scanner, SseError};

/// As much of an event as a client must know.
#[derive(Deserialize)]
struct Event<'a> {
    #[serde(borrow, default)]
    choices: Vec<Choice<'a>>,
}

#[derive(Deserialize)]
struct Choice<'a> {
    #[serde(borrow, default)]
    text: std::borrow::Cow<'a, str>,
}

/// Anything that is not a stream of events.
#[derive(Debug, thiserror::Error)]
#[error("the answer is not understood: {0}")]
struct Odd(String);

impl From<HttpError> for Odd {
    fn from(e: HttpError) -> Self {
        Self(e.to_string())
    }
}

impl From<SseError> for Odd {
    fn from(e: SseError) -> Self {
        Self(e.to_string())
    }
}

struct Stream {
    socket: TcpStream,
    decoder: ResponseDecoder,
    scanner: Scanner,
    /// A request is on its way or being answered.
    busy: bool,
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let url = arguments.next().ok_or("give a URL")?;
    let address: SocketAddr = url.trim_start_matches("http://").trim_end_matches('/').parse()?;
    let mut flags = HashMap::new();
    while let (Some(flag), Some(value)) = (arguments.next(), arguments.next()) {
        flags.insert(flag, value);
    }
    let number = |name: &str, default: usize| flags.get(name).map_or(Ok(default), |v| v.parse());
    let (streams, requests) = (number("--streams", 64)?, number("--requests", 1000)?);
    let model = flags.get("--model").map_or("stopwatt-exact", String::as_str);
    let tokens = number("--tokens", 128)?;
    let body = format!(
        r#"{{"model":"{model}","prompt":"Hello","max_tokens":{tokens},"ignore_eos":true,"stream":true}}"#
    );
    let request = format!(
        "POST /v1/completions HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );

    let mut poll = Poll::new()?;
    let mut all = Vec::with_capacity(streams);
    for index in 0..streams.min(requests) {
        let mut socket = TcpStream::connect(address)?;
        poll.registry().register(&mut socket, Token(index), Interest::READABLE | Interest::WRITABLE)?;
        let (decoder, scanner) = (ResponseDecoder::new(), Scanner::new());
        all.push(Stream { socket, decoder, scanner, busy: false });
    }
    let begin = monotonic_raw();
    let (mut sent, mut ended) = (0, 0);
    let mut stamps: Vec<Nanos> = Vec::with_capacity(requests * tokens);
    let (mut events, mut buffer) = (Events::with_capacity(1024), vec![0; 128 * 1024]);
    while ended < requests {
        poll.poll(&mut events, None)?;
        for event in &events {
            let stream = &mut all[event.token().0];
            if !stream.busy && sent < requests && event.is_writable() {
                stream.socket.set_nodelay(true)?;
                stream.socket.write_all(request.as_bytes())?;
                stream.busy = true;
                sent += 1;
            }
            loop {
                let n = match stream.socket.read(&mut buffer) {
                    Ok(0) => return Err("the server closed a connection".into()),
                    Ok(n) => n,
                    Err(e) if e.kind() == ErrorKind::WouldBlock => break,
                    Err(e) => return Err(e.into()),
                };
                let t = monotonic_raw();
                let Stream { decoder, scanner, .. } = stream;
                decoder.feed::<Odd>(&buffer[..n], |part| match part {
                    Part::Head(_) => Ok(()),
                    Part::Body(bytes) => scanner.feed(bytes, |event| {
                        if event.data == b"[DONE]" {
                            return Ok(());
                        }
                        let event: Event<'_> =
                            serde_json::from_slice(event.data).map_err(|e| Odd(e.to_string()))?;
                        if event.choices.iter().any(|c| !c.text.is_empty()) {
                            stamps.push(t);
                        }
                        Ok::<_, Odd>(())
                    }),
                })?;
                if stream.decoder.is_complete() {
                    ended += 1;
                    stream.decoder.reset();
                    stream.scanner.reset();
                    stream.busy = sent < requests;
                    if stream.busy {
                        stream.socket.write_all(request.as_bytes())?;
                        sent += 1;
                    }
                }
                if n < buffer.len() {
                    break;
                }
            }
        }
    }
    let seconds = (monotonic_raw() - begin) as f64 / 1e9;
    println!(
        "{ended} requests, {} tokens in {seconds:.3} s: {:.0}/s",
        stamps.len(),
        stamps.len() as f64 / seconds
    );
    Ok(())
}

//! A client that shows every byte: raw HTTP/1.1 over a loopback socket.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

/// How the connection stood after an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// The answer was complete.
    Complete,
    /// The connection was closed before its end.
    Closed,
    /// The connection was reset before its end.
    Reset,
    /// Nothing came for the read timeout.
    Silent,
}

/// What came back.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    /// The pieces of a chunked body, or the body as one piece.
    pub(crate) pieces: Vec<Vec<u8>>,
    pub(crate) end: End,
}

impl Answer {
    pub(crate) fn body(&self) -> Vec<u8> {
        self.pieces.concat()
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.body()).expect("the body is UTF-8")
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body()).unwrap_or_else(|e| panic!("{e} in {:?}", self.text()))
    }

    /// The payloads of the events of a stream, `[DONE]` included.
    pub(crate) fn events(&self) -> Vec<String> {
        let text = self.text().replace("\r\n", "\n");
        text.split("\n\n").filter_map(|e| e.trim_start().strip_prefix("data: ").map(str::to_owned)).collect()
    }

    /// The events that are JSON.
    pub(crate) fn values(&self) -> Vec<Value> {
        self.events().iter().filter_map(|e| serde_json::from_str(e).ok()).collect()
    }

    /// The text that was generated, streamed or not.
    pub(crate) fn generated(&self) -> String {
        let values = if self.head.contains("event-stream") { self.values() } else { vec![self.json()] };
        let paths = ["/choices/0/text", "/choices/0/delta/content", "/choices/0/message/content"];
        values.iter().flat_map(|v| paths.iter().filter_map(|p| v.pointer(p)?.as_str())).collect()
    }

    /// The usage, of a stream or not.
    pub(crate) fn usage(&self) -> Option<Value> {
        let values = if self.head.contains("event-stream") { self.values() } else { vec![self.json()] };
        values.iter().rev().find_map(|v| v.get("usage").filter(|u| u.is_object()).cloned())
    }

    /// The last finish reason.
    pub(crate) fn finish(&self) -> Option<String> {
        let values = if self.head.contains("event-stream") { self.values() } else { vec![self.json()] };
        values.iter().rev().find_map(|v| v.pointer("/choices/0/finish_reason")?.as_str().map(str::to_owned))
    }
}

/// A connection.
pub(crate) struct Client {
    pub(crate) stream: TcpStream,
    input: Vec<u8>,
}

impl Client {
    pub(crate) fn connect(addr: SocketAddr) -> Self {
        let stream = TcpStream::connect(addr).expect("the server listens");
        stream.set_nodelay(true).expect("a socket option");
        stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a socket option");
        Self { stream, input: Vec::new() }
    }

    pub(crate) fn silent_after(&mut self, timeout: Duration) {
        self.stream.set_read_timeout(Some(timeout)).expect("a socket option");
    }

    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).expect("the server reads");
    }

    pub(crate) fn get(&mut self, path: &str) -> Answer {
        self.send(format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n"));
        self.answer()
    }

    pub(crate) fn post(&mut self, path: &str, body: &Value) -> Answer {
        self.post_as(path, body, "")
    }

    /// Posts with further header lines, each with its line end.
    pub(crate) fn post_as(&mut self, path: &str, body: &Value, headers: &str) -> Answer {
        self.begin_post(path, body, headers);
        self.answer()
    }

    pub(crate) fn begin_post(&mut self, path: &str, body: &Value, headers: &str) {
        self.send(post_bytes(path, &body.to_string(), headers));
    }

    /// Reads one answer.
    pub(crate) fn answer(&mut self) -> Answer {
        let mut answer = Answer { status: 0, head: String::new(), pieces: Vec::new(), end: End::Complete };
        answer.end = self.read_answer(&mut answer).err().unwrap_or(End::Complete);
        answer
    }

    fn read_answer(&mut self, answer: &mut Answer) -> Result<(), End> {
        let head = self.take_until(b"\r\n\r\n")?;
        answer.head = String::from_utf8(head).expect("a head is ASCII").to_ascii_lowercase();
        answer.status = answer.head.split(' ').nth(1).and_then(|s| s.parse().ok()).expect("a status line");
        if let Some((_, rest)) = answer.head.split_once("content-length: ") {
            let length = rest.lines().next().and_then(|n| n.parse().ok()).expect("a length");
            answer.pieces.push(self.take(length)?);
        } else if answer.head.contains("transfer-encoding: chunked") {
            loop {
                let size = String::from_utf8(self.take_until(b"\r\n")?).expect("a chunk size");
                let size = usize::from_str_radix(size.trim(), 16).expect("a chunk size");
                let mut piece = self.take(size + 2)?;
                piece.truncate(size);
                if size == 0 {
                    break;
                }
                answer.pieces.push(piece);
            }
        } else if !answer.head.contains("100 continue") {
            while self.fill().is_ok() {}
            answer.pieces.push(std::mem::take(&mut self.input));
        }
        Ok(())
    }

    fn take_until(&mut self, end: &[u8]) -> Result<Vec<u8>, End> {
        loop {
            if let Some(at) = self.input.windows(end.len()).position(|w| w == end) {
                return self.take(at + end.len());
            }
            self.fill()?;
        }
    }

    fn take(&mut self, n: usize) -> Result<Vec<u8>, End> {
        while self.input.len() < n {
            self.fill()?;
        }
        Ok(self.input.drain(..n).collect())
    }

    /// Reads what comes next.
    pub(crate) fn fill(&mut self) -> Result<(), End> {
        let mut buffer = [0; 64 << 10];
        match self.stream.read(&mut buffer) {
            Ok(0) => Err(End::Closed),
            Ok(n) => {
                self.input.extend_from_slice(&buffer[..n]);
                Ok(())
            }
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => Err(End::Silent),
            Err(e) if e.kind() == ErrorKind::ConnectionReset => Err(End::Reset),
            Err(e) => panic!("{e}"),
        }
    }

    /// Whether the server has closed the connection, and nothing came before.
    pub(crate) fn is_closed(&mut self) -> bool {
        self.input.is_empty() && self.fill() == Err(End::Closed)
    }
}

/// The bytes of a POST.
pub(crate) fn post_bytes(path: &str, body: &str, headers: &str) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n{headers}content-length: {}\r\n\r\n{body}",
        body.len()
    )
}

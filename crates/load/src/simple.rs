//! Single blocking requests, for probing an engine: `/v1/models`, `/metrics`, `/health`, a first completion.
//!
//! They use the same address, headers, trust and HTTP reader as the load, but sockets of their own.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use stopwatt_core::Nanos;
use stopwatt_core::clock::monotonic_raw;
use stopwatt_wire::http1::{HttpError, Part, ResponseDecoder};

use crate::client::resolve;
use crate::error::RequestError;
use crate::target::Target;
use crate::tls;

/// Largest answer that is read.
const MAX_BODY: usize = 64 * 1024 * 1024;

/// An answer, read whole.
#[derive(Clone)]
pub struct Response {
    /// HTTP status.
    pub status: u16,
    /// Body.
    pub body: Vec<u8>,
}

impl std::fmt::Debug for Response {
    /// Leaves out the body, which may hold text.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Response").field("status", &self.status).field("bytes", &self.body.len()).finish()
    }
}

/// Sends `GET path`. `path` begins with a slash and is put after the target's base path.
pub fn get(target: &Target, path: &str, timeout: Duration) -> Result<Response, RequestError> {
    let mut request = target.head("GET", path, "*/*");
    request.extend_from_slice(b"connection: close\r\n\r\n");
    exchange(target, &request, timeout)
}

/// Sends `POST path` with a JSON body.
pub fn post(target: &Target, path: &str, body: &[u8], timeout: Duration) -> Result<Response, RequestError> {
    let mut request = target.head("POST", path, "*/*");
    request
        .extend_from_slice(format!("connection: close\r\ncontent-length: {}\r\n\r\n", body.len()).as_bytes());
    request.extend_from_slice(body);
    exchange(target, &request, timeout)
}

fn exchange(target: &Target, request: &[u8], timeout: Duration) -> Result<Response, RequestError> {
    let deadline = Deadline::after(timeout);
    let config = tls::config(target).map_err(|source| RequestError::Tls { source })?;
    let socket = connect(target, &deadline)?;
    let mut socket = Timed { socket, deadline };
    match config {
        None => converse(&mut socket, request),
        Some(config) => {
            let mut session = tls::session(&config, target).map_err(|source| RequestError::Tls { source })?;
            while session.is_handshaking() {
                session.complete_io(&mut socket).map_err(|e| match e.kind() {
                    ErrorKind::TimedOut => RequestError::Timeout,
                    _ => RequestError::Tls { source: e.into() },
                })?;
            }
            converse(&mut rustls::Stream::new(&mut session, &mut socket), request)
        }
    }
}

fn connect(target: &Target, deadline: &Deadline) -> Result<TcpStream, RequestError> {
    let addresses = resolve(target).map_err(|source| RequestError::Resolve { source })?;
    let mut last = io::Error::from(ErrorKind::NotFound);
    for address in addresses {
        match TcpStream::connect_timeout(&address, deadline.left()?) {
            Ok(socket) => return Ok(socket),
            Err(e) => last = e,
        }
    }
    if last.kind() == ErrorKind::TimedOut {
        return Err(RequestError::Timeout);
    }
    Err(RequestError::Connect { source: last })
}

fn converse(socket: &mut (impl Read + Write), request: &[u8]) -> Result<Response, RequestError> {
    // A server may answer before it has read everything; its answer says more than a failed write.
    let written = socket.write_all(request).and_then(|()| socket.flush());
    let mut decoder = ResponseDecoder::new();
    let mut body = Vec::new();
    let mut buffer = vec![0; 64 * 1024];
    while !decoder.is_complete() {
        let n = match socket.read(&mut buffer) {
            Ok(n) => n,
            Err(e) if e.kind() == ErrorKind::Interrupted => continue,
            // TLS without a closing message: the HTTP framing decides whether the answer is whole.
            Err(e) if e.kind() == ErrorKind::UnexpectedEof => 0,
            Err(e) => return Err(failed(written.err().unwrap_or(e))),
        };
        if n == 0 {
            if !decoder.end_of_input() {
                return Err(failed(written.err().unwrap_or_else(|| ErrorKind::UnexpectedEof.into())));
            }
            break;
        }
        decoder
            .feed::<HttpError>(&buffer[..n], |part| {
                if let Part::Body(b) = part {
                    body.extend_from_slice(b);
                }
                Ok(())
            })
            .map_err(|source| RequestError::Protocol { source })?;
        if body.len() > MAX_BODY {
            return Err(RequestError::TooLarge { limit: MAX_BODY });
        }
    }
    let status = decoder.head_read().map_or(0, |h| h.status);
    Ok(Response { status, body })
}

fn failed(source: io::Error) -> RequestError {
    if matches!(source.kind(), ErrorKind::TimedOut | ErrorKind::WouldBlock) {
        return RequestError::Timeout;
    }
    RequestError::Io { source }
}

/// The time by which everything must be done.
#[derive(Clone, Copy)]
struct Deadline(Nanos);

impl Deadline {
    fn after(timeout: Duration) -> Self {
        Self(monotonic_raw().saturating_add(Nanos::try_from(timeout.as_nanos()).unwrap_or(Nanos::MAX / 4)))
    }

    fn left(self) -> Result<Duration, RequestError> {
        let left = self.0 - monotonic_raw();
        if left <= 0 {
            return Err(RequestError::Timeout);
        }
        Ok(Duration::from_nanos(left.unsigned_abs()))
    }
}

/// A socket each call of which ends by the deadline.
struct Timed {
    socket: TcpStream,
    deadline: Deadline,
}

impl Timed {
    fn left(&self) -> io::Result<Option<Duration>> {
        self.deadline.left().map(Some).map_err(|_| ErrorKind::TimedOut.into())
    }
}

impl Read for Timed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.socket.set_read_timeout(self.left()?)?;
        self.socket.read(buffer).map_err(timed_out)
    }
}

impl Write for Timed {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.socket.set_write_timeout(self.left()?)?;
        self.socket.write(buffer).map_err(timed_out)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A socket timeout is `WouldBlock` on Unix, which TLS would take for a non-blocking socket.
fn timed_out(e: io::Error) -> io::Error {
    if e.kind() == ErrorKind::WouldBlock { ErrorKind::TimedOut.into() } else { e }
}

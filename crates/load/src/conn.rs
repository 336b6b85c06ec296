//! One connection: a non-blocking socket, TLS if asked for, and the request it carries.
//!
//! Events are edge-triggered: after one, everything that can be read is read. A read that does not fill the buffer
//! has emptied the socket (`epoll(7)`), so no second call is spent on finding that out, except when the peer has closed
//! its side: that mark comes only once.

use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;

use mio::net::TcpStream;
use rustls::ClientConnection;
use stopwatt_core::Clock;

use crate::exchange::{Exchange, Progress};
use crate::socket::{self, Received};
use crate::stamps::{KernelStamps, Stamps};
use crate::tls;

/// Reads of a full buffer after which other connections get their turn.
const TURN: usize = 8;

/// How far the connection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// The socket is not connected yet.
    Connecting,
    /// TLS is being set up.
    Handshake,
    /// Requests can be sent.
    Open,
}

/// What came of an event.
#[derive(Debug)]
pub(crate) enum Step {
    /// Nothing is finished.
    Wait,
    /// There is more to read; others first.
    Again,
    /// The request ended; whether the connection can carry another.
    Ended {
        /// See [`Progress::Ended`].
        reusable: bool,
    },
    /// No connection came about.
    ConnectFailed(io::Error),
    /// The TLS handshake failed.
    TlsFailed(tls::Reason),
    /// The connection is gone.
    Closed(Option<io::Error>),
}

/// What connections share while they read.
pub(crate) struct Buffers {
    raw: Vec<u8>,
    plain: Vec<u8>,
    pub(crate) stamps: Stamps,
}

impl Buffers {
    pub(crate) fn new(tls: bool) -> Self {
        let plain = vec![0; if tls { 32 * 1024 } else { 0 }];
        Self { raw: vec![0; 128 * 1024], plain, stamps: Stamps::new(Clock::start()) }
    }
}

/// A connection.
pub(crate) struct Conn {
    pub(crate) stream: TcpStream,
    tls: Option<Box<ClientConnection>>,
    stage: Stage,
    /// The kernel was asked to stamp what comes in.
    stamped: bool,
    /// Requests that it carried to their end.
    pub(crate) served: u64,
    pub(crate) exchange: Option<Box<Exchange>>,
}

impl Conn {
    /// Begins to connect.
    pub(crate) fn connect(
        address: SocketAddr,
        tls: Option<ClientConnection>,
        stamps: KernelStamps,
    ) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        // One segment may hold parts of several TLS records, and one record may take several segments.
        let wanted = stamps == KernelStamps::Auto && tls.is_none();
        let stamped = wanted && socket::ask_for_stamps(&stream).is_ok();
        let tls = tls.map(Box::new);
        Ok(Self { stream, tls, stage: Stage::Connecting, stamped, served: 0, exchange: None })
    }

    /// How far it is.
    pub(crate) fn stage(&self) -> Stage {
        self.stage
    }

    /// Sends the request that was put on an open, idle connection.
    pub(crate) fn begin(&mut self, clock: Clock) -> Step {
        debug_assert_eq!(self.stage, Stage::Open);
        self.hand_over(clock);
        match self.flush(clock) {
            Ok(()) => Step::Wait,
            Err(e) => Step::Closed(Some(e)),
        }
    }

    /// The socket is ready.
    pub(crate) fn on_ready(&mut self, peer_closed: bool, buffers: &mut Buffers, clock: Clock) -> Step {
        if self.stage == Stage::Connecting {
            match self.is_connected() {
                Ok(true) => self.on_connected(clock),
                Ok(false) => return Step::Wait,
                Err(e) => return Step::ConnectFailed(e),
            }
        }
        let flushed = self.flush(clock);
        match self.read(peer_closed, buffers, clock) {
            // A server may answer and close before it has read a long request: its answer counts more than our error.
            Step::Wait => match flushed {
                Err(e) => Step::Closed(Some(e)),
                Ok(()) => Step::Wait,
            },
            step => step,
        }
    }

    fn is_connected(&self) -> io::Result<bool> {
        if let Some(e) = self.stream.take_error()? {
            return Err(e);
        }
        match self.stream.peer_addr() {
            Ok(_) => Ok(true),
            Err(e) if e.kind() == ErrorKind::NotConnected => Ok(false),
            Err(e) => Err(e),
        }
    }

    fn on_connected(&mut self, clock: Clock) {
        // Without it the end of a long request waits for an acknowledgement. A socket that refuses it still works.
        let _ = self.stream.set_nodelay(true);
        if self.tls.is_some() {
            self.stage = Stage::Handshake;
        } else {
            self.open(clock);
        }
    }

    fn open(&mut self, clock: Clock) {
        self.stage = Stage::Open;
        if let Some(x) = &mut self.exchange {
            let now = clock.now();
            x.record.connected_ns = Some(now);
            x.last_activity_ns = now;
        }
        self.hand_over(clock);
    }

    /// Gives the request to TLS, which keeps its own buffer.
    fn hand_over(&mut self, clock: Clock) {
        if let (Some(tls), Some(x)) = (&mut self.tls, &mut self.exchange) {
            tls.writer().write_all(x.unsent()).expect("the buffer of the session has no limit");
            x.on_sent(x.unsent().len(), clock.now());
        }
    }

    /// Writes what can be written.
    fn flush(&mut self, clock: Clock) -> io::Result<()> {
        let mut moved = false;
        if let Some(tls) = &mut self.tls {
            while tls.wants_write() {
                match tls.write_tls(&mut self.stream) {
                    Ok(_) => moved = true,
                    Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(()),
                    Err(e) if e.kind() == ErrorKind::Interrupted => {}
                    Err(e) => return Err(e),
                }
            }
        } else if self.stage == Stage::Open
            && let Some(x) = &mut self.exchange
        {
            while !x.unsent().is_empty() {
                match self.stream.write(x.unsent()) {
                    Ok(0) => return Err(ErrorKind::WriteZero.into()),
                    Ok(n) => {
                        x.on_sent(n, clock.now());
                        moved = true;
                    }
                    Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(()),
                    Err(e) if e.kind() == ErrorKind::Interrupted => {}
                    Err(e) => return Err(e),
                }
            }
        }
        if moved
            && self.stage == Stage::Open
            && let Some(x) = &mut self.exchange
            && x.record.written_ns.is_none()
        {
            x.on_written(clock.now());
        }
        Ok(())
    }

    fn read(&mut self, peer_closed: bool, buffers: &mut Buffers, clock: Clock) -> Step {
        for _ in 0..TURN {
            match self.receive(&mut buffers.raw) {
                Ok(Received { bytes: 0, .. }) => return self.at_end(),
                Ok(Received { bytes: n, stamp }) => {
                    let t = buffers.stamps.judge(stamp, clock.now());
                    let drained = n < buffers.raw.len() && !peer_closed;
                    match self.on_bytes(n, t, buffers, clock) {
                        Step::Wait if drained => return Step::Wait,
                        Step::Wait => {}
                        Step::Ended { reusable } => return Step::Ended { reusable: reusable && drained },
                        step => return step,
                    }
                }
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Step::Wait,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Step::Closed(Some(e)),
            }
        }
        Step::Again
    }

    #[inline]
    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<Received> {
        if self.stamped {
            return socket::receive(&self.stream, buffer);
        }
        let bytes = self.stream.read(buffer)?;
        Ok(Received { bytes, stamp: None })
    }

    fn at_end(&self) -> Step {
        match self.stage {
            Stage::Handshake => Step::TlsFailed("connection closed during the handshake".into()),
            _ => Step::Closed(None),
        }
    }

    /// `n` bytes were read at `t`.
    fn on_bytes(&mut self, n: usize, t: stopwatt_core::Nanos, buffers: &mut Buffers, clock: Clock) -> Step {
        let Some(tls) = &mut self.tls else {
            let Some(x) = &mut self.exchange else { return Step::Closed(None) };
            let step = Step::from(x.on_bytes(&buffers.raw[..n], t));
            buffers.stamps.note_pieces(x.pieces);
            return step;
        };
        let mut progress = Progress::More;
        let exchange = &mut self.exchange;
        let absorbed = tls::absorb(tls, &buffers.raw[..n], &mut buffers.plain, |plain| {
            progress = match (progress, exchange.as_mut()) {
                (Progress::More, Some(x)) => x.on_bytes(plain, t),
                // Bytes that nobody asked for.
                _ => Progress::Ended { reusable: false },
            };
        });
        let handshake = self.stage == Stage::Handshake;
        if handshake && absorbed.is_ok() && !tls.is_handshaking() {
            self.open(clock);
        }
        // Also sends alerts, which tell the server why.
        let flushed = self.flush(clock);
        if let Progress::Ended { reusable } = progress {
            let clean = absorbed.is_ok() && flushed.is_ok();
            let asked = self.exchange.is_some();
            return if asked { Step::Ended { reusable: reusable && clean } } else { Step::Closed(None) };
        }
        match (absorbed, flushed) {
            (Err(e), _) if handshake => Step::TlsFailed(e),
            (Err(e), _) => Step::Closed(Some(io::Error::other(e))),
            (Ok(()), Err(e)) => Step::Closed(Some(e)),
            (Ok(()), Ok(())) => Step::Wait,
        }
    }
}

impl From<Progress> for Step {
    fn from(progress: Progress) -> Self {
        match progress {
            Progress::More => Self::Wait,
            Progress::Ended { reusable } => Self::Ended { reusable },
        }
    }
}

//! One connection: its buffers and where it stands.

use std::io::{self, Read, Write};
use std::net::TcpStream;

use stopwatt_core::clock::{Nanos, monotonic_raw};

use super::poller::Interest;
use super::request::RequestReader;

/// Where a connection stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// Waiting for a request, or inside one.
    Reading,
    /// A request is being answered.
    Busy,
    /// The answer is complete; what is left of it waits for the kernel.
    Ending,
    /// Nothing more is sent; what the peer still sends is thrown away, so that it can read the answer in peace.
    Lingering,
}

/// Most bytes taken from one socket before others have their turn.
const READ_TURN: usize = 1 << 20;

pub(super) struct Connection {
    pub(super) stream: TcpStream,
    pub(super) generation: u32,
    pub(super) state: State,
    pub(super) interest: Interest,
    pub(super) reader: RequestReader,
    pub(super) input: Vec<u8>,
    /// Bytes the kernel has not taken, from `sent` on.
    output: Vec<u8>,
    sent: usize,
    pub(super) keep_alive: bool,
    pub(super) http11: bool,
    /// When something was last read.
    pub(super) read_ns: Nanos,
    /// The moment its handler, or while it is reading the loop, wants to be called.
    pub(super) deadline: Option<Nanos>,
}

/// What a read brought.
pub(super) enum Got {
    /// Nothing, or something, in `input`.
    Bytes,
    /// The peer has finished.
    End,
}

impl Connection {
    pub(super) fn new(stream: TcpStream, generation: u32) -> Self {
        Self {
            stream,
            generation,
            state: State::Reading,
            interest: Interest::READ,
            reader: RequestReader::default(),
            input: Vec::new(),
            output: Vec::new(),
            sent: 0,
            keep_alive: true,
            http11: true,
            read_ns: 0,
            deadline: None,
        }
    }

    /// Reads what is there.
    pub(super) fn read(&mut self, scratch: &mut [u8]) -> io::Result<Got> {
        let mut total = 0;
        loop {
            match self.stream.read(scratch) {
                Ok(0) => return Ok(Got::End),
                Ok(n) => {
                    self.read_ns = monotonic_raw();
                    if self.state != State::Lingering {
                        self.input.extend_from_slice(&scratch[..n]);
                    }
                    total += n;
                    // A short read has emptied the socket; what comes later is reported anew.
                    if n < scratch.len() || total >= READ_TURN {
                        return Ok(Got::Bytes);
                    }
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(Got::Bytes),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
    }

    /// Hands `bytes` to the kernel. `Some` is the moment just before the call that took the last of them; `None`
    /// means that some wait for [`Self::flush`].
    #[inline]
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<Option<Nanos>> {
        if !self.is_flushed() {
            self.output.extend_from_slice(bytes);
            return Ok(None);
        }
        let (stamp, taken) = write_some(&mut self.stream, bytes)?;
        if taken == bytes.len() {
            return Ok(Some(stamp));
        }
        self.output.extend_from_slice(&bytes[taken..]);
        self.flush()
    }

    /// Goes on handing over what waits; answers as [`Self::write`] does.
    pub(super) fn flush(&mut self) -> io::Result<Option<Nanos>> {
        while !self.is_flushed() {
            let (stamp, taken) = write_some(&mut self.stream, &self.output[self.sent..])?;
            if taken == 0 {
                return Ok(None);
            }
            self.sent += taken;
            if self.is_flushed() {
                self.output.clear();
                self.sent = 0;
                return Ok(Some(stamp));
            }
        }
        Ok(None)
    }

    pub(super) fn is_flushed(&self) -> bool {
        self.sent == self.output.len()
    }
}

/// One write: its stamp and the bytes taken, 0 when the kernel takes none now.
#[inline]
fn write_some(stream: &mut TcpStream, bytes: &[u8]) -> io::Result<(Nanos, usize)> {
    loop {
        let stamp = monotonic_raw();
        match stream.write(bytes) {
            Ok(0) if !bytes.is_empty() => return Err(io::ErrorKind::WriteZero.into()),
            Ok(n) => return Ok((stamp, n)),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok((stamp, 0)),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
}

//! Sockets: the poll, the connections by index, those that are idle.
//!
//! Idle connections are used last in, first out, so that surplus ones go stale and not all of them.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token, Waker};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustls::ClientConfig;
use stopwatt_core::Nanos;

use crate::conn::{Buffers, Conn};
use crate::error::LoadError;
use crate::socket;
use crate::stamps::KernelStamps;
use crate::target::Target;
use crate::tls;

/// Token of the waker; connections count from 0.
pub(super) const WAKE: Token = Token(usize::MAX);

/// Sockets of one target.
pub(crate) struct Pool {
    target: Target,
    addresses: Vec<SocketAddr>,
    pub(super) kernel_stamps: KernelStamps,
    /// Index of the address that last worked.
    preferred: usize,
    tls: Option<Arc<ClientConfig>>,
    poll: Poll,
    /// What the waker rings. It is a poll of its own inside `poll`, so that it alone can be waited for.
    bell: Poll,
    waker: Arc<Waker>,
    pub(super) conns: Vec<Option<Conn>>,
    free: Vec<usize>,
    idle: Vec<usize>,
    pub(super) buffers: Buffers,
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pool")
            .field("target", &self.target)
            .field("idle", &self.idle.len())
            .finish_non_exhaustive()
    }
}

impl Pool {
    pub(super) fn new(target: &Target) -> Result<Self, LoadError> {
        let addresses = resolve(target).map_err(|source| LoadError::Resolve { source })?;
        let tls = tls::config(target).map_err(|source| LoadError::Tls { source })?;
        let poll = Poll::new().map_err(|source| LoadError::Poll { source })?;
        let bell = Poll::new().map_err(|source| LoadError::Poll { source })?;
        let waker = Waker::new(bell.registry(), WAKE).map_err(|source| LoadError::Poll { source })?;
        poll.registry()
            .register(&mut SourceFd(&bell.as_raw_fd()), WAKE, Interest::READABLE)
            .map_err(|source| LoadError::Poll { source })?;
        Ok(Self {
            target: target.clone(),
            addresses,
            kernel_stamps: KernelStamps::Auto,
            preferred: 0,
            buffers: Buffers::new(tls.is_some()),
            tls,
            poll,
            bell,
            waker: Arc::new(waker),
            conns: Vec::new(),
            free: Vec::new(),
            idle: Vec::new(),
        })
    }

    pub(super) fn target(&self) -> &Target {
        &self.target
    }

    pub(super) fn waker(&self) -> Arc<Waker> {
        Arc::clone(&self.waker)
    }

    pub(super) fn wait(&mut self, events: &mut Events, timeout: Option<Duration>) -> Result<(), LoadError> {
        match self.poll.poll(events, timeout) {
            Ok(()) => {
                if events.iter().any(|e| e.token() == WAKE) {
                    self.silence();
                }
                Ok(())
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {
                events.clear();
                Ok(())
            }
            Err(source) => Err(LoadError::Poll { source }),
        }
    }

    /// Waits for the waker alone, for a short time.
    pub(super) fn rest(&self, time: Nanos) {
        let time = Timespec { tv_sec: 0, tv_nsec: time.min(999_999_999) };
        // Whatever ends it, looking at the sockets is right.
        let _ = rustix::event::poll(
            &mut [PollFd::new(&socket::descriptor(&self.bell), PollFlags::IN)],
            Some(&time),
        );
    }

    /// Takes note of the bell, so that it can ring again.
    fn silence(&mut self) {
        let mut rung = Events::with_capacity(1);
        // If it fails the bell goes on ringing, which costs time and loses nothing.
        let _ = self.bell.poll(&mut rung, Some(Duration::ZERO));
    }

    /// Drops idle connections that the server has closed since the last run, and those above `wanted`.
    pub(super) fn settle(&mut self, wanted: Option<usize>) {
        let mut events = Events::with_capacity(self.idle.len().max(16));
        // A failure shows again in the run itself.
        let _ = self.wait(&mut events, Some(Duration::ZERO));
        for event in events.iter().filter(|e| e.token() != WAKE && (e.is_readable() || e.is_error())) {
            self.close(event.token().0);
        }
        while wanted.is_some_and(|w| self.idle.len() > w) {
            let oldest = self.idle[0];
            self.close(oldest);
        }
    }

    /// An open connection that carries nothing.
    pub(super) fn take_idle(&mut self) -> Option<usize> {
        self.idle.pop()
    }

    /// Gives a connection back.
    pub(super) fn release(&mut self, index: usize) {
        self.idle.push(index);
    }

    /// The address after `address`, or the one that last worked.
    pub(super) fn address_after(&self, address: Option<usize>) -> usize {
        address.map_or(self.preferred, |a| (a + 1) % self.addresses.len())
    }

    /// Begins to open a connection to an address.
    pub(super) fn open(&mut self, address: usize) -> io::Result<usize> {
        let address = self.addresses[address];
        let session =
            self.tls.as_ref().map(|c| tls::session(c, &self.target)).transpose().map_err(io::Error::other)?;
        let mut conn = Conn::connect(address, session, self.kernel_stamps)?;
        let index = self.free.pop().unwrap_or_else(|| {
            self.conns.push(None);
            self.conns.len() - 1
        });
        // Both at once and for good: edge-triggered interest in writing costs nothing while there is nothing to write.
        let interest = Interest::READABLE | Interest::WRITABLE;
        if let Err(e) = self.poll.registry().register(&mut conn.stream, Token(index), interest) {
            self.free.push(index);
            return Err(e);
        }
        self.conns[index] = Some(conn);
        Ok(index)
    }

    /// Whether an address is left after so many failed.
    pub(super) fn has_more_addresses(&self, failed: usize) -> bool {
        failed < self.addresses.len()
    }

    /// This address works: begin with it next time.
    pub(super) fn prefer(&mut self, address: usize) {
        self.preferred = address;
    }

    /// Closes a connection, whatever it is doing.
    pub(super) fn close(&mut self, index: usize) {
        if let Some(mut conn) = self.conns.get_mut(index).and_then(Option::take) {
            // Closing the descriptor removes it from the poll in any case.
            let _ = self.poll.registry().deregister(&mut conn.stream);
            self.free.push(index);
            self.idle.retain(|i| *i != index);
        }
    }
}

/// Addresses of a target, without repeats.
pub(crate) fn resolve(target: &Target) -> io::Result<Vec<SocketAddr>> {
    let mut addresses: Vec<SocketAddr> = Vec::new();
    for address in (target.host.as_str(), target.port).to_socket_addrs()? {
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    if addresses.is_empty() {
        return Err(io::Error::new(io::ErrorKind::NotFound, "the name has no address"));
    }
    Ok(addresses)
}

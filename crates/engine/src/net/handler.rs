//! What the loop and a service say to each other.

use std::time::Duration;

use stopwatt_core::clock::Nanos;

use super::reply::Reply;
use super::request::{Refusal, Request};
use super::sockets::Net;

/// A connection, for as long as it lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct ConnId {
    pub(super) index: u32,
    pub(super) generation: u32,
}

impl ConnId {
    pub(super) fn key(self) -> u64 {
        u64::from(self.generation) << 32 | u64::from(self.index)
    }

    pub(super) fn from_key(key: u64) -> Self {
        Self { index: (key & u64::from(u32::MAX)) as u32, generation: (key >> 32) as u32 }
    }

    /// A small number that no other living connection has.
    pub(crate) fn slot(self) -> usize {
        self.index as usize
    }
}

/// What became of bytes that were to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sent {
    /// The kernel has them; the stamp was taken just before it got the last.
    Now(Nanos),
    /// Some wait; [`Handler::written`] will tell.
    Later,
    /// The connection is broken; [`Handler::closed`] will follow.
    Gone,
}

/// How an exchange is ended early.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Conclusion {
    /// The peer sees a reset.
    Reset,
    /// The peer sees an end in the middle.
    Close,
}

/// What is served. All calls come from the thread of the loop.
pub(crate) trait Handler {
    /// A whole request has been read.
    fn request(&mut self, net: &mut Net, conn: ConnId, request: Request);
    /// The moment set by [`Net::at`] has come.
    fn due(&mut self, net: &mut Net, conn: ConnId);
    /// Another thread has used the [`Waker`](super::Waker).
    fn woken(&mut self, net: &mut Net);
    /// All bytes that had to wait are with the kernel.
    fn written(&mut self, net: &mut Net, conn: ConnId, stamp: Nanos);
    /// The peer has gone before the end of the exchange.
    fn closed(&mut self, conn: ConnId);
    /// A request could not be read; returns the answer.
    fn refused(&mut self, refusal: Refusal) -> Reply;
    /// How long before a deadline the loop shall stop sleeping and spin.
    fn spin(&self) -> Nanos {
        0
    }
}

/// What a loop allows.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) max_connections: usize,
    pub(crate) max_body_bytes: usize,
    /// How long open exchanges may go on after a shutdown was asked for.
    pub(crate) drain: Duration,
}

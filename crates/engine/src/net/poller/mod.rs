//! Waiting for sockets and for a moment, whichever comes first.
//!
//! On Linux: epoll, with a timer that has no slack. Elsewhere: `poll`, whose deadlines are rounded up to the
//! millisecond, and which does not notice that a peer has gone until the next write.

#[cfg(target_os = "linux")]
mod epoll;
#[cfg(not(target_os = "linux"))]
mod poll;

#[cfg(target_os = "linux")]
pub(crate) use epoll::Poller;
#[cfg(not(target_os = "linux"))]
pub(crate) use poll::Poller;

use stopwatt_core::clock::Nanos;

/// What a socket is watched for. That the peer has gone is always reported where the system can tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Interest {
    pub(crate) read: bool,
    pub(crate) write: bool,
}

impl Interest {
    pub(crate) const READ: Self = Self { read: true, write: false };
    pub(crate) const NONE: Self = Self { read: false, write: false };
}

/// Something happened to the socket registered under `key`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ready {
    pub(crate) key: u64,
    pub(crate) readable: bool,
    pub(crate) writable: bool,
    /// The peer has closed its side, or the connection is broken.
    pub(crate) gone: bool,
}

/// How long to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wait {
    /// Only look.
    No,
    /// Until this raw monotonic time.
    Until(Nanos),
    /// Until something happens.
    Forever,
}

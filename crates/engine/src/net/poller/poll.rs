//! The portable poller. It holds a duplicate of every socket, so that it can name them to `poll` safely; a socket
//! must be removed before it is dropped, or its peer would not see the end.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use stopwatt_core::clock::{Nanos, monotonic_raw};

use super::{Interest, Ready, Wait};

/// See the module above.
pub(crate) struct Poller {
    sockets: Vec<(OwnedFd, u64, Interest)>,
}

impl Poller {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self { sockets: Vec::new() })
    }

    pub(crate) fn add(&mut self, socket: &impl AsFd, key: u64, interest: Interest) -> io::Result<()> {
        self.sockets.push((socket.as_fd().try_clone_to_owned()?, key, interest));
        Ok(())
    }

    pub(crate) fn change(&mut self, _socket: &impl AsFd, key: u64, interest: Interest) -> io::Result<()> {
        match self.sockets.iter_mut().find(|s| s.1 == key) {
            Some(entry) => entry.2 = interest,
            None => return Err(io::ErrorKind::NotFound.into()),
        }
        Ok(())
    }

    pub(crate) fn remove(&mut self, _socket: &impl AsFd, key: u64) -> io::Result<()> {
        self.sockets.retain(|s| s.1 != key);
        Ok(())
    }

    /// Appends what happened to `ready`.
    pub(crate) fn wait(&mut self, wait: Wait, ready: &mut Vec<Ready>) -> io::Result<()> {
        let timeout = match wait {
            Wait::No => Some(0),
            Wait::Until(at) => Some((at - monotonic_raw()).max(0)),
            Wait::Forever => None,
        };
        let timeout =
            timeout.map(|ns: Nanos| Timespec { tv_sec: ns / 1_000_000_000, tv_nsec: ns % 1_000_000_000 });
        let mut fds: Vec<PollFd<'_>> =
            self.sockets.iter().map(|(fd, _, i)| PollFd::new(fd, flags(*i))).collect();
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
        for (fd, (_, key, _)) in fds.iter().zip(&self.sockets) {
            let got = fd.revents();
            if !got.is_empty() {
                ready.push(Ready {
                    key: *key,
                    readable: got.contains(PollFlags::IN),
                    writable: got.contains(PollFlags::OUT),
                    gone: got.intersects(PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL),
                });
            }
        }
        Ok(())
    }
}

fn flags(interest: Interest) -> PollFlags {
    let mut flags = PollFlags::empty();
    flags.set(PollFlags::IN, interest.read);
    flags.set(PollFlags::OUT, interest.write);
    flags
}

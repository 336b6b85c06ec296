//! Wakes the event loop from another thread.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The far end: any number of threads may hold one.
#[derive(Debug, Clone)]
pub(crate) struct Waker {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    /// Set while a byte is on its way, so that a burst of messages costs one system call.
    pending: AtomicBool,
    stream: UnixStream,
}

/// The end that the event loop polls.
#[derive(Debug)]
pub(crate) struct Wakeups {
    shared: Arc<Shared>,
    pub(super) stream: UnixStream,
}

impl Waker {
    pub(crate) fn pair() -> io::Result<(Self, Wakeups)> {
        let (near, far) = UnixStream::pair()?;
        near.set_nonblocking(true)?;
        far.set_nonblocking(true)?;
        let shared = Arc::new(Shared { pending: AtomicBool::new(false), stream: far });
        Ok((Self { shared: shared.clone() }, Wakeups { shared, stream: near }))
    }

    /// Wakes the loop; put the message where it will look before calling this.
    pub(crate) fn wake(&self) {
        if !self.shared.pending.swap(true, Ordering::SeqCst) {
            // A full pipe means that a wake-up is waiting already; a closed one that nobody needs it.
            let _ = (&self.shared.stream).write(&[1]);
        }
    }
}

impl Wakeups {
    /// Takes the wake-ups; look for messages after calling this.
    pub(super) fn take(&self) {
        let mut bytes = [0; 64];
        while matches!((&self.stream).read(&mut bytes), Ok(n) if n > 0) {}
        self.shared.pending.store(false, Ordering::SeqCst);
    }
}

//! Stopping a run from outside, for instance from a signal-handling thread.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use mio::Waker;

/// A switch that ends a run. Clones share it; once thrown it stays thrown.
#[derive(Clone, Default)]
pub struct Stop {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    thrown: AtomicBool,
    /// The present run takes up no more requests.
    enough: AtomicBool,
    /// The loop that is running, so that it need not wake up to look.
    waker: Mutex<Option<Arc<Waker>>>,
}

impl Stop {
    /// A switch that has not been thrown.
    pub fn new() -> Self {
        Self::default()
    }

    /// Ends the run: what is in flight is recorded as `interrupted`, and later runs end at once.
    pub fn interrupt(&self) {
        self.shared.thrown.store(true, Ordering::Release);
        let waker = self.shared.waker.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(waker) = &*waker {
            // A failed wake-up only means that the loop sees the switch at its next wake-up.
            let _ = waker.wake();
        }
    }

    /// Whether [`interrupt`](Self::interrupt) was called.
    pub fn is_interrupted(&self) -> bool {
        self.shared.thrown.load(Ordering::Acquire)
    }

    /// Ends the present run gently: no more requests are taken up, also of those that are prepared, and what is in
    /// flight goes on to its end. A later run begins afresh.
    pub fn enough(&self) {
        self.shared.enough.store(true, Ordering::Release);
    }

    /// Whether [`enough`](Self::enough) was called during the present run.
    pub(crate) fn is_enough(&self) -> bool {
        self.shared.enough.load(Ordering::Acquire)
    }

    /// Begins a run: lets the switch wake its loop until the guard is dropped.
    pub(crate) fn attach(&self, waker: Arc<Waker>) -> Attached<'_> {
        self.shared.enough.store(false, Ordering::Release);
        *self.shared.waker.lock().unwrap_or_else(PoisonError::into_inner) = Some(waker);
        Attached(self)
    }
}

impl std::fmt::Debug for Stop {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stop").field("interrupted", &self.is_interrupted()).finish()
    }
}

/// See [`Stop::attach`].
pub(crate) struct Attached<'a>(&'a Stop);

impl Drop for Attached<'_> {
    fn drop(&mut self) {
        *self.0.shared.waker.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

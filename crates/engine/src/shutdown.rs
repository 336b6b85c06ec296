//! The handle that ends a running server.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Ends a server from any thread, any number of times. Clones are the same handle.
#[derive(Clone, Default)]
pub struct Shutdown {
    inner: Arc<Inner>,
}

#[derive(Default)]
struct Inner {
    asked: AtomicBool,
    wake: Mutex<Vec<Box<dyn Fn() + Send>>>,
}

impl Shutdown {
    /// A handle that nobody has used yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks the server to stop accepting, to let open streams end for a bounded time, and to return.
    pub fn trigger(&self) {
        self.inner.asked.store(true, Ordering::SeqCst);
        for wake in self.inner.wake.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            wake();
        }
    }

    /// Whether a shutdown was asked for.
    pub fn is_triggered(&self) -> bool {
        self.inner.asked.load(Ordering::SeqCst)
    }

    /// Calls `wake` when a shutdown is asked for, at once if it was already.
    pub(crate) fn on_trigger(&self, wake: impl Fn() + Send + 'static) {
        let mut list = self.inner.wake.lock().unwrap_or_else(PoisonError::into_inner);
        if self.is_triggered() {
            wake();
        }
        list.push(Box::new(wake));
    }
}

impl std::fmt::Debug for Shutdown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shutdown").field("triggered", &self.is_triggered()).finish()
    }
}

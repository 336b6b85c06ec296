//! The feeder thread: asks for jobs ahead of need and prepares their requests.
//!
//! The channel is bounded in number and in bytes: prompts may be a megabyte long.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender, TryRecvError};
use std::thread::Scope;
use std::time::Duration;

use mio::Waker;

use super::spawn;
use crate::error::LoadError;
use crate::exchange::Exchange;
use crate::job::{Job, Limits, Path};
use crate::stop::Stop;
use crate::target::Target;

/// Fewest and most requests prepared ahead.
const AHEAD: (usize, usize) = (64, 1024);
/// Most bytes of requests prepared ahead.
const AHEAD_BYTES: usize = 16 * 1024 * 1024;

/// The shared part of request heads, one for each endpoint.
pub(super) struct Heads {
    completions: Vec<u8>,
    chat: Vec<u8>,
}

impl Heads {
    pub(super) fn new(target: &Target) -> Self {
        let head = |path: Path| target.head("POST", path.as_str(), "text/event-stream, application/json");
        Self { completions: head(Path::Completions), chat: head(Path::Chat) }
    }

    fn of(&self, path: Path) -> &[u8] {
        match path {
            Path::Completions => &self.completions,
            Path::Chat => &self.chat,
        }
    }
}

/// What both threads see.
#[derive(Default)]
struct Shared {
    bytes: AtomicUsize,
    /// The loop found nothing and wants to be woken.
    hungry: AtomicBool,
}

/// The next request to send.
pub(super) enum Next {
    Ready(Box<Exchange>),
    /// Not prepared yet; the loop is woken when it is.
    NotYet,
    /// There are no more jobs.
    Exhausted,
}

/// The loop's end of the channel.
pub(super) struct Feeder {
    receive: Receiver<Box<Exchange>>,
    primed: Receiver<()>,
    shared: Arc<Shared>,
}

/// The feeder's end of the channel.
struct Worker<'a> {
    send: SyncSender<Box<Exchange>>,
    /// Dropped when enough is prepared to begin.
    primed: Option<SyncSender<()>>,
    shared: Arc<Shared>,
    waker: Arc<Waker>,
    over: &'a AtomicBool,
}

impl Feeder {
    /// Starts the thread. `wanted` is the number of requests that may be sent at once at the begin.
    pub(super) fn start<'s>(
        scope: &'s Scope<'s, '_>,
        jobs: &'s mut (dyn FnMut(u64) -> Option<Job> + Send),
        heads: Heads,
        limits: Limits,
        wanted: Option<usize>,
        waker: Arc<Waker>,
        over: &'s AtomicBool,
    ) -> Result<Self, LoadError> {
        let ahead = wanted.unwrap_or(0).clamp(AHEAD.0, AHEAD.1);
        let prime = wanted.unwrap_or(ahead).min(ahead);
        let (send, receive) = mpsc::sync_channel(ahead);
        let (primed_send, primed) = mpsc::sync_channel(0);
        let shared = Arc::new(Shared::default());
        let worker = Worker { send, primed: Some(primed_send), shared: Arc::clone(&shared), waker, over };
        spawn(scope, "feeder", move || worker.work(jobs, &heads, &limits, prime))?;
        Ok(Self { receive, primed, shared })
    }

    /// Waits until enough is prepared to begin at full speed.
    pub(super) fn wait_until_primed(&self, stop: &Stop) {
        let slice = Duration::from_millis(20);
        while !stop.is_interrupted() && self.primed.recv_timeout(slice) == Err(RecvTimeoutError::Timeout) {}
    }

    /// Takes the next request.
    pub(super) fn next(&self) -> Next {
        let got = self.receive.try_recv().or_else(|e| match e {
            TryRecvError::Disconnected => Err(e),
            TryRecvError::Empty => {
                // Say so first and look again, so that a request prepared in between is not missed.
                self.shared.hungry.store(true, Ordering::SeqCst);
                self.receive.try_recv()
            }
        });
        match got {
            Ok(exchange) => {
                self.shared.bytes.fetch_sub(exchange.request.len(), Ordering::Relaxed);
                Next::Ready(exchange)
            }
            Err(TryRecvError::Empty) => Next::NotYet,
            Err(TryRecvError::Disconnected) => Next::Exhausted,
        }
    }
}

impl Worker<'_> {
    fn work(
        mut self,
        jobs: &mut (dyn FnMut(u64) -> Option<Job> + Send),
        heads: &Heads,
        limits: &Limits,
        prime: usize,
    ) {
        for index in 0.. {
            if self.over.load(Ordering::Acquire) {
                break;
            }
            let Some(job) = jobs(index) else { break };
            let head = heads.of(job.path);
            let exchange = Box::new(Exchange::new(job, head, limits));
            let len = exchange.request.len();
            let held = self.shared.bytes.fetch_add(len, Ordering::Relaxed) + len;
            if self.send.send(exchange).is_err() {
                break;
            }
            if index + 1 >= prime as u64 || held >= AHEAD_BYTES {
                self.primed = None;
            }
            self.feed_the_hungry();
            while self.shared.bytes.load(Ordering::Relaxed) > AHEAD_BYTES
                && !self.over.load(Ordering::Acquire)
            {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        let Self { send, shared, waker, .. } = self;
        drop(send);
        shared.hungry.store(false, Ordering::SeqCst);
        let _ = waker.wake();
    }

    fn feed_the_hungry(&self) {
        if self.shared.hungry.swap(false, Ordering::SeqCst) {
            // If it fails the loop finds the request at its next wake-up.
            let _ = self.waker.wake();
        }
    }
}

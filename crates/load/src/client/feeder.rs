//! The feeder thread: asks for jobs ahead of need and prepares their requests.
//!
//! What is prepared ahead is bounded in number and in bytes, since prompts may be a megabyte long. Once the bound is
//! reached the thread sleeps until half of it is used up, so that the loop has to wake it once for many requests.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender, SyncSender, TryRecvError};
use std::thread::{Scope, Thread};
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

    pub(super) fn of(&self, path: Path) -> &[u8] {
        match path {
            Path::Completions => &self.completions,
            Path::Chat => &self.chat,
        }
    }
}

/// What both threads see.
#[derive(Debug)]
struct Shared {
    /// Most requests prepared ahead.
    ahead: usize,
    count: AtomicUsize,
    bytes: AtomicUsize,
    /// The loop found nothing and wants to be woken.
    hungry: AtomicBool,
    /// The feeder sleeps until there is room.
    asleep: AtomicBool,
    /// The loop has ended.
    closed: AtomicBool,
}

impl Shared {
    fn is_full(&self) -> bool {
        self.count.load(Ordering::SeqCst) >= self.ahead || self.bytes.load(Ordering::SeqCst) >= AHEAD_BYTES
    }

    fn is_half_empty(&self) -> bool {
        self.count.load(Ordering::SeqCst) <= self.ahead / 2
            && self.bytes.load(Ordering::SeqCst) <= AHEAD_BYTES / 2
    }
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
    thread: Thread,
}

/// The feeder's end of the channel. The bound is kept by the counts in `shared`.
struct Worker<'a> {
    send: Sender<Box<Exchange>>,
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
        let (send, receive) = mpsc::channel();
        let (primed_send, primed) = mpsc::sync_channel(0);
        let shared = Arc::new(Shared {
            ahead,
            count: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
            hungry: AtomicBool::new(false),
            asleep: AtomicBool::new(false),
            closed: AtomicBool::new(false),
        });
        let worker = Worker { send, primed: Some(primed_send), shared: Arc::clone(&shared), waker, over };
        let handle = spawn(scope, "feeder", move || worker.work(jobs, &heads, &limits, prime))?;
        Ok(Self { receive, primed, shared, thread: handle.thread().clone() })
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
                self.shared.count.fetch_sub(1, Ordering::SeqCst);
                self.shared.bytes.fetch_sub(exchange.request.len(), Ordering::SeqCst);
                if self.shared.asleep.load(Ordering::SeqCst) && self.shared.is_half_empty() {
                    self.thread.unpark();
                }
                Next::Ready(exchange)
            }
            Err(TryRecvError::Empty) => Next::NotYet,
            Err(TryRecvError::Disconnected) => Next::Exhausted,
        }
    }
}

impl Drop for Feeder {
    fn drop(&mut self) {
        self.shared.closed.store(true, Ordering::SeqCst);
        self.thread.unpark();
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
            if self.is_over() {
                break;
            }
            let Some(job) = jobs(index) else { break };
            let head = heads.of(job.path);
            let exchange = Box::new(Exchange::new(job, head, limits));
            self.shared.count.fetch_add(1, Ordering::SeqCst);
            self.shared.bytes.fetch_add(exchange.request.len(), Ordering::SeqCst);
            if self.send.send(exchange).is_err() {
                break;
            }
            if index + 1 >= prime as u64 || self.shared.is_full() {
                self.primed = None;
            }
            self.feed_the_hungry();
            if self.shared.is_full() {
                self.sleep_until_half_empty();
            }
        }
        let Self { send, waker, .. } = self;
        drop(send);
        // The loop may be waiting for more.
        let _ = waker.wake();
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::SeqCst) || self.shared.closed.load(Ordering::SeqCst)
    }

    fn feed_the_hungry(&self) {
        if self.shared.hungry.swap(false, Ordering::SeqCst) {
            // If it fails the loop finds the request at its next wake-up.
            let _ = self.waker.wake();
        }
    }

    fn sleep_until_half_empty(&self) {
        self.shared.asleep.store(true, Ordering::SeqCst);
        while !self.is_over() && !self.shared.is_half_empty() {
            // The time-out is for `over` alone, which nobody announces when a run fails early.
            std::thread::park_timeout(Duration::from_millis(100));
        }
        self.shared.asleep.store(false, Ordering::SeqCst);
    }
}

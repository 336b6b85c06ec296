//! The live page: what the proxy sees, second by second, in a browser.
//!
//! ```text
//! finished requests ─┐ bounded   ┌─────┐  one JSON a second   ┌─────────┐
//! the exporter's page├──────────►│ hub │ ────────────────────►│ browser │ ◄── /page/history (from the store)
//! health, alerts ────┘           └──┬──┘  (SSE, by fetch)     └─────────┘
//!                                   └──► store
//! ```
//!
//! The page is served by the proxy's own listener, under the proxy's own rules for `Host`, `Origin` and token. Its
//! files hold no data and need no token, so that the page can ask for one; all data does. Nothing is loaded from
//! elsewhere, and the content policy forbids it.
//!
//! Invariants, each held by a test:
//!
//! - the thread that passes tokens on sends a row and never waits;
//! - a client that does not read is let go;
//! - who comes back gets what it has missed, also after a restart where there is a store.

mod assets;
mod frame;
mod hub;
mod span;
mod texts;

use std::path::PathBuf;
use std::sync::atomic::{
    AtomicBool, AtomicU64,
    Ordering::{Relaxed, Release},
};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use bytes::Bytes;
use tokio::sync::mpsc;

pub(crate) use assets::{POLICY, asset};

use crate::exchange::Exchange;
use crate::fleet::{Event, Fleet};
use crate::proxy::Observer;
use crate::rules::Compiled;
use crate::store::{RequestRow, Store};

/// Rows that wait for the hub.
const QUEUE: usize = 8192;
/// Frames that a client may be behind.
const BEHIND: usize = 16;
/// Clients at once.
const MOST_CLIENTS: usize = 64;

/// What the hub is told.
enum Told {
    Request(Box<RequestRow>),
    Event(Event),
}

/// What the proxy and the hub share.
#[derive(Debug)]
struct Shared {
    queue: SyncSender<Told>,
    /// Rows that found the queue full.
    lost: AtomicU64,
    clients: Mutex<Clients>,
    store: Option<PathBuf>,
    variants: Vec<String>,
    /// Clients have been let go: the proxy drains.
    closed: AtomicBool,
    /// Nothing comes any more: the thread ends when it has taken what waits.
    ended: AtomicBool,
}

#[derive(Debug, Default)]
struct Clients {
    frames: hub::Ring,
    senders: Vec<mpsc::Sender<Bytes>>,
}

/// A page for the proxy to serve. Clones are the same page.
#[derive(Debug, Clone)]
pub struct Page(Arc<Shared>);

/// What a page is made from.
pub struct Sources {
    /// The upstreams.
    pub fleet: Arc<Fleet>,
    /// Makes the exporter's page.
    pub scrape: Box<dyn Fn() -> String + Send>,
    /// What wakes somebody.
    pub rules: Compiled,
    /// Where all of it is kept, and in which folder; `None` keeps the last minutes only.
    pub store: Option<(Store, PathBuf)>,
}

impl std::fmt::Debug for Sources {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sources").field("store", &self.store).finish_non_exhaustive()
    }
}

/// The thread behind a page. Dropping it ends the thread, and closes the store with everything that was told before.
#[derive(Debug)]
pub struct Hub {
    page: Page,
    thread: Option<JoinHandle<()>>,
}

impl Hub {
    /// Starts it.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub fn start(sources: Sources) -> std::io::Result<Self> {
        let (queue, told) = sync_channel(QUEUE);
        let page = Page(Arc::new(Shared {
            queue,
            lost: AtomicU64::new(0),
            clients: Mutex::default(),
            store: sources.store.as_ref().map(|(_, dir)| dir.clone()),
            variants: sources.fleet.variants().iter().map(|v| v.name.clone()).collect(),
            closed: AtomicBool::new(false),
            ended: AtomicBool::new(false),
        }));
        let mut thread = hub::Thread::new(page.clone(), sources);
        let thread = std::thread::Builder::new().name("page".to_owned()).spawn(move || thread.run(&told))?;
        Ok(Self { page, thread: Some(thread) })
    }

    /// The page, for the proxy.
    pub fn page(&self) -> Page {
        self.page.clone()
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        self.page.close();
        self.page.0.ended.store(true, Release);
        if let Some(thread) = self.thread.take() {
            // It looks whether it is to end several times a second.
            let _ = thread.join();
        }
    }
}

impl Page {
    /// Takes every request that has ended.
    pub fn observer(&self, fleet: Arc<Fleet>) -> Observer {
        let page = self.clone();
        Box::new(move |exchange: &Exchange| {
            let now = stopwatt_core::clock::monotonic_raw();
            let row = RequestRow::of(exchange, &fleet, now, stopwatt_core::clock::unix_now());
            page.tell(Told::Request(Box::new(row)));
        })
    }

    /// Takes what changed about an upstream.
    pub fn event(&self, event: Event) {
        self.tell(Told::Event(event));
    }

    fn tell(&self, told: Told) {
        if self.0.queue.try_send(told).is_err() {
            self.0.lost.fetch_add(1, Relaxed);
        }
    }

    /// Lets all clients go, so that nobody holds up a shutdown. What ends meanwhile is still taken.
    pub(crate) fn close(&self) {
        self.0.closed.store(true, Relaxed);
        self.clients().senders.clear();
    }

    fn clients(&self) -> std::sync::MutexGuard<'_, Clients> {
        self.0.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A new client: what it has missed since `after` (UNIX milliseconds), and what comes. `None` when there are too
    /// many.
    pub(crate) fn live(&self, after: i64) -> Option<(Bytes, mpsc::Receiver<Bytes>)> {
        let (sender, receiver) = mpsc::channel(BEHIND);
        let mut clients = self.clients();
        clients.senders.retain(|s| !s.is_closed());
        if clients.senders.len() >= MOST_CLIENTS {
            return None;
        }
        let hello = clients.frames.hello(after, self.0.store.is_some());
        if !self.0.closed.load(Relaxed) {
            clients.senders.push(sender);
        }
        Some((hello, receiver))
    }

    /// A span of the store, as JSON for the page; or the reason why not. Takes as long as reading it takes.
    pub(crate) fn history(&self, query: &str) -> Result<Bytes, String> {
        let dir = self.0.store.as_ref().ok_or("no_store")?;
        let number = |name: &str| {
            let mut pairs = query.split('&').filter_map(|p| p.split_once('='));
            pairs.find(|(key, _)| *key == name).and_then(|(_, value)| value.parse::<i64>().ok())
        };
        let seconds = number("seconds").filter(|s| (60..=366 * 86_400).contains(s)).ok_or("bad_span")?;
        let until = stopwatt_core::clock::unix_now();
        let from = until - seconds * 1_000_000_000;
        span::read(dir, &self.0.variants, from, until).map(Bytes::from).map_err(|e| e.to_string())
    }
}

//! The kinds that decide step by step: `real` and `simulated`.
//!
//! ```text
//!  event loop ──Order──► intake ──Order──► engine:  inbox → Scheduler → Executor → text
//!      ▲                (JSON, tokens,                │
//!      └─────────────────  limits) ◄── Notice ────────┘
//! ```
//!
//! Three threads. The loop owns the sockets, the intake reads and tokenises bodies so that a long prompt delays
//! nobody's tokens, the engine runs plans of `serving::scheduler`, one step after the other.
//!
//! Invariants, each held by a test:
//!
//! - a step never waits for a reader: notices go into a queue whose length `max_tokens` bounds;
//! - orders of one request keep their order, so that an abort always finds what it aborts;
//! - the client of a request that goes away costs one step at most, and its blocks are free after it.

mod engine;
mod executor;
mod intake;
mod order;
pub(crate) mod pages;
pub(crate) mod real;
mod server;
pub(crate) mod simulated;
mod stop;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::thread::JoinHandle;

use stopwatt_serving::scheduler::{Scheduler, SchedulerConfig};

use crate::api::Surface;
use crate::error::ServeError;
use crate::net::EventLoop;
use crate::serve::{Front, Listening};
use crate::shutdown::Shutdown;
use engine::Engine;
use executor::Executor;
use intake::{Intake, Language};
use order::Notices;
use server::DecodeServer;

/// What a kind brings.
struct Parts<E> {
    executor: E,
    language: Arc<dyn Language>,
    scheduler: Scheduler,
    /// Output tokens of a chat that sets no limit.
    default_output: u32,
    facts: BTreeMap<String, String>,
}

/// Serves until shut down.
fn run<E: Executor + 'static>(
    front: Front,
    parts: Parts<E>,
    ready: impl FnOnce(&Listening),
    shutdown: &Shutdown,
) -> Result<(), ServeError> {
    let max_model_len = parts.scheduler.config().max_model_len;
    let surface = Arc::new(Surface::new(front.model_name.clone(), max_model_len, front.token.clone()));
    let listening = front.listening(parts.facts)?;
    let (to_intake, intake_inbox) = channel();
    let (to_engine, engine_inbox) = channel();
    let (notices, received) = Notices::channel(front.waker.clone());
    let intake = Intake {
        surface: surface.clone(),
        language: parts.language,
        default_output: parts.default_output,
        notices: notices.clone(),
        engine: to_engine,
    };
    let engine = Engine::new(parts.scheduler, parts.executor, notices, surface.metrics.clone());
    let server = DecodeServer::new(surface, to_intake, received, shutdown.clone());
    let event_loop =
        EventLoop::new(front.listener, front.wakeups, front.limits, server).map_err(ServeError::EventLoop)?;
    let intake = spawn("intake", move || intake.run(&intake_inbox))?;
    let engine = spawn("engine", move || engine.run(&engine_inbox))?;
    ready(&listening);
    let server = event_loop.run(shutdown);
    // The intake ends when nobody can give it orders, the engine when the intake has ended.
    let ended = server.map(drop).map_err(ServeError::EventLoop);
    let joined = [("intake", intake), ("engine", engine)].map(|(name, thread)| join(name, thread));
    joined.into_iter().fold(ended, Result::and)
}

/// What a server of these kinds says of itself.
fn facts(kind: &str, rules: &SchedulerConfig) -> BTreeMap<String, String> {
    let facts = [
        ("kind", kind.to_owned()),
        ("max_model_len", rules.max_model_len.to_string()),
        ("max_num_seqs", rules.max_num_seqs.to_string()),
        ("max_num_batched_tokens", rules.max_num_batched_tokens.to_string()),
        ("kv_cache_tokens", (u64::from(rules.kv_blocks) * u64::from(rules.block_size)).to_string()),
        ("block_size", rules.block_size.to_string()),
        ("enable_prefix_caching", rules.enable_prefix_caching.to_string()),
    ];
    facts.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, ServeError> {
    std::thread::Builder::new().name(name.to_owned()).spawn(body).map_err(ServeError::EventLoop)
}

fn join(name: &'static str, thread: JoinHandle<()>) -> Result<(), ServeError> {
    thread.join().map_err(|_| ServeError::Panicked(name))
}

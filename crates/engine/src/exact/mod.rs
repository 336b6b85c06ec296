//! The exact kind: scripted latencies, and the truth of every write.
//!
//! ```text
//! request read ──ttft──► write ──gap──► write ──gap──► …        each with a stamp just before the system call
//!                          └─► TruthRecord ──► file, or memory of an in-process server
//! ```
//!
//! It is the reference that a client is measured against, the null server for floods (`ttft_s` and `itl_s` 0), and
//! the source of every fault that a client must survive. Deadlines are absolute, so that lateness does not add up.
//!
//! What a request sets and what it cannot: `max_tokens`, `min_tokens`, `ignore_eos`, `stream`, `stream_options` and
//! `return_token_ids` are obeyed; sampling settings and `stop` are read, checked, and have no effect on a script.

pub mod config;
mod exchange;
mod play;
mod script;
mod server;
pub mod truth;
mod truth_log;

pub use config::ExactConfig;
pub use truth::{Fault, FlushKind, TruthEnd, TruthRecord};

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use crate::api::Surface;
use crate::config::{Kind, ServeConfig};
use crate::error::ServeError;
use crate::net::EventLoop;
use crate::serve::{Front, Listening};
use crate::shutdown::Shutdown;
use server::ExactServer;
use truth_log::{Memory, TruthLog};

/// Serves the script until shut down.
pub(crate) fn serve(
    front: Front,
    config: ExactConfig,
    ready: impl FnOnce(&Listening),
    shutdown: &Shutdown,
) -> Result<(), ServeError> {
    run(front, config, None, ready, shutdown)
}

fn run(
    front: Front,
    config: ExactConfig,
    memory: Option<Memory>,
    ready: impl FnOnce(&Listening),
    shutdown: &Shutdown,
) -> Result<(), ServeError> {
    config.check()?;
    let truth = TruthLog::open(config.truth_log.as_deref(), memory)?;
    let surface = Arc::new(Surface::new(front.model_name.clone(), config.max_model_len, front.token.clone()));
    let facts = BTreeMap::from([
        ("kind".to_owned(), "exact".to_owned()),
        ("max_model_len".to_owned(), config.max_model_len.to_string()),
        ("ttft_s".to_owned(), config.ttft_s.to_string()),
        ("itl_s".to_owned(), config.itl_s.to_string()),
    ]);
    let listening = front.listening(facts)?;
    let server = ExactServer::new(config, surface, truth, shutdown.clone());
    let event_loop =
        EventLoop::new(front.listener, front.wakeups, front.limits, server).map_err(ServeError::EventLoop)?;
    ready(&listening);
    let server = event_loop.run(shutdown).map_err(ServeError::EventLoop)?;
    server.into_truth().close()
}

/// An exact server inside this process, for tests. Dropping it ends it.
#[derive(Debug)]
pub struct ExactHandle {
    addr: SocketAddr,
    model_name: String,
    memory: Memory,
    shutdown: Shutdown,
    thread: Option<JoinHandle<Result<(), ServeError>>>,
}

impl ExactHandle {
    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The model name that requests must give.
    pub fn model_name(&self) -> &str {
        &self.model_name
    }

    /// What was sent for the requests that have ended, in the order of their ends. A request ends here a moment after
    /// its client has read the last byte; see [`Self::wait_for_truth`].
    pub fn truth(&self) -> Vec<TruthRecord> {
        self.memory.all()
    }

    /// Waits until `n` requests have ended, for 10 seconds at most, and returns what there is.
    pub fn wait_for_truth(&self, n: usize) -> Vec<TruthRecord> {
        self.memory.wait_for(n, Duration::from_secs(10))
    }

    /// Ends the server, cuts off what is open, and reports what went wrong.
    pub fn shut_down(mut self) -> Result<(), ServeError> {
        self.stop()
    }

    fn stop(&mut self) -> Result<(), ServeError> {
        self.shutdown.trigger();
        match self.thread.take().map(JoinHandle::join) {
            None => Ok(()),
            Some(Ok(result)) => result,
            Some(Err(_)) => Err(ServeError::Panicked("exact server")),
        }
    }
}

impl Drop for ExactHandle {
    fn drop(&mut self) {
        // Whoever wants to know of an error calls `shut_down`.
        let _ = self.stop();
    }
}

/// Starts an exact server on a free loopback port; returns when it listens.
pub fn spawn(config: ExactConfig) -> Result<ExactHandle, ServeError> {
    let memory = Memory::default();
    let shutdown = Shutdown::new();
    let serve = ServeConfig { drain: Duration::ZERO, ..ServeConfig::new(Kind::Exact(config.clone())) };
    let (front, _) = Front::open(serve, &shutdown)?;
    let (sender, receiver) = mpsc::channel();
    let (kept, handle) = (memory.clone(), shutdown.clone());
    let body = move || {
        run(
            front,
            config,
            Some(kept),
            |listening| sender.send(listening.clone()).unwrap_or_default(),
            &handle,
        )
    };
    let thread = std::thread::Builder::new()
        .name("exact-server".to_owned())
        .spawn(body)
        .map_err(ServeError::EventLoop)?;
    let mut handle = ExactHandle {
        addr: SocketAddr::from(([0; 4], 0)),
        model_name: String::new(),
        memory,
        shutdown,
        thread: Some(thread),
    };
    match receiver.recv() {
        Ok(listening) => {
            handle.addr = listening.addr;
            handle.model_name = listening.model_name;
            Ok(handle)
        }
        // The thread ended before it listened: its result says why.
        Err(_) => Err(handle.stop().err().unwrap_or(ServeError::Panicked("exact server"))),
    }
}

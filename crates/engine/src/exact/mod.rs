//! The exact kind: scripted latencies, and the truth of every write.

pub mod config;
pub mod truth;

use std::net::SocketAddr;

use crate::error::ServeError;
use crate::shutdown::Shutdown;
use config::ExactConfig;
use truth::TruthRecord;

/// An exact server inside this process, for tests. Dropping it ends it.
#[derive(Debug)]
pub struct ExactHandle {
    addr: SocketAddr,
    shutdown: Shutdown,
}

impl ExactHandle {
    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// What was sent for the requests that have ended, in the order of their ends.
    pub fn truth(&self) -> Vec<TruthRecord> {
        Vec::new()
    }
}

impl Drop for ExactHandle {
    fn drop(&mut self) {
        self.shutdown.trigger();
    }
}

/// Starts an exact server on a free loopback port; returns when it listens.
pub fn spawn(config: ExactConfig) -> Result<ExactHandle, ServeError> {
    config.check()?;
    Err(ServeError::Setting { setting: "kind", problem: "exact is not available yet".to_owned() })
}

//! The client: a pool of connections and the event loop over them.

use stopwatt_core::Clock;

use crate::error::LoadError;
use crate::job::{Completed, Job, Limits, Outcome, Pace};
use crate::stop::Stop;
use crate::target::Target;

/// Keeps connections to one target open between runs.
#[derive(Debug)]
pub struct Client {
    target: Target,
}

impl Client {
    /// Resolves the target's name and prepares the event loop. Opens no connection.
    pub fn new(target: &Target) -> Result<Self, LoadError> {
        Ok(Self { target: target.clone() })
    }

    /// Sends jobs at a pace until there are none, time is up or `stop` is thrown.
    ///
    /// `jobs` is called with 0, 1, 2 … on a thread of its own, ahead of need. `on_done` is called on another thread,
    /// once for every request taken up, in the order in which they end; all calls are over when this returns.
    pub fn run(
        &mut self,
        pace: Pace,
        jobs: &mut (dyn FnMut(u64) -> Option<Job> + Send),
        limits: &Limits,
        stop: &Stop,
        clock: Clock,
        on_done: &mut (dyn FnMut(Completed) + Send),
    ) -> Result<Outcome, LoadError> {
        let _ = (pace, jobs, limits, stop, clock, on_done, &self.target);
        Err(LoadError::Poll { source: std::io::Error::from(std::io::ErrorKind::Unsupported) })
    }
}

/// [`Client::run`] over connections of its own.
pub fn run(
    target: &Target,
    pace: Pace,
    jobs: &mut (dyn FnMut(u64) -> Option<Job> + Send),
    limits: &Limits,
    stop: &Stop,
    clock: Clock,
    on_done: &mut (dyn FnMut(Completed) + Send),
) -> Result<Outcome, LoadError> {
    Client::new(target)?.run(pace, jobs, limits, stop, clock, on_done)
}

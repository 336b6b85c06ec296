//! When the next request is wanted: a freed slot of a closed loop, or an arrival of an open one.

use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, TryRecvError};

use stopwatt_core::Nanos;

/// Wanted send times that are not taken up yet.
pub(super) enum Schedule {
    /// When each free slot became free.
    Closed { free: VecDeque<Nanos> },
    /// Arrivals that came due.
    Open { due: Receiver<Nanos>, waiting: VecDeque<Nanos>, came: u64, max_in_flight: usize, over: bool },
}

impl Schedule {
    pub(super) fn closed(concurrency: usize, start: Nanos) -> Self {
        Self::Closed { free: VecDeque::from(vec![start; concurrency]) }
    }

    pub(super) fn open(due: Receiver<Nanos>, max_in_flight: Option<usize>) -> Self {
        let max_in_flight = max_in_flight.unwrap_or(usize::MAX);
        Self::Open { due, waiting: VecDeque::new(), came: 0, max_in_flight, over: false }
    }

    /// Whether requests are sent at given times.
    pub(super) fn is_open(&self) -> bool {
        matches!(self, Self::Open { .. })
    }

    /// The time at which a request is wanted now, if one is.
    pub(super) fn next(&mut self, in_flight: usize) -> Option<Nanos> {
        match self {
            Self::Closed { free } => free.pop_front(),
            Self::Open { due, waiting, came, max_in_flight, over } => {
                while !*over {
                    match due.try_recv() {
                        Ok(time) => {
                            *came += 1;
                            waiting.push_back(time);
                        }
                        Err(TryRecvError::Empty) => break,
                        Err(TryRecvError::Disconnected) => *over = true,
                    }
                }
                if in_flight < *max_in_flight { waiting.pop_front() } else { None }
            }
        }
    }

    /// Puts a time back that could not be served yet.
    pub(super) fn put_back(&mut self, time: Nanos) {
        match self {
            Self::Closed { free } => free.push_front(time),
            Self::Open { waiting, .. } => waiting.push_front(time),
        }
    }

    /// A request ended.
    pub(super) fn on_end(&mut self, time: Nanos) {
        if let Self::Closed { free } = self {
            free.push_back(time);
        }
    }

    /// Whether no request will be wanted again.
    pub(super) fn is_over(&self) -> bool {
        matches!(self, Self::Open { waiting, over: true, .. } if waiting.is_empty())
    }

    /// Counts the arrivals up to the end of the window, also those that the pacer is late with. It must be over.
    pub(super) fn close(&mut self) {
        if let Self::Open { due, came, over: over @ false, .. } = self {
            *came += due.iter().count() as u64;
            *over = true;
        }
    }

    /// Arrivals that came due; `None` in a closed loop.
    pub(super) fn came(&self) -> Option<u64> {
        match self {
            Self::Closed { .. } => None,
            Self::Open { came, .. } => Some(*came),
        }
    }
}

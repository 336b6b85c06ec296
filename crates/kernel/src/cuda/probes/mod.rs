//! Micro-benchmarks: kernels that measure the machine rather than an operator.
//!
//! A probe is a [`Plan`] like any other, so a device runs and checks it with what it has; [`Measures`] says what its
//! time is to be divided into. Streams check every byte they move, so hold a small one against its expectation
//! before timing a large one.

pub mod bandwidth;
pub mod latency;
pub mod peak;

use super::plan::Plan;

/// A plan and what it measures.
pub struct Probe {
    /// Launches and operands.
    pub plan: Plan,
    /// What one call amounts to.
    pub measures: Measures,
}

/// What one call of a probe amounts to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Measures {
    /// It moves bytes, useful ones: what a gather does not ask for is not counted.
    Traffic {
        /// Bytes read.
        read_bytes: f64,
        /// Bytes written.
        write_bytes: f64,
    },
    /// It computes: a multiplication and an addition are two operations.
    Operations {
        /// How many.
        count: f64,
    },
    /// It measures itself: this operand holds the cycles and then the nanoseconds of one dependent load.
    StepTime {
        /// Position in [`Plan::operands`].
        operand: usize,
    },
}

/// Where the bytes of a probe come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// Shared memory of a multiprocessor.
    Shared,
    /// First-level cache.
    First,
    /// Second-level cache.
    Second,
    /// Main memory of the device.
    Memory,
}

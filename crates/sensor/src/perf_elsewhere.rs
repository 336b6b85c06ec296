//! Hardware counters of the CPU: Linux only.

use crate::Unavailable;

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// A process and all below it.
    Tree(u32),
    /// Every CPU.
    Machine,
}

/// Counts since the counters were opened. `None` where the CPU has no such event.
#[derive(Debug, Clone, Copy, PartialEq, Default, serde::Serialize)]
pub struct CpuCounts {
    /// Clock cycles.
    pub cycles: Option<f64>,
    /// Instructions.
    pub instructions: Option<f64>,
    /// Accesses to the last cache.
    pub llc_references: Option<f64>,
    /// Accesses that the last cache could not answer.
    pub llc_misses: Option<f64>,
    /// Smallest share of the time in which an event was really counted.
    pub counted_share: Option<f64>,
}

/// Open counters; cannot be had on this system.
#[derive(Debug)]
pub struct CpuCounters(std::convert::Infallible);

impl CpuCounters {
    /// Always a reason.
    pub fn open(_scope: Scope) -> Result<Self, Unavailable> {
        Err(Unavailable::NotThisSystem { what: "hardware counters (perf_event_open)" })
    }

    /// Cannot be called.
    pub fn read(&mut self) -> Result<CpuCounts, Unavailable> {
        match self.0 {}
    }
}

//! Hardware counters of the CPU: Linux only.

use stopwatt_core::cpu_counters::CpuTrial;

use crate::Unavailable;

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// A process and all below it.
    Tree(u32),
    /// Every CPU.
    Machine,
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
    pub fn read(&mut self) -> Result<CpuTrial, Unavailable> {
        match self.0 {}
    }
}

//! What one reading of every sensor gives.

use serde::Serialize;
use stopwatt_core::Nanos;

use crate::nvml::{ForeignProcesses, GpuReading, Throttle, Utilisation};

/// One reading. `None` is a sensor that is not there or gave nothing this time.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Row {
    /// Middle of the power readings, in nanoseconds since `t0` of the run.
    pub t: Nanos,
    /// One for each GPU, in the driver's order.
    pub gpus: Vec<GpuRow>,
    /// The CPUs.
    pub cpu: CpuRow,
    /// The watched process and all below it.
    pub process: Option<ProcessRow>,
    /// Processes of others on the GPUs; read once a second and repeated.
    pub foreign: Option<ForeignProcesses>,
}

/// A GPU.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct GpuRow {
    /// Its sensors.
    pub reading: GpuReading,
    /// Use of its parts; in one row of several, since the driver renews it each 100 ms only.
    pub utilisation: Utilisation,
}

/// The CPUs.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct CpuRow {
    /// Energy of the packages since sampling began, in joules.
    pub energy_j: Option<f64>,
    /// Energy of the memory modules since sampling began, in joules.
    pub dram_energy_j: Option<f64>,
    /// Mean power of the packages since the row before, in watts.
    pub power_w: Option<f64>,
    /// Mean clock, in MHz; read once a second and repeated.
    pub freq_mhz: Option<f64>,
    /// Share of all CPU time that was used, 0 to 1; over the last second and repeated.
    pub busy: Option<f64>,
    /// The part of it that was not the watched process's; `None` when none is watched.
    pub others: Option<f64>,
}

/// A process and all below it; read once a second and repeated.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct ProcessRow {
    /// CPU time since they began, in seconds.
    pub cpu_s: f64,
    /// Resident memory.
    pub rss_bytes: u64,
}

impl Row {
    /// Power of the GPUs together, INSTANT where there is such a reading and AVERAGE else; without a GPU that of the CPU
    /// packages. In watts.
    pub fn power_w(&self) -> Option<f64> {
        if self.gpus.is_empty() {
            self.cpu.power_w
        } else {
            self.sum(|g| g.reading.instant_w.or(g.reading.average_w))
        }
    }

    /// Energy counters of the GPUs together; without a GPU those of the CPU packages. In joules.
    pub fn energy_j(&self) -> Option<f64> {
        if self.gpus.is_empty() { self.cpu.energy_j } else { self.sum(|g| g.reading.energy_j) }
    }

    /// Sum over the GPUs; `None` when one of them lacks it.
    pub(super) fn sum(&self, value: impl Fn(&GpuRow) -> Option<f64>) -> Option<f64> {
        if self.gpus.is_empty() { None } else { self.gpus.iter().map(value).sum() }
    }

    /// Mean over the GPUs; `None` when one of them lacks it.
    pub(super) fn mean(&self, value: impl Fn(&GpuRow) -> Option<f64>) -> Option<f64> {
        self.sum(value).map(|sum| sum / self.gpus.len() as f64)
    }

    /// Largest over the GPUs.
    pub(super) fn max(&self, value: impl Fn(&GpuRow) -> Option<u32>) -> Option<u32> {
        self.gpus.iter().filter_map(value).max()
    }

    /// Smallest over the GPUs.
    pub(super) fn min(&self, value: impl Fn(&GpuRow) -> Option<u32>) -> Option<u32> {
        self.gpus.iter().filter_map(value).min()
    }

    /// Reasons of any GPU; `None` when none of them says.
    pub fn throttle(&self) -> Option<Throttle> {
        self.gpus.iter().filter_map(|g| g.reading.throttle).reduce(Throttle::or)
    }
}

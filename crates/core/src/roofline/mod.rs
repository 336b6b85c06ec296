//! What a device was measured to be capable of: the roofs that every kernel stays below.
//!
//! ```text
//!  FLOP/s
//!    ▲        ┌────────────── peak (per number format, vector or matrix unit)
//!    │      ╱ ╱ ╱
//!    │    ╱ ╱ ╱   a slope per level: bandwidth of L1, L2, L3, memory
//!    │  ╱ ╱ ╱
//!    └──────────────────────► FLOP/byte
//! ```
//!
//! CPU and GPU fill the same types: a *unit* is a core or a streaming multiprocessor, the last level is main memory or
//! HBM. Every number carries its sample size and spread; what could not be measured is named in
//! [`Roofline::unavailable`]. Only types and formulas: `kernel` measures, `record` stores, `report` draws.

mod curve;
mod level;
mod peak;
mod staircase;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::kernel_table::{Launch, Op, Sampled};

pub use curve::{Curve, CurveKind, CurvePoint, Turnaround};
pub use level::{Access, Bandwidth, Level, LevelName};
pub use peak::{ComputeUnit, Peak};
pub use staircase::{Axis, Stair, StairPoint, Staircase};

/// A measured value with its spread, in SI base units.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Measured {
    /// Median.
    pub value: f64,
    /// Samples behind it.
    pub n: u32,
    /// Median of the absolute deviations from the median.
    pub mad: f64,
    /// Lower end of the 95 % interval of the median within this run; `None` when the sample is too small for one.
    pub lo: Option<f64>,
    /// Upper end.
    pub hi: Option<f64>,
}

impl Measured {
    /// The time of one call, in seconds.
    #[must_use]
    pub fn seconds(time: &Sampled) -> Self {
        Self { value: time.median_s, n: time.n, mad: time.mad_s, lo: time.lo_s, hi: time.hi_s }
    }

    /// `amount` a call as a rate. The spread is carried over to first order.
    #[must_use]
    pub fn rate(amount: f64, time: &Sampled) -> Self {
        let value = amount / time.median_s;
        Self {
            value,
            n: time.n,
            mad: value * time.mad_s / time.median_s,
            lo: time.hi_s.map(|s| amount / s),
            hi: time.lo_s.map(|s| amount / s),
        }
    }

    /// `parts` equal parts of it, for instance one load of a chain.
    #[must_use]
    pub fn divided(self, parts: f64) -> Self {
        Self {
            value: self.value / parts,
            n: self.n,
            mad: self.mad / parts,
            lo: self.lo.map(|v| v / parts),
            hi: self.hi.map(|v| v / parts),
        }
    }
}

/// How much of the device worked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Extent {
    /// One core, or one streaming multiprocessor.
    Unit,
    /// All of them.
    Device,
}

/// Which device.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Device {
    /// `cpu` or `cuda`.
    pub kind: String,
    /// Name that the device gives itself.
    pub name: String,
    /// Cores that were used, or streaming multiprocessors.
    pub units: u32,
    /// What it computes with: instruction set, or compute capability.
    pub instructions: String,
}

/// Time of issuing work that does nothing.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct LaunchFloor {
    /// How it was issued.
    pub launch: Launch,
    /// Kernels in a row (in a graph, its nodes).
    pub kernels: u32,
    /// Seconds a kernel.
    pub seconds: Measured,
}

/// Operators that ran at the same time, against each alone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct CoResident {
    /// What ran, each on a stream of its own.
    pub ops: Vec<Op>,
    /// Seconds until all had ended.
    pub together_s: Measured,
    /// Seconds that they take one after the other.
    pub apart_s: Measured,
}

/// Which of several ways to do something was the fastest, and is what a curve shows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Fastest {
    /// What, for instance `copy`.
    pub what: String,
    /// Bytes that it was done with.
    pub bytes: f64,
    /// The way.
    pub way: String,
}

/// Something that was not measured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Unavailable {
    /// What, for instance `peak bf16 matrix`.
    pub what: String,
    /// Why.
    pub reason: String,
}

/// Everything that was measured of one device; `roofline.json` of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Roofline {
    /// Version of Stopwatt that measured it.
    pub stopwatt: String,
    /// Which device.
    pub device: Device,
    /// Most operations a second.
    pub peaks: Vec<Peak>,
    /// Memory levels, nearest first; one unit and all of them apart.
    pub levels: Vec<Level>,
    /// Bandwidth and latency as functions of size, mix and pattern.
    pub curves: Vec<Curve>,
    /// Time of matrix products over finely stepped sizes.
    pub staircases: Vec<Staircase>,
    /// Cost of launching at all.
    pub launches: Vec<LaunchFloor>,
    /// Operators side by side.
    pub co_resident: Vec<CoResident>,
    /// Ways that were chosen among several.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fastest: Vec<Fastest>,
    /// What is missing, and why.
    pub unavailable: Vec<Unavailable>,
}

/// Where a level's slope meets a peak: kernels of less intensity are bound by the level.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ridge<'a> {
    /// The roof.
    pub peak: &'a Peak,
    /// The slope.
    pub level: &'a Level,
    /// Operations a byte at which they meet.
    pub flop_per_byte: f64,
}

impl Roofline {
    /// Nothing measured yet.
    #[must_use]
    pub fn empty(stopwatt: &str, device: Device) -> Self {
        Self {
            stopwatt: stopwatt.to_owned(),
            device,
            peaks: Vec::new(),
            levels: Vec::new(),
            curves: Vec::new(),
            staircases: Vec::new(),
            launches: Vec::new(),
            co_resident: Vec::new(),
            fastest: Vec::new(),
            unavailable: Vec::new(),
        }
    }

    /// Every pair of a peak and a level of the same extent, with the intensity at which they meet.
    #[must_use]
    pub fn ridges(&self) -> Vec<Ridge<'_>> {
        let mut ridges = Vec::new();
        for peak in &self.peaks {
            for level in self.levels.iter().filter(|level| level.extent == peak.extent) {
                if let Some(bandwidth) = level.read_bandwidth().filter(|b| b.value > 0.0) {
                    ridges.push(Ridge {
                        peak,
                        level,
                        flop_per_byte: peak.flop_per_s.value / bandwidth.value,
                    });
                }
            }
        }
        ridges
    }

    /// Most operations a second at an intensity, by a peak and a level: the roof over a kernel.
    #[must_use]
    pub fn attainable(peak: &Peak, level: &Level, flop_per_byte: f64) -> Option<f64> {
        let bandwidth = level.read_bandwidth()?.value;
        Some((flop_per_byte * bandwidth).min(peak.flop_per_s.value))
    }

    /// The main memory of the whole device: the level that operators too large for any cache are bound by.
    #[must_use]
    pub fn memory(&self) -> Option<&Level> {
        self.levels.iter().find(|l| l.name == LevelName::Memory && l.extent == Extent::Device)
    }

    /// The highest measured peak of a format over the whole device.
    #[must_use]
    pub fn peak(&self, dtype: crate::kernel_table::Dtype) -> Option<&Peak> {
        self.peaks
            .iter()
            .filter(|p| p.dtype == dtype && p.extent == Extent::Device)
            .max_by(|a, b| a.flop_per_s.value.total_cmp(&b.flop_per_s.value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel_table::Dtype;

    fn measured(value: f64) -> Measured {
        Measured { value, n: 5, mad: 0.0, lo: None, hi: None }
    }

    fn sample() -> Roofline {
        let device = Device {
            kind: "cpu".to_owned(),
            name: "test".to_owned(),
            units: 2,
            instructions: "avx2".to_owned(),
        };
        let mut roofline = Roofline::empty("0.1.0", device);
        for (extent, factor) in [(Extent::Unit, 1.0), (Extent::Device, 2.0)] {
            roofline.peaks.push(Peak {
                dtype: Dtype::F32,
                unit: ComputeUnit::Vector,
                instructions: "avx2".to_owned(),
                extent,
                flop_per_s: measured(100e9 * factor),
            });
            roofline.levels.push(Level {
                name: LevelName::Memory,
                extent,
                capacity_bytes: None,
                bandwidths: vec![Bandwidth { access: Access::Read, bytes_per_s: measured(20e9) }],
                latency_s: None,
            });
        }
        roofline
    }

    #[test]
    fn ridges_pair_only_what_worked_alike() {
        let roofline = sample();
        let ridges: Vec<f64> = roofline.ridges().iter().map(|r| r.flop_per_byte).collect();
        assert_eq!(ridges, [5.0, 10.0]);
    }

    #[test]
    fn a_kernel_is_below_the_slope_left_of_the_ridge_and_below_the_peak_right_of_it() {
        let roofline = sample();
        let under = |intensity| Roofline::attainable(&roofline.peaks[0], &roofline.levels[0], intensity);
        assert_eq!([under(1.0), under(5.0), under(50.0)], [Some(20e9), Some(100e9), Some(100e9)]);
    }

    #[test]
    fn the_roofs_of_the_device_are_found() {
        let roofline = sample();
        assert_eq!(roofline.peak(Dtype::F32).map(|p| p.flop_per_s.value), Some(200e9));
        assert_eq!(roofline.peak(Dtype::Bf16), None);
        assert_eq!(roofline.memory().map(|l| l.extent), Some(Extent::Device));
    }
}

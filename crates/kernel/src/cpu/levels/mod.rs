//! The machine below the operators: peak rates, bandwidth and latency of each memory level.
//!
//! ```text
//! peaks ─► bandwidth over working sets ─► latency ladder ─► levels (plateaus) ─► mix, strides, random places
//! ```
//!
//! Curves come first and know nothing of caches; a level is the median of the points of a curve that lie well inside
//! what the system says a cache holds. Bytes count what the program asked for.

mod bandwidth;
mod latency;
mod pattern;
mod peak;
mod plateau;
#[cfg(target_arch = "x86_64")]
mod tiles;

use stopwatt_core::clock::monotonic_raw;
use stopwatt_core::kernel_table::{Dtype, Dtypes, Op, OpKind, Sampled, Shape};
use stopwatt_core::roofline::{
    Access, Axis, Curve, CurveKind, CurvePoint, Extent, Measured, Roofline, Unavailable,
};

use super::device::Host;
use super::device::{all_memory, free_memory};
use super::geometry::Geometry;
use super::memory::Buffer;
use super::threads::Cpu;
use crate::case::{CaseError, Effort, Levels, Stairs};
use crate::timing::{Method, Timed, measure, monotonic_s};

/// Smallest working set of a unit.
const SMALLEST: usize = 4 << 10;
/// Times the last cache that the largest working set takes.
const CACHES: usize = 4;

impl Levels for Host {
    fn levels(
        &mut self,
        effort: Effort,
        roofline: &mut Roofline,
        go_on: &mut dyn FnMut(&str, &Roofline) -> bool,
    ) -> Result<(), CaseError> {
        let mut bench = Bench::new(&self.cpu, &self.geometry, effort)?;
        if !go_on("peaks", roofline) {
            return Ok(());
        }
        peak::measure(&bench, roofline)?;
        for access in bench.accesses() {
            for extent in bench.extents() {
                if !go_on(&format!("bandwidth: {}, {}", access.name(), of(extent)), roofline) {
                    return Ok(());
                }
                let points = bandwidth::curve(&mut bench, access, extent)?;
                roofline.curves.push(Curve { kind: CurveKind::WorkingSet { access }, extent, points });
            }
        }
        if !go_on("latency", roofline) {
            return Ok(());
        }
        let points = latency::curve(&mut bench)?;
        roofline.curves.push(Curve { kind: CurveKind::Latency, extent: Extent::Unit, points });
        roofline.levels = plateau::levels(&self.geometry, all_memory(), bench.units, &roofline.curves);
        if self.geometry.caches.is_empty() {
            roofline.unavailable.push(Unavailable {
                what: "cache levels".to_owned(),
                reason: "the system does not tell the sizes of its caches".to_owned(),
            });
        }
        for streaming in [false, true] {
            for extent in bench.extents() {
                let stores = if streaming { "streaming stores" } else { "stores" };
                if !go_on(&format!("reads and {stores} mixed, {}", of(extent)), roofline) {
                    return Ok(());
                }
                let points = pattern::mix(&mut bench, streaming, extent)?;
                roofline.curves.push(Curve { kind: CurveKind::Mix { streaming }, extent, points });
            }
        }
        for extent in bench.extents() {
            if !go_on(&format!("strides and random places, {}", of(extent)), roofline) {
                return Ok(());
            }
            let points = pattern::strides(&mut bench, extent)?;
            roofline.curves.push(Curve { kind: CurveKind::Stride, extent, points });
            let points = pattern::random(&mut bench, extent)?;
            roofline.curves.push(Curve { kind: CurveKind::Random, extent, points });
        }
        Ok(())
    }

    fn stairs(&self, effort: Effort) -> Vec<Stairs> {
        let most = if effort == Effort::Full { 96 } else { 48 };
        let product = |m, n| Op {
            kind: OpKind::Linear,
            shape: Shape::Matrix { m, n, k: 1024 },
            dtypes: Dtypes::all(Dtype::F32),
        };
        vec![
            Stairs { op: product(1, 1024), axis: Axis::M, sizes: (1..=most).collect() },
            Stairs { op: product(12, 64), axis: Axis::N, sizes: (16..=16 + most).collect() },
        ]
    }
}

fn of(extent: Extent) -> &'static str {
    match extent {
        Extent::Unit => "one core",
        Extent::Device => "all cores",
    }
}

/// What every measurement shares.
struct Bench<'a> {
    cpu: &'a Cpu,
    units: usize,
    effort: Effort,
    method: Method,
    buffer: Buffer,
}

impl<'a> Bench<'a> {
    fn new(cpu: &'a Cpu, geometry: &Geometry, effort: Effort) -> Result<Self, CaseError> {
        let units = cpu.threads();
        let wanted = (CACHES * geometry.last_cache_bytes() as usize).max((64 << 20) * units);
        let bytes = wanted.min((free_memory() / 2) as usize).max(SMALLEST * units);
        let mut buffer =
            Buffer::zeroed(bytes / 4).map_err(|_| CaseError::OutOfMemory { bytes: bytes as u64 })?;
        // Written once, so that no page is first touched while it is timed.
        buffer.fill(1.0);
        let method = Method {
            warmup_s: 0.005,
            warmup_calls: 1,
            sample_s: 300e-6,
            least_samples: 12,
            precision: 0.01,
            limit_s: if effort == Effort::Full { 0.5 } else { 0.12 },
            ..Method::default()
        };
        Ok(Self { cpu, units, effort, method, buffer })
    }

    fn units(&self, extent: Extent) -> usize {
        if extent == Extent::Unit { 1 } else { self.units }
    }

    /// One core and all of them, where these differ. A single core is the whole device.
    fn extents(&self) -> Vec<Extent> {
        if self.units > 1 { vec![Extent::Unit, Extent::Device] } else { vec![Extent::Device] }
    }

    fn accesses(&self) -> Vec<Access> {
        vec![
            Access::Read,
            Access::Write,
            Access::WriteStreaming,
            Access::Copy,
            Access::CopyStreaming,
            Access::Triad,
        ]
    }

    /// Bytes of memory that each unit has.
    fn most(&self, units: usize) -> usize {
        (self.buffer.len() * 4 / units) & !4095
    }

    /// Working sets of a unit, from the smallest to the largest.
    fn sizes(&self, units: usize) -> Vec<usize> {
        let step = if self.effort == Effort::Full { 2f64.sqrt() } else { 2.0 };
        let most = self.most(units);
        let sizes = (0..).map(|i| SMALLEST as f64 * step.powi(i)).map(|s| (s as usize) & !4095);
        sizes.take_while(|&s| s <= most).collect()
    }

    fn time(&self, mut run: impl FnMut()) -> Result<Sampled, CaseError> {
        let mut subject = Timed(|calls| {
            let begin = monotonic_raw();
            for _ in 0..calls {
                run();
            }
            Ok((monotonic_raw() - begin) as f64 * 1e-9)
        });
        measure(&mut subject, &self.method, &mut monotonic_s)
    }
}

/// A point of a curve of rates: `amount` a call.
fn rate(x: f64, amount: f64, time: &Sampled) -> CurvePoint {
    CurvePoint { x, y: Measured::rate(amount, time) }
}

#[cfg(test)]
mod tests;

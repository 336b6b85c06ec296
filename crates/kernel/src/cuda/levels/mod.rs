//! The machine below the operators: peak rates, bandwidth and latency of each memory level of a CUDA device.
//!
//! ```text
//! probes (pure plans) ──► PlanIssue ──► measure ──► curves ──► levels (plateaus)
//! chains of one instruction, products ─► measure ──► peaks
//! ```
//!
//! Bytes count what a probe asked for. A probe is held against its expectation at a small size before it is timed at
//! large ones. A part that cannot be measured is named with its reason.

mod bandwidth;
mod beside;
mod latency;
mod peak;

use stopwatt_core::kernel_table::{CacheState, Dtype, Dtypes, Launch, Op, OpKind, Sampled, Shape};
use stopwatt_core::roofline::{
    Access, Axis, Bandwidth, Curve, CurveKind, Extent, Level, LevelName, Measured, Roofline, Unavailable,
};

use super::device::CudaDevice;
use super::issue::{CudaCase, Issue as _};
use super::plan_case::PlanIssue;
use super::probes::Probe;
use crate::case::{Case, CaseError, Effort, Levels, Stairs};
use crate::timing::{Method, measure, monotonic_s};

/// What every measurement shares.
struct Bench<'a> {
    device: &'a mut CudaDevice,
    method: Method,
    fine: bool,
    first_level: Option<Level>,
}

impl Levels for CudaDevice {
    /// [`Effort::Full`] takes minutes, otherwise it takes less than one.
    fn levels(
        &mut self,
        effort: Effort,
        roofline: &mut Roofline,
        go_on: &mut dyn FnMut(&str, &Roofline) -> bool,
    ) -> Result<(), CaseError> {
        let fine = effort == Effort::Full;
        let method = Method {
            warmup_s: 0.005,
            warmup_calls: 2,
            sample_s: 500e-6,
            least_samples: 12,
            precision: 0.005,
            limit_s: if fine { 0.4 } else { 0.1 },
            ..Method::default()
        };
        let mut bench = Bench { device: self, method, fine, first_level: None };
        type Part = fn(&mut Bench<'_>, &mut Roofline) -> Result<(), CaseError>;
        let parts: [(&str, Part); 8] = [
            ("peaks of instructions", peak::instructions),
            ("peaks of products", peak::products),
            ("bandwidth over working sets", bandwidth::working_sets),
            ("latency", latency::curve),
            ("first-level cache", bandwidth::first_level),
            ("reads and writes mixed", bandwidth::mix),
            ("strides and random places", bandwidth::patterns),
            ("operators side by side", beside::co_resident),
        ];
        for (name, part) in parts {
            if !go_on(name, roofline) {
                return Ok(());
            }
            let result = part(&mut bench, roofline);
            note(roofline, name, result)?;
        }
        let l2_bytes = bench.device.target().l2_bytes;
        let memory_bytes = bench.device.facts().memory_bytes;
        roofline.levels = levels(l2_bytes, memory_bytes, bench.first_level.take(), &roofline.curves);
        Ok(())
    }

    fn stairs(&self, effort: Effort) -> Vec<Stairs> {
        let product = |m, n, dtype, output| Op {
            kind: OpKind::Linear,
            shape: Shape::Matrix { m, n, k: 4096 },
            dtypes: Dtypes { input: dtype, weight: dtype, output },
        };
        let steps = |from: u32, to: u32, step: u32| (from..=to).step_by(step as usize).collect::<Vec<_>>();
        let (most, step) = if effort == Effort::Full { (2048, 16) } else { (1024, 64) };
        vec![
            Stairs {
                op: product(1, 4096, Dtype::Bf16, Dtype::Bf16),
                axis: Axis::M,
                sizes: steps(step, most, step),
            },
            Stairs {
                op: product(2048, 128, Dtype::Bf16, Dtype::Bf16),
                axis: Axis::N,
                sizes: steps(4 * step, 4 * most, 4 * step),
            },
        ]
    }
}

/// A part that fails is named; only the loss of the device ends everything.
fn note(roofline: &mut Roofline, what: &str, result: Result<(), CaseError>) -> Result<(), CaseError> {
    match result {
        Err(lost @ CaseError::Lost { .. }) => Err(lost),
        Err(reason) => {
            roofline.unavailable.push(Unavailable { what: what.to_owned(), reason: reason.to_string() });
            Ok(())
        }
        Ok(()) => Ok(()),
    }
}

/// Probes of so many bytes or fewer are held against their expectation.
const CHECKED_BYTES: u64 = 32 << 20;

impl Bench<'_> {
    /// A probe ready to run, checked if it is small.
    fn prepare(&self, probe: Probe) -> Result<CudaCase<PlanIssue>, CaseError> {
        let operands = probe.plan.operands.iter();
        let bytes: u64 = operands.map(|o| (o.len * o.element.bytes()) as u64).sum();
        let case = self.unchecked(probe)?;
        let deviation = if bytes <= CHECKED_BYTES { case.issue().verify(0xbe7c)? } else { 0.0 };
        if deviation > 1.0 {
            return Err(CaseError::Failed {
                reason: format!("a wrong result: it deviates {deviation:.3} times what is allowed"),
            });
        }
        Ok(case)
    }

    /// A probe ready to run, whatever it computes.
    fn unchecked(&self, probe: Probe) -> Result<CudaCase<PlanIssue>, CaseError> {
        let gpu = self.device.gpu();
        gpu.enter()?;
        let issue = PlanIssue::new(gpu, probe.plan, CacheState::Warm, None)?;
        CudaCase::new(gpu, issue, Launch::Eager, CacheState::Warm)
    }

    fn time(&self, case: &mut dyn Case) -> Result<Sampled, CaseError> {
        measure(case, &self.method, &mut monotonic_s)
    }

    /// Bytes that a buffer may have at most.
    fn most_bytes(&self) -> Result<u64, CaseError> {
        Ok((self.device.gpu().memory()?.0 / 4).min(4 << 30))
    }
}

/// Levels from the curves: the points that lie well inside a level, and the first level as it was measured.
fn levels(l2_bytes: u64, memory_bytes: u64, first_level: Option<Level>, curves: &[Curve]) -> Vec<Level> {
    let l2 = l2_bytes as f64;
    let inside = |kind: CurveKind, from: f64, to: f64| -> Option<Measured> {
        let curve = curves.iter().find(|c| c.kind == kind)?;
        let mut points: Vec<Measured> =
            curve.points.iter().filter(|p| p.x >= from && p.x <= to).map(|p| p.y).collect();
        points.sort_by(|a, b| a.value.total_cmp(&b.value));
        points.get(points.len() / 2).copied()
    };
    let level = |name, capacity_bytes, from: f64, to: f64, latency: (f64, f64)| {
        let bandwidth = |access| {
            let bytes_per_s = inside(CurveKind::WorkingSet { access }, from, to)?;
            Some(Bandwidth { access, bytes_per_s })
        };
        let accesses = [Access::Read, Access::Write, Access::Copy, Access::Triad];
        Level {
            name,
            extent: Extent::Device,
            capacity_bytes,
            bandwidths: accesses.into_iter().filter_map(bandwidth).collect(),
            latency_s: inside(CurveKind::Latency, latency.0, latency.1),
        }
    };
    let none = (f64::INFINITY, f64::INFINITY);
    let mut all: Vec<Level> = first_level
        .into_iter()
        .map(|first| Level {
            // Small enough for the smallest first-level cache beside some shared memory.
            latency_s: inside(CurveKind::Latency, 4096.0, 16_384.0),
            ..first
        })
        .collect();
    all.push(level(LevelName::L2, Some(l2_bytes), 4e6, l2 / 3.0, (l2 / 40.0, l2 / 4.0)));
    // Large devices have the second level in two halves; what does not fit into one is reached through the other.
    all.push(level(LevelName::L2Far, None, none.0, none.1, (0.55 * l2, 0.85 * l2)));
    all.push(level(
        LevelName::Memory,
        Some(memory_bytes),
        8.0 * l2,
        f64::INFINITY,
        (8.0 * l2, f64::INFINITY),
    ));
    all.retain(|level| !level.bandwidths.is_empty() || level.latency_s.is_some());
    all
}

#[cfg(test)]
mod tests {
    use stopwatt_core::roofline::CurvePoint;

    use super::*;

    fn curve(kind: CurveKind, points: &[(f64, f64)]) -> Curve {
        let point = |&(x, value): &(f64, f64)| CurvePoint {
            x,
            y: Measured { value, n: 5, mad: 0.0, lo: None, hi: None },
        };
        Curve { kind, extent: Extent::Device, points: points.iter().map(point).collect() }
    }

    #[test]
    fn a_level_is_what_lies_well_inside_it() {
        const L2: u64 = 50 << 20;
        let mib = f64::from(1 << 20);
        let read = CurveKind::WorkingSet { access: Access::Read };
        let curves = [
            curve(read, &[(8.0 * mib, 6e12), (16.0 * mib, 5e12), (64.0 * mib, 4e12), (1024.0 * mib, 3e12)]),
            curve(
                CurveKind::Latency,
                &[(8192.0, 20e-9), (4.0 * mib, 150e-9), (32.0 * mib, 230e-9), (1024.0 * mib, 600e-9)],
            ),
        ];
        let found = levels(L2, 80 << 30, None, &curves);
        let names: Vec<LevelName> = found.iter().map(|l| l.name).collect();
        assert_eq!(names, [LevelName::L2, LevelName::L2Far, LevelName::Memory]);
        assert_eq!(found[0].read_bandwidth().map(|b| b.value), Some(6e12)); // the upper of the two inside
        assert_eq!(found[1].latency_s.map(|l| l.value), Some(230e-9));
        assert!(found[1].bandwidths.is_empty());
        assert_eq!(found[2].read_bandwidth().map(|b| b.value), Some(3e12));
        assert_eq!(found[2].latency_s.map(|l| l.value), Some(600e-9));
        assert_eq!(found[2].capacity_bytes, Some(80 << 30));
    }

    #[test]
    fn what_was_not_measured_is_no_level() {
        assert!(levels(1 << 20, 1 << 30, None, &[]).is_empty());
    }
}

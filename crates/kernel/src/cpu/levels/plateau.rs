//! Levels out of curves: what the points well inside a cache have in common.

use stopwatt_core::roofline::{Bandwidth, Curve, CurveKind, CurvePoint, Extent, Level, LevelName, Measured};
use stopwatt_stats::interval::quantile_order;
use stopwatt_stats::quantile::{median, sorted};

use crate::cpu::geometry::Geometry;

/// Times the cache before it from which on a working set is thought to miss that one.
const BEYOND: f64 = 1.3;
/// Share of a cache that a working set may take and still be thought to be in it. The last one is shared, also with
/// what the machine does besides.
const INSIDE: f64 = 0.75;
const INSIDE_LAST: f64 = 0.5;
/// Times the last cache from which on it is memory that is measured: what is left in it from one pass to the next is
/// less than a sixth.
const MEMORY: f64 = 2.0;

/// `memory_bytes` is what main memory holds, where the system states it.
pub(super) fn levels(
    geometry: &Geometry,
    memory_bytes: Option<u64>,
    units: usize,
    curves: &[Curve],
) -> Vec<Level> {
    let mut levels = Vec::new();
    for extent in [Extent::Unit, Extent::Device] {
        let units = if extent == Extent::Unit { 1 } else { units };
        for (name, capacity_bytes, from, to) in ranges(geometry, memory_bytes, units) {
            let of = |c: &&Curve| c.extent == extent;
            let bandwidths: Vec<Bandwidth> = curves
                .iter()
                .filter(of)
                .filter_map(|curve| match curve.kind {
                    CurveKind::WorkingSet { access } => {
                        Some(Bandwidth { access, bytes_per_s: plateau(&curve.points, from, to)? })
                    }
                    _ => None,
                })
                .collect();
            let ladder = curves.iter().filter(of).find(|c| c.kind == CurveKind::Latency);
            let latency_s = ladder.and_then(|c| plateau(&c.points, from, to));
            if !bandwidths.is_empty() || latency_s.is_some() {
                levels.push(Level { name, extent, capacity_bytes, bandwidths, latency_s });
            }
        }
    }
    levels
}

/// Levels with their capacity for so many units, and the working sets that lie in them.
fn ranges(
    geometry: &Geometry,
    memory_bytes: Option<u64>,
    units: usize,
) -> Vec<(LevelName, Option<u64>, f64, f64)> {
    let mut found = Vec::new();
    let mut before = 0.0;
    let last = geometry.caches.len().saturating_sub(1);
    for (index, cache) in geometry.caches.iter().enumerate() {
        let name = match cache.level {
            1 => LevelName::L1,
            2 => LevelName::L2,
            _ => LevelName::L3,
        };
        let capacity = cache.bytes * u64::from(cache.instances.max(1)).min(units as u64);
        let share = if index == last && index > 0 { INSIDE_LAST } else { INSIDE };
        found.push((name, Some(capacity), BEYOND * before, share * capacity as f64));
        before = capacity as f64;
    }
    found.push((LevelName::Memory, memory_bytes, MEMORY * before, f64::INFINITY));
    found
}

/// The median of the points in a range, with its spread between them; `None` without points.
fn plateau(points: &[CurvePoint], from: f64, to: f64) -> Option<Measured> {
    let inside: Vec<f64> = points.iter().filter(|p| p.x >= from && p.x <= to).map(|p| p.y.value).collect();
    if inside.is_empty() {
        return None;
    }
    let value = median(&inside);
    let deviations: Vec<f64> = inside.iter().map(|v| (v - value).abs()).collect();
    let ci = quantile_order(&sorted(&inside), 0.5, 0.95).ok();
    Some(Measured {
        value,
        n: inside.len() as u32,
        mad: median(&deviations),
        lo: ci.map(|c| c.lo),
        hi: ci.map(|c| c.hi),
    })
}

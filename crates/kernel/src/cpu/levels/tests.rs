//! Levels on a machine that is made up, and every measurement once on this one.

use stopwatt_core::roofline::{Device, LevelName};

use super::*;
use crate::cpu::geometry::Cache;
use crate::cpu::random::Random;

fn cache(level: u32, bytes: u64, instances: u32) -> Cache {
    Cache { level, bytes, line_bytes: 64, instances }
}

fn made_up() -> Geometry {
    Geometry {
        name: "made up".to_owned(),
        caches: vec![cache(1, 32 << 10, 2), cache(2, 1 << 20, 2), cache(3, 32 << 20, 1)],
    }
}

#[test]
fn plateaus_are_found_between_the_edges() {
    // 100 in L1, 50 in L2, 20 in L3, 10 beyond; at each edge something between that must not count.
    let value = |kib: f64| match kib {
        k if k <= 24.0 => 100.0,
        k if k < 48.0 => 77.0,
        k if k <= 768.0 => 50.0,
        k if k < 1400.0 => 33.0,
        k if k <= 16384.0 => 20.0,
        k if k < 65536.0 => 13.0,
        _ => 10.0,
    };
    let point = |i: i32| {
        let kib = 4.0 * 2f64.powf(f64::from(i) / 2.0);
        CurvePoint { x: kib * 1024.0, y: Measured { value: value(kib), n: 10, mad: 0.0, lo: None, hi: None } }
    };
    let curve = Curve {
        kind: CurveKind::WorkingSet { access: Access::Read },
        extent: Extent::Unit,
        points: (0..32).map(point).collect(),
    };
    let levels = plateau::levels(&made_up(), Some(8 << 30), 2, &[curve]);
    let found: Vec<(LevelName, f64)> =
        levels.iter().map(|l| (l.name, l.read_bandwidth().map_or(0.0, |b| b.value))).collect();
    assert_eq!(
        found,
        [(LevelName::L1, 100.0), (LevelName::L2, 50.0), (LevelName::L3, 20.0), (LevelName::Memory, 10.0)]
    );
    assert_eq!(levels[0].capacity_bytes, Some(32 << 10));
}

#[test]
fn a_chain_visits_every_line_once() {
    let mut chain = vec![0; 16 * 37];
    latency::lay(&mut chain, &mut Random::new(3));
    let (mut at, mut seen) = (0, std::collections::HashSet::new());
    while seen.insert(at) {
        at = chain[at] as usize;
    }
    assert_eq!((at, seen.len()), (0, 37));
}

#[test]
fn everything_is_measured_on_this_machine() {
    let cpu = Cpu::new(2);
    let geometry = Geometry { caches: vec![cache(1, 16 << 10, 2), cache(2, 64 << 10, 1)], ..made_up() };
    let mut host = Host { cpu, geometry };
    let device =
        Device { kind: "cpu".to_owned(), name: String::new(), units: 2, instructions: String::new() };
    let mut roofline = Roofline::empty("test", device);
    let mut parts = Vec::new();
    // One part of each kind: this is about paths, not about numbers.
    host.levels(Effort::Quick, &mut roofline, &mut |part, _| {
        parts.push(part.to_owned());
        parts.len() < 4
    })
    .unwrap();
    assert_eq!(parts[0], "peaks");
    assert!(roofline.peaks.len() >= 2 && roofline.curves.len() == 2, "{parts:?}");
    assert!(roofline.peaks.iter().all(|p| p.flop_per_s.value > 1e8), "{:?}", roofline.peaks);
    let points = &roofline.curves[0].points;
    assert!(points.len() > 10 && points.iter().all(|p| p.y.value > 1e7), "{points:?}");
    assert!(points.is_sorted_by(|a, b| a.x < b.x));

    let mut bench = Bench::new(&host.cpu, &host.geometry, Effort::Quick).unwrap();
    bench.method.limit_s = 0.002;
    for streaming in [false, true] {
        let points = pattern::mix(&mut bench, streaming, Extent::Device).unwrap();
        assert_eq!((points[0].x, points.len(), points[8].x), (0.0, 9, 1.0));
    }
    for access in bench.accesses() {
        assert!(!bandwidth::curve(&mut bench, access, Extent::Device).unwrap().is_empty());
    }
    let ladder = latency::curve(&mut bench).unwrap();
    assert!(ladder.iter().all(|p| p.y.value > 1e-11 && p.y.value < 1e-5), "{ladder:?}");
    assert!(pattern::strides(&mut bench, Extent::Unit).unwrap().iter().all(|p| p.y.value > 0.0));
    assert!(pattern::random(&mut bench, Extent::Device).unwrap().iter().all(|p| p.y.value > 0.0));
}

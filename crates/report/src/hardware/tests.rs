//! A made-up device, printed and drawn.

use stopwatt_core::kernel_table::{
    CacheState, Clocks, Dtype, Dtypes, Launch, Op, OpKind, Outcome, Provider, Sampled, Shape,
};
use stopwatt_core::roofline::{
    Access, Axis, Bandwidth, CoResident, ComputeUnit, Curve, CurveKind, CurvePoint, Device, Extent, Fastest,
    LaunchFloor, Level, LevelName, Measured, Peak, Stair, StairPoint, Staircase, Unavailable,
};
use stopwatt_core::text::Lang;

use super::*;
use crate::markup::Markup;
use crate::terminal::Style;

fn measured(value: f64) -> Measured {
    Measured { value, n: 20, mad: value / 100.0, lo: Some(0.99 * value), hi: Some(1.01 * value) }
}

fn curve(kind: CurveKind, points: &[(f64, f64)]) -> Curve {
    let points = points.iter().map(|&(x, y)| CurvePoint { x, y: measured(y) }).collect();
    Curve { kind, extent: Extent::Device, points }
}

fn product(m: u32) -> Op {
    Op {
        kind: OpKind::Linear,
        shape: Shape::Matrix { m, n: 1024, k: 1024 },
        dtypes: Dtypes { weight: Dtype::Bf16, ..Dtypes::all(Dtype::F32) },
    }
}

fn sample() -> Hardware {
    let device = Device {
        kind: "cpu".to_owned(),
        name: "Example <b>CPU</b>".to_owned(),
        units: 2,
        instructions: "avx512".to_owned(),
    };
    let mut roofline = Roofline::empty("0.1.0", device);
    for (dtype, flop) in [(Dtype::F32, 200e9), (Dtype::Bf16, 400e9)] {
        roofline.peaks.push(Peak {
            dtype,
            unit: ComputeUnit::Vector,
            instructions: "fma".to_owned(),
            extent: Extent::Device,
            flop_per_s: measured(flop),
        });
    }
    for (name, capacity, bandwidth, latency) in [
        (LevelName::L1, Some(64 << 10), 400e9, 1e-9),
        (LevelName::L2, Some(2 << 20), 100e9, 4e-9),
        (LevelName::Memory, None, 20e9, 100e-9),
    ] {
        roofline.levels.push(Level {
            name,
            extent: Extent::Device,
            capacity_bytes: capacity,
            bandwidths: vec![Bandwidth { access: Access::Read, bytes_per_s: measured(bandwidth) }],
            latency_s: Some(measured(latency)),
        });
    }
    let ladder = [(4096.0, 1e-9), (1e5, 4e-9), (1e8, 100e-9)];
    roofline.curves = vec![
        curve(CurveKind::WorkingSet { access: Access::Read }, &[(4096.0, 400e9), (1e5, 100e9), (1e8, 20e9)]),
        curve(CurveKind::Latency, &ladder),
        curve(CurveKind::Mix { streaming: true }, &[(0.0, 10e9), (0.5, 12e9), (1.0, 30e9)]),
        curve(CurveKind::Stride, &[(4.0, 20e9), (64.0, 1e9)]),
        curve(CurveKind::Random, &[(64.0, 1e9), (4096.0, 15e9)]),
    ];
    let point = |size: u32| StairPoint {
        size,
        seconds: measured(if size < 9 { 1e-5 } else { 2e-5 }),
        kernel: None,
        grid: None,
    };
    roofline.staircases.push(Staircase {
        op: product(1),
        axis: Axis::M,
        points: (1..=16).map(point).collect(),
        stairs: vec![Stair { size: 9, rise_s: 1e-5 }],
        tile: None,
        ripple: Some(0.012),
    });
    roofline.launches.push(LaunchFloor { launch: Launch::Eager, kernels: 32, seconds: measured(3e-6) });
    roofline.co_resident.push(CoResident {
        ops: vec![product(8), product(8)],
        together_s: measured(10e-6),
        apart_s: measured(18e-6),
    });
    roofline.fastest.push(Fastest { what: "copy".to_owned(), bytes: 1e9, way: "two <i>accesses".to_owned() });
    roofline
        .unavailable
        .push(Unavailable { what: "peaks of a matrix unit".to_owned(), reason: "none here".to_owned() });
    let row = |outcome: Outcome| KernelRow {
        op: product(16),
        provider: Provider::Native,
        kernel: Some("linear avx512".to_owned()),
        grid: None,
        block: Some(2),
        launch: Launch::Eager,
        cache: CacheState::Cold,
        clocks: Clocks::default(),
        outcome,
        unsteady: None,
    };
    let time = Sampled {
        n: 20,
        calls: 4,
        discarded: 0,
        median_s: 250e-6,
        mad_s: 2.5e-6,
        mean_s: 260e-6,
        lo_s: Some(249e-6),
        hi_s: Some(251e-6),
        settled: false,
        rounds: 1,
        between: None,
    };
    let kernels = vec![
        row(Outcome::Measured { time, deviation: 0.2 }),
        row(Outcome::Skipped { reason: "out of memory\u{1b}[2J".to_owned() }),
    ];
    Hardware { kernels, roofline: Some(roofline) }
}

const PLAIN: Style<'_> = Style { color: false, width: 140, files: None };

#[test]
fn rates_and_times_have_three_digits() {
    assert_eq!([si(3.351e12), si(99.4e9), si(512.0)], ["3.35 T", "99.4 G", "512 "]);
    assert_eq!([seconds(1.234e-9), seconds(65.3e-6), seconds(2.0)], ["1.23 ns", "65.3 µs", "2.00 s"]);
}

#[test]
fn a_table_says_what_a_kernel_comes_to() {
    let text = kernels_text(&sample().kernels, PLAIN);
    // 2·16·1024² / 250 µs = 134 GFLOP/s.
    assert!(text.contains("linear m=16 n=1024 k=1024") && text.contains("250 µs ?"), "{text}");
    assert!(text.contains("134 G") && text.contains("f32·bf16"), "{text}");
    assert!(text.contains("1 measured, 1 skipped"), "{text}");
    assert!(!text.contains('\u{1b}'), "text from outside is inert");
}

#[test]
fn a_roofline_says_its_ridges_and_what_turning_costs() {
    let text = roofline_text(sample().roofline.as_ref().unwrap(), PLAIN);
    // 200 G / 20 G; 12 of 15 GB/s.
    assert!(text.contains("10.00") && text.contains("20.0 % lost, at 50 % reads"), "{text}");
    assert!(text.contains("1 steps at 9, ripple 1.2 %") && text.contains("none here"), "{text}");
    assert!(text.contains("20.0 G ±1.0%") && text.contains("100 ns ±1.0%"), "{text}");
    assert!(text.contains("2 × linear m=8 n=1024 k=1024: 10.0 µs instead of 18.0 µs"), "{text}");
    assert!(text.contains("fastest copy of 953 MiB"), "{text}");
}

#[test]
fn every_number_stands_in_the_csv() {
    let text = roofline_csv(sample().roofline.as_ref().unwrap());
    let columns = text.lines().next().unwrap().split(',').count();
    assert!(text.lines().all(|l| l.split(',').count() == columns), "{text}");
    for part in ["peak", "level", "working_set", "latency", "mix", "stride", "random", "staircase", "launch"]
    {
        assert!(text.lines().any(|l| l.starts_with(&format!("{part},"))), "{part}");
    }
}

#[test]
fn every_plot_is_drawn_and_kernels_stand_under_the_roofs() {
    let charts = figures::charts(&sample(), Lang::En);
    let titles: Vec<&str> = charts.iter().map(|c| c.title.as_str()).collect();
    let expected = [
        "Roofline: whole device",
        "Bandwidth over working set: whole device",
        "Latency ladder",
        "Reads and writes mixed",
        "Strided reads",
        "Reads at random places",
        "Staircase over: m",
    ];
    assert_eq!(titles, expected);
    let mut m = Markup::default();
    charts[0].write(&mut m);
    let picture = m.finish();
    // Six ridge points (two peaks, three levels) and one kernel.
    assert_eq!(picture.matches("<circle").count(), 7, "{picture}");
    assert!(!picture.contains("NaN"), "{picture}");
    assert!(figures::charts(&Hardware::default(), Lang::Ko).is_empty());
}

//! Reasons and edges; accuracy against known truth is in `tests/energy.rs`.

use super::*;

const MS: Nanos = 1_000_000;

/// A counter that ticks each 100 ms at 100 W and is polled each 25 ms, from -1 s to 4 s.
fn steady() -> Vec<PowerSample> {
    (-40..160)
        .map(|i| {
            let t = i * 25 * MS;
            let tick = t.div_euclid(100 * MS);
            PowerSample {
                t,
                energy_j: Some(1000.0 + 10.0 * tick as f64),
                instant_w: Some(100.0),
                average_w: Some(100.0),
            }
        })
        .collect()
}

fn window(start_s: f64, end_s: f64) -> Window {
    Window { start: (start_s * 1e9) as Nanos, end: (end_s * 1e9) as Nanos }
}

fn of(trace: &[PowerSample], w: Window) -> Result<WindowEnergy, EnergyReason> {
    window_energy(trace, w, &Instrument::GPU, Some(40.0))
}

#[test]
fn a_constant_load_is_exact_in_every_method() {
    let energy = of(&steady(), window(0.03, 2.03)).unwrap();
    assert_eq!(energy.method, Method::Counter);
    assert!((energy.gross_j - 200.0).abs() < 1e-6, "{energy:?}");
    assert!((energy.net_j.unwrap() - 120.0).abs() < 1e-6);
    assert!((energy.tick_s - 0.1).abs() < 1e-9);
    for check in &energy.checks {
        assert!((check.joules.unwrap() - 200.0).abs() < 1e-6, "{check:?}");
    }
    assert!(!energy.disagreement);
    // √2 · 0.1 · 100 / √12 = 4.0825 J and 5 J of gain: k = 2 gives 12.9099 J.
    assert!((energy.interval().1 - 212.909_944).abs() < 1e-5);
}

#[test]
fn a_counter_that_stands_still_is_a_reason_and_power_takes_over() {
    let mut trace = steady();
    trace.iter_mut().for_each(|s| s.energy_j = Some(5.0));
    let energy = of(&trace, window(0.0, 2.0)).unwrap();
    assert_eq!(energy.method, Method::InstantTrapezoid);
    let check = energy.checks.iter().find(|c| c.method == Method::Counter).unwrap();
    assert_eq!((check.joules, &check.reason), (None, &Some(EnergyReason::CounterStandsStill)));
    trace.iter_mut().for_each(|s| (s.instant_w, s.average_w) = (None, None));
    assert_eq!(of(&trace, window(0.0, 2.0)), Err(EnergyReason::CounterStandsStill));
}

#[test]
fn a_counter_that_stops_in_the_window_is_not_extrapolated() {
    let mut trace = steady();
    for sample in &mut trace {
        sample.energy_j = sample.energy_j.map(|j| j.min(1100.0));
        sample.instant_w = None;
    }
    assert_eq!(of(&trace, window(0.0, 3.0)), Err(EnergyReason::CounterStandsStill));
}

#[test]
fn a_driver_that_was_loaded_anew_is_told() {
    let mut trace = steady();
    trace.iter_mut().filter(|s| s.t > 0).for_each(|s| s.energy_j = s.energy_j.map(|j| j - 900.0));
    let energy = of(&trace, window(-0.5, 1.5)).unwrap();
    assert_eq!(energy.method, Method::InstantTrapezoid);
    assert!(matches!(energy.checks[0].reason, Some(EnergyReason::CounterWentBack { .. })), "{energy:?}");
}

#[test]
fn short_empty_and_uncovered_windows_are_refused() {
    let trace = steady();
    assert!(matches!(of(&trace, window(0.0, 0.5)), Err(EnergyReason::WindowTooShort { .. })));
    assert_eq!(of(&trace, window(1.0, 1.0)), Err(EnergyReason::EmptyWindow));
    assert!(matches!(of(&trace, window(1.0, 9.0)), Err(EnergyReason::NotCovered { .. })));
    assert_eq!(of(&[], window(0.0, 1.0)), Err(EnergyReason::NoReading { what: "any" }));
}

#[test]
fn a_hole_in_the_readings_is_not_bridged() {
    let mut trace = steady();
    trace.retain(|s| !(500 * MS..1200 * MS).contains(&s.t));
    assert!(matches!(of(&trace, window(0.0, 2.0)), Err(EnergyReason::Hole { .. })));
}

#[test]
fn methods_that_differ_are_flagged_with_both_values() {
    let mut trace = steady();
    trace.iter_mut().for_each(|s| s.instant_w = Some(108.0));
    let energy = of(&trace, window(0.0, 2.0)).unwrap();
    assert!(energy.disagreement);
    assert!((energy.gross_j - 200.0).abs() < 1.0);
    let instant = energy.checks.iter().find(|c| c.method == Method::InstantTrapezoid).unwrap();
    assert!((instant.difference.unwrap() - 0.08).abs() < 0.005, "{instant:?}");
}

#[test]
fn the_average_without_what_trails_behind_is_a_reason() {
    let energy = of(&steady(), window(0.0, 3.9)).unwrap();
    let check = energy.checks.iter().find(|c| c.method == Method::AverageTrapezoid).unwrap();
    assert!(matches!(check.reason, Some(EnergyReason::NotCovered { .. })), "{check:?}");
}

#[test]
fn an_external_meter_is_integrated_as_it_is() {
    // 50 W rising to 150 W over 2 s at 10 Hz: 200 J.
    let trace: Vec<_> = (0..=20)
        .map(|i| PowerSample {
            t: i * 100 * MS,
            instant_w: Some(50.0 + 5.0 * i as f64),
            ..PowerSample::default()
        })
        .collect();
    let energy = window_energy(&trace, window(0.0, 2.0), &Instrument::meter(0.01), None).unwrap();
    assert!((energy.gross_j - 200.0).abs() < 1e-9);
    assert_eq!((energy.method, energy.net_j), (Method::InstantTrapezoid, None));
    assert!((energy.uncertainty.gain_j - 1.0).abs() < 1e-9);
}

#[test]
fn two_devices_add_up() {
    let one = of(&steady(), window(0.0, 2.0)).unwrap();
    let both = sum(&[one.clone(), one.clone()]).unwrap();
    assert!((both.gross_j - 2.0 * one.gross_j).abs() < 1e-9);
    assert_eq!(both.idle_w, Some(80.0));
    assert!((both.uncertainty.edge_j - one.uncertainty.edge_j * 2f64.sqrt()).abs() < 1e-9);
    assert!(both.checks.iter().all(|c| c.difference.unwrap().abs() < 0.01));
    assert_eq!(sum(&[]), None);
}

#[test]
fn idle_power_is_the_mean_of_a_quiet_window() {
    let idle = mean_power(&steady(), window(0.0, 2.0), &Instrument::GPU).unwrap();
    assert!((idle - 100.0).abs() < 1e-6);
}

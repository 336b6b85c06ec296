//! Rates, burstiness and order of arrival processes.

use proptest::prelude::*;

use super::*;

fn process(spec: ArrivalSpec) -> ArrivalProcess {
    spec.try_into().unwrap()
}

/// Mean rate and coefficient of variation of the gaps.
fn rate_and_cv(process: ArrivalProcess, seed: u64, n: usize) -> (f64, f64) {
    let times: Vec<f64> = process.offsets(seed).take(n).map(|t| t as f64 / 1e9).collect();
    let gaps: Vec<f64> = times.windows(2).map(|w| w[1] - w[0]).collect();
    let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
    let variance = gaps.iter().map(|g| (g - mean).powi(2)).sum::<f64>() / gaps.len() as f64;
    (1.0 / mean, variance.sqrt() / mean)
}

#[test]
fn a_constant_rate_is_exact_to_the_nanosecond_after_a_day() {
    // 333 requests a second: request i belongs at i × 10⁹/333 ns.
    let times = ArrivalProcess::constant(333.0).unwrap().offsets(0);
    for (i, t) in times.enumerate().step_by(999_983).take(30) {
        let exact = i as i128 * 1_000_000_000;
        assert!((i128::from(t) * 333 - exact).abs() * 2 <= 333, "request {i} at {t}");
    }
}

#[test]
fn a_constant_rate_begins_at_zero_and_has_equal_gaps() {
    let times: Vec<_> = ArrivalProcess::constant(50.0).unwrap().offsets(9).take(4).collect();
    assert_eq!(times, [0, 20_000_000, 40_000_000, 60_000_000]);
}

#[test]
fn rates_and_burstiness_are_those_asked_for() {
    let check = |spec, cv: f64| {
        let (rate, got) = rate_and_cv(process(spec), 17, 40_000);
        // Standard error of the mean gap is cv/√40,000 = cv/200.
        assert!((rate / 80.0 - 1.0).abs() < 0.02 * (1.0 + cv), "{spec:?}: rate {rate}");
        assert!((got - cv).abs() < 0.03 * (1.0 + cv), "{spec:?}: cv {got}");
    };
    check(ArrivalSpec::Constant { rate_rps: 80.0 }, 0.0);
    check(ArrivalSpec::Poisson { rate_rps: 80.0 }, 1.0);
    // CV of a gamma with shape k is 1/√k.
    check(ArrivalSpec::Gamma { rate_rps: 80.0, burstiness: 1.0 }, 1.0);
    check(ArrivalSpec::Gamma { rate_rps: 80.0, burstiness: 0.25 }, 2.0);
    check(ArrivalSpec::Gamma { rate_rps: 80.0, burstiness: 16.0 }, 0.25);
}

#[test]
fn counts_of_a_poisson_process_scatter_as_much_as_their_mean() {
    let mut counts = vec![0_f64; 4_000];
    for t in ArrivalProcess::poisson(5.0).unwrap().offsets(3) {
        match counts.get_mut((t / 1_000_000_000) as usize) {
            Some(count) => *count += 1.0,
            None => break,
        }
    }
    let mean = counts.iter().sum::<f64>() / 4_000.0;
    let variance = counts.iter().map(|c| (c - mean).powi(2)).sum::<f64>() / 4_000.0;
    assert!((mean - 5.0).abs() < 0.15 && (variance / mean - 1.0).abs() < 0.1, "{mean} {variance}");
}

#[test]
fn a_ramp_is_solved_by_hand() {
    // 0 to 10/s in 10 s: t²/2 requests up to t, 50 in all.
    let up = ArrivalSpec::Ramp { from_rps: 0.0, to_rps: 10.0, duration_s: 10.0, spacing: Spacing::Even };
    let times: Vec<_> = process(up).offsets(0).collect();
    assert_eq!(times.len(), 50);
    assert_eq!((times[0], times[2], times[8], times[32]), (0, 2_000_000_000, 4_000_000_000, 8_000_000_000));
    // 10 to 0/s: 10 t − t²/2. The 32nd request comes after 4 s.
    let down = ArrivalSpec::Ramp { from_rps: 10.0, to_rps: 0.0, duration_s: 10.0, spacing: Spacing::Even };
    let times: Vec<_> = process(down).offsets(0).collect();
    assert_eq!((times.len(), times[32]), (50, 4_000_000_000));
    // A ramp that does not rise is a constant rate.
    let flat = ArrivalSpec::Ramp { from_rps: 8.0, to_rps: 8.0, duration_s: 2.0, spacing: Spacing::Even };
    let steady: Vec<_> = ArrivalProcess::constant(8.0).unwrap().offsets(0).take(16).collect();
    assert_eq!(process(flat).offsets(0).collect::<Vec<_>>(), steady);
}

#[test]
fn a_random_ramp_has_its_rate_at_every_time() {
    let spec =
        ArrivalSpec::Ramp { from_rps: 20.0, to_rps: 180.0, duration_s: 100.0, spacing: Spacing::Poisson };
    let times: Vec<f64> = process(spec).offsets(5).map(|t| t as f64 / 1e9).collect();
    // Quarters of the ramp hold 25 s × the mean rate there: 1,000, 2,000, 3,000, 4,000; ±4 standard errors.
    for (quarter, expected) in [1_000.0, 2_000.0, 3_000.0, 4_000.0_f64].into_iter().enumerate() {
        let count = times.iter().filter(|&&t| (t / 25.0) as usize == quarter).count() as f64;
        assert!((count - expected).abs() < 4.0 * expected.sqrt(), "quarter {quarter}: {count}");
    }
}

#[test]
fn send_times_are_these_on_every_platform() {
    let first = |spec| process(spec).offsets(42).take(3).collect::<Vec<_>>();
    assert_eq!(first(ArrivalSpec::Poisson { rate_rps: 10.0 }), [25_771_660, 104_061_821, 184_606_663]);
    assert_eq!(
        first(ArrivalSpec::Gamma { rate_rps: 10.0, burstiness: 0.5 }),
        [516_325_818, 917_096_897, 931_029_107]
    );
}

#[test]
fn shards_together_send_the_whole_process() {
    let whole: Vec<_> = ArrivalProcess::poisson(100.0).unwrap().offsets(1).take(90).collect();
    let mut merged: Vec<_> = (0..3)
        .flat_map(|i| ArrivalProcess::poisson(100.0).unwrap().offsets(1).skip(i).step_by(3).take(30))
        .collect();
    merged.sort_unstable();
    assert_eq!(merged, whole);
}

#[test]
fn processes_that_make_no_sense_are_refused() {
    let refused = |spec| ArrivalProcess::try_from(spec).unwrap_err();
    for rate_rps in [0.0, -1.0, f64::INFINITY] {
        assert_eq!(refused(ArrivalSpec::Poisson { rate_rps }), ArrivalError::Rate { rate_rps });
    }
    assert_eq!(
        refused(ArrivalSpec::Gamma { rate_rps: 1.0, burstiness: 0.0 }),
        ArrivalError::Burstiness { burstiness: 0.0 }
    );
    let ramp = |from_rps, to_rps, duration_s| {
        refused(ArrivalSpec::Ramp { from_rps, to_rps, duration_s, spacing: Spacing::Even })
    };
    assert_eq!(ramp(0.0, 0.0, 1.0), ArrivalError::Rate { rate_rps: 0.0 });
    assert_eq!(ramp(1.0, 2.0, 0.0), ArrivalError::Duration { duration_s: 0.0 });
    let error = toml::from_str::<ArrivalProcess>("[poisson]\nrate = 3").unwrap_err().to_string();
    assert!(error.contains("rate = 3") && error.contains("rate_rps"), "{error}");
}

fn any_spec() -> impl Strategy<Value = ArrivalSpec> {
    let rate = || 0.01..5_000.0_f64;
    let burstiness = || 0.05..50.0_f64;
    let spacing = prop_oneof![
        Just(Spacing::Even),
        Just(Spacing::Poisson),
        burstiness().prop_map(|burstiness| Spacing::Gamma { burstiness })
    ];
    prop_oneof![
        rate().prop_map(|rate_rps| ArrivalSpec::Constant { rate_rps }),
        rate().prop_map(|rate_rps| ArrivalSpec::Poisson { rate_rps }),
        (rate(), burstiness()).prop_map(|(rate_rps, burstiness)| ArrivalSpec::Gamma { rate_rps, burstiness }),
        (0.0..500.0_f64, 0.01..500.0_f64, 0.1..1e5_f64, spacing).prop_map(
            |(from_rps, to_rps, duration_s, spacing)| {
                ArrivalSpec::Ramp { from_rps, to_rps, duration_s, spacing }
            }
        ),
    ]
}

proptest! {
    #[test]
    fn send_times_never_decrease_and_one_seed_gives_one_sequence(spec in any_spec(), seed: u64) {
        let times: Vec<_> = process(spec).offsets(seed).take(300).collect();
        prop_assert!(times.is_sorted() && times.first().is_none_or(|&t| t >= 0));
        prop_assert_eq!(&times, &process(spec).offsets(seed).take(300).collect::<Vec<_>>());
        if let ArrivalSpec::Ramp { duration_s, .. } = spec {
            prop_assert!(times.iter().all(|&t| t as f64 <= duration_s * 1e9 + 0.5));
        }
    }

    #[test]
    fn an_even_ramp_sends_its_mean_rate(from in 0.0..50.0_f64, to in 1.0..50.0_f64, duration_s in 1.0..100.0_f64) {
        let spec = ArrivalSpec::Ramp { from_rps: from, to_rps: to, duration_s, spacing: Spacing::Even };
        let count = process(spec).offsets(0).count() as f64;
        prop_assert!((count - process(spec).mean_rate_rps() * duration_s).abs() <= 1.0);
    }
}

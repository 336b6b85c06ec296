//! The method on simulated devices whose true time is known.

use std::cell::Cell;
use std::rc::Rc;

use super::*;

/// A device whose call `i` takes `time(i)` seconds, on a clock that it moves itself.
struct Simulated<F> {
    time: F,
    calls: u64,
    clock: Rc<Cell<f64>>,
    /// Step of its clock, in seconds.
    resolution: f64,
    throttled: fn(f64) -> bool,
}

impl<F: FnMut(u64) -> f64> Simulated<F> {
    fn new(time: F) -> Self {
        Self { time, calls: 0, clock: Rc::default(), resolution: 1e-9, throttled: |_| false }
    }

    fn measure(&mut self, method: &Method) -> Result<Sampled, CaseError> {
        let clock = Rc::clone(&self.clock);
        measure(self, method, &mut || clock.get())
    }
}

impl<F: FnMut(u64) -> f64> Subject for Simulated<F> {
    fn sample(&mut self, calls: u32) -> Result<f64, CaseError> {
        let mut sum = 0.0;
        for _ in 0..calls {
            sum += (self.time)(self.calls);
            self.calls += 1;
        }
        self.clock.set(self.clock.get() + sum);
        Ok((sum / self.resolution).round().max(1.0) * self.resolution)
    }

    fn throttled(&mut self) -> bool {
        (self.throttled)(self.clock.get())
    }
}

/// Noise of ±`share`, uniform, by a fixed sequence.
fn noise(i: u64, share: f64) -> f64 {
    let x = (i.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x1234_5678).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 40;
    1.0 + share * (x as f64 / f64::from(1u32 << 23) - 1.0)
}

#[track_caller]
fn assert_near(found: f64, truth: f64, relative: f64) {
    assert!((found - truth).abs() <= relative * truth, "{found} is not {truth}");
}

#[test]
fn a_quiet_device_is_settled_after_the_fewest_samples() {
    let got = Simulated::new(|i| 10e-6 * noise(i, 0.01)).measure(&Method::default()).unwrap();
    assert_near(got.median_s, 10e-6, 1e-3);
    assert!(got.settled && got.n == 20, "{got:?}");
    assert!(got.calls >= 20, "a sample of {} calls is too short", got.calls);
    assert!(got.lo_s.unwrap() <= got.median_s && got.median_s <= got.hi_s.unwrap());
}

#[test]
fn a_coarse_clock_makes_samples_longer_not_wrong() {
    let mut device = Simulated::new(|i| 3e-7 * noise(i, 0.05));
    device.resolution = 1e-6;
    let got = device.measure(&Method::default()).unwrap();
    assert_near(got.median_s, 3e-7, 0.01);
}

#[test]
fn slow_first_calls_are_warmed_away() {
    let got = Simulated::new(|i| if i < 200 { 1e-3 } else { 1e-4 * noise(i, 0.01) })
        .measure(&Method { warmup_s: 0.25, ..Method::default() });
    assert_near(got.unwrap().median_s, 1e-4, 2e-3);
}

#[test]
fn noise_asks_for_more_samples_and_outliers_move_only_the_mean() {
    let noisy = |i: u64| 1e-4 * noise(i, 0.2) * if i.is_multiple_of(50) { 30.0 } else { 1.0 };
    let got = Simulated::new(noisy).measure(&Method { limit_s: 60.0, ..Method::default() }).unwrap();
    assert!(got.n > 100, "{got:?}");
    assert_near(got.median_s, 1e-4, 0.02);
    assert!(got.mean_s > 1.3e-4, "{got:?}");
}

#[test]
fn a_drift_is_never_settled() {
    let mut device = Simulated::new(|i| 1e-3 * (1.0 + i as f64 * 2e-3));
    let got = device.measure(&Method::default()).unwrap();
    assert!(!got.settled, "{got:?}");
}

#[test]
fn the_limit_ends_what_does_not_settle() {
    let mut device = Simulated::new(|i| 1e-3 * noise(i, 0.9));
    let got = device.measure(&Method { precision: 1e-6, most_samples: u32::MAX, ..Method::default() });
    assert!(!got.unwrap().settled);
    assert!((2.0..2.1).contains(&device.clock.get()), "{}", device.clock.get());
}

#[test]
fn a_call_longer_than_the_limit_is_measured_once() {
    let got = Simulated::new(|_| 5.0).measure(&Method::default()).unwrap();
    assert_eq!((got.n, got.calls, got.settled, got.lo_s), (1, 1, false, None));
    assert_eq!(got.median_s, 5.0);
}

#[test]
fn throttled_samples_are_discarded_and_counted() {
    // Twice as slow in every second tenth of a second, and it says so.
    fn slow(at: f64) -> bool {
        (at * 10.0) as u64 % 2 == 1
    }
    let clock: Rc<Cell<f64>> = Rc::default();
    let shared = Rc::clone(&clock);
    let mut device =
        Simulated::new(move |i| 1e-3 * noise(i, 0.01) * if slow(shared.get()) { 2.0 } else { 1.0 });
    device.clock = clock;
    device.throttled = slow;
    let method = Method { warmup_s: 0.0, least_samples: 200, limit_s: 20.0, ..Method::default() };
    let got = device.measure(&method).unwrap();
    assert!(got.settled && got.discarded > 20, "{got:?}");
    assert_near(got.median_s, 1e-3, 0.005);
    device.throttled = |_| true;
    assert!(matches!(device.measure(&method), Err(CaseError::Failed { .. })));
}

#[test]
fn fixed_counts_are_kept_to_the_letter() {
    let mut device = Simulated::new(|i| if i < 10 { 1.0 } else { 1e-6 * (i - 9) as f64 });
    let fixed = Some(Fixed { warmup: 10, iterations: 100 });
    let got = device.measure(&Method { fixed, limit_s: 0.1, ..Method::default() }).unwrap();
    assert_eq!((device.calls, got.n, got.calls, got.settled), (110, 100, 1, true));
    // 1 … 100 µs: median 50.5, mean 50.5, half of them within 25 of the middle.
    assert_near(got.median_s, 50.5e-6, 1e-9);
    assert_near(got.mean_s, 50.5e-6, 1e-9);
    assert_near(got.mad_s, 25e-6, 1e-9);
}

#[test]
fn a_clock_that_stands_still_is_an_error() {
    let mut subject = Timed(|_| Ok(0.0));
    assert!(matches!(measure(&mut subject, &Method::default(), &mut || 0.0), Err(CaseError::Failed { .. })));
}

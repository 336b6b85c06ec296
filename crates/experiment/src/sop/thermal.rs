//! Has the machine stopped to heat up? Temperature and clock over the last seconds, and waiting for a GPU to cool.
//!
//! A window is flat when a robust line through it moves by less than 1 °C and by no more than 1 % of the clock from end
//! to end.

use stopwatt_core::Nanos;
use stopwatt_stats::trend::theil_sen;

/// One reading of the GPUs: the hottest, and the lowest clock.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Heat {
    /// When, in nanoseconds since `t0`.
    pub(crate) t: Nanos,
    /// In °C.
    pub(crate) temperature_c: f64,
    /// In MHz; `None` when nothing tells.
    pub(crate) clock_mhz: Option<f64>,
}

/// Largest drift of the temperature over a window, in °C.
const DEGREES: f64 = 1.0;
/// Largest drift of the clock over a window, as a share of it.
const CLOCK_SHARE: f64 = 0.01;
/// Fewest readings of a window.
const LEAST: usize = 10;
/// How far trials may begin from the temperature of the first, in °C.
pub(crate) const EQUAL_C: f64 = 2.0;

/// Whether the last `window_s` seconds are flat; `None` while the readings do not reach over so long.
pub(crate) fn flat(readings: &[Heat], window_s: f64) -> Option<bool> {
    let last = readings.last()?.t;
    let begin = last - (window_s * 1e9) as Nanos;
    // A reading from before the window shows that it is covered.
    if readings.first()?.t > begin {
        return None;
    }
    let inside: Vec<&Heat> = readings.iter().filter(|r| r.t >= begin).collect();
    if inside.len() < LEAST {
        return None;
    }
    let seconds = |r: &Heat| (r.t - begin) as f64 * 1e-9;
    let heat: Vec<_> = inside.iter().map(|r| (seconds(r), r.temperature_c)).collect();
    let clock: Vec<_> = inside.iter().filter_map(|r| Some((seconds(r), r.clock_mhz?))).collect();
    let level = clock.iter().map(|c| c.1).sum::<f64>() / clock.len().max(1) as f64;
    let still = slope(&heat).abs() * window_s < DEGREES;
    Some(still && slope(&clock).abs() * window_s <= CLOCK_SHARE * level)
}

/// Slope of a robust line (Theil–Sen), which steps of whole degrees do not move; 0 with too few points for one.
fn slope(points: &[(f64, f64)]) -> f64 {
    theil_sen(points, 0.95).map_or(0.0, |trend| trend.slope)
}

/// How a trial began.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Start {
    /// Near enough to the first one, or the first.
    Now,
    /// Too hot: wait.
    Wait,
    /// Colder than the first by more than the limit; waiting makes it no warmer.
    Cold,
}

/// Whether a trial may begin at a temperature, when the first began at `first`.
pub(crate) fn start(first: Option<f64>, now: f64) -> Start {
    match first {
        Some(first) if now > first + EQUAL_C => Start::Wait,
        Some(first) if now < first - EQUAL_C => Start::Cold,
        _ => Start::Now,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Readings each 100 ms for `seconds`, of a temperature and a clock by the second.
    fn series(seconds: f64, at: impl Fn(f64) -> (f64, f64)) -> Vec<Heat> {
        (0..=(seconds * 10.0) as i64)
            .map(|i| {
                let (temperature_c, clock) = at(i as f64 / 10.0);
                Heat { t: i * 100_000_000, temperature_c, clock_mhz: Some(clock) }
            })
            .collect()
    }

    #[test]
    fn a_gpu_that_heats_up_is_flat_when_its_curve_is() {
        // 40 °C to 70 °C with a time constant of 20 s, in whole degrees as sensors tell.
        let curve = |t: f64| ((70.0 - 30.0 * (-t / 20.0).exp()).round(), 1980.0);
        assert_eq!(flat(&series(15.0, curve), 10.0), Some(false));
        // The last 10 s of 80 move by 30·(e^−3.5 − e^−4) = 0.36 °C.
        assert_eq!(flat(&series(80.0, curve), 10.0), Some(true));
    }

    #[test]
    fn a_clock_that_still_falls_is_not_flat() {
        // 2 MHz a second: 1 % of 1980 in 10 s.
        let falling = |t: f64| (60.0, 1980.0 - 2.5 * t);
        assert_eq!(flat(&series(30.0, falling), 10.0), Some(false));
        let noisy = |t: f64| {
            (60.0 + f64::from((t * 10.0) as u32 % 2), 1980.0 - 15.0 * f64::from((t * 10.0) as u32 % 2))
        };
        assert_eq!(flat(&series(30.0, noisy), 10.0), Some(true));
    }

    #[test]
    fn too_short_a_look_says_nothing() {
        assert_eq!(flat(&[], 10.0), None);
        assert_eq!(flat(&series(5.0, |_| (50.0, 1000.0)), 10.0), None);
        let without: Vec<Heat> =
            series(30.0, |_| (50.0, 0.0)).into_iter().map(|h| Heat { clock_mhz: None, ..h }).collect();
        assert_eq!(
            flat(&without, 10.0),
            Some(true),
            "a GPU that does not tell its clock has its temperature"
        );
    }

    #[test]
    fn trials_begin_within_two_degrees_of_the_first() {
        assert_eq!(start(None, 80.0), Start::Now);
        assert_eq!(start(Some(60.0), 62.0), Start::Now);
        assert_eq!(start(Some(60.0), 63.0), Start::Wait);
        assert_eq!(start(Some(60.0), 57.0), Start::Cold);
    }
}

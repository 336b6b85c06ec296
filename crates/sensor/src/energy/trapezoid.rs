//! Energy from polled power.

use stopwatt_core::Nanos;
use stopwatt_stats::quantile;

use super::{EnergyReason, Instrument, PowerSample, Window, typical};

/// Joules of the window from INSTANT power, and the time between two of its updates in seconds.
///
/// A reading that is held shows the past: the mean of a moment's energy trails over one update and its averaging window.
/// That is undone as for AVERAGE; where the readings end with the window, by moving the window by the mean age instead.
pub(super) fn instant(
    trace: &[PowerSample],
    window: Window,
    instrument: &Instrument,
) -> Result<(f64, f64), EnergyReason> {
    let what = "instant power";
    let update_s = update_s(trace, |s| s.instant_w).ok_or(EnergyReason::NoReading { what })?;
    let power = |s: &PowerSample| s.instant_w;
    if !instrument.held {
        let joules = integral_near(trace, power, window.start, window.end);
        return Ok((joules.ok_or(EnergyReason::NoReading { what })?, update_s));
    }
    let spread = nanos(update_s + instrument.instant_s);
    let settled = Window { start: window.end + spread, end: window.end + 3 * spread };
    let joules = trailing(trace, power, window, spread, settled).or_else(|| {
        let age = spread / 2;
        integral_near(trace, power, window.start + age, window.end + age)
    });
    Ok((joules.ok_or(EnergyReason::NoReading { what })?, update_s))
}

/// Joules of the window from AVERAGE power, which trails over its averaging window and one update.
pub(super) fn average(
    trace: &[PowerSample],
    window: Window,
    instrument: &Instrument,
) -> Result<f64, EnergyReason> {
    let what = "average power";
    let update_s = update_s(trace, |s| s.average_w).ok_or(EnergyReason::NoReading { what })?;
    let spread = nanos(update_s + instrument.average_s);
    let end = window.end + spread;
    let last = trace.last().map_or(0, |s| s.t);
    if last < end {
        return Err(EnergyReason::NotCovered { missing_s: (end - last) as f64 * 1e-9 });
    }
    // INSTANT is settled after an update and its own window; without INSTANT there is no level so early.
    let settled = Window { start: window.end + nanos(2.0 * update_s), end };
    trailing(trace, |s| s.average_w, window, spread, settled)
        .ok_or(EnergyReason::NoReading { what: "the power before and after the window" })
}

/// Joules of the window from a power whose readings spread each moment's energy over the `spread` after it:
///
/// ∫ over [t0, t1 + s] = E + s/2 · (level before t0) + s/2 · (level after t1)
///
/// exactly, as long as both levels are flat. The levels come from INSTANT: before the window, and in `settled`.
fn trailing(
    trace: &[PowerSample],
    power: impl Fn(&PowerSample) -> Option<f64>,
    window: Window,
    spread: Nanos,
    settled: Window,
) -> Option<f64> {
    let level = |from: Nanos, to: Nanos| {
        Some(integral(trace, |s| s.instant_w, from, to)? / ((to - from) as f64 * 1e-9))
    };
    let first = trace.first()?.t;
    let before = level((window.start - 2 * spread).max(first), window.start)?;
    let after = level(settled.start, settled.end)?;
    let all = integral(trace, power, window.start, window.end + spread)?;
    Some(all - spread as f64 * 1e-9 / 2.0 * (before + after))
}

/// ∫ of the readings from `from` to `to`, in joules, straight lines between them; `None` when they do not reach over it
/// or there is a single one.
pub(super) fn integral(
    trace: &[PowerSample],
    power: impl Fn(&PowerSample) -> Option<f64>,
    from: Nanos,
    to: Nanos,
) -> Option<f64> {
    let points: Vec<(f64, f64)> =
        trace.iter().filter_map(|s| Some(((s.t - from) as f64 * 1e-9, power(s)?))).collect();
    let length = (to - from) as f64 * 1e-9;
    let (first, last) = (points.first()?, points.last()?);
    if points.len() < 2 || first.0 > 0.0 || last.0 < length || length <= 0.0 {
        return None;
    }
    Some(area(&points, length))
}

/// The same, holding the first and last reading for as long as a reading lasts: a meter that was started with the
/// window has its first reading a little late.
fn integral_near(
    trace: &[PowerSample],
    power: impl Fn(&PowerSample) -> Option<f64>,
    from: Nanos,
    to: Nanos,
) -> Option<f64> {
    let mut points: Vec<(f64, f64)> =
        trace.iter().filter_map(|s| Some(((s.t - from) as f64 * 1e-9, power(s)?))).collect();
    let length = (to - from) as f64 * 1e-9;
    let (first, last) = (*points.first()?, *points.last()?);
    let step = (last.0 - first.0) / (points.len() - 1).max(1) as f64;
    if points.len() < 2 || first.0 > 2.5 * step || length - last.0 > 2.5 * step {
        return None;
    }
    if first.0 > 0.0 {
        points.insert(0, (0.0, first.1));
    }
    if last.0 < length {
        points.push((length, last.1));
    }
    Some(area(&points, length))
}

/// Area under the line through the points from 0 to `length`.
fn area(points: &[(f64, f64)], length: f64) -> f64 {
    points
        .windows(2)
        .filter(|pair| pair[1].0 > 0.0 && pair[0].0 < length && pair[1].0 > pair[0].0)
        .map(|pair| {
            let ((t0, p0), (t1, p1)) = (pair[0], pair[1]);
            let at = |t: f64| p0 + (p1 - p0) * (t - t0) / (t1 - t0);
            let (a, b) = (t0.max(0.0), t1.min(length));
            (at(a) + at(b)) / 2.0 * (b - a)
        })
        .sum()
}

/// Time between changes of a reading, in seconds. A reading that changes too rarely to tell is taken to update
/// with each poll.
fn update_s(trace: &[PowerSample], power: impl Fn(&PowerSample) -> Option<f64>) -> Option<f64> {
    let readings: Vec<(Nanos, f64)> = trace.iter().filter_map(|s| Some((s.t, power(s)?))).collect();
    let polls: Vec<f64> = readings.windows(2).map(|p| (p[1].0 - p[0].0) as f64 * 1e-9).collect();
    if polls.is_empty() {
        return None;
    }
    let changes: Vec<Nanos> = readings.windows(2).filter(|p| p[0].1 != p[1].1).map(|p| p[1].0).collect();
    let gaps: Vec<f64> = changes.windows(2).map(|p| (p[1] - p[0]) as f64 * 1e-9).collect();
    let poll = quantile::median(&polls);
    // An idle board repeats values; a gap of many polls between changes is not its update period.
    Some(if gaps.len() < 5 { poll } else { typical(&gaps).clamp(poll, 10.0 * poll) })
}

fn nanos(seconds: f64) -> Nanos {
    (seconds * 1e9) as Nanos
}

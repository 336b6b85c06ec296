//! Energy of a window of time, from readings of counters and power. Pure: readings in, joules out.
//!
//! ```text
//! counter    E(t1) − E(t0); E between two ticks = the tick before + ∫ INSTANT         the value, where there is one
//! instant    ∫ INSTANT over [t0, t1 + 0.125 s] − (before + after)/2 × 0.125 s         cross-check; else the value
//! average    ∫ AVERAGE over [t0, t1 + 1.1 s] − (before + after)/2 × 1.1 s             cross-check
//! ```
//!
//! Why not simply the trapezoid of polled power, as the procedure of 2024 asks for: the default reading of an H100 is a
//! moving average of 1 s, so a window of 5 s loses 12 % (see `docs/sensors.md` for the table, and the tests for the
//! simulation behind it).
//!
//! Invariants:
//!
//! - what cannot be known is an [`EnergyReason`], never a number: a counter that stands still, a window of fewer than
//!   [`MIN_TICKS`] ticks, a hole in the readings;
//! - two methods that differ by more than [`DISAGREEMENT`] are flagged, and both values stay visible;
//! - the parts of the uncertainty stay apart, because the gain of the instrument cancels between two runs on one GPU
//!   and the others do not.

mod counter;
mod meter_file;
mod reason;
mod trapezoid;
mod uncertainty;

use serde::Serialize;
use stopwatt_core::Nanos;
use stopwatt_stats::{describe, quantile};

pub use meter_file::{MeterFileError, read_meter_file};
pub use reason::EnergyReason;
pub use uncertainty::Uncertainty;

/// Fewest ticks of the counter in a window whose energy is reported.
pub const MIN_TICKS: f64 = 10.0;
/// Relative difference between two methods above which they disagree.
pub const DISAGREEMENT: f64 = 0.05;

/// One reading. `None` is a sensor that is not there.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct PowerSample {
    /// When it was read, in nanoseconds of the run's clock.
    pub t: Nanos,
    /// Energy counter, in joules from any zero.
    pub energy_j: Option<f64>,
    /// Power now, in watts.
    pub instant_w: Option<f64>,
    /// Power as a moving average, in watts.
    pub average_w: Option<f64>,
}

/// A span of time, in nanoseconds of the run's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// First moment.
    pub start: Nanos,
    /// Moment after the last.
    pub end: Nanos,
}

impl Window {
    /// Length, in seconds.
    pub fn seconds(self) -> f64 {
        (self.end - self.start) as f64 * 1e-9
    }
}

/// How an instrument behaves.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Instrument {
    /// Gain uncertainty, relative, at k ≈ 2.
    pub gain: f64,
    /// Time over which INSTANT is a mean, in seconds.
    pub instant_s: f64,
    /// Time over which AVERAGE is a mean, in seconds.
    pub average_s: f64,
    /// Readings repeat until the instrument updates them.
    pub held: bool,
}

impl Instrument {
    /// NVIDIA GPUs from Ampere on: INSTANT sees about 25 ms of each 100 ms, AVERAGE 1 s (Yang et al., SC'24, and as
    /// seen on an H100); boards differ from an external meter by ±5 % as a rule.
    pub const GPU: Self = Self { gain: 0.05, instant_s: 0.025, average_s: 1.0, held: true };
    /// RAPL: the counter updates each millisecond, so every reading is new.
    pub const CPU: Self = Self { gain: 0.05, instant_s: 0.0, average_s: 0.0, held: false };

    /// An external meter that gives the power of each moment; `gain` as its data sheet says, at k ≈ 2.
    pub fn meter(gain: f64) -> Self {
        Self { gain, instant_s: 0.0, average_s: 0.0, held: false }
    }
}

/// How a value came about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// Difference of the energy counter with corrected edges.
    Counter,
    /// Trapezoid of INSTANT power, or of an external meter's.
    InstantTrapezoid,
    /// Trapezoid of AVERAGE power over the window and what trails behind it.
    AverageTrapezoid,
}

/// A second opinion.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Check {
    /// How it came about.
    pub method: Method,
    /// Its joules.
    pub joules: Option<f64>,
    /// Its distance from the value, relative to the value.
    pub difference: Option<f64>,
    /// Why there is none.
    pub reason: Option<EnergyReason>,
}

/// Energy of one window.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct WindowEnergy {
    /// How the value came about.
    pub method: Method,
    /// Length of the window, in seconds.
    pub duration_s: f64,
    /// All energy in the window, in joules.
    pub gross_j: f64,
    /// The same less the idle power over the window; `None` when the idle power is not known.
    pub net_j: Option<f64>,
    /// Idle power that was subtracted, in watts.
    pub idle_w: Option<f64>,
    /// Time between two updates of the instrument as seen, in seconds.
    pub tick_s: f64,
    /// How sure the gross value is, in parts.
    pub uncertainty: Uncertainty,
    /// What the other methods say.
    pub checks: Vec<Check>,
    /// Whether a check differs by more than [`DISAGREEMENT`].
    pub disagreement: bool,
}

impl WindowEnergy {
    /// Mean power, in watts.
    pub fn mean_w(&self) -> f64 {
        self.gross_j / self.duration_s
    }

    /// Bounds of the gross value at k = 2 (about 95 %).
    pub fn interval(&self) -> (f64, f64) {
        let expanded = self.uncertainty.expanded();
        ((self.gross_j - expanded).max(0.0), self.gross_j + expanded)
    }

    /// The same with what repetitions showed: `standard_error_j` of the mean of their energies.
    #[must_use]
    pub fn with_repeats(mut self, standard_error_j: f64) -> Self {
        self.uncertainty.repeats_j = Some(standard_error_j);
        self
    }
}

/// Energy of `window`.
///
/// The trace should begin at least two ticks before the window and end 1.2 s after it; what lacks is told in
/// [`WindowEnergy::checks`] or is the reason for no value. `idle_w` is the power of the idle machine, from
/// [`mean_power`] of a quiet window.
pub fn window_energy(
    trace: &[PowerSample],
    window: Window,
    instrument: &Instrument,
    idle_w: Option<f64>,
) -> Result<WindowEnergy, EnergyReason> {
    let duration_s = window.seconds();
    if duration_s <= 0.0 {
        return Err(EnergyReason::EmptyWindow);
    }
    covered(trace, window)?;
    let by_counter = counter::energy(trace, window);
    let by_instant = trapezoid::instant(trace, window, instrument);
    let by_average = trapezoid::average(trace, window, instrument);

    let counter_tick = by_counter.as_ref().ok().map(|(_, tick)| *tick);
    let (method, gross_j, tick_s) = match (&by_counter, &by_instant) {
        (Ok((joules, tick)), _) => (Method::Counter, *joules, *tick),
        // A counter that is there and misbehaves is not silently replaced: its reason is in the checks.
        (Err(_), Ok((joules, update))) => (Method::InstantTrapezoid, *joules, *update),
        (Err(EnergyReason::NoReading { .. }), Err(reason)) | (Err(reason), Err(_)) => {
            return Err(reason.clone());
        }
    };
    let ticks = duration_s / tick_s;
    // The tick is known to a few per cent; ten of them are ten.
    if ticks.round() < MIN_TICKS {
        return Err(EnergyReason::WindowTooShort { ticks, needed: MIN_TICKS, tick_s });
    }

    let opinions = [
        (Method::Counter, by_counter.map(|(joules, _)| joules)),
        (Method::InstantTrapezoid, by_instant.map(|(joules, _)| joules)),
        (Method::AverageTrapezoid, by_average),
    ];
    let checks: Vec<Check> = opinions
        .into_iter()
        .filter(|(other, _)| *other != method)
        .map(|(method, result)| {
            let joules = result.as_ref().ok().copied();
            Check {
                method,
                joules,
                difference: joules.filter(|_| gross_j > 0.0).map(|j| j / gross_j - 1.0),
                reason: result.err(),
            }
        })
        .collect();
    let disagreement = checks.iter().filter_map(|c| c.difference).any(|d| d.abs() > DISAGREEMENT);
    let edge_s = counter_tick.unwrap_or(tick_s);
    Ok(WindowEnergy {
        method,
        duration_s,
        gross_j,
        net_j: idle_w.map(|w| gross_j - w * duration_s),
        idle_w,
        tick_s,
        uncertainty: Uncertainty::new(gross_j, duration_s, edge_s, instrument.gain),
        checks,
        disagreement,
    })
}

/// Mean power over `window`, in watts, for instance of an idle machine.
pub fn mean_power(
    trace: &[PowerSample],
    window: Window,
    instrument: &Instrument,
) -> Result<f64, EnergyReason> {
    window_energy(trace, window, instrument, None).map(|e| e.mean_w())
}

/// Energy of several devices over the same window. Edges and repetitions are independent between devices; the gain is
/// taken as common to all, which is the cautious choice. `None` without parts.
pub fn sum(parts: &[WindowEnergy]) -> Option<WindowEnergy> {
    let first = parts.first()?;
    let methods: Vec<Method> = first.checks.iter().map(|c| c.method).collect();
    let gross_j: f64 = parts.iter().map(|p| p.gross_j).sum();
    let checks = methods
        .into_iter()
        .map(|method| {
            let of = |p: &WindowEnergy| p.checks.iter().find(|c| c.method == method).cloned();
            let found: Vec<Check> = parts.iter().filter_map(of).collect();
            let joules =
                (found.len() == parts.len()).then(|| found.iter().map(|c| c.joules).sum::<Option<f64>>());
            let joules = joules.flatten();
            Check {
                method,
                joules,
                difference: joules.filter(|_| gross_j > 0.0).map(|j| j / gross_j - 1.0),
                reason: found.into_iter().find_map(|c| c.reason),
            }
        })
        .collect();
    Some(WindowEnergy {
        method: first.method,
        duration_s: first.duration_s,
        gross_j,
        net_j: parts.iter().map(|p| p.net_j).sum(),
        idle_w: parts.iter().map(|p| p.idle_w).sum(),
        tick_s: parts.iter().map(|p| p.tick_s).fold(0.0, f64::max),
        uncertainty: Uncertainty::sum(parts.iter().map(|p| &p.uncertainty)),
        checks,
        disagreement: parts.iter().any(|p| p.disagreement),
    })
}

/// Typical gap between updates: the mean of the gaps that are within half of their median. Polls blur each gap; a median
/// alone would keep that blur, a mean alone would take in pauses.
fn typical(gaps: &[f64]) -> f64 {
    let median = quantile::median(gaps);
    let near: Vec<f64> = gaps.iter().copied().filter(|g| (g - median).abs() <= median / 2.0).collect();
    if near.is_empty() { median } else { describe::mean(&near) }
}

/// Refuses a trace that does not reach over the window, or has a hole of half a second or more in it.
fn covered(trace: &[PowerSample], window: Window) -> Result<(), EnergyReason> {
    let (Some(first), Some(last)) = (trace.first(), trace.last()) else {
        return Err(EnergyReason::NoReading { what: "any" });
    };
    let missing = (first.t - window.start).max(window.end - last.t);
    // A meter of 10 Hz may end 100 ms early; the edge's uncertainty covers that.
    let step = (last.t - first.t) / trace.len().saturating_sub(1).max(1) as i64;
    if missing > 2 * step {
        return Err(EnergyReason::NotCovered { missing_s: missing as f64 * 1e-9 });
    }
    let longest = trace
        .windows(2)
        .filter(|pair| pair[1].t > window.start && pair[0].t < window.end)
        .map(|pair| pair[1].t - pair[0].t)
        .max()
        .unwrap_or(0);
    let limit = (window.end - window.start) / 10;
    if longest > limit.max(500_000_000) {
        return Err(EnergyReason::Hole { seconds: longest as f64 * 1e-9 });
    }
    Ok(())
}

#[cfg(test)]
mod tests;

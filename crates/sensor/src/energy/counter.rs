//! Energy from a counter that moves in ticks.
//!
//! ```text
//! energy  ┤                        ┌────      between tick k and tick k + 1 the counter stands still; the energy at t is
//!         │              ┌─────────┘          that of tick k plus ∫ INSTANT from tick k to t, at most that of tick k + 1
//!         │    ┌─────────┘
//!         └────┴───┬─────┴─────────┴──► t
//!            tick k  t0    tick k+1
//! ```
//!
//! INSTANT is some tens of milliseconds old when it is read. Integrated *forward* from a tick it still shows what was
//! before an edge, and that is what is needed: idle before the start, load before the end.

use stopwatt_core::Nanos;

use super::{EnergyReason, PowerSample, Window, trapezoid, typical};

/// A change of the counter.
struct Tick {
    /// Middle of the two readings that enclose the change.
    t: Nanos,
    /// Value after it.
    j: f64,
}

/// Joules of the window and the length of a tick in seconds.
pub(super) fn energy(trace: &[PowerSample], window: Window) -> Result<(f64, f64), EnergyReason> {
    let ticks = ticks(trace)?;
    let within = ticks.iter().filter(|t| (window.start..window.end).contains(&t.t)).count();
    let gaps: Vec<f64> = ticks.windows(2).map(|pair| (pair[1].t - pair[0].t) as f64 * 1e-9).collect();
    if gaps.is_empty() || within == 0 {
        return Err(EnergyReason::CounterStandsStill);
    }
    let tick_s = typical(&gaps);
    // Some instruments pause; a counter silent at an edge for three ticks cannot tell where the edge is.
    let limit = (3e9 * tick_s) as Nanos;
    let at = |t: Nanos| at(trace, &ticks, t, limit);
    Ok((at(window.end)? - at(window.start)?, tick_s))
}

fn ticks(trace: &[PowerSample]) -> Result<Vec<Tick>, EnergyReason> {
    let mut readings = trace.iter().filter_map(|s| Some((s.t, s.energy_j?)));
    let Some(mut last) = readings.next() else {
        return Err(EnergyReason::NoReading { what: "the energy counter" });
    };
    let mut ticks = Vec::new();
    for (t, j) in readings {
        if j < last.1 {
            return Err(EnergyReason::CounterWentBack { joules: last.1 - j });
        }
        if j > last.1 {
            ticks.push(Tick { t: last.0 + (t - last.0) / 2, j });
        }
        last = (t, j);
    }
    if ticks.is_empty() { Err(EnergyReason::CounterStandsStill) } else { Ok(ticks) }
}

/// Energy up to `t`.
fn at(trace: &[PowerSample], ticks: &[Tick], t: Nanos, limit: Nanos) -> Result<f64, EnergyReason> {
    let next = ticks.partition_point(|tick| tick.t <= t);
    let (before, after) = (next.checked_sub(1).map(|i| &ticks[i]), ticks.get(next));
    // The mean power of the nearest tick stands in where there is no INSTANT.
    let mean_w = || {
        let i = next.clamp(1, ticks.len() - 1);
        (ticks[i].j - ticks[i - 1].j) / ((ticks[i].t - ticks[i - 1].t) as f64 * 1e-9)
    };
    let between = |from: Nanos, to: Nanos| {
        if from == to {
            return 0.0;
        }
        trapezoid::integral(trace, |s| s.instant_w, from, to)
            .unwrap_or_else(|| mean_w() * (to - from) as f64 * 1e-9)
    };
    match (before, after) {
        (Some(before), Some(after)) => Ok((before.j + between(before.t, t)).min(after.j)),
        (Some(before), None) if t - before.t <= limit => Ok(before.j + between(before.t, t)),
        // The first change gives the value after it, so going back from it is exact up to the power.
        (None, Some(after)) if after.t - t <= limit => Ok(after.j - between(t, after.t)),
        _ => Err(EnergyReason::CounterStandsStill),
    }
}

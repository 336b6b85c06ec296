//! How long a call takes: how many calls make a sample, how many samples are enough, which ones do not count.
//!
//! ```text
//! warm-up ──► calls a sample ──► sample, sample, … ──► settled? ──► Sampled
//!                                   └─ throttled: discarded and counted
//! ```
//!
//! Where a power limit holds the clock down, the first part of this is prolonged until the load has lasted.
//!
//! A sample is a batch of calls long enough for the device's clock. Sampling ends when the 95 % interval of the median
//! (order statistics, so no shape of the noise is assumed) is narrow enough and both halves of the series agree, since
//! a drifting series has a narrow interval around the wrong place; or at the time limit, which is then said.
//!
//! Nothing here reads a clock or knows a device: both come from the caller, and the tests simulate them.

use stopwatt_core::kernel_table::Sampled;
use stopwatt_stats::interval::quantile_order;
use stopwatt_stats::quantile::{median, sorted};

use crate::case::{Case, CaseError};

/// How to sample.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Method {
    /// Warm-up goes on for at least so many seconds and [`Method::warmup_calls`] calls.
    pub warmup_s: f64,
    /// Fewest calls before anything counts.
    pub warmup_calls: u32,
    /// Shortest sample, in seconds: long against the clock's resolution and the cost of reading it.
    pub sample_s: f64,
    /// Fewest samples.
    pub least_samples: u32,
    /// Most samples.
    pub most_samples: u32,
    /// Half the width of the interval of the median, relative to it, at which sampling ends.
    pub precision: f64,
    /// Longest time for warm-up and samples together, in seconds; one sample is taken in any case.
    pub limit_s: f64,
    /// Where a power limit holds the clock, warm-up goes on for so many seconds, and samples are spread over at least
    /// half of that: within the first hundredths of a second the clock depends on what ran before. 0 for never.
    pub sustain_s: f64,
    /// Exactly so many calls of warm-up and so many samples of one call each, whatever they say.
    pub fixed: Option<Fixed>,
}

/// Counts that are not left to the stop rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fixed {
    /// Calls before anything counts.
    pub warmup: u32,
    /// Samples, of one call each.
    pub iterations: u32,
}

impl Default for Method {
    /// For kernels of microseconds to milliseconds under a clock of some tens of nanoseconds.
    fn default() -> Self {
        Self {
            warmup_s: 0.02,
            warmup_calls: 3,
            sample_s: 200e-6,
            least_samples: 20,
            most_samples: 2000,
            precision: 0.005,
            limit_s: 2.0,
            sustain_s: 0.0,
            fixed: None,
        }
    }
}

/// What is sampled.
pub trait Subject {
    /// Seconds that `calls` consecutive calls take together.
    ///
    /// # Errors
    /// A call failed.
    fn sample(&mut self, calls: u32) -> Result<f64, CaseError>;

    /// The last sample does not count: the device was throttled, or its clock was low.
    fn throttled(&mut self) -> bool {
        false
    }

    /// The power limit holds the clock down now.
    fn limited(&mut self) -> bool {
        false
    }
}

impl<T: Case + ?Sized> Subject for T {
    fn sample(&mut self, calls: u32) -> Result<f64, CaseError> {
        Case::sample(self, calls)
    }

    fn throttled(&mut self) -> bool {
        Case::throttled(self)
    }

    fn limited(&mut self) -> bool {
        Case::limited(self)
    }
}

/// A function as a subject that is never throttled.
pub struct Timed<F>(pub F);

impl<F: FnMut(u32) -> Result<f64, CaseError>> Subject for Timed<F> {
    fn sample(&mut self, calls: u32) -> Result<f64, CaseError> {
        (self.0)(calls)
    }
}

/// Seconds of a steady clock, for the limits.
pub fn monotonic_s() -> f64 {
    stopwatt_core::clock::monotonic_raw() as f64 * 1e-9
}

/// Samples `subject`; `now` tells seconds of any steady clock.
///
/// # Errors
/// What the subject says; [`CaseError::Failed`] when its times are not positive numbers or every sample was throttled.
pub fn measure(
    subject: &mut (impl Subject + ?Sized),
    method: &Method,
    now: &mut dyn FnMut() -> f64,
) -> Result<Sampled, CaseError> {
    let begin = now();
    let calls = match method.fixed {
        Some(fixed) => {
            for _ in 0..fixed.warmup {
                sample(subject, 1)?;
            }
            1
        }
        None => warm_up(subject, method, now, begin)?,
    };
    let most = method.fixed.map_or(method.most_samples, |f| f.iterations).max(1);
    let sustains = method.fixed.is_none() && method.sustain_s > 0.0;
    let mut sustained_at = None;
    let (mut kept, mut discarded, mut settled) = (Vec::new(), 0, false);
    let mut next_look = method.least_samples.max(6) as usize;
    loop {
        if sustains && sustained_at.is_none() && subject.limited() {
            // What was sampled before the limit set in is of another state.
            sustain(subject, calls, method, now, begin)?;
            kept.clear();
            next_look = method.least_samples.max(6) as usize;
            sustained_at = Some(now());
        }
        let seconds = sample(subject, calls)? / f64::from(calls);
        if subject.throttled() {
            discarded += 1;
        } else {
            kept.push(seconds);
        }
        let over = now() - begin >= method.limit_s;
        if method.fixed.is_some() {
            // Throttled samples are made up for, as long as the time lasts.
            if kept.len() >= most as usize || (over && discarded > 0) {
                settled = kept.len() >= most as usize;
                break;
            }
            continue;
        }
        let spread = sustained_at.is_none_or(|at| now() - at >= method.sustain_s / 2.0);
        if kept.len() >= next_look && spread {
            settled = is_settled(&kept, method.precision);
            next_look = (kept.len() + kept.len() / 4).max(kept.len() + 1);
        }
        if settled || over || kept.len() >= most as usize {
            break;
        }
    }
    summary(&kept, calls, discarded, settled)
}

/// Calls until the subject is warm, and how many of them make a sample long enough.
fn warm_up(
    subject: &mut (impl Subject + ?Sized),
    method: &Method,
    now: &mut dyn FnMut() -> f64,
    begin: f64,
) -> Result<u32, CaseError> {
    let (mut calls, mut done) = (1, 0_u32);
    loop {
        let seconds = sample(subject, calls)?;
        done = done.saturating_add(calls);
        let long_enough = seconds >= method.sample_s;
        let spent = now() - begin;
        let warm = spent >= method.warmup_s && done >= method.warmup_calls;
        if long_enough && warm || spent >= method.limit_s / 2.0 {
            return Ok(calls);
        }
        if !long_enough {
            // Straight to the length wanted once a time can be believed, with a little to spare.
            let wanted = f64::from(calls) * (method.sample_s / seconds * 1.1).clamp(1.5, 16.0);
            calls = (wanted.ceil() as u32).max(calls + 1);
        }
    }
}

/// Calls until the device has been under this load for long enough, or half of the time is over.
fn sustain(
    subject: &mut (impl Subject + ?Sized),
    calls: u32,
    method: &Method,
    now: &mut dyn FnMut() -> f64,
    begin: f64,
) -> Result<(), CaseError> {
    let until = now() + method.sustain_s;
    while now() < until && now() - begin < method.limit_s / 2.0 {
        sample(subject, calls)?;
    }
    Ok(())
}

fn sample(subject: &mut (impl Subject + ?Sized), calls: u32) -> Result<f64, CaseError> {
    let seconds = subject.sample(calls)?;
    if seconds.is_finite() && seconds > 0.0 {
        Ok(seconds)
    } else {
        Err(CaseError::Failed { reason: format!("its clock told {seconds} s for {calls} calls") })
    }
}

/// The interval of the median is narrow enough, and the series does not drift.
fn is_settled(series: &[f64], precision: f64) -> bool {
    let ordered = sorted(series);
    let centre = median(&ordered);
    let Ok(ci) = quantile_order(&ordered, 0.5, 0.95) else { return false };
    let (early, late) = series.split_at(series.len() / 2);
    let apart = (median(early) - median(late)).abs();
    (ci.hi - ci.lo) / 2.0 <= precision * centre && apart <= 2.0 * precision * centre
}

fn summary(kept: &[f64], calls: u32, discarded: u32, settled: bool) -> Result<Sampled, CaseError> {
    if kept.is_empty() {
        return Err(CaseError::Failed { reason: format!("all {discarded} samples were throttled") });
    }
    let ordered = sorted(kept);
    let centre = median(&ordered);
    let deviations: Vec<f64> = ordered.iter().map(|v| (v - centre).abs()).collect();
    let ci = quantile_order(&ordered, 0.5, 0.95).ok();
    Ok(Sampled {
        n: kept.len() as u32,
        calls,
        discarded,
        median_s: centre,
        mad_s: median(&deviations),
        mean_s: kept.iter().sum::<f64>() / kept.len() as f64,
        lo_s: ci.map(|c| c.lo),
        hi_s: ci.map(|c| c.hi),
        settled,
        rounds: 1,
        between: None,
    })
}

#[cfg(test)]
mod tests;

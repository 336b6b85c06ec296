//! Steady state: from which value on does a series stop changing its level?
//!
//! ```text
//! 9 7 4 2 2 3 2 2 2 3 2 2
//! └ warm-up ┘└ steady ──┘      start = 3
//! ```
//!
//! Change points are found by PELT (Killick, Fearnhead & Eckley, Journal of the American Statistical Association
//! 107 (2012), 1590–1598) with a cost on the mean. As in Barrett et al., "Virtual machine warmup blows hot and
//! cold" (OOPSLA 2017), segments whose level is practically that of the last one belong to it. Three things make the
//! search robust:
//!
//! - values are clipped at three noise deviations around the median of their neighbours, so that one slow request is
//!   no level;
//! - noise is estimated from differences, which a change of level hardly touches;
//! - the penalty grows with the lag-1 correlation that those differences show (Chakar et al., "A robust approach for
//!   estimating change-points in the mean of an AR(1) process", Bernoulli 23 (2017), 1408–1447), so that a queue
//!   that drains slowly is not a change of level.

use crate::quantile::median;
use crate::trend;

/// What counts as steady.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Options {
    /// Shortest segment between two change points.
    pub min_segment: usize,
    /// Shortest steady end of the series.
    pub min_steady: usize,
    /// Levels this close to the last one, relative to it, are the same level.
    pub tolerance: f64,
}

impl Default for Options {
    fn default() -> Self {
        Self { min_segment: 3, min_steady: 8, tolerance: 0.05 }
    }
}

/// Whether and from where a series is steady.
#[derive(Debug, Clone, PartialEq)]
pub struct Steady {
    /// Whether the series ends in a steady state of the asked length.
    pub steady: bool,
    /// First index of the last level, also when it is too short or drifts.
    pub start: usize,
    /// Median of the values from `start` on; NaN for an empty series.
    pub level: f64,
    /// Every change point, as the first index of the new segment.
    pub changes: Vec<usize>,
    /// Why the series is not steady.
    pub reason: Option<NotSteady>,
}

/// Why a series is not steady.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum NotSteady {
    /// Fewer values than a steady end needs.
    #[error("{n} values are too few, needs {needed}")]
    TooShort {
        /// Values given.
        n: usize,
        /// Values needed.
        needed: usize,
    },
    /// The level changed shortly before the end.
    #[error("the level still changed {values} values before the end, needs {needed}")]
    StillChanging {
        /// Values since the last change.
        values: usize,
        /// Values needed.
        needed: usize,
    },
    /// The last level rises or falls.
    #[error("the level drifts by {:.0} % over the last {values} values", .relative * 100.0)]
    Drifting {
        /// Change over those values relative to the level.
        relative: f64,
        /// Values looked at.
        values: usize,
    },
    /// A value is NaN or infinite.
    #[error("a value is not finite")]
    NotFinite,
}

/// Longer series are reduced to this many medians of neighbours.
const LONGEST: usize = 2000;

/// Finds the steady end of a series in order of time.
pub fn detect(series: &[f64], options: &Options) -> Steady {
    let n = series.len();
    let unsteady = |reason| Steady {
        steady: false,
        start: 0,
        level: median(series),
        changes: vec![],
        reason: Some(reason),
    };
    if series.iter().any(|v| !v.is_finite()) {
        return unsteady(NotSteady::NotFinite);
    }
    if n < options.min_steady.max(2) {
        return unsteady(NotSteady::TooShort { n, needed: options.min_steady.max(2) });
    }
    let bin = n.div_ceil(LONGEST);
    let reduced: Vec<f64> = series.chunks(bin).map(median).collect();
    let noise = Noise::of(&reduced, options.tolerance);
    let min_segment = options.min_segment.div_ceil(bin).max(1);
    let bounds = pelt(&clip(&reduced, noise.sd), min_segment, noise.penalty(reduced.len()));

    let starts: Vec<usize> = bounds.iter().map(|b| b * bin).collect();
    let start = same_as_last(series, &starts, noise.sd, options.tolerance);
    let tail = &series[start..];
    let level = median(tail);
    let reason = if tail.len() < options.min_steady {
        Some(NotSteady::StillChanging { values: tail.len(), needed: options.min_steady })
    } else {
        drift(tail, options.tolerance)
    };
    Steady { steady: reason.is_none(), start, level, changes: starts[1..].to_vec(), reason }
}

/// A level may wander inside the tolerance; a trend beyond twice that is no steady state.
fn drift(tail: &[f64], tolerance: f64) -> Option<NotSteady> {
    let points: Vec<(f64, f64)> = tail.iter().enumerate().map(|(i, &v)| (i as f64, v)).collect();
    let trend = trend::theil_sen(&points, 0.99).ok()?;
    let relative = trend.relative_change()?;
    (trend.is_significant() && relative.abs() > 2.0 * tolerance)
        .then_some(NotSteady::Drifting { relative, values: tail.len() })
}

/// Walks back from the last segment while levels are practically equal to it.
fn same_as_last(series: &[f64], starts: &[usize], noise: f64, tolerance: f64) -> usize {
    let end = |k: usize| starts.get(k + 1).copied().unwrap_or(series.len());
    let level = |k: usize| median(&series[starts[k]..end(k)]);
    let last = starts.len() - 1;
    let reference = level(last);
    let allowed = (tolerance * reference.abs()).max(noise);
    let first =
        (0..last).rev().take_while(|&k| (level(k) - reference).abs() <= allowed).last().unwrap_or(last);
    starts[first]
}

struct Noise {
    /// Standard deviation of the values around their level.
    sd: f64,
    /// Lag-1 correlation, between 0 and 0.9.
    correlation: f64,
}

impl Noise {
    fn of(series: &[f64], tolerance: f64) -> Self {
        let step = |lag: usize| {
            let d: Vec<f64> = series.windows(lag + 1).map(|w| (w[lag] - w[0]).abs()).collect();
            if d.is_empty() { 0.0 } else { median(&d) / 0.674_49 }
        };
        let (one, two) = (step(1), step(2));
        // Var(y₂ − y₀) / Var(y₁ − y₀) = 1 + ρ for an AR(1) process. Short series cannot tell a correlation from luck.
        let correlation =
            if one > 0.0 && series.len() >= 30 { ((two / one).powi(2) - 1.0).clamp(0.0, 0.9) } else { 0.0 };
        let sd = one / (2.0 * (1.0 - correlation)).sqrt();
        // An engine without noise still has a resolution: a fifth of what counts as the same level.
        Self { sd: sd.max(tolerance * median(series).abs() / 5.0).max(f64::MIN_POSITIVE), correlation }
    }

    /// Cost of one more change point: BIC counts two parameters, each 2·ln n of the residual variance for a change
    /// in mean with unknown position; correlation makes chance excursions larger by (1 + ρ)/(1 − ρ).
    fn penalty(&self, n: usize) -> f64 {
        let inflation = (1.0 + self.correlation) / (1.0 - self.correlation);
        3.0 * (n.max(2) as f64).ln() * self.sd * self.sd * inflation
    }
}

/// Limits values to three deviations around the median of the five nearest.
fn clip(series: &[f64], sd: f64) -> Vec<f64> {
    let around = |i: usize| {
        let from = i.saturating_sub(2).min(series.len().saturating_sub(5));
        median(&series[from..(from + 5).min(series.len())])
    };
    series.iter().enumerate().map(|(i, v)| v.clamp(around(i) - 3.0 * sd, around(i) + 3.0 * sd)).collect()
}

/// Starts of the segments with the least squared error plus `penalty` each; the first is 0.
fn pelt(series: &[f64], min_segment: usize, penalty: f64) -> Vec<usize> {
    let n = series.len();
    let mut sums = Vec::with_capacity(n + 1);
    sums.push((0.0, 0.0));
    let shift = median(series);
    for v in series {
        let (s, q): (f64, f64) = sums[sums.len() - 1];
        sums.push((s + (v - shift), q + (v - shift) * (v - shift)));
    }
    let cost = |from: usize, to: usize| {
        let s = sums[to].0 - sums[from].0;
        (sums[to].1 - sums[from].1) - s * s / (to - from) as f64
    };
    let mut best = vec![f64::INFINITY; n + 1];
    best[0] = -penalty;
    let mut previous = vec![0; n + 1];
    // A candidate that is beaten at `end` stays beaten once `end` itself may start a segment.
    let mut candidates = vec![(0, usize::MAX)];
    for end in min_segment..=n {
        for (from, expires) in &mut candidates {
            let without_penalty = best[*from] + cost(*from, end);
            if without_penalty + penalty < best[end] {
                (best[end], previous[end]) = (without_penalty + penalty, *from);
            }
            if without_penalty > best[end] {
                *expires = (*expires).min(end + min_segment);
            }
        }
        candidates.retain(|&(_, expires)| expires > end);
        if end + 1 >= 2 * min_segment {
            candidates.push((end + 1 - min_segment, usize::MAX));
        }
    }
    let mut starts = Vec::new();
    let mut at = n;
    while at > 0 {
        at = previous[at];
        starts.push(at);
    }
    starts.reverse();
    starts
}

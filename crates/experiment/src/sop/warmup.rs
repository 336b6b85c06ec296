//! Warm-up of a target: as often as asked, and until its times are steady.

use stopwatt_core::Nanos;
use stopwatt_stats::steady;

use super::target::Iteration;

/// Fewest further iterations between two looks.
pub(super) const LEAST: u64 = 8;
/// Most further iterations between two looks.
const MOST: u64 = 500;

/// Watches the times of a warm-up.
pub(super) struct Warmup {
    least: u64,
    until_ns: Nanos,
    series: Vec<f64>,
}

impl Warmup {
    /// A warm-up of at least `least` iterations and at most `longest_s` seconds from now.
    pub(super) fn new(least: u64, longest_s: f64, now: Nanos) -> Self {
        let until_ns = now.saturating_add((longest_s * 1e9) as Nanos);
        Self { least, until_ns, series: Vec::new() }
    }

    /// How many more iterations are wanted before the next look; `None` when it is over.
    pub(super) fn wanted(&self, now: Nanos) -> Option<u64> {
        let done = self.iterations();
        if done < self.least {
            return Some(self.least - done);
        }
        let over = now >= self.until_ns || self.verdict().0;
        (!over).then(|| (self.least / 2).clamp(LEAST, MOST))
    }

    pub(super) fn take(&mut self, iteration: &Iteration) {
        self.series.push(iteration.seconds());
    }

    pub(super) fn iterations(&self) -> u64 {
        self.series.len() as u64
    }

    /// Whether the times ended steady, and on what that rests.
    pub(super) fn verdict(&self) -> (bool, String) {
        let found = steady::detect(&self.series, &steady::Options::default());
        let detail = match &found.reason {
            None => format!(
                "steady from iteration {} of {}, level {:.6} s",
                found.start + 1,
                self.series.len(),
                found.level
            ),
            Some(reason) => reason.to_string(),
        };
        (found.steady, detail)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs a warm-up over times by index, at a clock of one second an iteration.
    fn run(least: u64, longest_s: f64, time: impl Fn(u64) -> Nanos) -> Warmup {
        let mut warmup = Warmup::new(least, longest_s, 0);
        while let Some(more) = warmup.wanted(warmup.iterations() as Nanos * 1_000_000_000) {
            for _ in 0..more {
                let end_ns = time(warmup.iterations());
                warmup.take(&Iteration { end_ns, ..Iteration::default() });
            }
        }
        warmup
    }

    #[test]
    fn as_often_as_asked_when_it_is_steady_at_once() {
        let warmup = run(50, 1e6, |i| 1_000_000 + (i % 3) as Nanos * 1_000);
        assert_eq!((warmup.iterations(), warmup.verdict().0), (50, true));
    }

    #[test]
    fn longer_when_it_is_slow_at_first() {
        let warmup = run(20, 1e6, |i| if i < 15 { 3_000_000 } else { 1_000_000 + (i % 3) as Nanos * 1_000 });
        // Eight values of the last level are needed to believe it.
        assert!(warmup.iterations() >= 23 && warmup.verdict().0, "{:?}", warmup.verdict());
    }

    #[test]
    fn not_for_ever() {
        let warmup = run(20, 100.0, |i| 1_000_000 + i as Nanos * 100_000);
        assert!((100..120).contains(&warmup.iterations()) && !warmup.verdict().0, "{:?}", warmup.verdict());
    }
}

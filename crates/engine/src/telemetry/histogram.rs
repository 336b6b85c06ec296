//! A histogram with fixed bounds.

use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Counts observations by upper bound.
#[derive(Debug)]
pub(super) struct Histogram {
    name: &'static str,
    help: &'static str,
    bounds: &'static [f64],
    /// One a bound, and one for what is above the last.
    counts: Vec<AtomicU64>,
    /// Sum in nanoseconds: integers add without losing any.
    sum_ns: AtomicU64,
}

impl Histogram {
    pub(super) fn new(name: &'static str, help: &'static str, bounds: &'static [f64]) -> Self {
        let counts = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Self { name, help, bounds, counts, sum_ns: AtomicU64::new(0) }
    }

    /// Adds `n` observations of `ns` nanoseconds; a negative time counts as zero.
    #[inline]
    pub(super) fn observe(&self, ns: i64, n: u64) {
        let seconds = ns as f64 * 1e-9;
        let bucket = self.bounds.iter().position(|b| seconds <= *b).unwrap_or(self.bounds.len());
        self.counts[bucket].fetch_add(n, Relaxed);
        self.sum_ns.fetch_add(ns.max(0).unsigned_abs() * n, Relaxed);
    }

    /// Appends the text format; `labels` is `a="b",c="d"`.
    pub(super) fn render(&self, out: &mut String, labels: &str) {
        let infallible = "writing to memory cannot fail";
        let (name, mut total) = (self.name, 0);
        write!(out, "# HELP {name} {}\n# TYPE {name} histogram\n", self.help).expect(infallible);
        for (i, count) in self.counts.iter().enumerate() {
            total += count.load(Relaxed);
            match self.bounds.get(i) {
                Some(bound) => writeln!(out, "{name}_bucket{{{labels},le=\"{bound:?}\"}} {total}"),
                None => writeln!(out, "{name}_bucket{{{labels},le=\"+Inf\"}} {total}"),
            }
            .expect(infallible);
        }
        let sum = self.sum_ns.load(Relaxed) as f64 * 1e-9;
        write!(out, "{name}_count{{{labels}}} {total}\n{name}_sum{{{labels}}} {sum}\n").expect(infallible);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_cumulative_and_bounds_belong_to_the_lower_one() {
        let h = Histogram::new("t_seconds", "T.", &[0.001, 0.01]);
        h.observe(1_000_000, 2);
        h.observe(5_000_000, 1);
        h.observe(2_000_000_000, 1);
        h.observe(-5, 1);
        let mut out = String::new();
        h.render(&mut out, "a=\"b\"");
        assert_eq!(
            out,
            "# HELP t_seconds T.\n# TYPE t_seconds histogram\n\
             t_seconds_bucket{a=\"b\",le=\"0.001\"} 3\nt_seconds_bucket{a=\"b\",le=\"0.01\"} 4\n\
             t_seconds_bucket{a=\"b\",le=\"+Inf\"} 5\nt_seconds_count{a=\"b\"} 5\nt_seconds_sum{a=\"b\"} 2.007\n"
        );
    }
}

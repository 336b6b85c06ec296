//! Metrics of our own servers in the Prometheus text format: a histogram with fixed bounds.
//!
//! Any thread may write or read; relaxed order suffices, since a scrape wants no more than each value by itself.

use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

const INFALLIBLE: &str = "writing to memory cannot fail";

/// Counts observations by upper bound.
#[derive(Debug)]
pub struct Histogram {
    name: &'static str,
    help: &'static str,
    bounds: &'static [f64],
    /// One a bound, and one for what is above the last.
    counts: Vec<AtomicU64>,
    /// Sum in nanoseconds: integers add without losing any.
    sum_ns: AtomicU64,
}

impl Histogram {
    /// An empty one. `bounds` rise; they and the sum are in seconds.
    pub fn new(name: &'static str, help: &'static str, bounds: &'static [f64]) -> Self {
        let counts = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Self { name, help, bounds, counts, sum_ns: AtomicU64::new(0) }
    }

    /// Whether nothing was observed.
    pub fn is_empty(&self) -> bool {
        self.counts.iter().all(|c| c.load(Relaxed) == 0)
    }

    /// Adds `n` observations of `ns` nanoseconds; a negative time counts as zero.
    #[inline]
    pub fn observe(&self, ns: i64, n: u64) {
        let seconds = ns as f64 * 1e-9;
        let bucket = self.bounds.partition_point(|b| *b < seconds);
        self.counts[bucket].fetch_add(n, Relaxed);
        self.sum_ns.fetch_add(ns.max(0).unsigned_abs() * n, Relaxed);
    }

    /// Appends the text format; `labels` is `a="b",c="d"`.
    pub fn render(&self, out: &mut String, labels: &str) {
        self.render_head(out);
        self.render_series(out, labels);
    }

    /// Appends name and meaning, which stand once before the series of all label sets.
    pub fn render_head(&self, out: &mut String) {
        let name = self.name;
        write!(out, "# HELP {name} {}\n# TYPE {name} histogram\n", self.help).expect(INFALLIBLE);
    }

    /// Appends the series of one label set.
    pub fn render_series(&self, out: &mut String, labels: &str) {
        let (name, mut total) = (self.name, 0);
        for (i, count) in self.counts.iter().enumerate() {
            total += count.load(Relaxed);
            match self.bounds.get(i) {
                Some(bound) => writeln!(out, "{name}_bucket{{{labels},le=\"{bound:?}\"}} {total}"),
                None => writeln!(out, "{name}_bucket{{{labels},le=\"+Inf\"}} {total}"),
            }
            .expect(INFALLIBLE);
        }
        let sum = self.sum_ns.load(Relaxed) as f64 * 1e-9;
        write!(out, "{name}_count{{{labels}}} {total}\n{name}_sum{{{labels}}} {sum}\n").expect(INFALLIBLE);
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

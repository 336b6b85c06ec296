//! What a trial says so far: rates, latencies, failures. For the eye only; the report computes everything anew.

use stopwatt_analyse::request_metrics;
use stopwatt_core::stream::gaps;
use stopwatt_core::stream::gaps::{bin, middle};
use stopwatt_core::{Nanos, RequestRecord, RequestRow};

/// Counts of a trial so far.
#[derive(Debug, Default)]
pub(super) struct Live {
    ended: u64,
    failed: u64,
    tokens: f64,
    /// Begin of the first and end of the last request.
    span: Option<(Nanos, Nanos)>,
    /// Time spent in flight by all requests together.
    in_flight_ns: i64,
    ttft: Buckets,
    itl: Buckets,
}

impl Live {
    pub(super) fn ended(&mut self, record: &RequestRecord) {
        self.ended += 1;
        let begin = record.dispatched_ns.unwrap_or(record.intended_ns);
        let (first, last) = self.span.unwrap_or((begin, record.end_ns));
        self.span = Some((first.min(begin), last.max(record.end_ns)));
        self.in_flight_ns += record.end_ns - begin;
        if record.end.is_failure() {
            self.failed += 1;
            return;
        }
        let metrics = request_metrics(&RequestRow::of(record));
        self.tokens += metrics.output_tokens.unwrap_or(0.0);
        metrics.ttft.into_iter().for_each(|s| self.ttft.add((s * 1e9) as Nanos));
        gaps(&record.chunks).for_each(|gap| self.itl.add(gap.per_token_ns()));
    }

    /// `4.1 req/s, 512 tok/s, ~8 in flight, 0 failed, TTFT 45/120 ms, ITL 9.8/14 ms (p50/p99)`.
    pub(super) fn line(&self) -> String {
        let Some((first, last)) = self.span.filter(|(first, last)| last > first) else {
            return String::new();
        };
        let seconds = (last - first) as f64 * 1e-9;
        let rate = |n: f64| format!("{:.*}", usize::from(n < 100.0 * seconds), n / seconds);
        let pair = |name: &str, b: &Buckets| match (b.quantile(0.5), b.quantile(0.99)) {
            (Some(p50), Some(p99)) => format!(", {name} {}/{} ms", millis(p50), millis(p99)),
            _ => String::new(),
        };
        format!(
            "{} req/s, {} tok/s, ~{:.0} in flight, {} failed{}{}",
            rate(self.ended as f64),
            rate(self.tokens),
            self.in_flight_ns as f64 * 1e-9 / seconds,
            self.failed,
            pair("TTFT p50/p99", &self.ttft),
            pair("ITL", &self.itl),
        )
    }
}

fn millis(seconds: f64) -> String {
    let ms = seconds * 1e3;
    format!("{ms:.*}", usize::from(ms < 100.0))
}

/// Counts by [`bin`]: quantiles in constant memory.
#[derive(Debug, Default)]
struct Buckets {
    counts: Vec<u64>,
    n: u64,
}

impl Buckets {
    fn add(&mut self, ns: Nanos) {
        let at = usize::from(bin(ns));
        if self.counts.len() <= at {
            self.counts.resize(at + 1, 0);
        }
        self.counts[at] += 1;
        self.n += 1;
    }

    /// In seconds.
    fn quantile(&self, p: f64) -> Option<f64> {
        let rank = (p * self.n as f64).ceil().max(1.0) as u64;
        let mut below = 0;
        let at = self.counts.iter().position(|c| {
            below += c;
            below >= rank
        })?;
        (self.n > 0).then(|| middle(at as u16) * 1e-9)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_right_to_a_bucket() {
        let mut b = Buckets::default();
        assert_eq!(b.quantile(0.5), None);
        (1..=1000).for_each(|ms| b.add(ms * 1_000_000));
        for (p, truth) in [(0.5, 0.5), (0.99, 0.99), (1.0, 1.0)] {
            let got = b.quantile(p).unwrap();
            assert!((got / truth - 1.0).abs() < 0.001, "{p}: {got}");
        }
        b.add(0);
        b.add(Nanos::MAX);
        assert!(b.quantile(1.0).unwrap() > 1e9);
    }

    #[test]
    fn nothing_so_far_says_nothing() {
        assert_eq!(Live::default().line(), "");
    }
}

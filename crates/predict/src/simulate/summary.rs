//! What a simulated load comes to: the metrics that a benchmark prints.

use stopwatt_stats::quantile::{quantile, sorted};

use super::{Outcome, Served};

/// Mean and percentiles of something, in its unit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Statistic {
    /// Arithmetic mean.
    pub mean: f64,
    /// Median.
    pub p50: f64,
    /// 95th percentile.
    pub p95: f64,
    /// 99th percentile.
    pub p99: f64,
}

/// Metrics of an outcome. Seconds and tokens a second.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Summary {
    /// From sent to the first token.
    pub ttft: Statistic,
    /// Time an output token after the first; `None` when no request has a second one.
    pub tpot: Option<Statistic>,
    /// Gaps between tokens; `None` as above.
    pub itl: Option<Statistic>,
    /// From sent to the last token.
    pub e2e: Statistic,
    /// Output tokens a second.
    pub output_tokens_per_s: f64,
    /// Requests a second.
    pub requests_per_s: f64,
    /// Mean seconds before a request was queued, and after its first token was sampled where that is named.
    pub outside_s: f64,
    /// Mean seconds in the queue.
    pub queue_s: f64,
    /// Mean seconds from the begin of the step that admits to the first token.
    pub prefill_s: f64,
    /// Requests counted.
    pub requests: usize,
}

impl Statistic {
    fn of(values: &[f64]) -> Option<Self> {
        let sorted = sorted(values);
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let at = |p| quantile(&sorted, p);
        (!values.is_empty()).then(|| Self { mean, p50: at(0.5), p95: at(0.95), p99: at(0.99) })
    }

    /// Of values with counts.
    fn weighted(mut values: Vec<(u64, u64)>) -> Option<Self> {
        values.sort_unstable();
        let n: u64 = values.iter().map(|(_, count)| count).sum();
        let last = n.checked_sub(1)?;
        let sum: f64 = values.iter().map(|(v, count)| *v as f64 * *count as f64).sum();
        // The order statistic of a rank from 0; the same definition as `quantile`, without writing all values out.
        let rank = |wanted: u64| {
            let mut seen = 0;
            let found = values.iter().find(|(_, count)| {
                seen += count;
                seen > wanted
            });
            found.map_or(0.0, |(v, _)| *v as f64 * 1e-9)
        };
        let at = |p: f64| {
            let place = last as f64 * p;
            let below = place.floor();
            let (a, b) = (rank(below as u64), rank((below as u64 + 1).min(last)));
            a + (place - below) * (b - a)
        };
        Some(Self { mean: sum / n as f64 * 1e-9, p50: at(0.5), p95: at(0.95), p99: at(0.99) })
    }
}

fn seconds(nanos: u64) -> f64 {
    nanos as f64 * 1e-9
}

impl Summary {
    /// The metrics without the first `drop` requests; `None` when none is left. Rates count what the rest brought from
    /// the first of them sent to the last token. Gaps are of all requests.
    #[must_use]
    pub fn of(outcome: &Outcome, drop: usize) -> Option<Self> {
        let kept = outcome.requests.get(drop..)?;
        let all = |f: &dyn Fn(&Served) -> f64| kept.iter().map(f).collect::<Vec<_>>();
        let mean = |f: &dyn Fn(&Served) -> f64| kept.iter().map(f).sum::<f64>() / kept.len() as f64;
        let begin = kept.iter().map(|r| r.sent).min()?;
        let wall = seconds(kept.iter().map(|r| r.last).max()? - begin);
        let tokens: u64 = kept.iter().map(|r| u64::from(r.output)).sum();
        let tpot: Vec<f64> = kept
            .iter()
            .filter(|r| r.output > 1)
            .map(|r| seconds(r.last - r.first) / f64::from(r.output - 1))
            .collect();
        let ttft = Statistic::of(&all(&|r| seconds(r.first - r.sent)))?;
        let (queue_s, whole) = (mean(&|r| seconds(r.admitted.saturating_sub(r.queued))), ttft.mean);
        let before_s = mean(&|r| seconds(r.queued - r.sent));
        Some(Self {
            ttft,
            tpot: Statistic::of(&tpot),
            itl: Statistic::weighted(outcome.gaps.clone()),
            e2e: Statistic::of(&all(&|r| seconds(r.last - r.sent)))?,
            output_tokens_per_s: tokens as f64 / wall,
            requests_per_s: kept.len() as f64 / wall,
            outside_s: before_s,
            queue_s,
            prefill_s: whole - queue_s - before_s,
            requests: kept.len(),
        })
    }

    /// Takes the time after a step out of prefill, and names it.
    #[must_use]
    pub fn with_after(self, after_s: f64) -> Self {
        Self { outside_s: self.outside_s + after_s, prefill_s: (self.prefill_s - after_s).max(0.0), ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_weigh() {
        // 1, 1, 1, 5 ms: mean 2, median 1, p95 at rank 2.85: 1 + 0.85·4.
        let s = Statistic::weighted(vec![(5_000_000, 1), (1_000_000, 3)]).unwrap();
        let plain = Statistic::of(&[1e-3, 5e-3, 1e-3, 1e-3]).unwrap();
        for (a, b) in [(s.mean, plain.mean), (s.p50, plain.p50), (s.p95, plain.p95), (s.p99, plain.p99)] {
            assert!((a - b).abs() < 1e-12, "{a} {b}");
        }
        assert!((s.p95 - 4.4e-3).abs() < 1e-12);
        assert_eq!(Statistic::weighted(Vec::new()), None);
    }

    #[test]
    fn the_first_wave_can_be_left_out() {
        let served = |sent: u64, first: u64, last: u64| Served {
            input: 1,
            output: 3,
            sent,
            queued: sent,
            admitted: sent,
            first,
            last,
            ..Served::default()
        };
        let s = 1_000_000_000;
        let outcome = Outcome {
            requests: vec![
                served(0, 4 * s, 6 * s),
                served(6 * s, 7 * s, 9 * s),
                served(9 * s, 10 * s, 11 * s),
            ],
            gaps: vec![(s, 4), (s / 2, 2)],
            wall: 11 * s,
            steps: 9,
            sequences: 9,
            preemptions: 0,
            cut: 0,
            kv_peak_ppm: 0,
        };
        let (all, rest) = (Summary::of(&outcome, 0).unwrap(), Summary::of(&outcome, 1).unwrap());
        assert_eq!((all.ttft.mean, rest.ttft.mean), (2.0, 1.0));
        // 9 tokens in 11 s; 6 in the 5 s from the second request on.
        assert!(
            (all.output_tokens_per_s - 9.0 / 11.0).abs() < 1e-12
                && (rest.output_tokens_per_s - 1.2).abs() < 1e-12
        );
        assert_eq!(rest.tpot.unwrap().mean, 0.75);
        assert!(Summary::of(&outcome, 3).is_none());
    }
}

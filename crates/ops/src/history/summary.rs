//! What some requests come to.

use std::collections::BTreeMap;

use serde::Serialize;
use stopwatt_stats::quantile::{quantile, sort, supported};

use crate::store::{ANSWERED, CLIENT_GONE, RequestRow};

/// Quantiles of a latency, in seconds. One that so few values do not support is null.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, schemars::JsonSchema)]
pub struct Quantiles {
    /// Values.
    pub n: u64,
    /// Median.
    pub p50: Option<f64>,
    /// 95th percentile; from 20 values on.
    pub p95: Option<f64>,
    /// 99th percentile; from 100 values on.
    pub p99: Option<f64>,
}

impl Quantiles {
    /// By a function that knows them; `None` without values.
    pub(crate) fn of(n: u64, at: impl Fn(f64) -> f64) -> Option<Self> {
        let of = |p: f64| supported(usize::try_from(n).unwrap_or(usize::MAX), p).then(|| at(p));
        (n > 0).then(|| Self { n, p50: Some(at(0.5)), p95: of(0.95), p99: of(0.99) })
    }

    fn of_values(mut values: Vec<f64>) -> Option<Self> {
        sort(&mut values);
        Self::of(values.len() as u64, |p| quantile(&values, p))
    }
}

/// What requests of a span, or of a part of it, come to.
#[derive(Debug, Clone, PartialEq, Default, Serialize, schemars::JsonSchema)]
pub struct Summary {
    /// Requests that were received in the span and have ended.
    pub requests: u64,
    /// Of them a second, over the span.
    pub requests_per_s: Option<f64>,
    /// Those that ended as they should.
    pub answered: u64,
    /// Those that failed, by why.
    pub failed: BTreeMap<String, u64>,
    /// Those whose client left.
    pub client_gone: u64,
    /// Share that ended as it should among those whose client did not leave; null without any.
    pub availability: Option<f64>,
    /// Requests that more than one attempt was made for.
    pub retried: u64,
    /// Tokens of prompts, where upstreams told.
    pub prompt_tokens: u64,
    /// Generated tokens.
    pub tokens: u64,
    /// Generated tokens a second, over the span.
    pub tokens_per_s: Option<f64>,
    /// Dollars that its requests cost, each its share of its upstream's busy time; null where no upstream has a price.
    pub cost_dollars: Option<f64>,
    /// Time to the first token.
    pub ttft_s: Option<Quantiles>,
    /// Mean time between the tokens of a request.
    pub tpot_s: Option<Quantiles>,
    /// Time to the end of a complete answer.
    pub e2e_s: Option<Quantiles>,
    /// Time between two tokens, within a tenth; null where requests are not told apart by upstream or time.
    pub itl_s: Option<Quantiles>,
}

impl Summary {
    /// Requests that failed.
    pub fn failures(&self) -> u64 {
        self.failed.values().sum()
    }
}

/// Adds requests up.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    sum: Summary,
    ttft: Vec<f64>,
    tpot: Vec<f64>,
    e2e: Vec<f64>,
}

impl Tally {
    pub(crate) fn add(&mut self, row: &RequestRow) {
        let s = &mut self.sum;
        s.requests += 1;
        match row.end.as_deref() {
            Some(ANSWERED) => s.answered += 1,
            Some(CLIENT_GONE) => s.client_gone += 1,
            why => *s.failed.entry(why.unwrap_or_default().to_owned()).or_default() += 1,
        }
        s.retried += u64::from(row.attempts > 1);
        s.prompt_tokens += u64::from(row.prompt_tokens.unwrap_or(0));
        s.tokens += u64::from(row.tokens);
        if let Some(cost) = row.cost_dollars {
            *s.cost_dollars.get_or_insert(0.0) += cost;
        }
        self.ttft.extend(row.ttft_s);
        self.tpot.extend(row.tpot_s);
        // As the exporter has it: an error of the request's own is answered, and tells nothing of latency.
        if row.is_good() == Some(true) && row.status < 400 {
            self.e2e.push(row.e2e_s);
        }
    }

    /// Over so many seconds.
    pub(crate) fn summary(self, seconds: f64) -> Summary {
        let mut s = self.sum;
        let over = |n: u64| (seconds > 0.0).then(|| n as f64 / seconds);
        s.requests_per_s = over(s.requests);
        s.tokens_per_s = over(s.tokens);
        let judged = s.answered + s.failures();
        s.availability = (judged > 0).then(|| s.answered as f64 / judged as f64);
        s.ttft_s = Quantiles::of_values(self.ttft);
        s.tpot_s = Quantiles::of_values(self.tpot);
        s.e2e_s = Quantiles::of_values(self.e2e);
        s
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_by_hand() {
        let mut tally = Tally::default();
        for i in 0..20 {
            tally.add(&RequestRow {
                ttft_s: Some(f64::from(i)),
                e2e_s: 30.0,
                end: Some(if i < 18 { ANSWERED.into() } else { "reset".into() }),
                status: 200,
                tokens: 5,
                attempts: 1 + u32::from(i == 0),
                ..RequestRow::default()
            });
        }
        tally.add(&RequestRow { end: Some(CLIENT_GONE.into()), ..RequestRow::default() });
        let s = tally.summary(10.0);
        assert_eq!((s.requests, s.answered, s.failures(), s.client_gone, s.retried), (21, 18, 2, 1, 1));
        assert_eq!((s.availability, s.requests_per_s, s.tokens_per_s), (Some(0.9), Some(2.1), Some(10.0)));
        let ttft = s.ttft_s.unwrap();
        // 0 … 19: the median 9.5, p95 at 0.95 × 19 = 18.05; p99 needs 100.
        assert_eq!((ttft.n, ttft.p50, ttft.p99), (20, Some(9.5), None));
        assert!((ttft.p95.unwrap() - 18.05).abs() < 1e-9);
        assert_eq!(s.e2e_s.unwrap().n, 18);
    }

    #[test]
    fn nothing_has_no_availability() {
        let s = Tally::default().summary(0.0);
        assert_eq!((s.availability, s.requests_per_s, s.ttft_s), (None, None, None));
    }
}

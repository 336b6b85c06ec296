//! Queues whose edge is known, and a whole search in them as `bench --find max-rate` makes it.
//!
//! | queue | servers |
//! |---|---|
//! | `M/M/1` | one, of random speed: the longest runs of late requests |
//! | `M/D/4` | four, each as fast for every request |
//! | `batch` | one engine that steps through up to 16 requests at once, the slower the more there are |
//!
//! Arrivals are Poisson and capacity is 1 request a second in each. The limit of an objective is what a queue has at
//! load [`EDGE`] by four million requests, so that this load is the highest that meets it.

#![allow(dead_code, reason = "a test and an example share this file, and each uses a part")]
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::collections::VecDeque;

use stopwatt_analyse::RequestMetrics;
use stopwatt_analyse::objective::{Judged, Sample, judge, requests_needed};
use stopwatt_analyse::search::seen;
use stopwatt_analyse::slo::parse;
use stopwatt_core::search::Verdict;
use stopwatt_stats::edge::{Edge, EdgeSearch, Options};

/// The highest load that meets the objectives of [`CASES`].
pub(crate) const EDGE: f64 = 0.7;
/// Requests that only fill the queue, per measured one; as the search of `bench`.
const SETTLE: f64 = 0.25;

/// Confidence of each side of the edge: two of them enclose it with 95 %.
const LEVEL: f64 = 0.975;

/// SplitMix64 (Steele, Lea & Flood, OOPSLA 2014): enough for a simulation, and the same everywhere.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x2545_f491_4f6c_dd1d) + 1)
    }

    fn uniform(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }

    fn exponential(&mut self, rate: f64) -> f64 {
        -(1.0 - self.uniform()).ln() / rate
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Queue {
    Mm1,
    Md4,
    Batch,
}

impl Queue {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Mm1 => "M/M/1",
            Self::Md4 => "M/D/4",
            Self::Batch => "batch",
        }
    }

    /// Requests in order of arrival, begun empty: begin, first token, last token, output tokens.
    fn run(self, random: &mut Random, load: f64, count: usize) -> Vec<(f64, f64, f64, f64)> {
        let mut now = 0.0;
        let mut arrivals = Vec::with_capacity(count);
        for _ in 0..count {
            now += random.exponential(load);
            arrivals.push(now);
        }
        match self {
            Self::Mm1 => {
                let mut free = 0.0f64;
                let mut one = |t: f64| {
                    free = free.max(t) + random.exponential(1.0);
                    (t, free, free, 1.0)
                };
                arrivals.into_iter().map(&mut one).collect()
            }
            Self::Md4 => {
                let mut free = [0.0f64; 4];
                let mut one = |t: f64| {
                    let first = (0..4).min_by(|a, b| free[*a].total_cmp(&free[*b])).unwrap_or(0);
                    free[first] = free[first].max(t) + 4.0;
                    (t, free[first], free[first], 1.0)
                };
                arrivals.into_iter().map(&mut one).collect()
            }
            Self::Batch => batch(random, &arrivals),
        }
    }

    /// One trial, without the requests that fill the queue.
    pub(crate) fn trial(self, random: &mut Random, load: f64, requests: usize) -> Vec<Sample> {
        let settle = (SETTLE * requests as f64).ceil() as usize;
        let sample = |(begin_s, first, end_s, tokens): (f64, f64, f64, f64)| {
            let tpot = (tokens > 1.0).then(|| (end_s - first) / (tokens - 1.0));
            let values = RequestMetrics { ttft: Some(first - begin_s), tpot, ..Default::default() };
            Sample { ok: true, begin_s, end_s, values, itl: Vec::new() }
        };
        self.run(random, load, settle + requests).into_iter().skip(settle).map(sample).collect()
    }
}

/// Continuous batching: in each step up to 16 requests get a token, which takes longer with each of them and with each
/// prompt that is read.
fn batch(random: &mut Random, arrivals: &[f64]) -> Vec<(f64, f64, f64, f64)> {
    const SLOTS: usize = 16;
    /// A request takes 32.5 tokens on average, each 1/16 of a full step of 1 + 16 · 0.05, and 1 for its prompt: in
    /// these units 4.656 a request, so that capacity is 1.
    const UNIT: f64 = 1.0 / (32.5 / 16.0 * 1.8 + 1.0);
    let tokens: Vec<f64> = arrivals.iter().map(|_| (1.0 + 64.0 * random.uniform()).floor()).collect();
    let mut out: Vec<(f64, f64, f64, f64)> =
        arrivals.iter().zip(&tokens).map(|(t, n)| (*t, 0.0, 0.0, *n)).collect();
    let (mut next, mut now) = (0, 0.0f64);
    let mut running: Vec<(usize, f64)> = Vec::new();
    let mut waiting: VecDeque<usize> = VecDeque::new();
    while next < arrivals.len() || !running.is_empty() || !waiting.is_empty() {
        if running.is_empty() && waiting.is_empty() {
            now = now.max(arrivals[next]);
        }
        while next < arrivals.len() && arrivals[next] <= now {
            waiting.push_back(next);
            next += 1;
        }
        let mut prompts = 0.0;
        while running.len() < SLOTS {
            let Some(i) = waiting.pop_front() else { break };
            running.push((i, 0.0));
            prompts += 1.0;
        }
        now += UNIT * (1.0 + 0.05 * running.len() as f64 + prompts);
        running.retain_mut(|(i, got)| {
            *got += 1.0;
            if *got == 1.0 {
                out[*i].1 = now;
            }
            out[*i].2 = now;
            *got < tokens[*i]
        });
    }
    out
}

/// A queue, what is asked of it, and the limit that it meets up to [`EDGE`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct Case {
    pub(crate) queue: Queue,
    pub(crate) statistic: &'static str,
    pub(crate) limit: f64,
}

/// What is tested. The median of M/D/4 is the service time itself at most loads, so it has no edge.
pub(crate) const CASES: [Case; 14] = [
    Case { queue: Queue::Mm1, statistic: "p99 ttft", limit: 15.4849 },
    Case { queue: Queue::Mm1, statistic: "p95 ttft", limit: 9.9968 },
    Case { queue: Queue::Mm1, statistic: "p50 ttft", limit: 2.3009 },
    Case { queue: Queue::Mm1, statistic: "mean ttft", limit: 3.3312 },
    Case { queue: Queue::Md4, statistic: "p99 ttft", limit: 10.0010 },
    Case { queue: Queue::Md4, statistic: "p95 ttft", limit: 7.5536 },
    Case { queue: Queue::Md4, statistic: "p75 ttft", limit: 5.1321 },
    Case { queue: Queue::Md4, statistic: "mean ttft", limit: 4.7593 },
    Case { queue: Queue::Batch, statistic: "p99 ttft", limit: 5.3691 },
    Case { queue: Queue::Batch, statistic: "p95 ttft", limit: 1.6517 },
    Case { queue: Queue::Batch, statistic: "p50 ttft", limit: 0.7562 },
    Case { queue: Queue::Batch, statistic: "mean ttft", limit: 0.9408 },
    Case { queue: Queue::Batch, statistic: "p95 tpot", limit: 0.4761 },
    Case { queue: Queue::Batch, statistic: "mean tpot", limit: 0.3775 },
];

impl Case {
    /// The limit, by simulation.
    pub(crate) fn simulated(self) -> f64 {
        let Self { queue, statistic, .. } = self;
        let mut random = Random::new(1);
        let all = queue.trial(&mut random, EDGE, 4_000_000);
        let of = |s: &Sample| if statistic.ends_with("tpot") { s.values.tpot } else { s.values.ttft };
        let mut values: Vec<f64> = all.iter().filter_map(of).collect();
        values.sort_by(f64::total_cmp);
        match statistic.split_once(' ').map(|s| s.0) {
            Some("mean") | None => values.iter().sum::<f64>() / values.len() as f64,
            Some(p) => {
                let p: f64 = p.trim_start_matches('p').parse().unwrap_or(50.0);
                values[(p / 100.0 * values.len() as f64) as usize]
            }
        }
    }

    /// The share that a percentile leaves beyond its limit.
    fn allowed(&self) -> Option<f64> {
        let p: f64 = self.statistic.split_once(' ')?.0.strip_prefix('p')?.parse().ok()?;
        Some(1.0 - p / 100.0)
    }
}

/// What a search may spend.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Budget {
    /// Trials at a load.
    pub(crate) trials: usize,
    /// Requests of a trial at least.
    pub(crate) requests: usize,
    /// Requests of all trials, as a multiple of what a percentile needs without a late one.
    pub(crate) times: f64,
}

/// What a search gave.
#[derive(Debug, Clone)]
pub(crate) struct Outcome {
    pub(crate) edge: Edge,
    pub(crate) sent: usize,
    pub(crate) loads: usize,
    pub(crate) vetoes: usize,
}

impl Case {
    /// Requests of a trial at a load: enough for the percentile, and for a hidden overload of 5 %.
    fn requests(&self, budget: Budget, load: f64) -> usize {
        let needed = self.allowed().map_or(0, |a| requests_needed(a, LEVEL, budget.trials));
        let least = (budget.times * needed as f64 / budget.trials as f64).ceil() as usize;
        let shown = if self.statistic.ends_with("ttft") { self.limit / 0.05 * load } else { 0.0 };
        least.max(budget.requests).max(shown.ceil() as usize)
    }

    /// Trials at one load until they tell, or none are left; with the requests sent.
    pub(crate) fn look(&self, random: &mut Random, budget: Budget, load: f64) -> (Judged, usize) {
        let objectives = parse(&format!("{} < {}s", self.statistic, self.limit)).unwrap();
        let requests = self.requests(budget, load);
        let mut trials = Vec::new();
        loop {
            trials.push(self.queue.trial(random, load, requests));
            let judged = judge(&objectives, &trials, budget.trials, true, LEVEL);
            if judged.verdict != Verdict::Unclear || trials.len() == budget.trials {
                return (judged, trials.len() * requests);
            }
        }
    }
}

/// A whole search: as `bench`, from half the capacity.
pub(crate) fn search(case: Case, budget: Budget, seed: u64) -> Outcome {
    let mut random = Random::new(seed);
    let options = Options { start: 0.5, floor: 0.5 / 64.0, ceiling: 64.0, precision: 0.05, whole: false };
    let mut search = EdgeSearch::new(options);
    let (mut sent, mut loads, mut vetoes) = (0, 0, 0);
    while let Some(look) = search.next() {
        let (judged, requests) = case.look(&mut random, budget, look.load);
        loads += 1;
        sent += requests;
        vetoes += usize::from(judged.veto.is_some());
        search.saw(look, seen(judged.verdict));
    }
    Outcome { edge: search.edge(), sent, loads, vetoes }
}

/// Searches over seeds.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) seeds: usize,
    pub(crate) enclosed: usize,
    pub(crate) too_high: usize,
    pub(crate) too_low: usize,
    pub(crate) found: usize,
    pub(crate) both: usize,
    pub(crate) confirmed: usize,
    pub(crate) vetoes: usize,
    pub(crate) sent: usize,
    pub(crate) loads: usize,
    /// Lower and upper bound of each search that has both, relative to the edge.
    pub(crate) bounds: Vec<(f64, f64)>,
}

pub(crate) fn tally(case: Case, budget: Budget, seeds: std::ops::Range<u64>) -> Tally {
    let mut t = Tally::default();
    for seed in seeds {
        let Outcome { edge, sent, loads, vetoes } = search(case, budget, seed);
        let (holds, fails) = (edge.holds.unwrap_or(0.0), edge.fails.unwrap_or(f64::MAX));
        t.seeds += 1;
        t.too_high += usize::from(holds > EDGE);
        t.too_low += usize::from(fails < EDGE);
        t.enclosed += usize::from(holds <= EDGE && EDGE <= fails);
        t.found += usize::from(edge.holds.is_some());
        t.confirmed += usize::from(edge.confirmed);
        if let (Some(holds), Some(fails)) = (edge.holds, edge.fails) {
            t.both += 1;
            t.bounds.push((holds / EDGE, fails / EDGE));
        }
        t.vetoes += vetoes;
        t.sent += sent;
        t.loads += loads;
    }
    t
}

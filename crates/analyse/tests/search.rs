//! The search against queues whose edge is known: how often the answer encloses the truth.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use stopwatt_analyse::RequestMetrics;
use stopwatt_analyse::objective::{Sample, judge};
use stopwatt_analyse::search::seen;
use stopwatt_analyse::slo::parse;
use stopwatt_core::search::Verdict;
use stopwatt_stats::edge::{Edge, EdgeSearch, Options};

/// SplitMix64 (Steele, Lea & Flood, OOPSLA 2014): enough for a simulation, and the same everywhere.
struct Random(u64);

impl Random {
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

/// One trial of a queue with one server of rate 1 (M/M/1), begun empty as a real one; the begin is left out.
fn trial(random: &mut Random, load: f64, requests: usize, settle: usize) -> Vec<Sample> {
    let (mut now, mut free) = (0.0, 0.0f64);
    let mut one = || {
        now += random.exponential(load);
        free = free.max(now) + random.exponential(1.0);
        let values = RequestMetrics { ttft: Some(free - now), ..Default::default() };
        Sample { ok: true, begin_s: now, end_s: free, values, ..Default::default() }
    };
    (0..settle + requests).map(|_| one()).skip(settle).collect()
}

/// A whole search as `bench --find max-rate` makes it: trials long enough for a hidden overload of 5 %, at most five
/// at a load, each bound at 97.5 %.
fn search(seed: u64, slo: &str, limit: f64) -> (Edge, usize, usize) {
    let objectives = parse(slo).unwrap();
    let mut random = Random(seed.wrapping_mul(0x2545_f491_4f6c_dd1d) + 1);
    let options = Options { start: 0.5, floor: 0.5 / 64.0, ceiling: 64.0, precision: 0.05, whole: false };
    let mut search = EdgeSearch::new(options);
    let (mut sent, mut vetoes) = (0, 0);
    while let Some(look) = search.next() {
        let requests = ((limit / 0.05 * look.load).ceil() as usize).max(22);
        let settle = requests.div_ceil(4);
        let mut trials = Vec::new();
        let mut verdict = Verdict::Unclear;
        while trials.len() < 5 && verdict == Verdict::Unclear {
            trials.push(trial(&mut random, look.load, requests, settle));
            sent += requests + settle;
            let judged = judge(&objectives, &trials, true, 0.975);
            verdict = judged.verdict;
            vetoes += usize::from(judged.veto.is_some());
        }
        search.saw(look, seen(verdict));
    }
    (search.edge(), sent, vetoes)
}

#[derive(Debug, Default)]
struct Tally {
    enclosed: usize,
    too_high: usize,
    too_low: usize,
    found: usize,
    confirmed: usize,
    width: f64,
    vetoes: usize,
    sent: usize,
}

fn tally(seeds: u64, slo: &str, limit: f64, truth: f64) -> Tally {
    let mut t = Tally::default();
    for seed in 0..seeds {
        let (edge, sent, vetoes) = search(seed, slo, limit);
        let (holds, fails) = (edge.holds.unwrap_or(0.0), edge.fails.unwrap_or(f64::MAX));
        t.too_high += usize::from(holds > truth);
        t.too_low += usize::from(fails < truth);
        t.enclosed += usize::from(holds <= truth && truth <= fails);
        t.found += usize::from(edge.holds.is_some());
        t.confirmed += usize::from(edge.confirmed);
        t.width += fails / holds.max(1e-9) / seeds as f64;
        t.vetoes += vetoes;
        t.sent += sent / seeds as usize;
    }
    t
}

/// The sojourn time of M/M/1 is exponential with rate 1 − load, so its quantile p meets the limit up to load
/// 1 + ln(1 − p)/limit, and its mean up to 1 − 1/limit.
fn cases() -> [(&'static str, f64, f64); 4] {
    [
        ("p95 ttft < 15s", 15.0, 1.0 + 0.05f64.ln() / 15.0),
        ("p90 ttft < 8s", 8.0, 1.0 + 0.1f64.ln() / 8.0),
        ("mean ttft < 4s", 4.0, 1.0 - 1.0 / 4.0),
        ("p99 ttft < 23s", 23.0, 1.0 + 0.01f64.ln() / 23.0),
    ]
}

#[test]
fn the_answer_encloses_the_edge_of_a_known_queue() {
    let tallies = cases().map(|(slo, limit, truth)| (slo, truth, tally(40, slo, limit, truth)));
    tallies.iter().for_each(|(slo, truth, t)| println!("{slo}: edge {truth:.4}, {t:?}"));
    assert!(tallies[0].2.found >= 30, "{:?}", tallies[0].2);
    for (slo, _, t) in &tallies {
        assert!(t.enclosed >= 36 && t.too_high <= 2, "{slo}: {t:?}");
    }
}

/// The figures of `docs/bench.md`: `cargo test --release -p stopwatt-analyse --test search -- --ignored --nocapture`.
#[test]
#[ignore = "takes minutes"]
fn coverage_over_many_seeds() {
    for (slo, limit, truth) in cases() {
        println!("{slo}: edge {truth:.4}, {:?}", tally(500, slo, limit, truth));
    }
}

//! Prints how often a comparison of two groups of trials calls a difference: when there is none, and when there is.
//!
//! `cargo run --release -p stopwatt-stats --example verdicts [PAIRS]`; see `VERDICTS.md`.

#![allow(clippy::print_stdout, reason = "a table is what it is for")]

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use stopwatt_stats::compare::{Comparison, Design, Margin, compare, trials_needed};
use stopwatt_stats::distribution::normal_quantile;
use stopwatt_stats::holm;

/// Metrics that are judged together.
const METRICS: usize = 4;

/// A group of trials of several metrics: each trial has an offset of its own that all its metrics share in part.
fn group(rng: &mut ChaCha8Rng, trials: usize, sd: f64, change: f64) -> [Vec<f64>; METRICS] {
    let mut normal = || normal_quantile(rng.random_range(1e-12..1.0));
    let mut out: [Vec<f64>; METRICS] = Default::default();
    for _ in 0..trials {
        let shared = normal();
        for values in &mut out {
            let noise = sd * (0.7 * shared + (1.0f64 - 0.49).sqrt() * normal());
            values.push((1.0 + change) * (1.0 + noise));
        }
    }
    out
}

fn judge(a: &[Vec<f64>; METRICS], b: &[Vec<f64>; METRICS], design: Design) -> Option<Vec<Comparison>> {
    a.iter().zip(b).map(|(a, b)| compare(a, b, design, 0.95, Margin::Relative(0.01)).ok()).collect()
}

/// Shares of pairs: the first metric differs, any of the metrics differs after Holm, the first is equivalent, and its
/// interval covers the true change.
fn shares(pairs: u32, trials: usize, sd: f64, change: f64, design: Design) -> [f64; 4] {
    let mut counts = [0u32; 4];
    let mut rng = ChaCha8Rng::seed_from_u64(trials as u64 * 1000 + (sd * 1e4) as u64);
    for _ in 0..pairs {
        let a = group(&mut rng, trials, sd, 0.0);
        let b = group(&mut rng, trials, sd, change);
        let Some(all) = judge(&a, &b, design) else { continue };
        let p: Vec<f64> = all.iter().map(|c| c.p).collect();
        counts[0] += u32::from(p[0] < 0.05);
        counts[1] += u32::from(holm::adjust(&p).iter().any(|&p| p < 0.05));
        counts[2] += u32::from(all[0].p_equivalence < 0.05);
        counts[3] += u32::from(all[0].change_ci.is_some_and(|ci| ci.lo <= change && change <= ci.hi));
    }
    counts.map(|n| 100.0 * f64::from(n) / f64::from(pairs))
}

fn main() {
    let pairs = std::env::args().nth(1).and_then(|n| n.parse().ok()).unwrap_or(10_000);
    println!(
        "| design | trials a side | sd between trials | true change | differs | any of {METRICS} differs (Holm) | equivalent within 1 % | interval covers |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    for design in [Design::Independent, Design::Paired] {
        for trials in [3, 5, 10, 20] {
            for (sd, change) in [(0.01, 0.0), (0.05, 0.0), (0.01, 0.02), (0.002, 0.002)] {
                let [differs, any, same, covers] = shares(pairs, trials, sd, change, design);
                println!(
                    "| {design:?} | {trials} | {:.1} % | {:+.1} % | {differs:.1} % | {any:.1} % | {same:.1} % | {covers:.1} % |",
                    sd * 100.0,
                    change * 100.0
                );
            }
        }
    }
    println!("\nTrials a side to find a change of 2 % with probability 0.8:");
    for sd in [0.005, 0.01, 0.02, 0.05] {
        println!("- sd between trials {:.1} %: {:?}", sd * 100.0, trials_needed(0.02, sd, 0.95, 0.8));
    }
}

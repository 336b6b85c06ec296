//! How often a search encloses the edge of a queue that is known, and how closely: the tables of `SEARCH.md`.
//!
//! ```text
//! cargo run --release -p stopwatt-analyse --example search_coverage -- [looks|limits] [SEEDS] [TRIALS] [REQUESTS] [TIMES] [FIRST]
//! ```

#![allow(clippy::print_stdout, reason = "an example prints")]

#[path = "../tests/support/queue.rs"]
mod queue;

use queue::{Budget, CASES, Random, tally};
use stopwatt_core::search::Verdict;

/// What one load is said to do, by its distance from the edge.
fn looks(budget: Budget, seeds: u64) {
    const LOADS: [f64; 5] = [0.5, 0.9, 1.0, 1.1, 1.3];
    println!("| queue | objective | {} |", LOADS.map(|l| format!("{l}")).join(" | "));
    println!("|---|---|{}", "---|".repeat(LOADS.len()));
    for case in CASES {
        let cell = |load: f64| {
            let (mut holds, mut fails) = (0, 0);
            for seed in 0..seeds {
                let (judged, _) = case.look(&mut Random::new(seed), budget, load * queue::EDGE);
                holds += u64::from(judged.verdict == Verdict::Holds);
                fails += u64::from(judged.verdict == Verdict::Fails);
            }
            let percent = |n: u64| 100.0 * n as f64 / seeds as f64;
            format!("{:.1} / {:.1}", percent(holds), percent(fails))
        };
        println!("| {} | {} | {} |", case.queue.name(), case.statistic, LOADS.map(cell).join(" | "));
    }
}

fn main() {
    let args: Vec<f64> = std::env::args().skip(1).filter_map(|a| a.parse().ok()).collect();
    let arg = |i: usize, default: f64| args.get(i).copied().unwrap_or(default);
    let seeds = arg(0, 400.0) as u64;
    let budget =
        Budget { trials: arg(1, 8.0) as usize, requests: arg(2, 200.0) as usize, times: arg(3, 4.0) };
    // Rules are chosen on the seeds from 0 on, and judged on others.
    let first = arg(4, 1_000_000.0) as u64;
    if std::env::args().any(|a| a == "looks") {
        return looks(budget, seeds);
    }
    if std::env::args().any(|a| a == "limits") {
        return CASES.iter().for_each(|c| println!("{c:?}: {:.4}", c.simulated()));
    }
    println!(
        "| queue | objective | encloses | too high | too low | found | both | confirmed | bounds / edge | loads | requests |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|");
    for case in CASES {
        let t = tally(case, budget, first..first + seeds);
        let percent = |n: usize| 100.0 * n as f64 / t.seeds as f64;
        let median = |of: fn(&(f64, f64)) -> f64| {
            let mut all: Vec<f64> = t.bounds.iter().map(of).collect();
            all.sort_by(f64::total_cmp);
            all.get(all.len() / 2).copied().unwrap_or(f64::NAN)
        };
        println!(
            "| {} | {} < {:.4} | {:.1} % | {} | {} | {:.1} % | {:.1} % | {:.0} % | {:.2}–{:.2} | {:.1} | {} |",
            case.queue.name(),
            case.statistic,
            case.limit,
            percent(t.enclosed),
            t.too_high,
            t.too_low,
            percent(t.found),
            percent(t.both),
            percent(t.confirmed),
            median(|b| b.0),
            median(|b| b.1),
            t.loads as f64 / t.seeds as f64,
            t.sent / t.seeds,
        );
    }
}

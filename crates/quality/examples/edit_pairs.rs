//! Reads pairs of texts, one JSON list `[reference, hypothesis]` a line, and prints for each the edit distance and the
//! substitutions, deletions and insertions of code points; with `--time` the best of so many runs of all pairs, in ms.
//! `benchmarks/ocr-scoring` holds it beside other implementations.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a small program for people")]

use std::io::BufRead as _;

use stopwatt_core::clock::monotonic_raw;
use stopwatt_quality::{Counts, edit};

fn main() {
    let rounds: Option<u32> =
        std::env::args().skip_while(|a| a != "--time").nth(1).map(|n| n.parse().unwrap());
    let pairs: Vec<[Vec<char>; 2]> = std::io::stdin()
        .lock()
        .lines()
        .map(|line| {
            let texts: [String; 2] = serde_json::from_str(&line.unwrap()).unwrap();
            texts.map(|t| t.chars().collect())
        })
        .collect();
    let Some(rounds) = rounds else {
        for [a, b] in &pairs {
            let c = Counts::of(a, b);
            println!("{} {} {} {}", edit::distance(a, b), c.substitutions, c.deletions, c.insertions);
        }
        return;
    };
    let best = |work: &dyn Fn(&[char], &[char]) -> u64| {
        let once = |_| {
            let begin = monotonic_raw();
            let sum: u64 = pairs.iter().map(|[a, b]| work(a, b)).sum();
            std::hint::black_box(sum);
            (monotonic_raw() - begin) as f64 / 1e6
        };
        (0..rounds).map(once).fold(f64::INFINITY, f64::min)
    };
    println!("distance {:.3}", best(&|a, b| edit::distance(a, b) as u64));
    println!("counts {:.3}", best(&|a, b| Counts::of(a, b).errors()));
}

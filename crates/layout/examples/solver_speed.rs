//! How fast orders are found: one line of CSV a measurement.
//!
//! ```text
//! cargo run --release -p stopwatt-layout --example solver_speed > benchmarks/layout-solver/solver.csv
//! ```

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "an example")]

use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use stopwatt_core::clock::monotonic_raw;
use stopwatt_layout::cost::{Swaps, evaluate};
use stopwatt_layout::solver::{Budget, Method, SolverOptions, refine, solve};
use stopwatt_layout::{CostParams, Graph, Permutation};

const NODES: usize = 4096;
const EDGES: usize = 500_000;
const ROUNDS: usize = 5;

fn seconds() -> f64 {
    monotonic_raw() as f64 * 1e-9
}

/// 64 groups; three of four edges stay inside one, and every name is drawn.
fn grouped(seed: u64) -> Graph {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let names = Permutation::random(NODES, seed);
    let mut edges = std::collections::BTreeMap::new();
    while edges.len() < EDGES {
        let a = rng.random_range(0..NODES as u32);
        let inside = rng.random_range(0..4) > 0;
        let b =
            if inside { a / 64 * 64 + rng.random_range(0..64) } else { rng.random_range(0..NODES as u32) };
        // A group has only 2,016 pairs: what is full goes elsewhere.
        let b = if edges.contains_key(&(a.min(b), a.max(b))) { rng.random_range(0..NODES as u32) } else { b };
        if a != b {
            edges.insert((a.min(b), a.max(b)), rng.random_range(0.5..1.5));
        }
    }
    let name = |u: u32| names.order()[u as usize];
    Graph::from_edges(NODES, edges.into_iter().map(|((a, b), w)| (name(a), name(b), w))).unwrap()
}

fn main() {
    let params = CostParams::default();
    println!("what,method,round,nodes,edges,seconds,tries,tries_per_s,J_start,J_first,J_end");
    for round in 0..ROUNDS {
        let graph = grouped(round as u64);
        let start = Permutation::identity(NODES);
        for method in [Method::Greedy, Method::Louvain, Method::Fiedler, Method::Auto] {
            let options = SolverOptions { method, rng_seed: round as u64, ..SolverOptions::default() };
            let budget = Budget::new(600.0, &seconds);
            let begin = seconds();
            let found = solve(&graph, &start, None, &params, &options, &budget);
            let took = seconds() - begin;
            println!(
                "solve,{},{round},{NODES},{},{took:.4},{},,{:.6},{:.6},{:.6}",
                method.name(),
                graph.nnz(),
                found.tried,
                found.start.j,
                found.first.j,
                found.cost.j
            );
        }
        // The same tries: with changes of two degrees each, and evaluating everything for each.
        let budget = Budget::new(600.0, &seconds);
        let begin = seconds();
        let state = Swaps::new(&graph, start.clone(), None, &params);
        let refined = refine(state, 200_000, round as u64, &budget);
        let local = seconds() - begin;
        let end = evaluate(&graph, &refined.permutation, None, &params).j;
        let rate = refined.tried as f64 / local;
        let nnz = graph.nnz();
        println!("swaps,degree,{round},{NODES},{nnz},{local:.4},{},{rate:.0},,,{end:.6}", refined.tried);
        let (mut rng, mut pi, tries) = (ChaCha8Rng::seed_from_u64(round as u64), start.clone(), 50);
        let begin = seconds();
        let mut best = evaluate(&graph, &pi, None, &params).j;
        for _ in 0..tries {
            let (p, q) = (rng.random_range(0..NODES), rng.random_range(0..NODES));
            pi.swap(p, q);
            let cost = evaluate(&graph, &pi, None, &params).j;
            if cost < best { best = cost } else { pi.swap(p, q) }
        }
        let full = seconds() - begin;
        let rate = f64::from(tries) / full;
        println!("swaps,everything,{round},{NODES},{nnz},{full:.4},{tries},{rate:.0},,,{best:.6}");
    }
}

//! Always the unit next that has most to do with the last few (after Wei et al., "Speedup graph processing by graph
//! ordering", SIGMOD 2016).

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use super::Budget;
use crate::graph::Graph;
use crate::permutation::Permutation;

/// The order; `window` is how many of the last units count.
pub fn greedy(graph: &Graph, window: usize, budget: &Budget<'_>) -> Permutation {
    let d = graph.d();
    let mut by_degree: Vec<u32> = (0..d as u32).collect();
    let degrees: Vec<f64> = (0..d).map(|i| graph.degree(i)).collect();
    by_degree.sort_by(|&a, &b| degrees[b as usize].total_cmp(&degrees[a as usize]));
    let mut seeds = by_degree.into_iter();
    let mut placed = vec![false; d];
    let mut key = vec![0f64; d];
    // Entries grow stale when a key changes; then a new one is there. Keys are not negative, so their bits are in order.
    let mut heap: BinaryHeap<(u64, Reverse<u32>)> = BinaryHeap::new();
    let mut recent = VecDeque::new();
    let mut order = Vec::with_capacity(d);
    while order.len() < d {
        if order.len() % 64 == 0 && budget.is_over() {
            // The rest as it is.
            order.extend((0..d as u32).filter(|&u| !placed[u as usize]));
            break;
        }
        let best = loop {
            match heap.pop() {
                None => break None,
                Some((bits, Reverse(u))) => {
                    if !placed[u as usize] && key[u as usize].to_bits() == bits && bits > 0 {
                        break Some(u);
                    }
                }
            }
        };
        let Some(unit) = best.or_else(|| seeds.find(|&u| !placed[u as usize])) else { break };
        placed[unit as usize] = true;
        order.push(unit);
        recent.push_back(unit);
        let mut tell = |from: u32, sign: f64| {
            for (j, w) in graph.neighbours(from as usize) {
                let j = j as usize;
                if !placed[j] {
                    key[j] = (key[j] + sign * w).max(0.0);
                    heap.push((key[j].to_bits(), Reverse(j as u32)));
                }
            }
        };
        tell(unit, 1.0);
        if recent.len() > window.max(1)
            && let Some(old) = recent.pop_front()
        {
            tell(old, -1.0);
        }
    }
    Permutation::of(order)
}

//! Finds an order of little cost.
//!
//! ```text
//! graph ─┬─ fiedler ─┐
//!        ├─ louvain ─┼─ least J ──► local swaps ──► order        trace ──► fewest granules ──► local swaps ──► order
//!        ├─ greedy ──┤              (refine, on J)                         (touches, on what is read)
//!        └─ start ───┘
//! ```
//!
//! J is cheap and knows no device; `touches` moves units by what is really counted. Both keep the best order found so far:
//! when the time is over it is returned, marked. Nothing here reads a clock: a [`Budget`] is handed one.

mod fiedler;
mod greedy;
mod louvain;
mod refine;
mod touches;

use std::cell::Cell;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::cost::{Cost, CostParams, Swaps, evaluate};
use crate::graph::Graph;
use crate::permutation::Permutation;

pub use fiedler::fiedler;
pub use greedy::greedy;
pub use louvain::{communities, louvain};
pub use refine::{Refined, refine};
pub use touches::{Touched, Touches, reduce_touches};

/// How long a solver may go on.
pub struct Budget<'a> {
    now: &'a dyn Fn() -> f64,
    until: f64,
    over: Cell<bool>,
}

impl std::fmt::Debug for Budget<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Budget").field("until", &self.until).field("over", &self.over).finish_non_exhaustive()
    }
}

impl<'a> Budget<'a> {
    /// So many seconds from now on; `now` tells seconds of any steady clock.
    pub fn new(seconds: f64, now: &'a dyn Fn() -> f64) -> Self {
        Self { until: now() + seconds, now, over: Cell::new(false) }
    }

    /// Whether the time is over. Whoever asks stops, so that the answer is that something was cut off.
    pub fn is_over(&self) -> bool {
        if !self.over.get() && (self.now)() >= self.until {
            self.over.set(true);
        }
        self.over.get()
    }

    /// Whether something was cut off.
    pub fn was_over(&self) -> bool {
        self.over.get()
    }
}

/// Ways to find an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// The best of `fiedler`, `louvain` and `greedy`.
    #[default]
    Auto,
    /// By the second eigenvector of the Laplacian.
    Fiedler,
    /// Communities, each contiguous.
    Louvain,
    /// Always the unit that has most to do with the last few.
    Greedy,
    /// None: local swaps from where it begins.
    Local,
}

impl Method {
    /// Name in files.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Fiedler => "fiedler",
            Self::Louvain => "louvain",
            Self::Greedy => "greedy",
            Self::Local => "local",
        }
    }
}

/// How an order is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SolverOptions {
    /// Which way.
    pub method: Method,
    /// Longest time for one order, in seconds. The best so far is returned when it is over.
    #[schemars(range(min = 0.0))]
    pub time_budget_s: f64,
    /// Local swaps that are tried.
    pub refine_steps: u64,
    /// Seed of everything drawn.
    pub rng_seed: u64,
}

impl Default for SolverOptions {
    fn default() -> Self {
        Self { method: Method::Auto, time_budget_s: 300.0, refine_steps: 200_000, rng_seed: 0 }
    }
}

/// An order that was found.
#[derive(Debug, Clone, PartialEq)]
pub struct Solution {
    /// The order.
    pub permutation: Permutation,
    /// Its cost.
    pub cost: Cost,
    /// Cost where it began.
    pub start: Cost,
    /// Cost before local swaps.
    pub first: Cost,
    /// What the local swaps began with.
    pub method: Method,
    /// Swaps that were tried.
    pub tried: u64,
    /// Swaps that were made.
    pub made: u64,
    /// The time was over before everything was tried.
    pub timed_out: bool,
}

/// Looks for an order of little J, never worse than `start`. `before` is what the stability term asks about.
///
/// # Panics
/// When graph and permutations differ in width.
pub fn solve(
    graph: &Graph,
    start: &Permutation,
    before: Option<&Permutation>,
    params: &CostParams,
    options: &SolverOptions,
    budget: &Budget<'_>,
) -> Solution {
    let cost = |pi: &Permutation| evaluate(graph, pi, before, params);
    let seed = options.rng_seed;
    let window = params.vec_width.max(2) as usize;
    let ways: &[Method] = match options.method {
        Method::Auto => &[Method::Greedy, Method::Louvain, Method::Fiedler],
        Method::Local => &[],
        ref one => std::slice::from_ref(one),
    };
    let begin = cost(start);
    let mut best = (Method::Local, start.clone(), begin);
    for &way in ways {
        if budget.is_over() {
            break;
        }
        let found = match way {
            Method::Fiedler => fiedler(graph, seed, budget),
            Method::Louvain => louvain(graph, params.modularity_gamma, window, seed, budget),
            _ => greedy(graph, window, budget),
        };
        let found_cost = cost(&found);
        if found_cost.j < best.2.j {
            best = (way, found, found_cost);
        }
    }
    let (method, permutation, first) = best;
    let refined = refine(Swaps::new(graph, permutation, before, params), options.refine_steps, seed, budget);
    Solution {
        // Evaluated anew, so that no rounding of many small changes is in it.
        cost: cost(&refined.permutation),
        permutation: refined.permutation,
        start: begin,
        first,
        method,
        tried: refined.tried,
        made: refined.made,
        timed_out: budget.was_over(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unhurried(f: impl FnOnce(&Budget<'_>)) {
        f(&Budget::new(f64::INFINITY, &|| 0.0));
    }

    /// A band whose units got other names, so that its order must be found.
    fn shuffled_band(d: usize, hops: usize) -> (Graph, Permutation) {
        let names = Permutation::random(d, 11);
        (Graph::banded(d, hops, 0.7).unwrap().relabelled(&names), names)
    }

    /// The order that undoes the names, one way or the other round.
    fn is_the_band(found: &Permutation, names: &Permutation) -> bool {
        let places: Vec<u32> =
            (0..names.len()).map(|i| found.position()[names.position()[i] as usize]).collect();
        places.is_sorted() || places.iter().rev().is_sorted()
    }

    #[test]
    fn a_shuffled_band_is_recovered() {
        unhurried(|budget| {
            for hops in [1, 3] {
                let (graph, names) = shuffled_band(300, hops);
                assert!(is_the_band(&fiedler(&graph, 1, budget), &names), "{hops} hops");
            }
            // With a distance of one place, the band's own order is the least J of all that were tried.
            let params = CostParams { g: 1, mu: 0.0, beta: 0.0, lambda: 300, ..CostParams::default() };
            let (graph, names) = shuffled_band(300, 3);
            let found =
                solve(&graph, &Permutation::identity(300), None, &params, &SolverOptions::default(), budget);
            assert!(is_the_band(&found.permutation, &names), "{found:?}");
            assert!(found.cost.j < found.start.j && !found.timed_out);
        });
    }

    #[test]
    fn communities_become_contiguous() {
        unhurried(|budget| {
            let names = Permutation::random(96, 5);
            let graph = Graph::mock(96, 4, 0.02, 2).unwrap().relabelled(&names);
            let found = louvain(&graph, 1.2, 16, 3, budget);
            // Unit i of the mock is named position[i]; its block is i / 24.
            let blocks: Vec<u32> = found.order().iter().map(|&u| names.order()[u as usize] / 24).collect();
            let borders = blocks.windows(2).filter(|w| w[0] != w[1]).count();
            assert_eq!(borders, 3, "{blocks:?}");
        });
    }

    #[test]
    fn one_seed_gives_one_order_and_nothing_gets_worse() {
        unhurried(|budget| {
            let graph = Graph::mock(64, 3, 0.5, 9).unwrap();
            let start = Permutation::random(64, 1);
            for method in [Method::Auto, Method::Fiedler, Method::Louvain, Method::Greedy, Method::Local] {
                let options = SolverOptions { method, refine_steps: 500, ..SolverOptions::default() };
                let params = CostParams { g: 4, ..CostParams::default() };
                let once = solve(&graph, &start, Some(&start), &params, &options, budget);
                assert_eq!(once, solve(&graph, &start, Some(&start), &params, &options, budget));
                assert!(once.cost.j <= once.first.j && once.first.j <= once.start.j, "{method:?}");
            }
        });
    }

    #[test]
    fn when_the_time_is_over_the_best_so_far_is_returned() {
        let graph = Graph::mock(128, 4, 0.3, 1).unwrap();
        let start = Permutation::random(128, 1);
        let options = SolverOptions { refine_steps: u64::MAX, ..SolverOptions::default() };
        for looks in [0, 3, 40, 4000] {
            let time = Cell::new(0.0);
            let now = || {
                time.set(time.get() + 1.0);
                time.get()
            };
            let budget = Budget::new(f64::from(looks), &now);
            let found = solve(&graph, &start, None, &CostParams::default(), &options, &budget);
            assert!(found.timed_out && found.cost.j <= found.start.j + 1e-12, "{looks}: {found:?}");
            assert_eq!(
                Permutation::from_order(found.permutation.order().to_vec()).unwrap(),
                found.permutation
            );
        }
    }

    #[test]
    fn graphs_without_edges_or_with_islands_have_an_order() {
        unhurried(|budget| {
            for edges in [vec![], vec![(0, 1, 1.0)], vec![(5, 6, 1.0), (1, 2, 0.5), (2, 3, 0.5)]] {
                let graph = Graph::from_edges(8, edges).unwrap();
                let start = Permutation::identity(8);
                for method in [Method::Fiedler, Method::Louvain, Method::Greedy] {
                    let options = SolverOptions { method, refine_steps: 50, ..SolverOptions::default() };
                    let found = solve(&graph, &start, None, &CostParams::default(), &options, budget);
                    assert_eq!(found.permutation.len(), 8);
                }
                assert_eq!(fiedler(&graph, 0, budget).len(), 8);
            }
        });
    }
}

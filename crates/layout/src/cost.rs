//! The cost J of the original co-design project: a surrogate, cheap to change, that knows no device.
//!
//! ```text
//! J = α C + β R_align + γ R_stab − μ Q                       minimised
//! C       = Σ W_ij φ(⌊|pos_i − pos_j| / g⌋) / (φ_max Σ W)    φ: linear up to λ, slope τ beyond
//! R_align = Σ W_ij [pos_i ≢ pos_j mod vec_width] / Σ W
//! R_stab  = share of units more than `hysteresis` places from where they were
//! Q       = Σ_b [ L_b / m − γ_m (K_b / 2m)² ]                k contiguous blocks of places; m = Σ W
//! ```
//!
//! Sums are over pairs i < j; L_b is the weight of the pairs inside block b, K_b the sum of its units' degrees. Q is
//! Newman's modularity with its null model over all pairs, where the original counted only pairs with an edge.
//!
//! [`Swaps`] keeps the sums while units are exchanged: a swap costs the degrees of the two units.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::graph::Graph;
use crate::permutation::Permutation;

/// The weights and shapes of J. Defaults are the original's.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct CostParams {
    /// Weight α of the distance term C.
    pub alpha: f64,
    /// Weight β of the alignment term.
    pub beta: f64,
    /// Weight γ of the stability term.
    pub gamma: f64,
    /// Weight μ of the modularity Q.
    pub mu: f64,
    /// Places that count as one distance.
    #[schemars(range(min = 1))]
    pub g: u32,
    /// Distance, in groups, beyond which φ rises more slowly.
    pub lambda: u32,
    /// Slope of φ beyond `lambda`.
    pub tau: f64,
    /// Resolution γ_m of the modularity.
    pub modularity_gamma: f64,
    /// Places of a vector.
    #[schemars(range(min = 1))]
    pub vec_width: u32,
    /// Shift, in places, that does not count as a move.
    pub hysteresis: u32,
    /// Blocks of the modularity.
    #[schemars(range(min = 1))]
    pub blocks_k: u32,
}

impl Default for CostParams {
    fn default() -> Self {
        Self {
            alpha: 1.0,
            beta: 0.2,
            gamma: 0.1,
            mu: 0.5,
            g: 64,
            lambda: 3,
            tau: 0.25,
            modularity_gamma: 1.2,
            vec_width: 16,
            hysteresis: 2,
            blocks_k: 4,
        }
    }
}

impl CostParams {
    /// What makes no sense, as the key and the reason.
    pub fn problem(&self) -> Option<(&'static str, &'static str)> {
        let numbers = [
            ("cost.alpha", self.alpha),
            ("cost.beta", self.beta),
            ("cost.gamma", self.gamma),
            ("cost.mu", self.mu),
            ("cost.tau", self.tau),
            ("cost.modularity_gamma", self.modularity_gamma),
        ];
        if let Some((key, _)) = numbers.iter().find(|(_, v)| !v.is_finite() || *v < 0.0) {
            return Some((key, "a weight is finite and not negative"));
        }
        let counts =
            [("cost.g", self.g), ("cost.vec_width", self.vec_width), ("cost.blocks_k", self.blocks_k)];
        counts.iter().find(|(_, v)| *v == 0).map(|(key, _)| (*key, "at least 1"))
    }

    fn phi(&self, groups: u32) -> f64 {
        if groups <= self.lambda {
            f64::from(groups)
        } else {
            f64::from(self.lambda) + self.tau * f64::from(groups - self.lambda)
        }
    }
}

/// J and its terms.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Cost {
    /// Distance term, 0 to 1.
    #[serde(rename = "C")]
    pub c: f64,
    /// Alignment term, 0 to 1.
    #[serde(rename = "R_align")]
    pub r_align: f64,
    /// Stability term, 0 to 1.
    #[serde(rename = "R_stab")]
    pub r_stab: f64,
    /// Modularity.
    #[serde(rename = "Q")]
    pub q: f64,
    /// All together.
    #[serde(rename = "J")]
    pub j: f64,
}

/// J of an order. `before` is the order that the stability term asks about; without it that term is 0.
///
/// # Panics
/// When graph and permutations differ in width.
pub fn evaluate(graph: &Graph, pi: &Permutation, before: Option<&Permutation>, params: &CostParams) -> Cost {
    Swaps::new(graph, pi.clone(), before, params).cost()
}

/// An order with the sums of its cost.
#[derive(Debug, Clone)]
pub struct Swaps<'a> {
    graph: &'a Graph,
    params: &'a CostParams,
    before: Option<&'a Permutation>,
    pi: Permutation,
    /// φ by the distance in places.
    phi: Vec<f64>,
    /// Block of each place.
    block: Vec<u32>,
    degree: Vec<f64>,
    total: f64,
    sums: Sums,
}

/// What the terms are made of.
#[derive(Debug, Clone, PartialEq)]
struct Sums {
    distance: f64,
    unaligned: f64,
    moved: i64,
    /// Weight of the pairs inside each block.
    inside: Vec<f64>,
    /// Degrees of the units of each block.
    degrees: Vec<f64>,
}

/// What a swap changes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Change {
    distance: f64,
    unaligned: f64,
    moved: i64,
    inside: [f64; 2],
    /// By how much J changes.
    pub j: f64,
}

impl<'a> Swaps<'a> {
    /// Evaluates an order: every pair once.
    ///
    /// # Panics
    /// When graph and permutations differ in width.
    pub fn new(
        graph: &'a Graph,
        pi: Permutation,
        before: Option<&'a Permutation>,
        params: &'a CostParams,
    ) -> Self {
        let d = graph.d();
        assert!(pi.len() == d && before.is_none_or(|b| b.len() == d), "a permutation of another width");
        let (g, k) = (params.g.max(1), params.blocks_k.max(1) as usize);
        let length = (d / k).max(1);
        let blocks = k.min(d.max(1));
        let block: Vec<u32> = (0..d).map(|p| (p / length).min(blocks - 1) as u32).collect();
        let phi: Vec<f64> = (0..d as u32).map(|places| params.phi(places / g)).collect();
        let degree: Vec<f64> = (0..d).map(|i| graph.degree(i)).collect();
        let mut sums = Sums {
            distance: 0.0,
            unaligned: 0.0,
            moved: 0,
            inside: vec![0.0; blocks],
            degrees: vec![0.0; blocks],
        };
        let vector = params.vec_width.max(1);
        let place = pi.position();
        for (i, j, w) in graph.pairs() {
            let (p, q) = (place[i as usize], place[j as usize]);
            sums.distance += w * phi[p.abs_diff(q) as usize];
            sums.unaligned += w * f64::from(u8::from(p % vector != q % vector));
            if block[p as usize] == block[q as usize] {
                sums.inside[block[p as usize] as usize] += w;
            }
        }
        for (p, &unit) in pi.order().iter().enumerate() {
            sums.degrees[block[p] as usize] += degree[unit as usize];
            sums.moved += i64::from(far(before, unit, p, params));
        }
        Self { graph, params, before, pi, phi, block, total: graph.total(), degree, sums }
    }

    /// The order.
    pub fn permutation(&self) -> &Permutation {
        &self.pi
    }

    /// The graph.
    pub(crate) fn graph(&self) -> &'a Graph {
        self.graph
    }

    /// The order, for good.
    pub fn into_permutation(self) -> Permutation {
        self.pi
    }

    /// J and its terms.
    pub fn cost(&self) -> Cost {
        let sums = &self.sums;
        let m = self.total;
        let phi_max = self.phi.last().copied().unwrap_or(0.0);
        let share = |sum: f64, of: f64| if of > 0.0 { sum / of } else { 0.0 };
        let c = share(sums.distance, phi_max * m);
        let r_align = share(sums.unaligned, m);
        let r_stab = sums.moved as f64 / self.pi.len().max(1) as f64;
        let block = |(inside, degrees): (&f64, &f64)| {
            share(*inside, m) - self.params.modularity_gamma * share(*degrees, 2.0 * m).powi(2)
        };
        let q: f64 = sums.inside.iter().zip(&sums.degrees).map(block).sum();
        let j = self.params.alpha * c + self.params.beta * r_align + self.params.gamma * r_stab
            - self.params.mu * q;
        Cost { c, r_align, r_stab, q, j }
    }

    /// What exchanging the units at places `p` and `q` would change. The edge between the two changes nothing: their
    /// distance, their residues and their blocks are the same pair as before.
    pub fn change(&self, p: usize, q: usize) -> Change {
        let (u, v) = (self.pi.order()[p], self.pi.order()[q]);
        let (a, b) = (self.block[p], self.block[q]);
        let vector = self.params.vec_width.max(1);
        let mut change = Change { distance: 0.0, unaligned: 0.0, moved: 0, inside: [0.0; 2], j: 0.0 };
        let [in_a, in_b] = &mut change.inside;
        let mut walk = |unit: u32,
                        other: u32,
                        from: usize,
                        to: usize,
                        leaves: &mut f64,
                        enters: &mut f64,
                        blocks: [u32; 2]| {
            let (from, to) = (from as u32, to as u32);
            for (j, w) in self.graph.neighbours(unit as usize) {
                if j == other {
                    continue;
                }
                let place = self.pi.position()[j as usize];
                change.distance +=
                    w * (self.phi[to.abs_diff(place) as usize] - self.phi[from.abs_diff(place) as usize]);
                let (was, is) = (from % vector != place % vector, to % vector != place % vector);
                change.unaligned += w * (f64::from(u8::from(is)) - f64::from(u8::from(was)));
                let block = self.block[place as usize];
                if block == blocks[0] {
                    *leaves -= w;
                }
                if block == blocks[1] {
                    *enters += w;
                }
            }
        };
        walk(u, v, p, q, in_a, in_b, [a, b]);
        walk(v, u, q, p, in_b, in_a, [b, a]);
        if a == b {
            change.inside = [0.0; 2];
        }
        let moved = |unit, place| i64::from(far(self.before, unit, place, self.params));
        change.moved = moved(u, q) + moved(v, p) - moved(u, p) - moved(v, q);
        change.j = self.difference(&change, u, v, a, b);
        change
    }

    fn difference(&self, change: &Change, u: u32, v: u32, a: u32, b: u32) -> f64 {
        let (m, params) = (self.total, self.params);
        let phi_max = self.phi.last().copied().unwrap_or(0.0);
        let mut j = params.gamma * change.moved as f64 / self.pi.len().max(1) as f64;
        if m > 0.0 {
            if phi_max > 0.0 {
                j += params.alpha * change.distance / (phi_max * m);
            }
            j += params.beta * change.unaligned / m;
            if a != b {
                let more = self.degree[v as usize] - self.degree[u as usize];
                let square = |block: u32, by: f64| {
                    let k = self.sums.degrees[block as usize];
                    ((k + by).powi(2) - k.powi(2)) / (2.0 * m).powi(2)
                };
                let q = (change.inside[0] + change.inside[1]) / m
                    - params.modularity_gamma * (square(a, more) + square(b, -more));
                j -= params.mu * q;
            }
        }
        j
    }

    /// Exchanges the units at places `p` and `q`; `change` is what [`Swaps::change`] said of it.
    pub fn swap(&mut self, p: usize, q: usize, change: &Change) {
        let (u, v) = (self.pi.order()[p] as usize, self.pi.order()[q] as usize);
        let (a, b) = (self.block[p] as usize, self.block[q] as usize);
        self.sums.distance += change.distance;
        self.sums.unaligned += change.unaligned;
        self.sums.moved += change.moved;
        if a != b {
            self.sums.inside[a] += change.inside[0];
            self.sums.inside[b] += change.inside[1];
            let more = self.degree[v] - self.degree[u];
            self.sums.degrees[a] += more;
            self.sums.degrees[b] -= more;
        }
        self.pi.swap(p, q);
    }
}

fn far(before: Option<&Permutation>, unit: u32, place: usize, params: &CostParams) -> bool {
    before.is_some_and(|b| b.position()[unit as usize].abs_diff(place as u32) > params.hysteresis)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn near(a: f64, b: f64) {
        assert!((a - b).abs() < 1e-12, "{a} is not {b}");
    }

    /// A path 0 – 1 – 2 – 3 of weights 1, 2, 3.
    fn path() -> Graph {
        Graph::from_edges(4, [(0, 1, 1.0), (1, 2, 2.0), (2, 3, 3.0)]).unwrap()
    }

    fn small() -> CostParams {
        CostParams {
            g: 1,
            lambda: 1,
            tau: 0.5,
            vec_width: 2,
            blocks_k: 2,
            hysteresis: 0,
            ..CostParams::default()
        }
    }

    #[test]
    fn known_value() {
        let params = small();
        // Every distance is 1, φ_max = φ(3) = 1 + 0.5·2 = 2; all residues differ; blocks {0,1} and {2,3}:
        // Q = (1 + 3)/6 − 1.2 ((4/12)² + (8/12)²), degrees 1, 3, 5, 3.
        let cost = evaluate(&path(), &Permutation::identity(4), None, &params);
        near(cost.c, 0.5);
        near(cost.r_align, 1.0);
        near(cost.r_stab, 0.0);
        near(cost.q, 4.0 / 6.0 - 1.2 * 80.0 / 144.0);
        near(cost.j, 0.5 + 0.2 - 0.5 * (4.0 / 6.0 - 1.2 * 80.0 / 144.0));
        // Order 0 2 1 3: distances 2, 1, 2 → (1.5 + 2 + 4.5)/(2·6); residues: 0–1 even/even, 1–2 differ, 2–3 odd/odd.
        let pi = Permutation::from_order(vec![0, 2, 1, 3]).unwrap();
        let cost = evaluate(&path(), &pi, Some(&Permutation::identity(4)), &params);
        near(cost.c, 8.0 / 12.0);
        near(cost.r_align, 2.0 / 6.0);
        near(cost.r_stab, 0.5);
        // No pair inside a block; degrees of the blocks are 6 and 6.
        near(cost.q, -1.2 * 0.5);
    }

    #[test]
    fn a_graph_without_edges_costs_nothing() {
        let graph = Graph::from_edges(3, []).unwrap();
        assert_eq!(evaluate(&graph, &Permutation::random(3, 1), None, &small()).j, 0.0);
        let alone = Graph::from_edges(1, []).unwrap();
        assert_eq!(evaluate(&alone, &Permutation::identity(1), None, &CostParams::default()).j, 0.0);
    }

    #[test]
    fn parameters_that_make_no_sense_are_named() {
        let of = |change: fn(&mut CostParams)| {
            let mut params = CostParams::default();
            change(&mut params);
            params.problem().map(|p| p.0)
        };
        assert_eq!(of(|_| ()), None);
        assert_eq!(of(|p| p.g = 0), Some("cost.g"));
        assert_eq!(of(|p| p.mu = f64::NAN), Some("cost.mu"));
        assert_eq!(of(|p| p.alpha = -1.0), Some("cost.alpha"));
    }

    proptest! {
        #[test]
        fn a_swap_changes_what_evaluating_anew_finds(
            d in 2usize..40,
            edges in prop::collection::vec((0u32..40, 0u32..40, 0.0f64..5.0), 0..200),
            swaps in prop::collection::vec((0usize..40, 0usize..40), 1..30),
            g in 1u32..5, lambda in 0u32..4, vec_width in 1u32..5, blocks_k in 1u32..7, hysteresis in 0u32..3,
            seed in 0u64..100,
        ) {
            let edges = edges.into_iter().map(|(a, b, w)| (a % d as u32, b % d as u32, w));
            let graph = Graph::from_edges(d, edges).unwrap();
            let params = CostParams { g, lambda, vec_width, blocks_k, hysteresis, ..CostParams::default() };
            let before = Permutation::random(d, seed);
            let mut state = Swaps::new(&graph, Permutation::random(d, seed + 1), Some(&before), &params);
            for (p, q) in swaps {
                let (p, q) = (p % d, q % d);
                if p == q { continue; }
                let old = state.cost();
                let change = state.change(p, q);
                state.swap(p, q, &change);
                let new = evaluate(&graph, state.permutation(), Some(&before), &params);
                prop_assert!((old.j + change.j - new.j).abs() < 1e-9, "{} + {} is not {}", old.j, change.j, new.j);
                let kept = state.cost();
                prop_assert!((kept.c - new.c).abs() < 1e-9 && (kept.q - new.q).abs() < 1e-9);
                prop_assert!((kept.r_align - new.r_align).abs() < 1e-9 && kept.r_stab == new.r_stab);
            }
        }
    }
}

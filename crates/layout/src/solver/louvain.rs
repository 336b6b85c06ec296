//! Communities by modularity (Blondel et al., "Fast unfolding of communities in large networks", J. Stat. Mech. (2008)
//! P10008), each laid out contiguously.

use rand::SeedableRng as _;
use rand::seq::SliceRandom as _;
use rand_chacha::ChaCha8Rng;

use super::{Budget, greedy};
use crate::graph::Graph;
use crate::permutation::Permutation;

/// Most passes over the units of a level.
const PASSES: usize = 50;

/// The order: communities in the order in which the greedy path meets them, units of each as it meets them.
pub fn louvain(graph: &Graph, resolution: f64, window: usize, seed: u64, budget: &Budget<'_>) -> Permutation {
    let community = communities(graph, resolution, seed, budget);
    let path = greedy(graph, window, budget);
    let count = community.iter().max().map_or(0, |c| *c as usize + 1);
    let (mut sum, mut size) = (vec![0.0; count], vec![0.0; count]);
    for (place, &unit) in path.order().iter().enumerate() {
        let c = community[unit as usize] as usize;
        sum[c] += place as f64;
        size[c] += 1.0;
    }
    let mut order = path.order().to_vec();
    // Stable: inside a community the path's order stays. A mean may be shared, so the community decides then.
    order.sort_by(|&a, &b| {
        let (a, b) = (community[a as usize] as usize, community[b as usize] as usize);
        (sum[a] / size[a]).total_cmp(&(sum[b] / size[b])).then(a.cmp(&b))
    });
    Permutation::of(order)
}

/// The community of each unit, numbered without gaps.
pub fn communities(graph: &Graph, resolution: f64, seed: u64, budget: &Budget<'_>) -> Vec<u32> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut level = Level {
        edges: (0..graph.d()).map(|i| graph.neighbours(i).collect()).collect(),
        inside: vec![0.0; graph.d()],
    };
    let mut of_unit: Vec<u32> = (0..graph.d() as u32).collect();
    loop {
        let (community, count) = level.move_units(resolution, &mut rng, budget);
        of_unit.iter_mut().for_each(|c| *c = community[*c as usize]);
        if count == level.edges.len() || budget.is_over() {
            return of_unit;
        }
        level = level.joined(&community, count);
    }
}

/// A graph whose nodes are communities of the level below.
struct Level {
    edges: Vec<Vec<(u32, f64)>>,
    /// Twice the weight inside a node.
    inside: Vec<f64>,
}

impl Level {
    /// Moves nodes to the neighbouring community where modularity gains most, until none does.
    fn move_units(&self, resolution: f64, rng: &mut ChaCha8Rng, budget: &Budget<'_>) -> (Vec<u32>, usize) {
        let n = self.edges.len();
        let degree: Vec<f64> =
            (0..n).map(|i| self.inside[i] + self.edges[i].iter().map(|e| e.1).sum::<f64>()).collect();
        let two_m: f64 = degree.iter().sum();
        let mut community: Vec<u32> = (0..n as u32).collect();
        let mut weight = degree.clone();
        let mut nodes: Vec<u32> = (0..n as u32).collect();
        nodes.shuffle(rng);
        let mut to = vec![0.0; n];
        let mut met: Vec<u32> = Vec::new();
        for _ in 0..PASSES {
            let mut moved = false;
            for (count, &node) in nodes.iter().enumerate() {
                if count % 256 == 0 && budget.is_over() {
                    return numbered(&community);
                }
                let (node, home) = (node as usize, community[node as usize]);
                met.clear();
                for &(j, w) in &self.edges[node] {
                    let c = community[j as usize];
                    if to[c as usize] == 0.0 {
                        met.push(c);
                    }
                    to[c as usize] += w;
                }
                weight[home as usize] -= degree[node];
                let gain = |c: u32| {
                    let expected =
                        resolution * degree[node] * weight[c as usize] / two_m.max(f64::MIN_POSITIVE);
                    to[c as usize] - expected
                };
                let mut best = (home, gain(home));
                for &c in &met {
                    let g = gain(c);
                    // More than rounding, so that nodes do not wander for ever.
                    if g > best.1 + 1e-12 * two_m {
                        best = (c, g);
                    }
                }
                met.iter().for_each(|&c| to[c as usize] = 0.0);
                weight[best.0 as usize] += degree[node];
                moved |= best.0 != home;
                community[node] = best.0;
            }
            if !moved {
                break;
            }
        }
        numbered(&community)
    }

    fn joined(&self, community: &[u32], count: usize) -> Self {
        let mut inside = vec![0.0; count];
        let mut members: Vec<Vec<usize>> = vec![Vec::new(); count];
        for (node, &c) in community.iter().enumerate() {
            inside[c as usize] += self.inside[node];
            members[c as usize].push(node);
        }
        let mut sum = vec![0.0; count];
        let mut edges = Vec::with_capacity(count);
        for (c, nodes) in members.iter().enumerate() {
            let mut met = Vec::new();
            for &(j, w) in nodes.iter().flat_map(|&n| &self.edges[n]) {
                let other = community[j as usize];
                if sum[other as usize] == 0.0 {
                    met.push(other);
                }
                sum[other as usize] += w;
            }
            inside[c] += std::mem::take(&mut sum[c]);
            met.sort_unstable();
            let others = met.into_iter().filter(|&o| o as usize != c);
            edges.push(others.map(|o| (o, std::mem::take(&mut sum[o as usize]))).collect());
        }
        Self { edges, inside }
    }
}

/// Communities numbered in the order in which they appear, and how many there are.
fn numbered(community: &[u32]) -> (Vec<u32>, usize) {
    let mut name = vec![u32::MAX; community.len()];
    let mut count = 0;
    let named = community
        .iter()
        .map(|&c| {
            if name[c as usize] == u32::MAX {
                name[c as usize] = count;
                count += 1;
            }
            name[c as usize]
        })
        .collect();
    (named, count as usize)
}

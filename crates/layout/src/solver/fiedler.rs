//! Order by the Fiedler vector: the eigenvector of the second smallest eigenvalue of the Laplacian L = D − W, which
//! places units on a line so that Σ W_ij (x_i − x_j)² is least (Atkins, Boman, Hendrickson, "A spectral algorithm for
//! seriation and the consecutive ones problem", SIAM J. Comput. 28 (1998) 297–310).
//!
//! Inverse iteration; each system is solved by conjugate gradients with the degrees as preconditioner, in the space
//! without the constant vector, on which L is singular. Each connected part is ordered by itself.

use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use super::Budget;
use crate::graph::Graph;
use crate::permutation::Permutation;

/// Most steps of inverse iteration.
const OUTER: usize = 30;
/// Change of the eigenvalue at which it has converged.
const CONVERGED: f64 = 1e-10;
/// Residual at which a system counts as solved, relative to its right side.
const SOLVED: f64 = 1e-7;

/// The order. Units without neighbours come last.
pub fn fiedler(graph: &Graph, seed: u64, budget: &Budget<'_>) -> Permutation {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut order = Vec::with_capacity(graph.d());
    for mut part in parts(graph) {
        if part.len() > 2 && !budget.is_over() {
            let values = vector(graph, &part, &mut rng, budget);
            let mut places: Vec<usize> = (0..part.len()).collect();
            places.sort_by(|&a, &b| values[a].total_cmp(&values[b]));
            part = places.into_iter().map(|i| part[i]).collect();
        }
        order.append(&mut part);
    }
    Permutation::of(order)
}

/// Connected parts, each ascending; those of one unit come last.
fn parts(graph: &Graph) -> Vec<Vec<u32>> {
    let mut seen = vec![false; graph.d()];
    let (mut parts, mut alone) = (Vec::new(), Vec::new());
    for first in 0..graph.d() {
        if std::mem::replace(&mut seen[first], true) {
            continue;
        }
        let mut part = vec![first as u32];
        let mut next = 0;
        while next < part.len() {
            for (j, _) in graph.neighbours(part[next] as usize) {
                if !std::mem::replace(&mut seen[j as usize], true) {
                    part.push(j);
                }
            }
            next += 1;
        }
        part.sort_unstable();
        if part.len() == 1 { alone.push(part) } else { parts.push(part) }
    }
    parts.append(&mut alone);
    parts
}

/// The Laplacian of one part.
struct Laplacian {
    begins: Vec<usize>,
    columns: Vec<u32>,
    weights: Vec<f64>,
    degrees: Vec<f64>,
}

impl Laplacian {
    fn new(graph: &Graph, part: &[u32]) -> Self {
        let mut index = vec![0; graph.d()];
        part.iter().enumerate().for_each(|(i, &u)| index[u as usize] = i as u32);
        let mut l = Self {
            begins: vec![0],
            columns: Vec::new(),
            weights: Vec::new(),
            degrees: part.iter().map(|&u| graph.degree(u as usize)).collect(),
        };
        for &u in part {
            for (j, w) in graph.neighbours(u as usize) {
                l.columns.push(index[j as usize]);
                l.weights.push(w);
            }
            l.begins.push(l.columns.len());
        }
        l
    }

    fn times(&self, x: &[f64], y: &mut [f64]) {
        for (i, y) in y.iter_mut().enumerate() {
            let row = self.begins[i]..self.begins[i + 1];
            let sum: f64 = self.columns[row.clone()]
                .iter()
                .zip(&self.weights[row])
                .map(|(&j, w)| w * x[j as usize])
                .sum();
            *y = self.degrees[i] * x[i] - sum;
        }
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// Takes the constant part away.
fn centre(x: &mut [f64]) {
    let mean = x.iter().sum::<f64>() / x.len() as f64;
    x.iter_mut().for_each(|v| *v -= mean);
}

fn vector(graph: &Graph, part: &[u32], rng: &mut ChaCha8Rng, budget: &Budget<'_>) -> Vec<f64> {
    let l = Laplacian::new(graph, part);
    let n = part.len();
    let mut x: Vec<f64> = (0..n).map(|_| rng.random_range(-1.0..1.0)).collect();
    let mut lx = vec![0.0; n];
    let mut before = f64::INFINITY;
    for _ in 0..OUTER {
        centre(&mut x);
        let length = dot(&x, &x).sqrt();
        if length == 0.0 {
            break;
        }
        x.iter_mut().for_each(|v| *v /= length);
        l.times(&x, &mut lx);
        let value = dot(&x, &lx);
        if budget.is_over() || (before - value).abs() <= CONVERGED * value.abs() {
            break;
        }
        before = value;
        // The solution is about x / value: a good place to begin.
        let mut y: Vec<f64> = x.iter().map(|v| v / value.max(f64::MIN_POSITIVE)).collect();
        conjugate_gradients(&l, &x, &mut y, budget);
        if y.iter().all(|v| v.is_finite()) {
            x = y;
        } else {
            break;
        }
    }
    x
}

/// Improves `x` towards L x = b.
fn conjugate_gradients(l: &Laplacian, b: &[f64], x: &mut [f64], budget: &Budget<'_>) {
    let n = b.len();
    let mut ap = vec![0.0; n];
    l.times(x, &mut ap);
    let mut r: Vec<f64> = b.iter().zip(&ap).map(|(b, a)| b - a).collect();
    let scaled = |r: &[f64]| -> Vec<f64> { r.iter().zip(&l.degrees).map(|(r, d)| r / d).collect() };
    let mut z = scaled(&r);
    let mut p = z.clone();
    let mut rz = dot(&r, &z);
    let goal = SOLVED * dot(b, b).sqrt();
    for step in 0..2 * n {
        if dot(&r, &r).sqrt() <= goal || (step % 16 == 0 && budget.is_over()) {
            return;
        }
        l.times(&p, &mut ap);
        let curve = dot(&p, &ap);
        if curve <= 0.0 {
            return;
        }
        let by = rz / curve;
        for i in 0..n {
            x[i] += by * p[i];
            r[i] -= by * ap[i];
        }
        z = scaled(&r);
        let next = dot(&r, &z);
        let turn = next / rz;
        rz = next;
        for i in 0..n {
            p[i] = z[i] + turn * p[i];
        }
    }
}

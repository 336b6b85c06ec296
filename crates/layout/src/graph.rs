//! The shared-access graph W: how much it is worth that two units lie near each other.
//!
//! | source | W |
//! |---|---|
//! | [`Graph::from_jsonl`] | recorded pairs: lines of `src`, `dst`, `w` |
//! | [`Graph::co_activation`] | steps that read both, beyond what chance would make |
//! | [`Graph::correlation`] | correlation of how much the units weigh, step by step |
//! | [`Graph::banded`] | neighbours of an order, falling with the distance |
//! | [`Graph::mock`] | random blocks, to try solvers on |
//!
//! Symmetric, not negative, zero on the diagonal, both triangles stored row by row.

use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::permutation::Permutation;
use crate::trace::Trace;

/// Most pairs that a generated graph may have.
const MOST_PAIRS: usize = 64 << 20;

/// A graph in compressed rows.
#[derive(Debug, Clone, PartialEq)]
pub struct Graph {
    begins: Vec<usize>,
    neighbours: Vec<u32>,
    weights: Vec<f64>,
}

/// Why there is no graph.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum GraphError {
    /// A weight that is no number, or negative.
    #[error("the weight between {src} and {dst} is {weight}: weights are finite and not negative")]
    Weight {
        /// One unit.
        src: u32,
        /// The other.
        dst: u32,
        /// Its weight.
        weight: f64,
    },
    /// A unit that does not exist.
    #[error("an edge ends at unit {unit}, but there are only {d} units")]
    OutOfRange {
        /// The unit.
        unit: u32,
        /// Units.
        d: usize,
    },
    /// A line that is no edge.
    #[error("line {line} of the trace is no edge: {problem}")]
    Line {
        /// Which line, from 1.
        line: usize,
        /// What was expected.
        problem: String,
    },
    /// No two units have anything to do with each other.
    #[error("the graph has no edges")]
    Empty,
    /// More pairs than can be held.
    #[error("a graph of {d} units has too many pairs; at most {most} units")]
    TooLarge {
        /// Units.
        d: usize,
        /// Most units.
        most: usize,
    },
    /// A parameter that makes no graph.
    #[error("{what}")]
    Parameter {
        /// What is wrong.
        what: String,
    },
}

/// How weights are scaled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Normalize {
    /// As they are.
    None,
    /// By the degree of one end: the mean of both directions, so that the graph stays symmetric.
    Row,
    /// By the root of the degrees of both ends.
    #[default]
    Sym,
}

#[derive(Deserialize)]
struct Edge {
    src: u32,
    dst: u32,
    #[serde(default = "one")]
    w: f64,
}

fn one() -> f64 {
    1.0
}

/// A graph as a file has it: the upper triangle.
#[derive(Debug, Serialize)]
struct File<'a> {
    shape: [usize; 2],
    indptr: Vec<usize>,
    indices: Vec<u32>,
    data: Vec<f64>,
    triangle: &'a str,
}

impl Graph {
    /// From edges between `d` units. Edges between the same two add up; one from a unit to itself counts nothing.
    ///
    /// # Errors
    /// A weight that is no number or negative, or a unit that does not exist.
    pub fn from_edges(
        d: usize,
        edges: impl IntoIterator<Item = (u32, u32, f64)>,
    ) -> Result<Self, GraphError> {
        let mut both = Vec::new();
        for (src, dst, weight) in edges {
            if let Some(&unit) = [src, dst].iter().find(|u| **u as usize >= d) {
                return Err(GraphError::OutOfRange { unit, d });
            }
            if !weight.is_finite() || weight < 0.0 {
                return Err(GraphError::Weight { src, dst, weight });
            }
            if src != dst && weight > 0.0 {
                both.push((src, dst, weight));
                both.push((dst, src, weight));
            }
        }
        // Stable: edges between the same two add up in the order given, both ways alike.
        both.sort_by_key(|&(a, b, _)| (a, b));
        let mut graph = Self { begins: vec![0; d + 1], neighbours: Vec::new(), weights: Vec::new() };
        let mut last = None;
        for (a, b, w) in both {
            if last == Some((a, b)) {
                *graph.weights.last_mut().expect("the last edge is there") += w;
                continue;
            }
            last = Some((a, b));
            graph.begins[a as usize + 1] += 1;
            graph.neighbours.push(b);
            graph.weights.push(w);
        }
        for i in 0..d {
            graph.begins[i + 1] += graph.begins[i];
        }
        Ok(graph)
    }

    /// Reads lines of `{"src": …, "dst": …, "w": …}`; `w` is 1 where it is left out, other keys do not matter. `d` is the
    /// number of units; without it, one more than the highest.
    ///
    /// # Errors
    /// A line that is no edge, a weight that is no number or negative, a unit that does not exist, or no edge at all.
    pub fn from_jsonl(bytes: &[u8], d: Option<usize>) -> Result<Self, GraphError> {
        let mut edges = Vec::new();
        for (index, line) in bytes.split(|b| *b == b'\n').enumerate() {
            if line.trim_ascii().is_empty() {
                continue;
            }
            let edge: Edge = serde_json::from_slice(line)
                .map_err(|e| GraphError::Line { line: index + 1, problem: e.to_string() })?;
            edges.push((edge.src, edge.dst, edge.w));
        }
        let highest = edges.iter().map(|&(a, b, _)| a.max(b) as usize + 1).max().unwrap_or(0);
        let graph = Self::from_edges(d.unwrap_or(highest), edges)?;
        if graph.nnz() == 0 { Err(GraphError::Empty) } else { Ok(graph) }
    }

    /// W_ij: steps that read both i and j, less those that would if units were read independently; what is not above
    /// chance is no edge.
    pub fn co_activation(trace: &Trace) -> Self {
        let steps_of = trace.by_unit();
        let steps: Vec<&[u32]> = trace.steps().collect();
        let all = steps.len() as f64;
        let mut together = vec![0u32; trace.d()];
        Self::by_rows(trace.d(), |i, row| {
            together.fill(0);
            for &step in &steps_of[i] {
                for &j in steps[step as usize] {
                    together[j as usize] += 1;
                }
            }
            for j in (i + 1)..trace.d() {
                let chance = steps_of[i].len() as f64 * steps_of[j].len() as f64 / all;
                let above = f64::from(together[j]) - chance;
                if above > 1e-9 {
                    row.push((j as u32, above));
                }
            }
        })
    }

    /// W_ij: how far the correlation of units i and j over the steps exceeds `threshold`. `weights` holds a row a step, one
    /// number a unit; a unit that never changes is correlated with none.
    ///
    /// # Errors
    /// `weights` are not whole rows, or a weight is no number.
    pub fn correlation(weights: &[f32], d: usize, threshold: f64) -> Result<Self, GraphError> {
        if d == 0 || !weights.len().is_multiple_of(d) {
            let what = format!("{} numbers are not whole rows of {d} units", weights.len());
            return Err(GraphError::Parameter { what });
        }
        let n = weights.len() / d;
        // Each unit's series, of mean 0 and length 1, one after another.
        let mut series = vec![0f32; weights.len()];
        for unit in 0..d {
            let values = || (0..n).map(|t| f64::from(weights[t * d + unit]));
            let mean = values().sum::<f64>() / n.max(1) as f64;
            let length = values().map(|v| (v - mean).powi(2)).sum::<f64>().sqrt();
            if !length.is_finite() {
                return Err(GraphError::Weight { src: unit as u32, dst: unit as u32, weight: length });
            }
            if length > 1e-12 {
                for (t, v) in values().enumerate() {
                    series[unit * n + t] = ((v - mean) / length) as f32;
                }
            }
        }
        let of = |u: usize| &series[u * n..(u + 1) * n];
        Ok(Self::by_rows(d, |i, row| {
            for j in (i + 1)..d {
                let dot: f32 = of(i).iter().zip(of(j)).map(|(a, b)| a * b).sum();
                let above = f64::from(dot) - threshold;
                if above > 0.0 {
                    row.push((j as u32, above));
                }
            }
        }))
    }

    /// Neighbours up to `hops` apart, of weight `decay` to the power of the distance less one.
    ///
    /// # Errors
    /// A decay outside 0 < decay ≤ 1, or no hops.
    pub fn banded(d: usize, hops: usize, decay: f64) -> Result<Self, GraphError> {
        if hops == 0 || !(decay > 0.0 && decay <= 1.0) {
            let what =
                format!("a band of {hops} hops with a decay of {decay}: at least 1 hop, 0 < decay <= 1");
            return Err(GraphError::Parameter { what });
        }
        limit(d, d.saturating_mul(hops))?;
        Ok(Self::by_rows(d, |i, row| {
            row.extend(
                (1..=hops)
                    .take_while(|hop| i + hop < d)
                    .map(|hop| ((i + hop) as u32, decay.powi(hop as i32 - 1))),
            );
        }))
    }

    /// `blocks` contiguous blocks of weight 1 inside and 0.05 between them, each ± `noise`.
    ///
    /// # Errors
    /// No blocks, noise that is negative or no number, or too many pairs.
    pub fn mock(d: usize, blocks: usize, noise: f64, seed: u64) -> Result<Self, GraphError> {
        if blocks == 0 || blocks > d || !(0.0..=1.0).contains(&noise) {
            let what =
                format!("{blocks} blocks of {d} units with noise {noise}: 1 <= blocks <= d, 0 <= noise <= 1");
            return Err(GraphError::Parameter { what });
        }
        limit(d, d.saturating_mul(d) / 2)?;
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let block = |i: usize| i * blocks / d;
        Ok(Self::by_rows(d, |i, row| {
            for j in (i + 1)..d {
                let base = if block(i) == block(j) { 1.0 } else { 0.05 };
                let w: f64 = base + rng.random_range(-1.0..=1.0) * noise;
                if w > 0.0 {
                    row.push((j as u32, w));
                }
            }
        }))
    }

    /// From the upper triangle, a row at a time; rows ascend.
    fn by_rows(d: usize, mut fill: impl FnMut(usize, &mut Vec<(u32, f64)>)) -> Self {
        let mut rows: Vec<Vec<(u32, f64)>> = Vec::with_capacity(d);
        for i in 0..d {
            let mut row = Vec::new();
            fill(i, &mut row);
            rows.push(row);
        }
        let mut begins = vec![0; d + 1];
        for (i, row) in rows.iter().enumerate() {
            begins[i + 1] += row.len();
            for &(j, _) in row {
                begins[j as usize + 1] += 1;
            }
        }
        for i in 0..d {
            begins[i + 1] += begins[i];
        }
        let mut next = begins.clone();
        let (mut neighbours, mut weights) = (vec![0; begins[d]], vec![0.0; begins[d]]);
        let mut put = |at: usize, to: u32, w: f64| {
            neighbours[next[at]] = to;
            weights[next[at]] = w;
            next[at] += 1;
        };
        // Lower triangle of a row first: rows before it are done in order, so every row ascends.
        for (i, row) in rows.iter().enumerate() {
            for &(j, w) in row {
                put(j as usize, i as u32, w);
            }
        }
        for (i, row) in rows.iter().enumerate() {
            for &(j, w) in row {
                put(i, j, w);
            }
        }
        Self { begins, neighbours, weights }
    }

    /// Units.
    pub fn d(&self) -> usize {
        self.begins.len() - 1
    }

    /// Pairs with a weight.
    pub fn nnz(&self) -> usize {
        self.neighbours.len() / 2
    }

    /// Neighbours of a unit with their weights, ascending.
    pub fn neighbours(&self, unit: usize) -> impl ExactSizeIterator<Item = (u32, f64)> + Clone + '_ {
        let range = self.begins[unit]..self.begins[unit + 1];
        self.neighbours[range.clone()].iter().copied().zip(self.weights[range].iter().copied())
    }

    /// The `index`th neighbour of a unit.
    pub(crate) fn neighbour(&self, unit: usize, index: usize) -> u32 {
        self.neighbours[self.begins[unit] + index]
    }

    /// How many neighbours a unit has.
    pub fn count(&self, unit: usize) -> usize {
        self.begins[unit + 1] - self.begins[unit]
    }

    /// Sum of the weights of a unit.
    pub fn degree(&self, unit: usize) -> f64 {
        self.weights[self.begins[unit]..self.begins[unit + 1]].iter().sum()
    }

    /// Every pair once, with i < j.
    pub fn pairs(&self) -> impl Iterator<Item = (u32, u32, f64)> + '_ {
        (0..self.d()).flat_map(move |i| {
            self.neighbours(i).filter(move |(j, _)| *j as usize > i).map(move |(j, w)| (i as u32, j, w))
        })
    }

    /// Sum of the weights of all pairs.
    pub fn total(&self) -> f64 {
        self.weights.iter().sum::<f64>() / 2.0
    }

    /// Scales the weights.
    #[must_use]
    pub fn normalized(mut self, how: Normalize) -> Self {
        let degrees: Vec<f64> = (0..self.d()).map(|i| self.degree(i)).collect();
        for i in 0..self.d() {
            for at in self.begins[i]..self.begins[i + 1] {
                let (a, b) = (degrees[i], degrees[self.neighbours[at] as usize]);
                self.weights[at] *= match how {
                    Normalize::None => 1.0,
                    Normalize::Row => 0.5 * (1.0 / a + 1.0 / b),
                    Normalize::Sym => 1.0 / (a * b).sqrt(),
                };
            }
        }
        self
    }

    /// The heaviest `most` pairs; of equal ones those that come first.
    #[must_use]
    pub fn capped(self, most: usize) -> Self {
        if self.nnz() <= most {
            return self;
        }
        let mut pairs: Vec<_> = self.pairs().collect();
        pairs.sort_by(|a, b| b.2.total_cmp(&a.2));
        pairs.truncate(most);
        Self::from_edges(self.d(), pairs).expect("pairs of a graph make a graph")
    }

    /// The same graph with other names: unit `i` of the result is unit `pi.order()[i]` of this one.
    ///
    /// # Panics
    /// When the permutation is of another width.
    #[must_use]
    pub fn relabelled(&self, pi: &Permutation) -> Self {
        assert_eq!(pi.len(), self.d(), "a permutation of another width");
        let name = |u: u32| pi.position()[u as usize];
        let pairs = self.pairs().map(|(a, b, w)| (name(a), name(b), w));
        Self::from_edges(self.d(), pairs).expect("pairs of a graph make a graph")
    }

    /// The upper triangle as JSON: `shape`, `indptr`, `indices`, `data`.
    pub fn to_json(&self) -> Vec<u8> {
        let mut indptr = vec![0];
        let (mut indices, mut data) = (Vec::new(), Vec::new());
        for i in 0..self.d() {
            for (j, w) in self.neighbours(i).filter(|(j, _)| *j as usize > i) {
                indices.push(j);
                data.push(w);
            }
            indptr.push(indices.len());
        }
        let file = File { shape: [self.d(); 2], indptr, indices, data, triangle: "upper" };
        serde_json::to_vec(&file).expect("numbers are JSON")
    }
}

fn limit(d: usize, pairs: usize) -> Result<(), GraphError> {
    match pairs <= MOST_PAIRS {
        true => Ok(()),
        false => Err(GraphError::TooLarge { d, most: (2.0 * MOST_PAIRS as f64).sqrt() as usize }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(graph: &Graph) -> Vec<(u32, u32, f64)> {
        graph.pairs().collect()
    }

    #[test]
    fn edges_add_up_both_ways() {
        let graph = Graph::from_edges(4, [(2, 0, 1.0), (0, 2, 0.5), (1, 1, 9.0), (3, 2, 2.0)]).unwrap();
        assert_eq!(pairs(&graph), [(0, 2, 1.5), (2, 3, 2.0)]);
        assert_eq!((graph.degree(2), graph.count(2), graph.total(), graph.nnz()), (3.5, 2, 3.5, 2));
        assert_eq!(pairs(&graph.clone().capped(1)), [(2, 3, 2.0)]);
        let renamed = graph.relabelled(&Permutation::from_order(vec![3, 2, 1, 0]).unwrap());
        assert_eq!(pairs(&renamed), [(0, 1, 2.0), (1, 3, 1.5)]);
        let json: serde_json::Value = serde_json::from_slice(&graph.to_json()).unwrap();
        assert_eq!(json["indptr"], serde_json::json!([0, 1, 1, 2, 2]));
        assert_eq!(json["data"], serde_json::json!([1.5, 2.0]));
    }

    #[test]
    fn bad_weights_and_lines_are_named() {
        let of = |w| Graph::from_edges(2, [(0, 1, w)]).unwrap_err();
        assert!(matches!(of(f64::NAN), GraphError::Weight { src: 0, dst: 1, .. }));
        assert_eq!(of(-1.0), GraphError::Weight { src: 0, dst: 1, weight: -1.0 });
        assert!(Graph::from_edges(2, [(0, 2, 1.0)]).is_err());
        let read = |text: &str| Graph::from_jsonl(text.as_bytes(), None);
        let bad = read("{\"src\":0,\"dst\":1}\n{\"src\":0,\"dst\":1,\"w\":NaN}").unwrap_err();
        assert!(matches!(bad, GraphError::Line { line: 2, .. }));
        assert!(matches!(read("{\"src\":0,\"dst\":1,\"w\":-2}"), Err(GraphError::Weight { .. })));
        assert_eq!(read("{\"src\":1,\"dst\":1}"), Err(GraphError::Empty));
        let good = read("{\"src\":0,\"dst\":1,\"op\":\"gather\",\"t\":3}\n").unwrap();
        assert_eq!(pairs(&good), [(0, 1, 1.0)]);
    }

    #[test]
    fn co_activation_is_what_exceeds_chance() {
        // 0 and 1 always together, in half of four steps: 2 − 2·2/4 = 1. Units 0 and 2: once together, chance is 1.
        let trace = Trace::new(3, [vec![0, 1, 2], vec![0, 1], vec![2], vec![]]).unwrap();
        assert_eq!(pairs(&Graph::co_activation(&trace)), [(0, 1, 1.0)]);
    }

    #[test]
    fn correlation_is_that_of_the_series() {
        // Unit 1 is twice unit 0; unit 2 is the opposite; unit 3 never changes.
        let rows: Vec<f32> = [1.0, 2.0, 5.0].iter().flat_map(|&v| [v, 2.0 * v, -v, 7.0]).collect();
        let graph = Graph::correlation(&rows, 4, 0.25).unwrap();
        let found = pairs(&graph);
        assert_eq!((found.len(), found[0].0, found[0].1), (1, 0, 1));
        assert!((found[0].2 - 0.75).abs() < 1e-6, "{found:?}");
        assert!(Graph::correlation(&rows, 5, 0.0).is_err());
        assert!(Graph::correlation(&[f32::NAN; 4], 4, 0.0).is_err());
    }

    #[test]
    fn generated_graphs_have_the_shape_they_claim() {
        let band = Graph::banded(5, 2, 0.5).unwrap();
        assert_eq!(band.nnz(), 4 + 3);
        assert_eq!(band.neighbours(1).collect::<Vec<_>>(), [(0, 1.0), (2, 1.0), (3, 0.5)]);
        let mock = Graph::mock(8, 2, 0.01, 1).unwrap();
        assert_eq!(mock.nnz(), 28);
        assert!(mock.pairs().all(|(i, j, w)| ((i < 4) == (j < 4)) == (w > 0.5)));
        assert_eq!(mock, Graph::mock(8, 2, 0.01, 1).unwrap());
        assert!(Graph::mock(8, 0, 0.1, 1).is_err() && Graph::mock(8, 2, f64::NAN, 1).is_err());
        assert!(Graph::banded(5, 0, 0.5).is_err() && Graph::banded(5, 1, 1.5).is_err());
        assert!(matches!(Graph::mock(1 << 20, 2, 0.1, 1), Err(GraphError::TooLarge { .. })));
    }

    #[test]
    fn normalizing_keeps_the_graph_symmetric() {
        let graph = Graph::from_edges(3, [(0, 1, 1.0), (1, 2, 3.0)]).unwrap();
        // Degrees 1, 4, 3.
        assert_eq!(pairs(&graph.clone().normalized(Normalize::Row))[0].2, 0.5 * (1.0 + 0.25));
        assert_eq!(pairs(&graph.clone().normalized(Normalize::Sym))[0].2, 0.5);
        for how in [Normalize::None, Normalize::Row, Normalize::Sym] {
            let g = graph.clone().normalized(how);
            assert_eq!(g.neighbours(0).next().unwrap().1, g.neighbours(1).next().unwrap().1);
        }
    }
}

//! Where units can be moved without changing what is computed.
//!
//! | carrier | π moves | exact because |
//! |---|---|---|
//! | [`Attention`] | cached tokens of a sequence | attention is a sum over keys; the rotary phase is in K already |
//! | [`FeedForward`] | neurons: rows of gate and up, columns of down | a relabelling |
//! | [`Channels`] | channels between two layers | a relabelling: producer's rows, consumer's columns |
//! | [`Vocabulary`] | rows of a table, with the map from token to row | a relabelling |
//! | [`Experts`] | experts, with the rows of the router | a relabelling; ties go to the expert with the lower name |
//! | [`Reduction`] | the reduction axis of a dense product | as `Channels`; the **control**: every byte is read anyway |
//!
//! The forward functions here are references in plain loops, for proofs and errors; kernels are elsewhere.

use crate::matrix::Dense;
use crate::permutation::Permutation;

/// Something whose units can be moved.
pub trait Carrier {
    /// Units.
    fn units(&self) -> usize;

    /// The same computation with its units in another order.
    ///
    /// # Panics
    /// When the permutation is of another width.
    #[must_use]
    fn permuted(&self, pi: &Permutation) -> Self;
}

/// A gated feed-forward layer: `down · (silu(gate · x) ⊙ (up · x))`.
#[derive(Debug, Clone, PartialEq)]
pub struct FeedForward {
    /// A row a neuron.
    pub gate: Dense,
    /// A row a neuron.
    pub up: Dense,
    /// A column a neuron.
    pub down: Dense,
}

impl FeedForward {
    /// What the neurons pass on.
    pub fn activations(&self, x: &[f32]) -> Vec<f32> {
        let silu = |v: f32| v / (1.0 + (-v).exp());
        self.gate.times(x).into_iter().zip(self.up.times(x)).map(|(g, u)| silu(g) * u).collect()
    }

    /// Computes.
    pub fn forward(&self, x: &[f32]) -> Vec<f32> {
        self.down.times(&self.activations(x))
    }
}

impl Carrier for FeedForward {
    fn units(&self) -> usize {
        self.gate.rows
    }

    fn permuted(&self, pi: &Permutation) -> Self {
        Self {
            gate: self.gate.with_rows(pi.order()),
            up: self.up.with_rows(pi.order()),
            down: self.down.with_columns(pi.order()),
        }
    }
}

/// Two linear layers with an activation between them: `consumer · relu(producer · x)`.
#[derive(Debug, Clone, PartialEq)]
pub struct Channels {
    /// A row a channel.
    pub producer: Dense,
    /// A column a channel.
    pub consumer: Dense,
}

impl Channels {
    /// Computes.
    pub fn forward(&self, x: &[f32]) -> Vec<f32> {
        let between: Vec<f32> = self.producer.times(x).into_iter().map(|v| v.max(0.0)).collect();
        self.consumer.times(&between)
    }
}

impl Carrier for Channels {
    fn units(&self) -> usize {
        self.producer.rows
    }

    fn permuted(&self, pi: &Permutation) -> Self {
        Self {
            producer: self.producer.with_rows(pi.order()),
            consumer: self.consumer.with_columns(pi.order()),
        }
    }
}

/// One head of attention over cached tokens.
#[derive(Debug, Clone, PartialEq)]
pub struct Attention {
    /// A row a token, turned by its position already.
    pub keys: Dense,
    /// A row a token.
    pub values: Dense,
}

impl Attention {
    /// How much each token counts for a query; sums to 1.
    pub fn weights(&self, query: &[f32], scale: f32) -> Vec<f32> {
        let scores: Vec<f32> = self.keys.times(query).into_iter().map(|s| s * scale).collect();
        let most = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let exp: Vec<f64> = scores.iter().map(|s| f64::from(s - most).exp()).collect();
        let sum: f64 = exp.iter().sum();
        exp.into_iter().map(|e| (e / sum) as f32).collect()
    }

    /// Computes.
    pub fn forward(&self, query: &[f32], scale: f32) -> Vec<f32> {
        let weights = self.weights(query, scale);
        let mut sum = vec![0f64; self.values.cols];
        for (token, w) in weights.iter().enumerate() {
            for (s, v) in sum.iter_mut().zip(self.values.row(token)) {
                *s += f64::from(*w) * f64::from(*v);
            }
        }
        sum.into_iter().map(|v| v as f32).collect()
    }
}

impl Carrier for Attention {
    fn units(&self) -> usize {
        self.keys.rows
    }

    fn permuted(&self, pi: &Permutation) -> Self {
        Self { keys: self.keys.with_rows(pi.order()), values: self.values.with_rows(pi.order()) }
    }
}

/// A table of rows, one a token.
#[derive(Debug, Clone, PartialEq)]
pub struct Vocabulary {
    /// The rows as they lie.
    pub rows: Dense,
    /// Where the row of each token lies.
    pub row_of: Vec<u32>,
}

impl Vocabulary {
    /// A table in the order of its tokens.
    pub fn new(rows: Dense) -> Self {
        Self { row_of: (0..rows.rows as u32).collect(), rows }
    }

    /// The row of a token.
    pub fn look_up(&self, token: u32) -> &[f32] {
        self.rows.row(self.row_of[token as usize] as usize)
    }

    /// A score a token, in the order of the tokens.
    pub fn logits(&self, x: &[f32]) -> Vec<f32> {
        let scores = self.rows.times(x);
        self.row_of.iter().map(|&row| scores[row as usize]).collect()
    }
}

impl Carrier for Vocabulary {
    fn units(&self) -> usize {
        self.rows.rows
    }

    fn permuted(&self, pi: &Permutation) -> Self {
        let row_of = self.row_of.iter().map(|&row| pi.position()[row as usize]).collect();
        Self { rows: self.rows.with_rows(pi.order()), row_of }
    }
}

/// A layer of experts, of which a router chooses the best few: the sum of their outputs, weighted by softmax over those.
#[derive(Debug, Clone, PartialEq)]
pub struct Experts {
    /// A row an expert, as they lie.
    pub router: Dense,
    /// One matrix an expert, as they lie.
    pub experts: Vec<Dense>,
    /// The name of each expert: breaks ties.
    pub names: Vec<u32>,
    /// How many are chosen.
    pub chosen: usize,
}

impl Experts {
    /// Places of the chosen experts with their weights, in the order of their names.
    pub fn routes(&self, x: &[f32]) -> Vec<(usize, f32)> {
        let scores = self.router.times(x);
        let mut places: Vec<usize> = (0..scores.len()).collect();
        places.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]).then(self.names[a].cmp(&self.names[b])));
        places.truncate(self.chosen);
        places.sort_by_key(|&p| self.names[p]);
        let most = places.iter().map(|&p| scores[p]).fold(f32::NEG_INFINITY, f32::max);
        let sum: f32 = places.iter().map(|&p| (scores[p] - most).exp()).sum();
        places.into_iter().map(|p| (p, (scores[p] - most).exp() / sum)).collect()
    }

    /// Computes.
    pub fn forward(&self, x: &[f32]) -> Vec<f32> {
        let mut sum = vec![0.0; self.experts.first().map_or(0, |e| e.rows)];
        for (place, weight) in self.routes(x) {
            for (s, y) in sum.iter_mut().zip(self.experts[place].times(x)) {
                *s += weight * y;
            }
        }
        sum
    }
}

impl Carrier for Experts {
    fn units(&self) -> usize {
        self.experts.len()
    }

    fn permuted(&self, pi: &Permutation) -> Self {
        Self {
            router: self.router.with_rows(pi.order()),
            experts: pi.order().iter().map(|&e| self.experts[e as usize].clone()).collect(),
            names: pi.apply(&self.names),
            chosen: self.chosen,
        }
    }
}

/// The control: a dense product whose reduction axis is permuted, with its input.
#[derive(Debug, Clone, PartialEq)]
pub struct Reduction {
    /// A column a unit.
    pub weights: Dense,
    /// The unit at each column.
    pub order: Vec<u32>,
}

impl Reduction {
    /// In the order of its units.
    pub fn new(weights: Dense) -> Self {
        Self { order: (0..weights.cols as u32).collect(), weights }
    }

    /// Computes; `x` is in the order of the units.
    pub fn forward(&self, x: &[f32]) -> Vec<f32> {
        let x: Vec<f32> = self.order.iter().map(|&u| x[u as usize]).collect();
        self.weights.times(&x)
    }
}

impl Carrier for Reduction {
    fn units(&self) -> usize {
        self.weights.cols
    }

    fn permuted(&self, pi: &Permutation) -> Self {
        Self { weights: self.weights.with_columns(pi.order()), order: pi.apply(&self.order) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::{Rng as _, SeedableRng as _};
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::matrix::relative_error;
    use crate::misses::{Geometry, misses};
    use crate::trace::Trace;

    /// What a permutation may change: rounding.
    const ROUNDING: f64 = 1e-5;

    struct Draw(ChaCha8Rng);

    impl Draw {
        fn vector(&mut self, n: usize) -> Vec<f32> {
            (0..n).map(|_| self.0.random_range(-1.0f32..1.0)).collect()
        }

        fn matrix(&mut self, rows: usize, cols: usize) -> Dense {
            Dense::new(rows, cols, self.vector(rows * cols))
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn moving_units_changes_no_output(d in 2usize..80, seed in 0u64..1 << 40, other in 0u64..1 << 40) {
            let mut draw = Draw(ChaCha8Rng::seed_from_u64(seed));
            let (pi, x) = (Permutation::random(d, other), draw.vector(12));
            let same = |a: Vec<f32>, b: Vec<f32>| relative_error(&a, &b) <= ROUNDING;

            let ffn = FeedForward { gate: draw.matrix(d, 12), up: draw.matrix(d, 12), down: draw.matrix(12, d) };
            prop_assert!(same(ffn.forward(&x), ffn.permuted(&pi).forward(&x)));
            prop_assert_eq!(pi.apply(&ffn.activations(&x)), ffn.permuted(&pi).activations(&x));

            let channels = Channels { producer: draw.matrix(d, 12), consumer: draw.matrix(7, d) };
            prop_assert!(same(channels.forward(&x), channels.permuted(&pi).forward(&x)));

            let attention = Attention { keys: draw.matrix(d, 12), values: draw.matrix(d, 9) };
            prop_assert!(same(attention.forward(&x, 0.3), attention.permuted(&pi).forward(&x, 0.3)));

            let table = Vocabulary::new(draw.matrix(d, 12));
            let moved = table.permuted(&pi).permuted(&Permutation::random(d, other + 1));
            prop_assert!((0..d as u32).all(|t| table.look_up(t) == moved.look_up(t)));
            prop_assert_eq!(table.logits(&x), moved.logits(&x));

            let experts = Experts {
                router: draw.matrix(d, 12),
                experts: (0..d).map(|_| draw.matrix(5, 12)).collect(),
                names: (0..d as u32).collect(),
                chosen: 2,
            };
            prop_assert_eq!(experts.forward(&x), experts.permuted(&pi).forward(&x));

            let control = Reduction::new(draw.matrix(6, d));
            let x = draw.vector(d);
            prop_assert!(same(control.forward(&x), control.permuted(&pi).forward(&x)));
            prop_assert_eq!(ffn.units(), d);
        }

        #[test]
        fn a_dense_product_reads_the_same_whatever_the_order(d in 1usize..200, seed in 0u64..1000) {
            let trace = Trace::new(d, (0..3).map(|_| (0..d as u32).collect())).unwrap();
            let geometry = Geometry { unit_bits: 32, granule_bytes: 64, cache_bytes: 512 };
            let read = |pi: &Permutation| misses(&trace, pi, &geometry);
            prop_assert_eq!(read(&Permutation::identity(d)), read(&Permutation::random(d, seed)));
        }
    }

    #[test]
    fn equal_scores_choose_the_same_experts_in_any_order() {
        let experts = Experts {
            router: Dense::new(3, 1, vec![1.0; 3]),
            experts: (0..3).map(|i| Dense::new(1, 1, vec![i as f32])).collect(),
            names: vec![0, 1, 2],
            chosen: 2,
        };
        let moved = experts.permuted(&Permutation::from_order(vec![2, 1, 0]).unwrap());
        assert_eq!((experts.forward(&[1.0]), moved.forward(&[1.0])), (vec![0.5], vec![0.5]));
    }
}

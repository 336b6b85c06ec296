//! The weights of a model, in the order the forward pass reads them.

use stopwatt_kernel::cpu::Matrix;

/// Every weight of a model.
#[derive(Debug)]
pub struct Weights {
    /// One row a token.
    pub embedding: Matrix,
    /// One entry a layer.
    pub layers: Vec<Layer>,
    /// Weight of the last normalisation.
    pub norm: Vec<f32>,
    /// Output projection; `None` when the embedding is used for it (tied).
    pub head: Option<Matrix>,
}

/// The weights of one decoder layer. Projections that read the same input are one matrix.
#[derive(Debug)]
pub struct Layer {
    /// Weight of the normalisation before attention.
    pub attention_norm: Vec<f32>,
    /// Rows of the query, then key, then value projection.
    pub qkv: Matrix,
    /// Output projection of attention.
    pub attention_out: Matrix,
    /// Weight of the normalisation before the feed-forward layer.
    pub ffn_norm: Vec<f32>,
    /// Rows of the gate, then up projection.
    pub gate_up: Matrix,
    /// Down projection.
    pub down: Matrix,
}

impl Weights {
    /// Numbers in all weights; tied ones count once.
    pub fn parameters(&self) -> usize {
        let size = |m: &Matrix| m.rows() * m.cols();
        let layer = |l: &Layer| {
            l.attention_norm.len()
                + l.ffn_norm.len()
                + [&l.qkv, &l.attention_out, &l.gate_up, &l.down].into_iter().map(size).sum::<usize>()
        };
        size(&self.embedding)
            + self.layers.iter().map(layer).sum::<usize>()
            + self.norm.len()
            + self.head.as_ref().map_or(0, size)
    }

    /// Bytes of all weights in memory.
    pub fn bytes(&self) -> usize {
        let layer = |l: &Layer| {
            4 * (l.attention_norm.len() + l.ffn_norm.len())
                + [&l.qkv, &l.attention_out, &l.gate_up, &l.down]
                    .into_iter()
                    .map(Matrix::bytes)
                    .sum::<usize>()
        };
        self.embedding.bytes()
            + self.layers.iter().map(layer).sum::<usize>()
            + 4 * self.norm.len()
            + self.head.as_ref().map_or(0, Matrix::bytes)
    }
}

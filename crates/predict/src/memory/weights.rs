//! Bytes of weights.

use crate::model::Attention;
use crate::operators::Deployment;

impl Deployment {
    /// Bytes of the weights on the fullest device, with scales and what every rank keeps a copy of.
    #[must_use]
    pub fn weight_bytes(&self) -> f64 {
        let (model, precision) = (&self.model, self.precision);
        let base = precision.base.bytes();
        let (hidden, layers) = (f64::from(model.hidden), self.stage_layers());
        let share = f64::from(layers) / f64::from(model.layers);
        let p = model.parameters();
        // Embedding and head stand on the first and the last stage; where both are one, the sum counts.
        let tables = f64::from(self.vocab()) * hidden * base;
        let around = match (model.tied, self.pp) {
            (true, _) | (false, 2..) => tables,
            (false, _) => 2.0 * tables,
        };
        // Norms and routers are on every rank. Biases are shared out, but too few to tell.
        around + share * (self.matrix_bytes() + (p.routers + p.vectors) as f64 * base)
    }

    /// Layers of the fullest pipeline stage.
    #[must_use]
    pub fn stage_layers(&self) -> u32 {
        self.model.layers.div_ceil(self.pp)
    }

    /// Bytes of the big matrices of all layers on one rank.
    fn matrix_bytes(&self) -> f64 {
        let (model, precision, tp) = (&self.model, self.precision, self.tp);
        let hidden = u64::from(model.hidden);
        let matrix = |n: u64, k: u64| precision.matrix_bytes(n, k);
        let attention = match &model.attention {
            Attention::Grouped(a) => {
                let (width, kv) = (u64::from(a.head_dim), u64::from(self.kv_heads(a)));
                let queries = u64::from(a.heads / tp) * width;
                matrix(queries + 2 * kv * width, hidden) + matrix(hidden, queries)
            }
            Attention::Latent(a) => {
                // The compressing products are on every rank.
                let (heads, rope) = (u64::from(a.heads / tp), u64::from(a.rope_dim));
                let (kv, nope, value) = (u64::from(a.kv_rank), u64::from(a.nope_dim), u64::from(a.value_dim));
                let queries = heads * (nope + rope);
                let query = match a.query_rank.map(u64::from) {
                    Some(rank) => matrix(rank, hidden) + matrix(queries, rank),
                    None => matrix(queries, hidden),
                };
                query
                    + matrix(kv + rope, hidden)
                    + matrix(heads * (nope + value), kv)
                    + matrix(hidden, heads * value)
            }
        };
        let network = |width: u32| {
            let width = u64::from(width / tp);
            2.0 * matrix(width, hidden) + matrix(hidden, width)
        };
        let dense = model.dense.map_or(0.0, |d| f64::from(d.layers) * network(d.intermediate));
        let moe = model.moe.map_or(0.0, |moe| {
            let shared = moe.shared.map_or(0.0, network);
            f64::from(moe.layers) * (f64::from(moe.experts) * network(moe.intermediate) + shared)
        });
        f64::from(model.layers) * attention + dense + moe
    }
}

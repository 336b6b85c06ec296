//! Models: what has to be stored and computed, from the figures of their `config.json`.
//!
//! ```text
//! config.json ──► ModelSpec ──► parameters ──► bytes in memory
//! (config)        (here)   └──► operators of a step
//! ```
//!
//! Invariant, held by the tests of [`builtin`]: the parameters of every model with a published count are that count,
//! to the last one.

mod builtin;
mod config;
mod summary;

use stopwatt_core::kernel_table::Dtype;

pub use builtin::{builtin, builtin_names};
pub use config::{ModelError, from_config};
pub use summary::{SummaryError, SummarySpec};

use crate::precision::Precision;

/// A decoder, as far as its speed and memory depend on it.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelSpec {
    /// Name to print.
    pub name: String,
    /// `model_type` of the configuration.
    pub architecture: String,
    /// Rows of the embedding.
    pub vocab: u32,
    /// Width of the residual stream.
    pub hidden: u32,
    /// Decoder layers.
    pub layers: u32,
    /// Attention of every layer.
    pub attention: Attention,
    /// Layers with an ordinary feed-forward network; `None` when all have experts.
    pub dense: Option<Dense>,
    /// Layers with routed experts; `None` when there are none.
    pub moe: Option<Moe>,
    /// Where a layer normalises.
    pub norms: Norms,
    /// The output head is the embedding.
    pub tied: bool,
    /// Longest context, in tokens.
    pub max_position: u32,
    /// Format of the published weights.
    pub dtype: Dtype,
    /// How the published weights are quantised; `None` when they are not.
    pub stored: Option<Precision>,
    /// The parameter count that somebody stated, where the shapes are only a summary.
    pub stated_parameters: Option<f64>,
    /// Bytes of a parameter that somebody stated.
    pub stated_bytes_per_parameter: Option<f64>,
    /// What the reader should know: keys that are not understood, parts that are not counted.
    pub notes: Vec<String>,
}

/// How tokens look at each other.
#[derive(Debug, Clone, PartialEq)]
pub enum Attention {
    /// Query heads in groups over key-value heads.
    Grouped(Grouped),
    /// Multi-head latent attention: one compressed key-value vector a token.
    Latent(Latent),
}

/// Grouped-query attention; one key-value head a query head is multi-head attention.
#[derive(Debug, Clone, PartialEq)]
pub struct Grouped {
    /// Query heads.
    pub heads: u32,
    /// Key-value heads; divides the query heads.
    pub kv_heads: u32,
    /// Width of a head.
    pub head_dim: u32,
    /// Query, key and value products have a bias.
    pub qkv_bias: bool,
    /// The output product has a bias.
    pub output_bias: bool,
    /// Queries and keys are normalised, head by head.
    pub qk_norm: bool,
    /// Layers that look back only so far; `None` when all see everything.
    pub window: Option<Window>,
}

/// Layers with a sliding window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Tokens that a token sees, itself included.
    pub tokens: u32,
    /// How many layers look back no further.
    pub layers: u32,
}

/// Multi-head latent attention.
#[derive(Debug, Clone, PartialEq)]
pub struct Latent {
    /// Heads.
    pub heads: u32,
    /// Width of the compressed query; `None` when queries are not compressed.
    pub query_rank: Option<u32>,
    /// Width of the compressed key and value.
    pub kv_rank: u32,
    /// Width of a head without position.
    pub nope_dim: u32,
    /// Width of a head with rotary position; its key is shared by the heads.
    pub rope_dim: u32,
    /// Width of a value.
    pub value_dim: u32,
}

/// Ordinary feed-forward layers: gate, up and down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dense {
    /// How many layers have one.
    pub layers: u32,
    /// Width inside.
    pub intermediate: u32,
    /// The three products have a bias.
    pub bias: bool,
}

/// Layers of routed experts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moe {
    /// How many layers have them.
    pub layers: u32,
    /// Experts of a layer.
    pub experts: u32,
    /// Experts a token.
    pub top_k: u32,
    /// Width inside an expert.
    pub intermediate: u32,
    /// Width inside the expert that every token passes; `None` without one.
    pub shared: Option<u32>,
    /// A gate scales the shared expert.
    pub shared_gate: bool,
    /// The router has a bias (a number an expert).
    pub router_bias: bool,
}

/// Normalisations of a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Norms {
    /// Before attention and before the feed-forward network.
    Before,
    /// Before and after both, as in Gemma 2 and 3.
    BeforeAndAfter,
}

/// Parameters by what they belong to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Parameters {
    /// The embedding.
    pub embedding: u64,
    /// The output head, where it is not the embedding.
    pub head: u64,
    /// Matrices of attention.
    pub attention: u64,
    /// Matrices of feed-forward layers, shared experts included.
    pub feed_forward: u64,
    /// Matrices of routed experts.
    pub experts: u64,
    /// Routers and gates of experts.
    pub routers: u64,
    /// Normalisation weights and biases.
    pub vectors: u64,
}

impl Parameters {
    /// All of them.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.embedding + self.head + self.matrices() + self.routers + self.vectors
    }

    /// Matrices that quantisation makes smaller: not the embedding, the head and the routers.
    #[must_use]
    pub fn matrices(&self) -> u64 {
        self.attention + self.feed_forward + self.experts
    }
}

impl ModelSpec {
    /// Parameters, counted from the shapes.
    #[must_use]
    pub fn parameters(&self) -> Parameters {
        let (layers, hidden) = (u64::from(self.layers), u64::from(self.hidden));
        let embedding = u64::from(self.vocab) * hidden;
        let (attention, mut vectors) = self.attention.parameters(hidden);
        let norms = match self.norms {
            Norms::Before => 2,
            Norms::BeforeAndAfter => 4,
        };
        vectors = layers * (vectors + norms * hidden) + hidden;
        let (mut feed_forward, mut experts, mut routers) = (0, 0, 0);
        if let Some(dense) = self.dense {
            let (n, width) = (u64::from(dense.layers), u64::from(dense.intermediate));
            feed_forward += n * 3 * hidden * width;
            vectors += if dense.bias { n * (2 * width + hidden) } else { 0 };
        }
        if let Some(moe) = self.moe {
            let (n, count) = (u64::from(moe.layers), u64::from(moe.experts));
            experts = n * count * 3 * hidden * u64::from(moe.intermediate);
            feed_forward += n * 3 * hidden * u64::from(moe.shared.unwrap_or(0));
            routers = n * (count * hidden + u64::from(moe.shared_gate) * hidden);
            vectors += u64::from(moe.router_bias) * n * count;
        }
        Parameters {
            embedding,
            head: if self.tied { 0 } else { embedding },
            attention: layers * attention,
            feed_forward,
            experts,
            routers,
            vectors,
        }
    }

    /// Parameters: the stated count of a summary, else the counted one.
    #[must_use]
    pub fn parameter_count(&self) -> f64 {
        self.stated_parameters.unwrap_or_else(|| self.parameters().total() as f64)
    }

    /// Parameters that one token passes through: all but the experts it is not routed to.
    #[must_use]
    pub fn active_parameters(&self) -> f64 {
        let idle = self.moe.map_or(0.0, |moe| 1.0 - f64::from(moe.top_k) / f64::from(moe.experts));
        self.parameter_count() - idle * self.parameters().experts as f64
    }
}

impl Attention {
    /// Query heads.
    #[must_use]
    pub fn heads(&self) -> u32 {
        match self {
            Attention::Grouped(a) => a.heads,
            Attention::Latent(a) => a.heads,
        }
    }

    /// Numbers of the matrices and of the vectors of one layer.
    fn parameters(&self, hidden: u64) -> (u64, u64) {
        match self {
            Attention::Grouped(a) => {
                let width = u64::from(a.head_dim);
                let (q, kv) = (u64::from(a.heads) * width, u64::from(a.kv_heads) * width);
                let vectors = u64::from(a.qkv_bias) * (q + 2 * kv)
                    + u64::from(a.output_bias) * hidden
                    + u64::from(a.qk_norm) * 2 * width;
                (hidden * (q + 2 * kv) + q * hidden, vectors)
            }
            Attention::Latent(a) => {
                let (heads, rope) = (u64::from(a.heads), u64::from(a.rope_dim));
                let (kv, nope, value) = (u64::from(a.kv_rank), u64::from(a.nope_dim), u64::from(a.value_dim));
                let queries = heads * (nope + rope);
                let (query, query_norm) = match a.query_rank.map(u64::from) {
                    Some(rank) => (hidden * rank + rank * queries, rank),
                    None => (hidden * queries, 0),
                };
                let matrices =
                    query + hidden * (kv + rope) + kv * heads * (nope + value) + heads * value * hidden;
                (matrices, query_norm + kv)
            }
        }
    }
}

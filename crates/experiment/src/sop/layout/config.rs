//! The settings of a layout: what is laid out, its access graph, its solver, what is transformed.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use stopwatt_layout::Normalize;
use stopwatt_layout::solver::{Method, SolverOptions};
use stopwatt_layout::transform::kv::Eviction;
use stopwatt_layout::transform::quant::Format;

/// What is laid out, and the kernel that reads it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LayoutConfig {
    /// What is moved.
    pub carrier: CarrierKind,
    /// GGUF file or Hugging Face folder; `null` takes random weights of `preset`.
    pub model: Option<PathBuf>,
    /// Size of a random model: `tiny`, `small`, `medium` or `large`.
    pub preset: String,
    /// Layer whose accesses are looked at; `null` takes the middle one.
    pub layer: Option<usize>,
    /// Text that the model reads; `null` takes tokens drawn from the seed.
    pub text: Option<PathBuf>,
    /// Steps: tokens whose accesses are recorded. Layouts are solved on the first half and measured on the second.
    #[schemars(range(min = 4))]
    pub steps: usize,
    /// Cached tokens, for `kv-tokens`.
    #[schemars(range(min = 16))]
    pub context: usize,
    /// Units that are read together: of a cache line (16 numbers of 4 bytes), or of a page of tokens.
    #[schemars(range(min = 1))]
    pub block: usize,
    /// Bytes that the kernel goes through in turn, in MiB: the operand is laid out so many times that it reaches them.
    /// `null` takes three times the last-level cache, so that it cannot stay there.
    #[schemars(range(min = 0.0))]
    pub working_set_mib: Option<f64>,
    /// Threads of the kernel.
    #[schemars(range(min = 1))]
    pub threads: usize,
    /// Weight of the error in the objective; the share of the operand that is fetched each step weighs 1.
    #[schemars(range(min = 0.0))]
    pub error_weight: f64,
    /// Weight of the share of units that are not where they were.
    #[schemars(range(min = 0.0))]
    pub churn_weight: f64,
    /// Most rounds of transform and solve, for `pipeline.mode: iterative`.
    #[schemars(range(min = 1))]
    pub rounds: u32,
}

impl Default for LayoutConfig {
    fn default() -> Self {
        Self {
            carrier: CarrierKind::FfnNeurons,
            model: None,
            preset: "small".to_owned(),
            layer: None,
            text: None,
            steps: 512,
            context: 512,
            block: 16,
            working_set_mib: None,
            threads: 1,
            error_weight: 1.0,
            churn_weight: 0.0,
            rounds: 4,
        }
    }
}

/// What is moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum CarrierKind {
    /// Neurons of a feed-forward layer: columns of its down projection, of which a step reads those that matter.
    FfnNeurons,
    /// Cached tokens of one head of attention, in pages.
    KvTokens,
    /// The reduction axis of a dense product: the control, on which no order may have an effect.
    Dense,
}

impl CarrierKind {
    /// Name in files.
    pub const fn name(self) -> &'static str {
        match self {
            Self::FfnNeurons => "ffn-neurons",
            Self::KvTokens => "kv-tokens",
            Self::Dense => "dense",
        }
    }
}

/// The shared-access graph of the model as it is, before any transform.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct GraphConfig {
    /// Where it comes from.
    pub source: GraphSource,
    /// Recorded pairs, for `source: trace`: lines of `src`, `dst`, `w`.
    pub trace: Option<PathBuf>,
    /// For `source: mock`.
    pub mock: MockGraph,
    /// For `source: banded`.
    pub banded: BandedGraph,
    /// Correlation below which there is no edge, for `source: correlation`.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub threshold: f64,
    /// How weights are scaled.
    pub normalize: Normalize,
    /// Most edges; `null` takes the twentieth part of all pairs of units and both directions, as the original did.
    pub nnz_cap: Option<usize>,
    /// What loads the model.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-unavailable" = true))]
    pub loader: Option<Value>,
    /// Its arguments.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-unavailable" = true))]
    pub loader_kwargs: Option<Value>,
    /// The original's settings of a graph from correlations; here `source: correlation`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-unavailable" = true))]
    pub correlation: Option<Value>,
    /// A graph from the modules of a PyTorch model.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-unavailable" = true))]
    pub pytorch: Option<Value>,
}

impl Default for GraphConfig {
    fn default() -> Self {
        Self {
            source: GraphSource::Correlation,
            trace: None,
            mock: MockGraph::default(),
            banded: BandedGraph::default(),
            threshold: 0.1,
            normalize: Normalize::Sym,
            nnz_cap: None,
            loader: None,
            loader_kwargs: None,
            correlation: None,
            pytorch: None,
        }
    }
}

/// Sources of graphs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum GraphSource {
    /// Correlation of how much the units matter, step by step.
    Correlation,
    /// Recorded pairs.
    Trace,
    /// Neighbours of the model's own order.
    Banded,
    /// Random blocks, to try solvers on.
    Mock,
}

/// A graph of random blocks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct MockGraph {
    /// Units; `null` takes those of the carrier.
    pub d: Option<usize>,
    /// Blocks.
    #[schemars(range(min = 1))]
    pub blocks: usize,
    /// Noise of the weights.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub noise: f64,
    /// Its seed.
    pub seed: u64,
}

impl Default for MockGraph {
    fn default() -> Self {
        Self { d: None, blocks: 4, noise: 0.02, seed: 0 }
    }
}

/// A graph of neighbours.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct BandedGraph {
    /// Greatest distance.
    #[schemars(range(min = 1))]
    pub hops: usize,
    /// Factor of the weight for each further place.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub decay: f64,
}

impl Default for BandedGraph {
    fn default() -> Self {
        Self { hops: 2, decay: 0.7 }
    }
}

/// The solver of permutations.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SolverConfig {
    /// Which one.
    pub method: Method,
    /// Longest time for the layout of one arm, in seconds. When it is over the best so far is measured, and the exit code
    /// is 5.
    #[schemars(range(min = 0.0))]
    pub time_budget_s: f64,
    /// Local swaps that are tried.
    pub refine_steps: u64,
    /// Its seed.
    pub rng_seed: u64,
    /// Number of blocks; `cost.blocks_k` has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-unavailable" = true))]
    pub k_blocks: Option<Value>,
    /// How it clusters; `method` says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-unavailable" = true))]
    pub clustering: Option<Value>,
}

impl Default for SolverConfig {
    fn default() -> Self {
        let SolverOptions { method, time_budget_s, refine_steps, rng_seed } = SolverOptions::default();
        Self { method, time_budget_s, refine_steps, rng_seed, k_blocks: None, clustering: None }
    }
}

impl SolverConfig {
    /// What the solver is told.
    pub fn options(&self) -> SolverOptions {
        let Self { method, time_budget_s, refine_steps, rng_seed, .. } = *self;
        SolverOptions { method, time_budget_s, refine_steps, rng_seed }
    }
}

/// What is done to the model: S, Q and K.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TransformConfig {
    /// S: a step leaves out what matters least to it.
    pub sparsity: Option<SparsityConfig>,
    /// Q: weights are rounded, a scale for each group of consecutive units (`ffn-neurons`).
    pub quant: Option<QuantConfig>,
    /// K: tokens are dropped from the cache (`kv-tokens`).
    pub kv: Option<Eviction>,
}

/// S: what a step leaves out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SparsityConfig {
    /// Unit by unit, or block by block as they lie.
    pub by: SparsityBy,
    /// Share of the sum of squares of what the units contribute that a step keeps.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub energy: f64,
    /// Share of the weights that is pruned for good: `stopwatt_layout::transform` prunes, this pipeline does not.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-unavailable" = true))]
    pub rate: Option<Value>,
}

impl Default for SparsityConfig {
    fn default() -> Self {
        Self { by: SparsityBy::Units, energy: 0.95, rate: None }
    }
}

/// What is selected at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SparsityBy {
    /// Units: the layout does not change which.
    Units,
    /// Blocks of `target.layout.block` units as they lie: the layout decides which.
    Blocks,
}

/// Q: how weights are rounded.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct QuantConfig {
    /// Number format.
    pub format: Format,
    /// Consecutive units that share a scale.
    #[schemars(range(min = 1))]
    pub group: usize,
}

impl Default for QuantConfig {
    fn default() -> Self {
        Self { format: Format::Int8, group: 64 }
    }
}

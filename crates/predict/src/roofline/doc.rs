//! What `stopwatt roofline --model` prints as JSON.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::latency::Tier;
use crate::operators::Part;

/// How operations and bytes are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// 2·N·tokens operations over 2·N·b bytes, by hand.
    Textbook,
    /// Every operator of a step with its own shapes, weights once, cache and activations counted.
    Honest,
}

/// What bounds a phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Bound {
    /// Moving bytes.
    Memory,
    /// Arithmetic.
    Compute,
    /// Sums between devices.
    Link,
}

impl Bound {
    /// Name in tables.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Bound::Memory => "memory",
            Bound::Compute => "compute",
            Bound::Link => "link",
        }
    }
}

/// A phase of inference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// One prompt at once.
    Prefill,
    /// One token for each of several sequences.
    Decode,
}

/// The model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ModelFacts {
    /// Name.
    pub name: String,
    /// Parameters.
    pub parameters: f64,
    /// Parameters that a token passes through.
    pub active_parameters: f64,
    /// Layers.
    pub layers: u32,
    /// Width of the residual stream.
    pub hidden: u32,
}

/// The device.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct GpuFacts {
    /// Name on the command line.
    pub id: String,
    /// Name.
    pub name: String,
    /// Bytes a second.
    pub bandwidth_bytes_s: f64,
    /// Memory in bytes of 10⁹ a GB.
    pub memory_gb: f64,
    /// What the figures are: `datasheet` or `measured`.
    pub basis: String,
    /// Where they are from.
    pub source: String,
}

/// Where the roof bends.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Ridge {
    /// Format of the operands.
    pub dtype: String,
    /// Peak, operations a second.
    pub flop_s: f64,
    /// Operations a byte at which computing takes as long as moving.
    pub flop_per_byte: f64,
}

/// One line: a prompt of some length, or a batch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PhaseRow {
    /// Which phase.
    pub phase: Phase,
    /// New tokens of each sequence.
    pub tokens: u32,
    /// Sequences.
    pub sequences: u32,
    /// Operations, on all devices together.
    pub flop: f64,
    /// Bytes, on all devices together.
    pub bytes: f64,
    /// Operations a byte.
    pub intensity: f64,
    /// What bounds it.
    pub bound: Bound,
    /// Seconds of the step at best.
    pub latency_s: f64,
    /// Tokens a second at best: prompt tokens in prefill, output tokens in decode.
    pub tokens_per_s: f64,
    /// Seconds a token: of the prompt in prefill, until a user's next token in decode.
    pub per_token_s: f64,
}

/// A format of the weights, against the others.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct QuantRow {
    /// Format.
    pub dtype: String,
    /// Sequences that decode.
    pub sequences: u32,
    /// Bytes of the weights.
    pub weight_bytes: f64,
    /// Seconds of a step at best.
    pub latency_s: f64,
    /// Output tokens a second at best.
    pub tokens_per_s: f64,
    /// Times the rate of the first format.
    pub speedup: f64,
}

/// A part of the model in one step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PartRow {
    /// Which phase: the longest prompt or the largest batch of the table.
    pub phase: Phase,
    /// Which part.
    pub part: Part,
    /// Calls in a step.
    pub calls: u32,
    /// Operations, on one device.
    pub flop: f64,
    /// Bytes, on one device.
    pub bytes: f64,
    /// Operations a byte; `null` where none are moved.
    pub intensity: Option<f64>,
    /// What bounds it.
    pub bound: Bound,
    /// Seconds at best.
    pub time_s: f64,
    /// Share of the step's time.
    pub share: f64,
    /// What its kernels take; `null` without a kernel table.
    #[serde(default)]
    pub kernels: Option<KernelsOfPart>,
}

/// Kernels of a part by a kernel table, beside their roof.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct KernelsOfPart {
    /// Seconds.
    pub time_s: f64,
    /// 90 % interval.
    pub interval90: [f64; 2],
    /// The roof's time over theirs: 1 is on the roof.
    pub of_roof: f64,
    /// Operations a second; 0 where there are none.
    pub flop_s: f64,
    /// The weakest evidence that the time rests on.
    pub tier: Tier,
}

/// The analysis.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RooflineDoc {
    /// How it was counted.
    pub method: Method,
    /// The model.
    pub model: ModelFacts,
    /// The device.
    pub gpu: GpuFacts,
    /// Format of the weights.
    pub dtype: String,
    /// Devices that share each layer.
    pub tensor_parallel: u32,
    /// Tokens that each decoding sequence has already.
    pub context_tokens: u32,
    /// Ridge points.
    pub ridges: Vec<Ridge>,
    /// Prompts, then batches.
    pub rows: Vec<PhaseRow>,
    /// Formats against each other, in decode.
    pub quantisation: Vec<QuantRow>,
    /// Parts of the longest prompt and of the largest batch; empty in the textbook method.
    pub parts: Vec<PartRow>,
    /// What the reader should know.
    pub notes: Vec<String>,
}

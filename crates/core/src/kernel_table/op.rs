//! An operator on a shape, in given number formats: the key of a kernel table.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A number format of operands or results.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Dtype {
    /// 32-bit floating point, computed as such.
    F32,
    /// 32-bit storage, products in TensorFloat-32.
    Tf32,
    /// IEEE half precision.
    F16,
    /// bfloat16.
    Bf16,
    /// 8-bit floating point, 4 exponent and 3 mantissa bits.
    F8E4m3,
    /// 8-bit integers.
    I8,
    /// 4-bit integers, two a byte.
    I4,
}

impl Dtype {
    /// Bytes that one element takes in memory; half a byte for [`Dtype::I4`].
    #[must_use]
    pub const fn bytes(self) -> f64 {
        match self {
            Dtype::F32 | Dtype::Tf32 => 4.0,
            Dtype::F16 | Dtype::Bf16 => 2.0,
            Dtype::F8E4m3 | Dtype::I8 => 1.0,
            Dtype::I4 => 0.5,
        }
    }

    /// Name in tables and on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Dtype::F32 => "f32",
            Dtype::Tf32 => "tf32",
            Dtype::F16 => "f16",
            Dtype::Bf16 => "bf16",
            Dtype::F8E4m3 => "f8e4m3",
            Dtype::I8 => "i8",
            Dtype::I4 => "i4",
        }
    }

    /// Every format, in the order of this table.
    pub const ALL: [Dtype; 7] =
        [Dtype::F32, Dtype::Tf32, Dtype::F16, Dtype::Bf16, Dtype::F8E4m3, Dtype::I8, Dtype::I4];

    /// Format by the names people use for it: those of [`Dtype::name`], and `fp32`, `fp16`, `float16`, `bfloat16`,
    /// `half`, `fp8`, `fp8_e4m3`, `int8`, `int4`.
    #[must_use]
    pub fn parse(name: &str) -> Option<Dtype> {
        Some(match name.to_ascii_lowercase().as_str() {
            "f32" | "fp32" | "float32" => Dtype::F32,
            "tf32" => Dtype::Tf32,
            "f16" | "fp16" | "float16" | "half" => Dtype::F16,
            "bf16" | "bfloat16" => Dtype::Bf16,
            "f8e4m3" | "fp8" | "fp8_e4m3" | "float8_e4m3fn" => Dtype::F8E4m3,
            "i8" | "int8" => Dtype::I8,
            "i4" | "int4" => Dtype::I4,
            _ => return None,
        })
    }
}

/// Formats of an operator's operands and result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub struct Dtypes {
    /// Activations that go in.
    pub input: Dtype,
    /// Weights, or the key-value cache of an attention operator.
    pub weight: Dtype,
    /// What comes out.
    pub output: Dtype,
}

impl Dtypes {
    /// One format for all three.
    #[must_use]
    pub const fn all(dtype: Dtype) -> Self {
        Self { input: dtype, weight: dtype, output: dtype }
    }
}

/// Which operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OpKind {
    /// `output[m,n] = input[m,k] · weight[n,k]ᵀ`.
    Linear,
    /// Two-dimensional convolution.
    Conv2d,
    /// Long short-term memory layers.
    Lstm,
    /// Gated recurrent unit layers.
    Gru,
    /// Layer normalisation.
    LayerNorm,
    /// Root-mean-square normalisation.
    RmsNorm,
    /// Residual addition and root-mean-square normalisation in one pass; both sums are written.
    AddRmsNorm,
    /// Gaussian error linear unit.
    Gelu,
    /// `silu(gate) · up`; the input holds both halves.
    SiluMul,
    /// Softmax over the last axis.
    Softmax,
    /// Rotary position embedding of queries and keys, in place.
    Rope,
    /// Gather of embedding rows.
    Embedding,
    /// Greedy choice of a token from logits.
    Argmax,
    /// Choice of a token after top-k and top-p, with sorting.
    TopKTopP,
    /// Causal attention of several new tokens a sequence.
    AttentionPrefill,
    /// Attention of one new token a sequence over a paged cache.
    AttentionDecode,
    /// Routed experts of one layer: gate, up and down products of the tokens' top-k experts.
    MoeExperts,
    /// Sum over ranks.
    AllReduce,
    /// Kernels that do nothing, launched one by one.
    EmptyLaunch,
    /// Kernels that do nothing, replayed as one graph.
    EmptyGraph,
}

impl OpKind {
    /// Every operator, in the order of this table.
    pub const ALL: [OpKind; 20] = [
        OpKind::Linear,
        OpKind::Conv2d,
        OpKind::Lstm,
        OpKind::Gru,
        OpKind::LayerNorm,
        OpKind::RmsNorm,
        OpKind::AddRmsNorm,
        OpKind::Gelu,
        OpKind::SiluMul,
        OpKind::Softmax,
        OpKind::Rope,
        OpKind::Embedding,
        OpKind::Argmax,
        OpKind::TopKTopP,
        OpKind::AttentionPrefill,
        OpKind::AttentionDecode,
        OpKind::MoeExperts,
        OpKind::AllReduce,
        OpKind::EmptyLaunch,
        OpKind::EmptyGraph,
    ];

    /// Name in tables and on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            OpKind::Linear => "linear",
            OpKind::Conv2d => "conv2d",
            OpKind::Lstm => "lstm",
            OpKind::Gru => "gru",
            OpKind::LayerNorm => "layer_norm",
            OpKind::RmsNorm => "rms_norm",
            OpKind::AddRmsNorm => "add_rms_norm",
            OpKind::Gelu => "gelu",
            OpKind::SiluMul => "silu_mul",
            OpKind::Softmax => "softmax",
            OpKind::Rope => "rope",
            OpKind::Embedding => "embedding",
            OpKind::Argmax => "argmax",
            OpKind::TopKTopP => "top_k_top_p",
            OpKind::AttentionPrefill => "attention_prefill",
            OpKind::AttentionDecode => "attention_decode",
            OpKind::MoeExperts => "moe_experts",
            OpKind::AllReduce => "all_reduce",
            OpKind::EmptyLaunch => "empty_launch",
            OpKind::EmptyGraph => "empty_graph",
        }
    }
}

/// Kinds of operators that are measured, plotted and interpolated together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Family {
    /// Fully connected layers.
    Linear,
    /// Convolutions.
    Conv,
    /// Recurrent layers.
    Recurrent,
    /// Operators whose time is that of moving their bytes.
    Memory,
    /// Attention, prefill and decode.
    Attention,
    /// Mixture of experts.
    Moe,
    /// Collectives between devices.
    Collective,
    /// Cost of launching at all.
    Launch,
}

impl Family {
    /// Name in tables and on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Family::Linear => "linear",
            Family::Conv => "conv",
            Family::Recurrent => "recurrent",
            Family::Memory => "memory",
            Family::Attention => "attention",
            Family::Moe => "moe",
            Family::Collective => "collective",
            Family::Launch => "launch",
        }
    }
}

impl OpKind {
    /// The family it belongs to.
    #[must_use]
    pub const fn family(self) -> Family {
        match self {
            OpKind::Linear => Family::Linear,
            OpKind::Conv2d => Family::Conv,
            OpKind::Lstm | OpKind::Gru => Family::Recurrent,
            OpKind::LayerNorm
            | OpKind::RmsNorm
            | OpKind::AddRmsNorm
            | OpKind::Gelu
            | OpKind::SiluMul
            | OpKind::Softmax
            | OpKind::Rope
            | OpKind::Embedding
            | OpKind::Argmax
            | OpKind::TopKTopP => Family::Memory,
            OpKind::AttentionPrefill | OpKind::AttentionDecode => Family::Attention,
            OpKind::MoeExperts => Family::Moe,
            OpKind::AllReduce => Family::Collective,
            OpKind::EmptyLaunch | OpKind::EmptyGraph => Family::Launch,
        }
    }
}

/// Sizes of an operator's operands, in elements unless said otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", tag = "form")]
pub enum Shape {
    /// Of a matrix product.
    Matrix {
        /// Rows of the input: tokens in the step.
        m: u32,
        /// Columns of the output.
        n: u32,
        /// Length of the sum.
        k: u32,
    },
    /// Of a convolution; square kernels, the same stride and padding both ways.
    Image {
        /// Images.
        batch: u32,
        /// Channels in.
        channels: u32,
        /// Height in pixels.
        height: u32,
        /// Width in pixels.
        width: u32,
        /// Channels out.
        filters: u32,
        /// Side of the kernel.
        kernel: u32,
        /// Step.
        stride: u32,
        /// Zeroes at each edge.
        padding: u32,
    },
    /// Of recurrent layers.
    Sequence {
        /// Sequences.
        batch: u32,
        /// Time steps.
        steps: u32,
        /// Width of the input.
        input: u32,
        /// Width of the state.
        hidden: u32,
        /// Layers.
        layers: u32,
    },
    /// Of an operator that works on rows: tokens by width (intermediate width for [`OpKind::SiluMul`], vocabulary
    /// for the samplers).
    Rows {
        /// Rows.
        rows: u32,
        /// Columns.
        cols: u32,
    },
    /// Of [`OpKind::Rope`].
    Heads {
        /// Tokens.
        tokens: u32,
        /// Query heads.
        heads: u32,
        /// Key-value heads.
        kv_heads: u32,
        /// Width of a head.
        head_dim: u32,
    },
    /// Of [`OpKind::Embedding`].
    Lookup {
        /// Rows that are fetched.
        tokens: u32,
        /// Rows of the table.
        vocab: u32,
        /// Width of a row.
        hidden: u32,
    },
    /// Of attention; every sequence alike.
    Attention {
        /// Sequences.
        sequences: u32,
        /// New tokens of each.
        new_tokens: u32,
        /// Tokens of each that are in the cache already.
        cached: u32,
        /// Query heads.
        heads: u32,
        /// Key-value heads.
        kv_heads: u32,
        /// Width of a head.
        head_dim: u32,
        /// Tokens of a cache block; 0 where the cache is contiguous.
        page: u32,
    },
    /// Of routed experts.
    Experts {
        /// Tokens in the step.
        tokens: u32,
        /// Experts.
        experts: u32,
        /// Experts a token.
        top_k: u32,
        /// Width of the model.
        hidden: u32,
        /// Width inside an expert.
        intermediate: u32,
        /// Exponent of the power law of the routing, in hundredths; 0 is even.
        skew_percent: u32,
    },
    /// Of a collective.
    Message {
        /// Elements of the message on each rank.
        elements: u32,
        /// Ranks.
        ranks: u32,
    },
    /// Of launch floors.
    Launches {
        /// Kernels in a row.
        kernels: u32,
    },
}

/// An operator on a shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub struct Op {
    /// Which operator.
    pub kind: OpKind,
    /// Sizes of its operands.
    pub shape: Shape,
    /// Their formats.
    pub dtypes: Dtypes,
}

impl Shape {
    /// Name of the form, as files have it, that the shape of an operator has.
    #[must_use]
    pub const fn form_of(kind: OpKind) -> &'static str {
        match kind {
            OpKind::Linear => "matrix",
            OpKind::Conv2d => "image",
            OpKind::Lstm | OpKind::Gru => "sequence",
            OpKind::LayerNorm
            | OpKind::RmsNorm
            | OpKind::AddRmsNorm
            | OpKind::Gelu
            | OpKind::SiluMul
            | OpKind::Softmax
            | OpKind::Argmax
            | OpKind::TopKTopP => "rows",
            OpKind::Rope => "heads",
            OpKind::Embedding => "lookup",
            OpKind::AttentionPrefill | OpKind::AttentionDecode => "attention",
            OpKind::MoeExperts => "experts",
            OpKind::AllReduce => "message",
            OpKind::EmptyLaunch | OpKind::EmptyGraph => "launches",
        }
    }

    /// A shape from its sizes by name, in the form that `kind` has.
    ///
    /// # Errors
    /// What is missing or unknown, as the parser says it.
    pub fn of_sizes(
        kind: OpKind,
        sizes: &std::collections::BTreeMap<String, u32>,
    ) -> Result<Shape, serde_json::Error> {
        let mut object: serde_json::Map<String, serde_json::Value> =
            sizes.iter().map(|(name, size)| (name.clone(), (*size).into())).collect();
        object.insert("form".to_owned(), Self::form_of(kind).into());
        let shape: Shape = serde_json::from_value(object.into())?;
        // A size that the form does not have would be lost silently.
        let known = shape.sizes();
        match sizes.keys().find(|name| !known.iter().any(|(known, _)| known == *name)) {
            None => Ok(shape),
            Some(name) => Err(serde::de::Error::custom(format!("unknown size `{name}`"))),
        }
    }

    /// Its sizes with their names, in the order of the fields.
    #[must_use]
    pub fn sizes(&self) -> Vec<(String, u32)> {
        let Ok(serde_json::Value::Object(object)) = serde_json::to_value(self) else { return Vec::new() };
        let size =
            |(name, value): (String, serde_json::Value)| Some((name, u32::try_from(value.as_u64()?).ok()?));
        object.into_iter().filter_map(size).collect()
    }

    /// The sizes in one line, for people: `m=16 n=4096 k=4096`. A size of 0 that means "none" is left out.
    #[must_use]
    pub fn label(&self) -> String {
        let optional = |name: &str| matches!(name, "cached" | "page" | "padding" | "skew_percent");
        let sizes = self.in_order();
        let shown = sizes.iter().filter(|(name, size)| *size != 0 || !optional(name));
        shown.map(|(name, size)| format!("{name}={size}")).collect::<Vec<_>>().join(" ")
    }

    /// Sizes in the order in which people write them.
    fn in_order(&self) -> Vec<(String, u32)> {
        const ORDER: [&str; 33] = [
            "m",
            "n",
            "k",
            "rows",
            "cols",
            "sequences",
            "new_tokens",
            "cached",
            "tokens",
            "batch",
            "channels",
            "height",
            "width",
            "filters",
            "kernel",
            "stride",
            "padding",
            "steps",
            "input",
            "heads",
            "kv_heads",
            "head_dim",
            "page",
            "vocab",
            "experts",
            "top_k",
            "hidden",
            "intermediate",
            "layers",
            "skew_percent",
            "elements",
            "ranks",
            "kernels",
        ];
        let mut sizes = self.sizes();
        sizes.sort_by_key(|(name, _)| ORDER.iter().position(|o| o == name));
        sizes
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn sizes(of: &[(&str, u32)]) -> BTreeMap<String, u32> {
        of.iter().map(|(name, size)| ((*name).to_owned(), *size)).collect()
    }

    #[test]
    fn names_are_those_of_the_files() {
        for kind in OpKind::ALL {
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.name());
            assert_eq!(serde_json::to_value(kind.family()).unwrap(), kind.family().name());
        }
    }

    #[test]
    fn a_shape_is_made_of_its_sizes_and_of_no_others() {
        let good = sizes(&[("m", 1), ("n", 2), ("k", 3)]);
        let shape = Shape::of_sizes(OpKind::Linear, &good).unwrap();
        assert_eq!(shape, Shape::Matrix { m: 1, n: 2, k: 3 });
        assert_eq!(shape.label(), "m=1 n=2 k=3");
        let missing = Shape::of_sizes(OpKind::Linear, &sizes(&[("m", 1), ("n", 2)])).unwrap_err();
        assert!(missing.to_string().contains('k'), "{missing}");
        let stray = sizes(&[("m", 1), ("n", 2), ("k", 3), ("heads", 4)]);
        assert!(Shape::of_sizes(OpKind::Linear, &stray).unwrap_err().to_string().contains("heads"));
    }
}

//! Which operators one step of an engine runs on one device, on which shapes.
//!
//! The products are those that vLLM runs: query, key and value in one, gate and up in one, the output head on the last
//! token of each sequence only, norms fused with the residual addition before them. With tensor parallelism the shapes
//! are those of one rank, and each layer sums twice over the ranks.
//!
//! Not here: quantising activations on the way (a pass of their bytes), and multi-head latent attention, whose memory
//! is counted but whose steps are not.

use stopwatt_core::kernel_table::{Dtype, Dtypes, Op, OpKind, Shape, Work};
use stopwatt_serving::step::StepShape;

use crate::built_in;
use crate::model::{Attention, Dense, Grouped, ModelSpec, Moe, Norms};
use crate::precision::Precision;

/// Rows of the embedding are padded to a multiple of this before they are shared out.
const VOCAB_PADDING: u32 = 64;

/// Whose operators and rules they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Engine {
    /// vLLM.
    #[default]
    Vllm,
    /// The operators of vLLM under the rules of static batching.
    Static,
    /// Stopwatt's own decoder on the CPU.
    BuiltIn,
}

impl Engine {
    /// Name in files.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Engine::Vllm => "vllm",
            Engine::Static => "static",
            Engine::BuiltIn => "stopwatt",
        }
    }
}

/// A model on devices: precision and how it is split.
#[derive(Debug, Clone, PartialEq)]
pub struct Deployment {
    /// The model.
    pub model: ModelSpec,
    /// Formats.
    pub precision: Precision,
    /// Devices that share each layer.
    pub tp: u32,
    /// Groups of devices that share out the layers.
    pub pp: u32,
    /// What computes it.
    pub engine: Engine,
}

/// Why a model cannot be split so.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DeploymentError {
    /// A split of no devices.
    #[error("{what} of 0")]
    Zero {
        /// Which split.
        what: &'static str,
    },
    /// Something that does not divide.
    #[error("{what} of {model} ({count}) cannot be shared by {ways} devices")]
    Split {
        /// What is shared.
        what: &'static str,
        /// The model.
        model: String,
        /// How many there are.
        count: u32,
        /// Ways.
        ways: u32,
    },
    /// Steps of this model are not known.
    #[error("the steps of {model} are not known: {what}; its memory and the textbook roofline are")]
    Unknown {
        /// The model.
        model: String,
        /// What is missing.
        what: &'static str,
    },
}

/// Which part of a model an operator belongs to.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    serde::Serialize,
    serde::Deserialize,
    schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// Rows of the embedding.
    Embedding,
    /// Norms, with the residual additions.
    Norm,
    /// Product that gives queries, keys and values.
    Qkv,
    /// Rotary position embedding.
    Rope,
    /// Writing keys and values into the cache.
    CacheWrite,
    /// Attention.
    Attention,
    /// Product after attention.
    AttentionOutput,
    /// Gate and up products.
    GateUp,
    /// Activation of the feed-forward layer.
    Activation,
    /// Down product.
    Down,
    /// Choice of experts.
    Router,
    /// Routed experts.
    Experts,
    /// Sums over ranks.
    AllReduce,
    /// Output head.
    Head,
    /// Choice of the token.
    Sampler,
}

impl Part {
    /// Name in tables and files.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Part::Embedding => "embedding",
            Part::Norm => "norm",
            Part::Qkv => "qkv",
            Part::Rope => "rope",
            Part::CacheWrite => "cache_write",
            Part::Attention => "attention",
            Part::AttentionOutput => "attention_output",
            Part::GateUp => "gate_up",
            Part::Activation => "activation",
            Part::Down => "down",
            Part::Router => "router",
            Part::Experts => "experts",
            Part::AllReduce => "all_reduce",
            Part::Head => "head",
            Part::Sampler => "sampler",
        }
    }
}

/// What a call does.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum What {
    /// An operator of kernel tables.
    Op(Op),
    /// Bytes copied, half read and half written: a kernel without a row of its own.
    Copy {
        /// Bytes both ways.
        bytes: f64,
    },
}

/// An operator of a step, and how often it runs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Call {
    /// What it belongs to.
    pub part: Part,
    /// What it does.
    pub what: What,
    /// How often in a step.
    pub count: u32,
    /// Bytes read beyond those of [`Op::work`], each time: scales of quantised weights.
    pub extra_bytes: f64,
}

impl Call {
    /// Arithmetic and traffic of one call.
    #[must_use]
    pub fn work(&self) -> Work {
        match self.what {
            What::Op(op) => {
                let work = op.work().expect("operators are made with the shape of their kind");
                Work { read_bytes: work.read_bytes + self.extra_bytes, ..work }
            }
            What::Copy { bytes } => Work { flop: 0.0, read_bytes: bytes / 2.0, write_bytes: bytes / 2.0 },
        }
    }

    /// Format whose rate bounds the arithmetic.
    #[must_use]
    pub fn compute_dtype(&self) -> Dtype {
        match self.what {
            What::Op(op) => op.dtypes.input,
            What::Copy { .. } => Dtype::F32,
        }
    }
}

impl Deployment {
    /// Checks that the model can be split so.
    pub fn new(model: ModelSpec, precision: Precision, tp: u32, pp: u32) -> Result<Self, DeploymentError> {
        for (what, ways) in [("tensor parallelism", tp), ("pipeline parallelism", pp)] {
            if ways == 0 {
                return Err(DeploymentError::Zero { what });
            }
        }
        let name = model.name.clone();
        let split = |what, count: u32, ways: u32| match count.is_multiple_of(ways) {
            true => Ok(()),
            false => Err(DeploymentError::Split { what, model: name.clone(), count, ways }),
        };
        split("the query heads", model.attention.heads(), tp)?;
        if let Attention::Grouped(a) = &model.attention {
            let (most, least) = (a.kv_heads.max(tp), a.kv_heads.min(tp));
            split("the key-value heads", most, least)?;
        }
        if let Some(dense) = model.dense {
            split("the feed-forward width", dense.intermediate, tp)?;
        }
        if let Some(moe) = model.moe {
            split("the width of the experts", moe.intermediate, tp)?;
        }
        if pp > model.layers {
            return Err(DeploymentError::Split {
                what: "the layers",
                model: name,
                count: model.layers,
                ways: pp,
            });
        }
        Ok(Self { model, precision, tp, pp, engine: Engine::Vllm })
    }

    /// Rows of the embedding on one rank.
    #[must_use]
    pub fn vocab(&self) -> u32 {
        let padded = match self.tp {
            1 => self.model.vocab,
            _ => self.model.vocab.next_multiple_of(VOCAB_PADDING),
        };
        padded.div_ceil(self.tp)
    }

    /// Key-value heads on one rank: each has at least one.
    #[must_use]
    pub fn kv_heads(&self, attention: &Grouped) -> u32 {
        (attention.kv_heads / self.tp).max(1)
    }

    /// The calls of one step in which matrix products run on `rows` rows (at least the step's tokens; more where an
    /// engine pads them to a captured graph) and each sequence's last token goes through the head.
    pub fn calls(&self, step: &StepShape, rows: u32) -> Result<Vec<Call>, DeploymentError> {
        let mut calls = self.row_calls(step.tokens(), rows, self.head_rows(step))?;
        calls.extend(self.attention_calls(step)?);
        Ok(calls)
    }

    /// Rows that go through the output head: vLLM's is asked for every sequence, the built-in one for those that get a
    /// token.
    #[must_use]
    pub fn head_rows(&self, step: &StepShape) -> u32 {
        match self.engine {
            Engine::Vllm | Engine::Static => step.decode_seqs + step.chunks.len() as u32,
            Engine::BuiltIn => step.sampled,
        }
    }

    /// The calls that depend on how many tokens and [head rows](Self::head_rows) a step has, but not on what they look
    /// back at.
    pub fn row_calls(&self, tokens: u32, rows: u32, sequences: u32) -> Result<Vec<Call>, DeploymentError> {
        if self.engine == Engine::BuiltIn {
            return built_in::row_calls(self, tokens, sequences);
        }
        let mut calls = self.listing(rows.max(tokens))?;
        calls.around(sequences);
        calls.around_attention(tokens);
        if let Some(dense) = self.model.dense {
            calls.dense(dense.layers, dense);
        }
        if let Some(moe) = self.model.moe {
            calls.moe(moe);
        }
        Ok(calls.list)
    }

    /// The attention kernels of a step.
    pub fn attention_calls(&self, step: &StepShape) -> Result<Vec<Call>, DeploymentError> {
        let mut calls = self.listing(step.tokens())?;
        calls.attention(step);
        Ok(calls.list)
    }

    fn listing(&self, rows: u32) -> Result<Calls<'_>, DeploymentError> {
        match &self.model.attention {
            Attention::Grouped(attention) => {
                Ok(Calls { deployment: self, attention, rows, list: Vec::new() })
            }
            Attention::Latent(_) => Err(DeploymentError::Unknown {
                model: self.model.name.clone(),
                what: "multi-head latent attention",
            }),
        }
    }
}

/// The calls of a step while they are listed.
struct Calls<'a> {
    deployment: &'a Deployment,
    attention: &'a Grouped,
    rows: u32,
    list: Vec<Call>,
}

impl Calls<'_> {
    fn op(&mut self, part: Part, kind: OpKind, shape: Shape, dtypes: Dtypes, count: u32) {
        if count > 0 {
            let op = Op { kind, shape, dtypes };
            self.list.push(Call { part, what: What::Op(op), count, extra_bytes: 0.0 });
        }
    }

    fn copy(&mut self, part: Part, bytes: f64, count: u32) {
        self.list.push(Call { part, what: What::Copy { bytes }, count, extra_bytes: 0.0 });
    }

    /// A product with a big matrix.
    fn product(&mut self, part: Part, n: u32, k: u32, count: u32) {
        let precision = self.deployment.precision;
        let shape = Shape::Matrix { m: self.rows, n, k };
        self.op(part, OpKind::Linear, shape, precision.product(), count);
        if let Some(call) = self.list.last_mut() {
            call.extra_bytes = precision.scale_bytes(n.into(), k.into()) as f64;
        }
    }

    fn plain(&self) -> Dtypes {
        self.deployment.precision.unquantised()
    }

    fn norms(&mut self, kind: OpKind, rows: u32, cols: u32, count: u32) {
        let dtypes = self.plain();
        self.op(Part::Norm, kind, Shape::Rows { rows, cols }, dtypes, count);
    }

    /// A sum over ranks of a hidden state.
    fn all_reduce(&mut self, count: u32) {
        let (ranks, dtypes) = (self.deployment.tp, self.plain());
        if ranks > 1 {
            // A message of more elements than a row of a table counts is several.
            let elements = u64::from(self.rows) * u64::from(self.deployment.model.hidden);
            let pieces = elements.div_ceil(u32::MAX.into()).max(1);
            let message = Shape::Message { elements: (elements / pieces) as u32, ranks };
            self.op(Part::AllReduce, OpKind::AllReduce, message, dtypes, count * pieces as u32);
        }
    }

    /// What comes once a step, and the norms.
    fn around(&mut self, sampled: u32) {
        let (model, vocab, rows) = (&self.deployment.model, self.deployment.vocab(), self.rows);
        let (hidden, layers, plain) = (model.hidden, model.layers, self.plain());
        self.op(
            Part::Embedding,
            OpKind::Embedding,
            Shape::Lookup { tokens: rows, vocab, hidden },
            plain,
            u32::from(vocab > 0),
        );
        self.all_reduce(u32::from(vocab > 0));
        // The first norm has no residual before it; one more follows the last layer.
        self.norms(OpKind::RmsNorm, rows, hidden, 1);
        self.norms(OpKind::AddRmsNorm, rows, hidden, 2 * layers);
        if model.norms == Norms::BeforeAndAfter {
            self.norms(OpKind::RmsNorm, rows, hidden, 2 * layers);
        }
        if sampled > 0 && vocab > 0 {
            let head = Shape::Matrix { m: sampled, n: vocab, k: hidden };
            self.op(Part::Head, OpKind::Linear, head, plain, 1);
            // Logits are widened to 32 bits before the choice.
            let logits = f64::from(sampled) * f64::from(model.vocab);
            self.copy(Part::Sampler, logits * (plain.output.bytes() + 4.0), 1);
            let shape = Shape::Rows { rows: sampled, cols: model.vocab };
            self.op(Part::Sampler, OpKind::Argmax, shape, Dtypes::all(Dtype::F32), 1);
        }
    }

    /// Products and small kernels before and after attention.
    fn around_attention(&mut self, tokens: u32) {
        let (deployment, a) = (self.deployment, self.attention);
        let (hidden, layers, rows) = (deployment.model.hidden, deployment.model.layers, self.rows);
        let (heads, kv_heads, head_dim) = (a.heads / deployment.tp, deployment.kv_heads(a), a.head_dim);
        self.product(Part::Qkv, (heads + 2 * kv_heads) * head_dim, hidden, layers);
        if a.qk_norm {
            self.norms(OpKind::RmsNorm, rows.saturating_mul(heads), head_dim, layers);
            self.norms(OpKind::RmsNorm, rows.saturating_mul(kv_heads), head_dim, layers);
        }
        let plain = self.plain();
        self.op(
            Part::Rope,
            OpKind::Rope,
            Shape::Heads { tokens: rows, heads, kv_heads, head_dim },
            plain,
            layers,
        );
        let kv = f64::from(tokens) * 2.0 * f64::from(kv_heads * head_dim);
        self.copy(Part::CacheWrite, kv * (plain.input.bytes() + deployment.precision.kv.bytes()), layers);
        self.product(Part::AttentionOutput, hidden, heads * head_dim, layers);
        self.all_reduce(layers);
    }

    /// Attention itself.
    fn attention(&mut self, step: &StepShape) {
        let (deployment, a) = (self.deployment, self.attention);
        let (heads, kv_heads, head_dim) = (a.heads / deployment.tp, deployment.kv_heads(a), a.head_dim);
        let (local, window) = a.window.map_or((0, u32::MAX), |w| (w.layers, w.tokens));
        for (count, window) in [(deployment.model.layers - local, u32::MAX), (local, window)] {
            if count == 0 {
                continue;
            }
            for group in groups(step, window) {
                let shape = Shape::Attention {
                    sequences: group.sequences,
                    new_tokens: group.new,
                    cached: group.cached,
                    heads,
                    kv_heads,
                    head_dim,
                    page: 16,
                };
                let kind = if group.new == 1 { OpKind::AttentionDecode } else { OpKind::AttentionPrefill };
                self.op(Part::Attention, kind, shape, deployment.precision.attention(), count);
            }
        }
    }

    fn dense(&mut self, layers: u32, dense: Dense) {
        let (hidden, width) = (self.deployment.model.hidden, dense.intermediate / self.deployment.tp);
        let (rows, plain) = (self.rows, self.plain());
        self.product(Part::GateUp, 2 * width, hidden, layers);
        self.op(Part::Activation, OpKind::SiluMul, Shape::Rows { rows, cols: width }, plain, layers);
        self.product(Part::Down, hidden, width, layers);
        self.all_reduce(layers);
    }

    fn moe(&mut self, moe: Moe) {
        let (hidden, tp, rows, plain) =
            (self.deployment.model.hidden, self.deployment.tp, self.rows, self.plain());
        let router = Shape::Matrix { m: rows, n: moe.experts, k: hidden };
        self.op(Part::Router, OpKind::Linear, router, plain, moe.layers);
        let shape = Shape::Experts {
            tokens: rows,
            experts: moe.experts,
            top_k: moe.top_k,
            hidden,
            intermediate: moe.intermediate / tp,
            skew_percent: 0,
        };
        self.op(Part::Experts, OpKind::MoeExperts, shape, self.deployment.precision.product(), moe.layers);
        match moe.shared {
            Some(width) => {
                self.dense(moe.layers, Dense { layers: moe.layers, intermediate: width, bias: false });
            }
            None => self.all_reduce(moe.layers),
        }
        if moe.shared_gate {
            let gate = Shape::Matrix { m: rows, n: 1, k: hidden };
            self.op(Part::Router, OpKind::Linear, gate, plain, moe.layers);
        }
    }
}

/// Sequences that an attention kernel treats alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Group {
    sequences: u32,
    new: u32,
    cached: u32,
}

/// The step's sequences: decodes with their mean context as one group, chunks of equal shape together. Where a window
/// ends before the context does, the group is one with the same number of token pairs.
fn groups(step: &StepShape, window: u32) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    if step.decode_seqs > 0 {
        // The context counts the new token.
        let mean = (step.decode_context_tokens as f64 / f64::from(step.decode_seqs)).round() as u32;
        groups.push(Group {
            sequences: step.decode_seqs,
            new: 1,
            cached: mean.min(window).saturating_sub(1),
        });
    }
    for chunk in &step.chunks {
        let mut group = Group { sequences: 1, new: chunk.tokens, cached: chunk.past };
        if chunk.tokens.saturating_add(chunk.past) > window {
            if chunk.tokens <= window {
                group.cached = chunk.past.min(window.saturating_sub(chunk.tokens / 2));
            } else {
                // Each of the new tokens sees `window` tokens: w·w pairs for w tokens are w·c + w(w+1)/2 with this c.
                group =
                    Group { sequences: chunk.tokens.div_ceil(window), new: window, cached: (window - 1) / 2 };
            }
        }
        match groups.iter_mut().find(|g| g.new == group.new && g.cached == group.cached && g.new > 1) {
            Some(same) => same.sequences += group.sequences,
            None => groups.push(group),
        }
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::builtin;

    fn deployed(name: &str, precision: &str, tp: u32) -> Deployment {
        Deployment::new(builtin(name).unwrap(), Precision::parse(precision).unwrap(), tp, 1).unwrap()
    }

    fn step(sequences: &[(u32, u32)]) -> StepShape {
        let mut shape = StepShape::default();
        sequences.iter().for_each(|&(new, cached)| shape.add(new, cached, true));
        shape
    }

    fn shapes(calls: &[Call], part: Part) -> Vec<(Shape, u32)> {
        calls
            .iter()
            .filter(|c| c.part == part)
            .filter_map(|c| match c.what {
                What::Op(op) => Some((op.shape, c.count)),
                What::Copy { .. } => None,
            })
            .collect()
    }

    #[test]
    fn llama_runs_the_products_of_an_engine() {
        let calls = deployed("llama-3.1-8b", "bf16", 1).calls(&step(&[(1, 1023), (1, 1023)]), 2).unwrap();
        let product = |part| shapes(&calls, part)[0];
        assert_eq!(product(Part::Qkv), (Shape::Matrix { m: 2, n: 6144, k: 4096 }, 32));
        assert_eq!(product(Part::AttentionOutput), (Shape::Matrix { m: 2, n: 4096, k: 4096 }, 32));
        assert_eq!(product(Part::GateUp), (Shape::Matrix { m: 2, n: 28_672, k: 4096 }, 32));
        assert_eq!(product(Part::Down), (Shape::Matrix { m: 2, n: 4096, k: 14_336 }, 32));
        assert_eq!(product(Part::Head), (Shape::Matrix { m: 2, n: 128_256, k: 4096 }, 1));
        let [(Shape::Attention { sequences, new_tokens, cached, heads, kv_heads, .. }, 32)] =
            shapes(&calls, Part::Attention)[..]
        else {
            panic!("one decode kernel a layer")
        };
        assert_eq!((sequences, new_tokens, cached, heads, kv_heads), (2, 1, 1023, 32, 8));
        assert_eq!(
            shapes(&calls, Part::Norm),
            [(Shape::Rows { rows: 2, cols: 4096 }, 1), (Shape::Rows { rows: 2, cols: 4096 }, 64)]
        );
    }

    #[test]
    fn matrix_work_of_a_step_is_two_operations_a_parameter_and_token() {
        for name in ["llama-3.1-8b", "qwen3-8b", "gemma-2-9b"] {
            let deployment = deployed(name, "bf16", 1);
            let calls = deployment.calls(&step(&[(512, 0)]), 512).unwrap();
            let products = calls
                .iter()
                .filter(|c| matches!(c.part, Part::Qkv | Part::AttentionOutput | Part::GateUp | Part::Down));
            let flop: f64 = products.map(|c| c.work().flop * f64::from(c.count)).sum();
            let expected = 2.0 * 512.0 * deployment.model.parameters().matrices() as f64;
            assert_eq!(flop, expected, "{name}");
        }
    }

    #[test]
    fn ranks_share_the_work_and_sum_twice_a_layer() {
        let calls = deployed("llama-3.1-70b", "bf16", 4).calls(&step(&[(8, 0)]), 8).unwrap();
        assert_eq!(shapes(&calls, Part::Qkv), [(Shape::Matrix { m: 8, n: 2560, k: 8192 }, 80)]);
        assert_eq!(shapes(&calls, Part::Down), [(Shape::Matrix { m: 8, n: 8192, k: 7168 }, 80)]);
        let sums: u32 = shapes(&calls, Part::AllReduce).iter().map(|(_, count)| count).sum();
        assert_eq!(sums, 2 * 80 + 1);
        // Eight key-value heads on sixteen ranks: each rank holds one.
        let wide = deployed("llama-3.1-70b", "bf16", 16).calls(&step(&[(1, 7)]), 1).unwrap();
        assert_eq!(shapes(&wide, Part::Qkv), [(Shape::Matrix { m: 1, n: (4 + 2) * 128, k: 8192 }, 80)]);
        assert!(matches!(
            Deployment::new(builtin("llama-3.1-8b").unwrap(), Precision::plain(Dtype::Bf16), 3, 1),
            Err(DeploymentError::Split { what: "the query heads", .. })
        ));
    }

    #[test]
    fn experts_replace_the_feed_forward_layers() {
        let calls = deployed("qwen3-30b-a3b", "bf16", 1).calls(&step(&[(1, 10)]), 1).unwrap();
        assert!(shapes(&calls, Part::GateUp).is_empty());
        let experts = Shape::Experts {
            tokens: 1,
            experts: 128,
            top_k: 8,
            hidden: 2048,
            intermediate: 768,
            skew_percent: 0,
        };
        assert_eq!(shapes(&calls, Part::Experts), [(experts, 48)]);
        assert_eq!(shapes(&calls, Part::Norm).len(), 4, "two of the residual stream, of queries and of keys");
        let shared = deployed("qwen1.5-moe-a2.7b", "bf16", 1).calls(&step(&[(1, 10)]), 1).unwrap();
        assert_eq!(shapes(&shared, Part::GateUp), [(Shape::Matrix { m: 1, n: 11_264, k: 2048 }, 24)]);
    }

    #[test]
    fn a_window_bounds_what_is_read() {
        let calls = deployed("gemma-2-9b", "bf16", 1).calls(&step(&[(1, 7999)]), 1).unwrap();
        let cached: Vec<_> = shapes(&calls, Part::Attention)
            .into_iter()
            .map(|(shape, count)| match shape {
                Shape::Attention { cached, .. } => (cached, count),
                _ => panic!("attention has its own shape"),
            })
            .collect();
        assert_eq!(cached, [(7999, 21), (4095, 21)]);
        // 10,000 tokens in a window of 4,096: 3 pieces of w tokens with w·w pairs each.
        let long = groups(&step(&[(10_000, 0)]), 4096);
        assert_eq!(long, [Group { sequences: 3, new: 4096, cached: 2047 }]);
    }

    #[test]
    fn quantised_products_read_their_scales() {
        let calls = deployed("llama-3.1-8b", "int4", 1).calls(&step(&[(1, 10)]), 1).unwrap();
        let down = calls.iter().find(|c| c.part == Part::Down).unwrap();
        // Input 2·14336, weights ½·14336·4096, scales 2·112·4096.
        assert_eq!(down.work().read_bytes, 28_672.0 + 29_360_128.0 + 917_504.0);
        assert_eq!(down.compute_dtype(), Dtype::Bf16);
        // The head is not quantised.
        let head = calls.iter().find(|c| c.part == Part::Head).unwrap();
        assert_eq!(head.work().read_bytes, 8192.0 + 2.0 * 128_256.0 * 4096.0);
    }

    #[test]
    fn latent_attention_is_refused() {
        let deployment = deployed("deepseek-v3", "fp8", 8);
        assert!(matches!(deployment.calls(&step(&[(1, 1)]), 1), Err(DeploymentError::Unknown { .. })));
    }
}

//! One step of continuous batching through a Llama-architecture decoder.

use std::sync::Mutex;

use stopwatt_kernel::cpu::{
    Cpu, Rotary, Span, embed, linear, linear_add, paged_attention, rms_norm, rotate, silu_mul, store_kv,
};

use crate::config::{ConfigError, ModelConfig};
use crate::kv::PagedKv;
use crate::weights::{Layer, Weights};

/// A model that can compute.
#[derive(Debug)]
pub struct Model {
    config: ModelConfig,
    weights: Weights,
    cpu: Cpu,
    frequencies: Vec<f32>,
    scratch: Mutex<Scratch>,
}

/// The part of one sequence that a step computes: a piece of its prompt, or its next token.
#[derive(Debug, Clone, Copy)]
pub struct Chunk<'a> {
    /// Tokens to compute.
    pub tokens: &'a [u32],
    /// Tokens of the sequence that are in the cache already.
    pub position: usize,
    /// Cache blocks of the sequence, in order. They must cover `position + tokens.len()` tokens.
    pub blocks: &'a [u32],
    /// Whether the logits after the last token are wanted.
    pub logits: bool,
}

/// Why a step cannot be computed. Nothing was computed and the cache is as it was.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ForwardError {
    /// A chunk without tokens.
    #[error("chunk {chunk} of the step has no tokens")]
    Empty {
        /// Index of the chunk.
        chunk: usize,
    },
    /// A token that the model does not have.
    #[error("token {token} is not in the vocabulary of {vocab} tokens")]
    Token {
        /// The token.
        token: u32,
        /// Size of the vocabulary.
        vocab: usize,
    },
    /// The sequence is longer than the model's context.
    #[error("a sequence of {tokens} tokens is longer than the model's context of {max}")]
    Context {
        /// Tokens of the sequence after this step.
        tokens: usize,
        /// The model's context.
        max: usize,
    },
    /// The block table does not cover the sequence, or names blocks that do not exist.
    #[error("the block table of chunk {chunk} does not cover its {tokens} tokens with blocks of the cache")]
    Blocks {
        /// Index of the chunk.
        chunk: usize,
        /// Tokens of the sequence after this step.
        tokens: usize,
    },
    /// The cache was made for a model of another shape.
    #[error("the cache was made for a model of another shape")]
    Cache,
}

/// Looks into a step while it is computed.
pub trait Tap: Send {
    /// Query, key and value of every row of a layer, turned by their positions: `query_width() + 2 × kv_width()` numbers
    /// a row.
    fn projected(&mut self, _layer: usize, _qkv: &[f32]) {}

    /// What the neurons of a layer pass on to the down projection, `ffn` numbers a row. What is changed here is what the
    /// model computes with. In the last layer only rows whose logits are wanted are there.
    fn activated(&mut self, _layer: usize, _rows: &mut [f32]) {}
}

/// Activations of a step, kept so that steps do not allocate.
#[derive(Debug, Default)]
struct Scratch {
    tokens: Vec<u32>,
    positions: Vec<usize>,
    rotary: Rotary,
    residual: Vec<f32>,
    normed: Vec<f32>,
    qkv: Vec<f32>,
    attended: Vec<f32>,
    gate_up: Vec<f32>,
    activated: Vec<f32>,
}

impl Model {
    /// A model of checked shape.
    ///
    /// # Panics
    ///
    /// When the weights do not have the shape of `config`.
    pub fn new(config: ModelConfig, weights: Weights, cpu: Cpu) -> Result<Self, ConfigError> {
        config.validate()?;
        let shape = |m: &stopwatt_kernel::cpu::Matrix| (m.rows(), m.cols());
        let c = &config;
        assert_eq!(shape(&weights.embedding), (c.vocab, c.hidden), "embedding");
        assert!(weights.head.as_ref().is_none_or(|m| shape(m) == (c.vocab, c.hidden)), "head");
        assert_eq!((weights.layers.len(), weights.norm.len()), (c.layers, c.hidden), "layers");
        for layer in &weights.layers {
            assert_eq!(shape(&layer.qkv), (c.query_width() + 2 * c.kv_width(), c.hidden), "qkv");
            assert_eq!(shape(&layer.attention_out), (c.hidden, c.query_width()), "attention_out");
            assert_eq!(shape(&layer.gate_up), (2 * c.ffn, c.hidden), "gate_up");
            assert_eq!(shape(&layer.down), (c.hidden, c.ffn), "down");
            assert_eq!((layer.attention_norm.len(), layer.ffn_norm.len()), (c.hidden, c.hidden), "norms");
        }
        let frequencies = config.rope_frequencies();
        Ok(Self { config, weights, cpu, frequencies, scratch: Mutex::default() })
    }

    /// The same model, computed with another processor.
    pub fn with_cpu(self, cpu: Cpu) -> Self {
        Self { cpu, ..self }
    }

    /// What it is made of, to be changed.
    pub fn into_parts(self) -> (ModelConfig, Weights, Cpu) {
        (self.config, self.weights, self.cpu)
    }

    /// Its shape.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// Its weights.
    pub fn weights(&self) -> &Weights {
        &self.weights
    }

    /// What it computes with.
    pub fn cpu(&self) -> &Cpu {
        &self.cpu
    }

    /// Computes one step: writes keys and values of every token of `batch` to the cache, and the logits that are
    /// wanted to `logits`, one row of `config().vocab` numbers for each chunk that wants them, in order.
    ///
    /// No two chunks of a step may write to the same block. Steps of one model run one after another.
    pub fn forward(
        &self,
        kv: &mut PagedKv,
        batch: &[Chunk<'_>],
        logits: &mut Vec<f32>,
    ) -> Result<(), ForwardError> {
        self.compute(kv, batch, logits, None)
    }

    /// The same, looked into.
    pub fn forward_tapped(
        &self,
        kv: &mut PagedKv,
        batch: &[Chunk<'_>],
        logits: &mut Vec<f32>,
        tap: &mut dyn Tap,
    ) -> Result<(), ForwardError> {
        self.compute(kv, batch, logits, Some(tap))
    }

    fn compute(
        &self,
        kv: &mut PagedKv,
        batch: &[Chunk<'_>],
        logits: &mut Vec<f32>,
        tap: Option<&mut dyn Tap>,
    ) -> Result<(), ForwardError> {
        self.check(kv, batch)?;
        logits.clear();
        if batch.is_empty() {
            return Ok(());
        }
        // A poisoned lock means a panic in an earlier step; its scratch holds no state that matters.
        let mut guard = self.scratch.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let scratch = &mut *guard;
        self.cpu.install(|| self.step(scratch, kv, batch, logits, tap));
        Ok(())
    }

    fn check(&self, kv: &PagedKv, batch: &[Chunk<'_>]) -> Result<(), ForwardError> {
        let c = &self.config;
        if kv.shape() != c.kv_shape(kv.block_size()) || kv.layers() != c.layers {
            return Err(ForwardError::Cache);
        }
        for (index, chunk) in batch.iter().enumerate() {
            if chunk.tokens.is_empty() {
                return Err(ForwardError::Empty { chunk: index });
            }
            if let Some(&token) = chunk.tokens.iter().find(|&&t| t as usize >= c.vocab) {
                return Err(ForwardError::Token { token, vocab: c.vocab });
            }
            let tokens = chunk.position.saturating_add(chunk.tokens.len());
            if tokens > c.max_position {
                return Err(ForwardError::Context { tokens, max: c.max_position });
            }
            let needed = chunk.blocks.get(..tokens.div_ceil(kv.block_size()));
            if needed.is_none_or(|blocks| blocks.iter().any(|&b| b as usize >= kv.blocks())) {
                return Err(ForwardError::Blocks { chunk: index, tokens });
            }
        }
        Ok(())
    }

    fn step(
        &self,
        s: &mut Scratch,
        kv: &mut PagedKv,
        batch: &[Chunk<'_>],
        logits: &mut Vec<f32>,
        mut tap: Option<&mut dyn Tap>,
    ) {
        let c = &self.config;
        let mut spans = Vec::with_capacity(batch.len());
        let mut wanted = Vec::new();
        s.tokens.clear();
        s.positions.clear();
        for chunk in batch {
            let (first_row, rows) = (s.tokens.len(), chunk.tokens.len());
            spans.push(Span { first_row, rows, position: chunk.position, blocks: chunk.blocks });
            s.tokens.extend_from_slice(chunk.tokens);
            s.positions.extend(chunk.position..chunk.position + rows);
            if chunk.logits {
                wanted.push(first_row + rows - 1);
            }
        }
        s.rotary.fill(&s.positions, &self.frequencies);
        s.residual.resize(s.tokens.len() * c.hidden, 0.0);
        embed(&self.weights.embedding, &s.tokens, &mut s.residual);
        for (index, layer) in self.weights.layers.iter().enumerate() {
            self.project(s, layer, index, &mut tap);
            self.attend(s, kv, index, &spans);
            if index + 1 == c.layers {
                // After the last attention only the rows whose logits are wanted matter.
                keep_rows(&mut s.residual, &wanted, c.hidden);
                keep_rows(&mut s.attended, &wanted, c.query_width());
            }
            linear_add(&self.cpu, &s.attended, &layer.attention_out, &mut s.residual);
            self.feed_forward(s, layer, index, &mut tap);
        }
        self.norm(&s.residual, &self.weights.norm, &mut s.normed);
        let head = self.weights.head.as_ref().unwrap_or(&self.weights.embedding);
        logits.resize(wanted.len() * c.vocab, 0.0);
        linear(&self.cpu, &s.normed, head, logits);
    }

    fn project(&self, s: &mut Scratch, layer: &Layer, index: usize, tap: &mut Option<&mut dyn Tap>) {
        let c = &self.config;
        let rows = s.residual.len() / c.hidden;
        let stride = c.query_width() + 2 * c.kv_width();
        self.norm(&s.residual, &layer.attention_norm, &mut s.normed);
        s.qkv.resize(rows * stride, 0.0);
        linear(&self.cpu, &s.normed, &layer.qkv, &mut s.qkv);
        rotate(&self.cpu, &s.rotary, &mut s.qkv, stride, c.heads + c.kv_heads);
        if let Some(tap) = tap {
            tap.projected(index, &s.qkv);
        }
    }

    fn attend(&self, s: &mut Scratch, kv: &mut PagedKv, index: usize, spans: &[Span<'_>]) {
        let c = &self.config;
        let rows = s.residual.len() / c.hidden;
        let (query, key) = (c.query_width(), c.kv_width());
        let stride = query + 2 * key;
        store_kv(kv.layer_mut(index), &s.qkv[query..], &s.qkv[query + key..], stride, spans);
        s.attended.resize(rows * query, 0.0);
        let scale = (c.head_dim as f32).sqrt().recip();
        paged_attention(&self.cpu, &s.qkv, stride, c.heads, kv.layer(index), spans, scale, &mut s.attended);
    }

    fn feed_forward(&self, s: &mut Scratch, layer: &Layer, index: usize, tap: &mut Option<&mut dyn Tap>) {
        let c = &self.config;
        let rows = s.residual.len() / c.hidden;
        self.norm(&s.residual, &layer.ffn_norm, &mut s.normed);
        s.gate_up.resize(rows * 2 * c.ffn, 0.0);
        linear(&self.cpu, &s.normed, &layer.gate_up, &mut s.gate_up);
        s.activated.resize(rows * c.ffn, 0.0);
        silu_mul(&self.cpu, &s.gate_up, c.ffn, &mut s.activated);
        if let Some(tap) = tap {
            tap.activated(index, &mut s.activated);
        }
        linear_add(&self.cpu, &s.activated, &layer.down, &mut s.residual);
    }

    fn norm(&self, x: &[f32], weight: &[f32], y: &mut Vec<f32>) {
        y.resize(x.len(), 0.0);
        rms_norm(&self.cpu, x, weight, self.config.norm_eps, y);
    }
}

/// Moves the wanted rows, which ascend, to the front and drops the others.
fn keep_rows(x: &mut Vec<f32>, wanted: &[usize], width: usize) {
    for (to, &from) in wanted.iter().enumerate() {
        x.copy_within(from * width..(from + 1) * width, to * width);
    }
    x.truncate(wanted.len() * width);
}

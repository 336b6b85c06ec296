//! What is laid out: a layer of a model, and how much each of its units matters in each step.

use std::path::Path;

use stopwatt_layout::matrix::Dense;
use stopwatt_layout::selection::Importances;
use stopwatt_model::{Chunk, LoadOptions, Loaded, Model, PagedKv, Preset, Source, Tap, load};

use super::config::{CarrierKind, LayoutConfig};

/// Tokens of a chunk while accesses are recorded.
const CHUNK: usize = 128;
/// Longest text that is read.
const MOST_TEXT: u64 = 64 << 20;

/// A layer with the accesses to it.
pub(super) struct Material {
    /// What it is called.
    pub(super) name: String,
    pub(super) layer: usize,
    /// How much each unit matters in each step.
    pub(super) importances: Importances,
    /// What the kernel is given in each step: what the neurons pass on, or a query.
    pub(super) inputs: Dense,
    pub(super) operand: Operand,
}

/// What the kernel reads.
pub(super) enum Operand {
    /// A column a unit.
    Columns(Dense),
    /// Keys and values, a row a unit, and the scale of the scores.
    Tokens { keys: Dense, values: Dense, scale: f32 },
}

/// Loads the model that the settings name.
pub(super) fn model(config: &LayoutConfig, seed: u64) -> Result<Loaded, String> {
    let source = match &config.model {
        Some(path) => Source::from_path(path),
        None => {
            let preset = Preset::from_name(&config.preset);
            let preset = preset.ok_or_else(|| format!("there is no random model `{}`", config.preset))?;
            Source::Random { preset, seed }
        }
    };
    load(&source, &LoadOptions { precision: None, threads: config.threads }).map_err(|e| told(&e))
}

/// The layer whose accesses are looked at.
pub(super) fn layer(config: &LayoutConfig, model: &Model) -> Result<usize, String> {
    let layers = model.config().layers;
    let layer = config.layer.unwrap_or(layers / 2);
    match layer < layers {
        true => Ok(layer),
        false => Err(format!("the model has {layers} layers, from 0; there is no layer {layer}")),
    }
}

/// The first `n` tokens of a text, or drawn ones.
pub(super) fn tokens(loaded: &Loaded, text: Option<&Path>, n: usize, seed: u64) -> Result<Vec<u32>, String> {
    let vocab = loaded.model.config().vocab as u64;
    let Some(path) = text else {
        // A step of splitmix64 a token.
        let draw = |i: u64| {
            let mut z = seed.wrapping_add(i.wrapping_mul(0x9e37_79b9_7f4a_7c15));
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            ((z ^ (z >> 31)) % vocab) as u32
        };
        return Ok((1..=n as u64).map(draw).collect());
    };
    let size = std::fs::metadata(path).map_err(|e| format!("the text cannot be read: {e}"))?.len();
    if size > MOST_TEXT {
        return Err(format!("the text has {size} bytes; at most {MOST_TEXT} are read"));
    }
    let text = std::fs::read_to_string(path).map_err(|e| format!("the text cannot be read: {e}"))?;
    let mut tokens = loaded.tokenizer.encode(&text).map_err(|e| told(&e))?;
    if tokens.len() < n {
        return Err(format!("the text has {} tokens, {n} are needed", tokens.len()));
    }
    tokens.truncate(n);
    Ok(tokens)
}

/// Everything about a layer: reads `steps` tokens through the model.
pub(super) fn material(config: &LayoutConfig, seed: u64) -> Result<Material, String> {
    let loaded = model(config, seed)?;
    let layer = layer(config, &loaded.model)?;
    let (model, name) = (&loaded.model, loaded.name.clone());
    // In the last layer only rows whose logits are wanted are computed: ask for all, a token a chunk.
    let cut = if layer + 1 == model.config().layers { 1 } else { CHUNK };
    let before = if config.carrier == CarrierKind::KvTokens { config.context } else { 0 };
    let tokens = tokens(&loaded, config.text.as_deref(), before + config.steps, seed)?;
    let mut seen = Recorder { layer, carrier: config.carrier, rows: Vec::new() };
    run(model, &tokens, cut, &mut seen)?;
    let c = model.config();
    match config.carrier {
        CarrierKind::FfnNeurons | CarrierKind::Dense => {
            let down = &model.weights().layers[layer].down;
            let data = (0..down.rows()).flat_map(|r| down.row(r)).collect();
            let down = Dense::new(down.rows(), down.cols(), data);
            let norms = down.column_norms();
            let weigh = |(i, a): (usize, &f32)| a.abs() * norms[i % c.ffn] as f32;
            let importances = seen.rows.iter().enumerate().map(weigh).collect();
            Ok(Material {
                name,
                layer,
                importances: Importances::new(c.ffn, importances).map_err(|e| told(&e))?,
                inputs: Dense::new(tokens.len(), c.ffn, seen.rows),
                operand: Operand::Columns(down),
            })
        }
        CarrierKind::KvTokens => {
            // The first head of keys, and the first of the queries that read it.
            let stride = c.query_width() + 2 * c.kv_width();
            let part = |row: usize, from: usize| &seen.rows[row * stride + from..][..c.head_dim];
            let rows = |begin: usize, end: usize, from: usize| {
                let data = (begin..end).flat_map(|row| part(row, from)).copied().collect();
                Dense::new(end - begin, c.head_dim, data)
            };
            let keys = rows(0, before, c.query_width());
            let values = rows(0, before, c.query_width() + c.kv_width());
            let inputs = rows(before, tokens.len(), 0);
            let scale = (c.head_dim as f32).sqrt().recip();
            let head = stopwatt_layout::carrier::Attention { keys, values };
            let importances = (0..inputs.rows).flat_map(|t| head.weights(inputs.row(t), scale)).collect();
            let stopwatt_layout::carrier::Attention { keys, values } = head;
            Ok(Material {
                name,
                layer,
                importances: Importances::new(before, importances).map_err(|e| told(&e))?,
                inputs,
                operand: Operand::Tokens { keys, values, scale },
            })
        }
    }
}

/// Reads tokens through a model in chunks of `cut` tokens.
fn run(model: &Model, tokens: &[u32], cut: usize, tap: &mut dyn Tap) -> Result<(), String> {
    let block = 16;
    let blocks: Vec<u32> = (0..tokens.len().div_ceil(block) as u32).collect();
    let mut kv = PagedKv::new(model.config(), blocks.len(), block).map_err(|e| told(&e))?;
    let mut logits = Vec::new();
    let mut position = 0;
    for tokens in tokens.chunks(cut) {
        let chunk = Chunk { tokens, position, blocks: &blocks, logits: cut == 1 };
        model.forward_tapped(&mut kv, &[chunk], &mut logits, tap).map_err(|e| told(&e))?;
        position += tokens.len();
    }
    Ok(())
}

/// Keeps what one layer is given.
struct Recorder {
    layer: usize,
    carrier: CarrierKind,
    rows: Vec<f32>,
}

impl Tap for Recorder {
    fn projected(&mut self, layer: usize, qkv: &[f32]) {
        if layer == self.layer && self.carrier == CarrierKind::KvTokens {
            self.rows.extend_from_slice(qkv);
        }
    }

    fn activated(&mut self, layer: usize, rows: &mut [f32]) {
        if layer == self.layer && self.carrier != CarrierKind::KvTokens {
            self.rows.extend_from_slice(rows);
        }
    }
}

/// An error with its causes.
pub(super) fn told(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}

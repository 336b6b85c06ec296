//! What a layout's transform costs in quality: the perplexity of a text, chunk by chunk, against the model as it is.
//!
//! The transform is that of the measured layer and arm; all other layers are as they were. A chunk is an item: chunks are
//! paired between runs, and each holds the perplexity of the untransformed model and the divergence of the logits
//! (Kullback–Leibler, in nats a token) beside its own.

use sha2::{Digest as _, Sha256};
use stopwatt_core::metric::Direction;
use stopwatt_core::quality::{Quality, QualityItem, QualityMethod, QualityScale};
use stopwatt_kernel::cpu::Matrix;
use stopwatt_layout::Permutation;
use stopwatt_load::Stop;
use stopwatt_model::{Model, Tap};

use super::super::config::SopConfig;
use super::arms::{Problem, quantised};
use super::config::CarrierKind;
use super::material::{self, Operand, told};
use super::solved::Solved;
use crate::logits::{log_softmax, logits};

/// Tokens of a chunk.
const CHUNK: usize = 128;
/// Chunks that are taken where the settings do not say how many.
const CHUNKS: u64 = 40;

/// Perplexity of every chunk of the text under the transform of the settings' arm.
pub(in crate::sop) fn perplexity(config: &SopConfig, stop: &Stop) -> Result<Quality, String> {
    let layout = config.target.layout.as_deref().cloned().unwrap_or_default();
    if layout.carrier == CarrierKind::KvTokens {
        return Err(
            "the model cannot be run with a compressed cache: what dropping tokens does to the output of \
                    attention is the `output_error` of the fingerprint"
                .to_owned(),
        );
    }
    let text = config.quality.text.as_deref().ok_or("there is no text to judge by")?;
    let solved = Solved::of(config)?;
    let loaded = material::model(&layout, config.seed)?;
    let chunks = config.quality.max_samples.unwrap_or(CHUNKS) as usize;
    let tokens = material::tokens(&loaded, Some(text), chunks * CHUNK, config.seed)?;
    let exact = loaded.model;
    let items = solved.with_problem(config, |problem| {
        let (pi, layer) = (solved.permutation(), solved.material.layer);
        // Rounding takes the weights, so that it needs a model of its own.
        let changed = match &problem.transform.quant {
            Some(_) => {
                let again = material::model(&layout, config.seed)?.model;
                Some(rounded(again, problem, pi, layer, &solved.material.operand)?)
            }
            None => None,
        };
        let norms = match &solved.material.operand {
            Operand::Columns(down) => down.column_norms(),
            Operand::Tokens { .. } => Vec::new(),
        };
        let mut tap = Select { problem, pi, layer, norms };
        let vocab = exact.config().vocab;
        let item = |(index, tokens): (usize, &[u32])| {
            if stop.is_interrupted() {
                return Err("interrupted by a signal".to_owned());
            }
            let before = logits(&exact, tokens, None)?;
            let after = logits(changed.as_ref().unwrap_or(&exact), tokens, Some(&mut tap))?;
            let (reference, _) = judged(tokens, &before, &before, vocab);
            let (score, kl) = judged(tokens, &after, &before, vocab);
            let mut key = format!("{:x}", Sha256::digest(format!("chunk {index}")));
            key.truncate(16);
            let (score, reference, kl_nats) = (Some(score), Some(reference), Some(kl));
            Ok(QualityItem { key, score, reference, kl_nats, ..QualityItem::default() })
        };
        tokens.chunks_exact(CHUNK).enumerate().map(item).collect()
    })?;
    Ok(Quality {
        method: QualityMethod::Perplexity,
        better: Direction::Lower,
        scale: QualityScale::Relative,
        items,
    })
}

/// Perplexity of the tokens after the first, and the mean divergence of `logits` from `exact`.
fn judged(tokens: &[u32], logits: &[f32], exact: &[f32], vocab: usize) -> (f64, f64) {
    let rows = || logits.chunks_exact(vocab).zip(exact.chunks_exact(vocab));
    let (mut loss, mut divergence) = (0.0, 0.0);
    for ((row, exact), next) in rows().zip(&tokens[1..]) {
        let (log, log_exact) = (log_softmax(row), log_softmax(exact));
        loss -= log[*next as usize];
        divergence += log_exact.iter().zip(&log).map(|(p, q)| p.exp() * (p - q)).sum::<f64>();
    }
    let n = (tokens.len() - 1) as f64;
    // Rounding may bring a divergence of nothing below 0.
    ((loss / n).exp(), (divergence / n).max(0.0))
}

/// The model with the layer's weights rounded as they lie.
fn rounded(
    model: Model,
    problem: &Problem<'_>,
    pi: &Permutation,
    layer: usize,
    operand: &Operand,
) -> Result<Model, String> {
    let (Some(quant), Operand::Columns(down)) = (&problem.transform.quant, operand) else { return Ok(model) };
    let rounded = quantised(down, pi, quant)?.0;
    let (config, mut weights, cpu) = model.into_parts();
    let precision = weights.layers[layer].down.precision();
    weights.layers[layer].down =
        Matrix::from_f32(rounded.rows, rounded.cols, precision, &rounded.data).map_err(|e| told(&e))?;
    Model::new(config, weights, cpu).map_err(|e| told(&e))
}

/// Leaves out what the transform leaves out.
struct Select<'a> {
    problem: &'a Problem<'a>,
    pi: &'a Permutation,
    layer: usize,
    norms: Vec<f64>,
}

impl Tap for Select<'_> {
    fn activated(&mut self, layer: usize, rows: &mut [f32]) {
        if layer != self.layer {
            return;
        }
        for row in rows.chunks_exact_mut(self.pi.len()) {
            let weights: Vec<f32> = row.iter().zip(&self.norms).map(|(a, n)| a.abs() * *n as f32).collect();
            let units = self.problem.selected(&weights, self.pi, None);
            let mut kept = vec![0.0; row.len()];
            units.iter().for_each(|&u| kept[u as usize] = row[u as usize]);
            row.copy_from_slice(&kept);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_perplexity_and_divergence() {
        // Two tokens of equal logits: perplexity 2. Against (ln 3, 0) the divergence is ¾ ln(¾/½) + ¼ ln(¼/½).
        let equal = [0.0, 0.0, 0.0, 0.0];
        let exact = [3f32.ln(), 0.0, 3f32.ln(), 0.0];
        let (score, kl) = judged(&[0, 1], &equal, &exact, 2);
        assert!((score - 2.0).abs() < 1e-9);
        assert!((kl - (0.75 * 1.5f64.ln() + 0.25 * 0.5f64.ln())).abs() < 1e-6, "{kl}");
        assert_eq!(judged(&[0, 1], &equal, &equal, 2).1, 0.0);
    }
}

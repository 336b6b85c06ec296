//! What a model says after every token of a text, for perplexity.

use stopwatt_model::{Chunk, Model, PagedKv, Tap};

/// Logits after each of `tokens`, which begin anew: a row of the vocabulary's size for each.
///
/// # Errors
/// The model cannot compute them.
pub(crate) fn logits(model: &Model, tokens: &[u32], tap: Option<&mut dyn Tap>) -> Result<Vec<f32>, String> {
    // A block a token, so that every token may be a chunk of its own and tell its logits.
    let blocks: Vec<u32> = (0..tokens.len() as u32).collect();
    let mut kv = PagedKv::new(model.config(), tokens.len(), 1).map_err(|e| e.to_string())?;
    let chunk = |(position, token)| Chunk {
        tokens: std::slice::from_ref(token),
        position,
        blocks: &blocks[..=position],
        logits: true,
    };
    let batch: Vec<Chunk<'_>> = tokens.iter().enumerate().map(chunk).collect();
    let mut logits = Vec::new();
    match tap {
        Some(tap) => model.forward_tapped(&mut kv, &batch, &mut logits, tap),
        None => model.forward(&mut kv, &batch, &mut logits),
    }
    .map_err(|e| e.to_string())?;
    Ok(logits)
}

/// Logarithms of the probabilities of a row of logits.
pub(crate) fn log_softmax(row: &[f32]) -> Vec<f64> {
    let most = f64::from(row.iter().copied().fold(f32::NEG_INFINITY, f32::max));
    let sum: f64 = row.iter().map(|v| (f64::from(*v) - most).exp()).sum();
    row.iter().map(|v| f64::from(*v) - most - sum.ln()).collect()
}

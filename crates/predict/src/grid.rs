//! Which operators to measure so that the steps of a model can be predicted.
//!
//! Rows of matrix products step through the sizes at which an engine captures graphs, the lengths of prompt pieces, and
//! the edges of tiles with one row less and one more, since that is where times jump.

use std::collections::BTreeSet;

use stopwatt_core::kernel_table::{Op, OpKind};
use stopwatt_serving::step::StepShape;

use crate::operators::{Deployment, DeploymentError, What};

/// How far a grid reaches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GridSettings {
    /// Most sequences of a step.
    pub max_batch: u32,
    /// Most tokens of a step.
    pub max_tokens: u32,
    /// Longest context of decode attention, in tokens.
    pub max_context: u32,
}

impl Default for GridSettings {
    fn default() -> Self {
        Self { max_batch: 512, max_tokens: 8192, max_context: 16_384 }
    }
}

/// Sides of tiles that libraries use.
const TILES: [u32; 3] = [64, 128, 256];
/// Rows up to which the edges of tiles matter; beyond, there are many waves.
const LAST_EDGE: u32 = 2048;

/// The operators, each once, in a fixed order.
pub fn model_grid(deployment: &Deployment, settings: &GridSettings) -> Result<Vec<Op>, DeploymentError> {
    let mut ops = BTreeSet::new();
    let mut add = |step: &StepShape, keep: fn(OpKind) -> bool| -> Result<(), DeploymentError> {
        let calls = deployment.calls(step, step.tokens())?;
        ops.extend(calls.into_iter().filter_map(|call| match call.what {
            What::Op(op) if keep(op.kind) => Some(op),
            _ => None,
        }));
        Ok(())
    };
    // Products need the edges; what only moves bytes is smooth.
    for rows in with_edges(settings) {
        add(&chunk(rows, 0), |kind| kind == OpKind::Linear)?;
    }
    for rows in rows(settings) {
        add(&chunk(rows, 0), |kind| {
            !matches!(
                kind,
                OpKind::Linear | OpKind::AttentionPrefill | OpKind::AttentionDecode | OpKind::Argmax
            )
        })?;
    }
    for batch in doubling(1, settings.max_batch) {
        // The head and the sampler see one row a sequence.
        add(&decode(batch, 1), |kind| matches!(kind, OpKind::Linear | OpKind::Argmax))?;
        for context in doubling(128, settings.max_context) {
            add(&decode(batch, context), |kind| kind == OpKind::AttentionDecode)?;
        }
    }
    for tokens in doubling(16, settings.max_tokens) {
        add(&chunk(tokens, 0), |kind| kind == OpKind::AttentionPrefill)?;
        for past in doubling(1024, settings.max_context) {
            add(&chunk(tokens, past), |kind| kind == OpKind::AttentionPrefill)?;
        }
    }
    Ok(ops.into_iter().collect())
}

/// Sizes at which vLLM captures graphs: 1, 2, 4, multiples of 8 below 256, multiples of 16 from there to `most`.
#[must_use]
pub fn capture_sizes(most: u32) -> Vec<u32> {
    let sizes = [1, 2, 4].into_iter().chain((8..256).step_by(8)).chain((256..=most.max(256)).step_by(16));
    sizes.filter(|&size| size <= most).collect()
}

fn rows(settings: &GridSettings) -> BTreeSet<u32> {
    let coarse = capture_sizes(settings.max_batch).into_iter().filter(|&size| size <= 64 || size % 64 == 0);
    coarse.chain(doubling(1, settings.max_tokens)).collect()
}

fn with_edges(settings: &GridSettings) -> BTreeSet<u32> {
    let mut all = rows(settings);
    for tile in TILES {
        let mut edge = tile;
        while edge <= LAST_EDGE.min(settings.max_tokens) {
            all.extend([edge - 1, edge, edge + 1]);
            edge *= 2;
        }
    }
    // Between doublings, so that no gap is wider than a third.
    all.extend(doubling(1, settings.max_tokens).into_iter().map(|n| n + n / 2));
    all.retain(|&n| n <= settings.max_tokens.max(settings.max_batch));
    all
}

fn doubling(from: u32, to: u32) -> Vec<u32> {
    std::iter::successors(Some(from), |n| n.checked_mul(2)).take_while(|&n| n <= to).collect()
}

fn chunk(tokens: u32, past: u32) -> StepShape {
    let mut step = StepShape::default();
    step.add(tokens, past, true);
    step
}

fn decode(batch: u32, context: u32) -> StepShape {
    let mut step = StepShape::default();
    (0..batch).for_each(|_| step.add(1, context - 1, true));
    step
}

#[cfg(test)]
mod tests {
    use stopwatt_core::kernel_table::Shape;

    use super::*;
    use crate::model::builtin;
    use crate::precision::Precision;

    #[test]
    fn captured_sizes_are_those_of_the_engine() {
        let sizes = capture_sizes(512);
        assert_eq!(sizes[..5], [1, 2, 4, 8, 16]);
        assert_eq!((sizes.len(), sizes.last()), (51, Some(&512)));
        assert_eq!(capture_sizes(20), [1, 2, 4, 8, 16]);
    }

    #[test]
    fn a_grid_has_every_product_at_every_edge() {
        let deployment =
            Deployment::new(builtin("llama-3.1-8b").unwrap(), Precision::parse("bf16").unwrap(), 1, 1)
                .unwrap();
        let ops = model_grid(&deployment, &GridSettings::default()).unwrap();
        for wanted in [127, 128, 129, 1023, 1024, 1025, 1, 8, 8192, 96] {
            for (n, k) in [(6144, 4096), (4096, 4096), (28_672, 4096), (4096, 14_336)] {
                let shape = Shape::Matrix { m: wanted, n, k };
                assert!(ops.iter().any(|op| op.shape == shape), "{shape:?}");
            }
        }
        let head = |m| Shape::Matrix { m, n: 128_256, k: 4096 };
        assert!(ops.iter().any(|op| op.shape == head(256)) && !ops.iter().any(|op| op.shape == head(8192)));
        assert!((300..2000).contains(&ops.len()), "{} operators", ops.len());
        assert!(ops.windows(2).all(|pair| pair[0] < pair[1]), "each once, in order");
    }
}

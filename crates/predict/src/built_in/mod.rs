//! The built-in engine on the CPU, as something to predict: its operators, its settings, and its device by what its own
//! kernels reach.
//!
//! What differs from vLLM: activations are 32-bit; additions to the residual stream are part of the product before them;
//! nothing is padded; and after the last attention only the rows go on that get a token.

mod grid;

use stopwatt_core::kernel_table::{Dtype, Dtypes, KernelRow, Op, OpKind, Outcome, Shape};
use stopwatt_serving::scheduler::RuleSet;

pub use grid::operators;

use crate::engine::{EngineSettings, EngineVersion};
use crate::hardware::{Gpu, GpuError, GpuSpec};
use crate::model::Attention;
use crate::operators::{Call, Deployment, DeploymentError, Part, What};
use crate::simulate::Frontend;

/// [`Gpu::basis`] of a device whose rates are the best that its own kernels reached.
pub const BEST_SEEN: &str = "best of its kernels";

/// Requests are read one after the other. How long each takes matters little here; that the engine begins with the first
/// while the next are read does matter. 0.1 ms is of the right order.
pub const FRONTEND: Frontend =
    Frontend { before_s: 0.0, per_prompt_token_s: 0.0, after_s: 0.0, parsing_s: 1e-4 };

/// Settings of the built-in engine in the words of vLLM.
#[must_use]
pub fn settings(
    max_model_len: u32,
    max_num_seqs: u32,
    max_num_batched_tokens: u32,
    kv_blocks: u32,
) -> EngineSettings {
    EngineSettings {
        version: EngineVersion::NEWEST,
        rules: RuleSet::VllmV1,
        batch_wait_s: 0.0,
        step_asked: false,
        gpu_memory_utilization: 1.0,
        block_size: 16,
        max_model_len,
        max_num_seqs,
        max_num_batched_tokens,
        long_prefill_token_threshold: 0,
        enable_chunked_prefill: true,
        enable_prefix_caching: false,
        enforce_eager: true,
        max_cudagraph_capture_size: None,
        async_scheduling: false,
        // Of the blocks stated here vLLM reserves one, its null block; the built-in engine has none.
        num_gpu_blocks_override: Some(kv_blocks.saturating_add(1)),
        kv_cache_memory_bytes: None,
    }
}

/// The processor as a device: its rates are the best that these rows reached, which serves as a scale to blend along, not
/// as a bound.
pub fn device(name: &str, memory_bytes: f64, rows: &[KernelRow]) -> Result<Gpu, GpuError> {
    let (mut flop_s, mut bytes_s) = (0.0_f64, 0.0_f64);
    for row in rows {
        let Outcome::Measured { time, .. } = &row.outcome else { continue };
        if let Some(work) = row.op.work().filter(|_| time.median_s > 0.0) {
            flop_s = flop_s.max(work.flop / time.median_s);
            bytes_s = bytes_s.max(work.bytes() / time.median_s);
        }
    }
    let mut gpu = Gpu::try_from(GpuSpec {
        id: "this-cpu".to_owned(),
        name: name.to_owned(),
        aliases: Vec::new(),
        peak_flop_s: [(Dtype::F32.name().to_owned(), flop_s)].into(),
        bandwidth_bytes_s: bytes_s,
        memory_gb: memory_bytes / 1e9,
        usable_gib: Some(memory_bytes / (1_u64 << 30) as f64),
        sms: None,
        l2_bytes: None,
        link_bytes_s: None,
        textbook: None,
        source: Some("its own kernels".to_owned()),
    })?;
    gpu.basis = BEST_SEEN;
    Ok(gpu)
}

/// The calls of a step with so many tokens, of which so many rows get a token.
pub(crate) fn row_calls(
    deployment: &Deployment,
    tokens: u32,
    sampled: u32,
) -> Result<Vec<Call>, DeploymentError> {
    let model = &deployment.model;
    let unknown = |what| Err(DeploymentError::Unknown { model: model.name.clone(), what });
    let Attention::Grouped(a) = &model.attention else { return unknown("multi-head latent attention") };
    let Some(dense) = model.dense.filter(|_| model.moe.is_none()) else {
        return unknown("routed experts in the built-in engine");
    };
    let weights = Dtypes { weight: deployment.precision.product().weight, ..Dtypes::all(Dtype::F32) };
    let plain = Dtypes::all(Dtype::F32);
    let (query, key) = (a.heads * a.head_dim, a.kv_heads * a.head_dim);
    let (hidden, layers) = (model.hidden, model.layers);
    let mut calls = Vec::new();
    let mut add = |part, kind, shape, dtypes, count: u32| {
        if count > 0 {
            let what = What::Op(Op { kind, shape, dtypes });
            calls.push(Call { part, what, count, extra_bytes: 0.0 });
        }
    };
    let rows = |rows, cols| Shape::Rows { rows, cols };
    let product = |m, n, k| Shape::Matrix { m, n, k };
    let heads = Shape::Heads { tokens, heads: a.heads, kv_heads: a.kv_heads, head_dim: a.head_dim };
    add(Part::Embedding, OpKind::Embedding, Shape::Lookup { tokens, vocab: model.vocab, hidden }, weights, 1);
    add(Part::Norm, OpKind::RmsNorm, rows(tokens, hidden), plain, layers);
    add(Part::Qkv, OpKind::Linear, product(tokens, query + 2 * key, hidden), weights, layers);
    add(Part::Rope, OpKind::Rope, heads, plain, layers);
    // All tokens in all layers but the last, in which only rows with a token go on.
    for (m, layers) in [(tokens, layers - 1), (sampled, 1)] {
        let layers = layers * u32::from(m > 0);
        add(Part::AttentionOutput, OpKind::Linear, product(m, hidden, query), weights, layers);
        add(Part::Norm, OpKind::RmsNorm, rows(m, hidden), plain, layers);
        add(Part::GateUp, OpKind::Linear, product(m, 2 * dense.intermediate, hidden), weights, layers);
        add(Part::Activation, OpKind::SiluMul, rows(m, dense.intermediate), plain, layers);
        add(Part::Down, OpKind::Linear, product(m, hidden, dense.intermediate), weights, layers);
    }
    if sampled > 0 {
        add(Part::Norm, OpKind::RmsNorm, rows(sampled, hidden), plain, 1);
        add(Part::Head, OpKind::Linear, product(sampled, model.vocab, hidden), weights, 1);
        add(Part::Sampler, OpKind::Argmax, rows(sampled, model.vocab), plain, 1);
    }
    let bytes = 2.0 * f64::from(tokens) * 2.0 * f64::from(key) * Dtype::F32.bytes();
    calls.push(Call { part: Part::CacheWrite, what: What::Copy { bytes }, count: layers, extra_bytes: 0.0 });
    Ok(calls)
}

#[cfg(test)]
pub(crate) mod tests {
    use stopwatt_serving::step::StepShape;

    use super::*;
    use crate::model::builtin;
    use crate::operators::Engine;
    use crate::precision::Precision;

    pub(crate) fn deployed(name: &str) -> Deployment {
        let precision = Precision::plain(Dtype::F32);
        let deployment = Deployment::new(builtin(name).unwrap(), precision, 1, 1).unwrap();
        Deployment { engine: Engine::BuiltIn, ..deployment }
    }

    #[test]
    fn the_last_layer_goes_on_with_the_rows_that_get_a_token() {
        let deployment = deployed("llama-3.2-1b");
        let mut step = StepShape::default();
        step.add(100, 0, true);
        step.add(50, 0, false);
        let calls = deployment.calls(&step, 150).unwrap();
        let counts = |part: Part| -> Vec<(u32, u32)> {
            let of = calls.iter().filter(|c| c.part == part);
            of.filter_map(|c| match c.what {
                What::Op(Op { shape: Shape::Matrix { m, .. }, .. }) => Some((m, c.count)),
                _ => None,
            })
            .collect()
        };
        assert_eq!(counts(Part::Qkv), [(150, 16)]);
        assert_eq!(counts(Part::Down), [(150, 15), (1, 1)]);
        assert_eq!(counts(Part::Head), [(1, 1)]);
        // A piece of a prompt that gets no token has no last layer after attention.
        let mut piece = StepShape::default();
        piece.add(50, 0, false);
        let calls = deployment.calls(&piece, 50).unwrap();
        assert!(calls.iter().all(|c| c.part != Part::Head && c.part != Part::Sampler));
        let down: Vec<u32> = calls.iter().filter(|c| c.part == Part::Down).map(|c| c.count).collect();
        assert_eq!(down, [15]);
        let all_f32 = |c: &Call| match c.what {
            What::Op(op) => op.dtypes == Dtypes::all(Dtype::F32),
            What::Copy { .. } => true,
        };
        assert!(calls.iter().all(all_f32));
    }
}

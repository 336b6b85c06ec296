//! Geometry of CUDA plans and their fit to the kernels' signatures; no GPU, no compiler.

#[path = "cuda/cases.rs"]
#[allow(dead_code, reason = "each test program uses a part")]
mod cases;
#[path = "cuda/signature.rs"]
mod signature;

use stopwatt_core::kernel_table::{Dtype, OpKind, Shape};
use stopwatt_kernel::cuda::plan::{Argument, Fill, Plan};
use stopwatt_kernel::cuda::plans::plan;
use stopwatt_kernel::cuda::probes::latency::{empty, hold};

fn all() -> Vec<(String, Plan)> {
    cases::plans().into_iter().chain(cases::device_only()).collect()
}

#[test]
fn arguments_match_the_signatures() {
    for (name, plan) in all() {
        for step in &plan.steps {
            let parameters = signature::parameters(step.source.text, step.entry);
            assert_eq!(parameters.len(), step.arguments.len(), "{name}: {parameters:?}");
            for (parameter, &argument) in parameters.iter().zip(&step.arguments) {
                assert!(
                    signature::takes(parameter, argument, &plan.operands),
                    "{name}: {}: {parameter} does not take {argument:?}",
                    step.entry
                );
            }
        }
    }
    for step in [empty(), hold(1)] {
        let parameters = signature::parameters(step.source.text, step.entry);
        assert_eq!(parameters.len(), step.arguments.len());
    }
}

#[test]
fn launches_keep_to_the_limits_of_every_device() {
    for (name, plan) in all() {
        for step in &plan.steps {
            let threads: u32 = step.block.iter().product();
            assert!((1..=1024).contains(&threads), "{name}: {threads} threads");
            assert!(step.grid.iter().all(|&blocks| blocks > 0), "{name}: {:?}", step.grid);
            assert!(step.grid[1] <= 65_535 && step.grid[2] <= 65_535, "{name}: {:?}", step.grid);
            assert!(step.shared_bytes <= cases::SMALL.shared_bytes_per_block, "{name}");
        }
        assert!(plan.operands.iter().any(|operand| operand.result), "{name} has no result");
        for operand in &plan.operands {
            assert!(operand.len > 0, "{name}: an empty operand");
            if let Fill::Integers(values) = &operand.fill {
                assert_eq!(values.len(), operand.len, "{name}");
            }
            if let Fill::Numbers(values) = &operand.fill {
                assert_eq!(values.len(), operand.len, "{name}");
            }
        }
    }
}

#[test]
fn every_operand_is_used() {
    for (name, plan) in all() {
        for i in 0..plan.operands.len() {
            let used = plan.steps.iter().flat_map(|step| &step.arguments).any(|a| *a == Argument::Operand(i));
            assert!(used, "{name}: operand {i}");
        }
    }
}

#[test]
fn shapes_and_formats_that_no_kernel_covers_are_refused_with_a_reason() {
    let rows = Shape::Rows { rows: 4, cols: 1 << 20 };
    for op in [
        cases::op(OpKind::RmsNorm, rows, Dtype::Bf16),
        cases::op(OpKind::RmsNorm, Shape::Rows { rows: 4, cols: 64 }, Dtype::F8E4m3),
        cases::op(OpKind::RmsNorm, Shape::Rows { rows: 0, cols: 64 }, Dtype::Bf16),
        cases::op(OpKind::RmsNorm, Shape::Matrix { m: 1, n: 1, k: 1 }, Dtype::Bf16),
        cases::op(OpKind::Argmax, Shape::Rows { rows: 70_000, cols: 64 }, Dtype::F32),
        cases::op(OpKind::AttentionDecode, attention(96, 8), Dtype::Bf16),
        cases::op(OpKind::AttentionDecode, attention(128, 7), Dtype::Bf16),
        cases::op(OpKind::AttentionPrefill, attention(128, 8), Dtype::F32),
        cases::op(OpKind::MoeExperts, experts(100, 2), Dtype::Bf16),
        cases::op(OpKind::MoeExperts, experts(128, 9), Dtype::Bf16),
        cases::op(OpKind::Linear, Shape::Matrix { m: 1, n: 1, k: 1 }, Dtype::Bf16),
        cases::op(OpKind::Gelu, Shape::Rows { rows: u32::MAX, cols: u32::MAX }, Dtype::Bf16),
    ] {
        assert!(plan(&op, &cases::H100).is_err(), "{op:?}");
    }
}

fn attention(head_dim: u32, heads: u32) -> Shape {
    Shape::Attention { sequences: 1, new_tokens: 1, cached: 9, heads, kv_heads: 2, head_dim, page: 16 }
}

fn experts(hidden: u32, top_k: u32) -> Shape {
    Shape::Experts { tokens: 4, experts: 8, top_k, hidden, intermediate: 64, skew_percent: 0 }
}

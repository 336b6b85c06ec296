//! Every operator on small shapes, right and wrong.

use super::*;
use crate::timing::{Fixed, Method, measure, monotonic_s};

fn op(kind: OpKind, shape: Shape, weight: Dtype) -> Op {
    Op { kind, shape, dtypes: Dtypes { weight, ..Dtypes::all(Dtype::F32) } }
}

fn rows(rows: u32, cols: u32) -> Shape {
    Shape::Rows { rows, cols }
}

fn every_op() -> Vec<Op> {
    let mut ops = Vec::new();
    for dtype in [Dtype::F32, Dtype::Bf16, Dtype::F16] {
        ops.push(op(OpKind::Linear, Shape::Matrix { m: 3, n: 37, k: 129 }, dtype));
        for (kernel, stride, padding) in [(3, 1, 1), (1, 1, 0), (5, 2, 2)] {
            let shape = Shape::Image {
                batch: 2,
                channels: 5,
                height: 9,
                width: 11,
                filters: 7,
                kernel,
                stride,
                padding,
            };
            ops.push(op(OpKind::Conv2d, shape, dtype));
        }
        let series = Shape::Sequence { batch: 3, steps: 7, input: 13, hidden: 21, layers: 2 };
        ops.extend([OpKind::Lstm, OpKind::Gru].map(|kind| op(kind, series, dtype)));
        ops.push(op(OpKind::Embedding, Shape::Lookup { tokens: 5, vocab: 50, hidden: 33 }, dtype));
        for (tokens, skew_percent) in [(1, 0), (9, 120)] {
            let shape =
                Shape::Experts { tokens, experts: 5, top_k: 2, hidden: 24, intermediate: 40, skew_percent };
            ops.push(op(OpKind::MoeExperts, shape, dtype));
        }
    }
    for kind in [
        OpKind::LayerNorm,
        OpKind::RmsNorm,
        OpKind::AddRmsNorm,
        OpKind::Gelu,
        OpKind::SiluMul,
        OpKind::Softmax,
        OpKind::Argmax,
        OpKind::TopKTopP,
    ] {
        ops.push(op(kind, rows(19, 131), Dtype::F32));
        ops.push(op(kind, rows(1, 16), Dtype::F32));
    }
    ops.push(op(OpKind::Rope, Shape::Heads { tokens: 20, heads: 4, kv_heads: 2, head_dim: 34 }, Dtype::F32));
    for (kind, new_tokens, page) in [
        (OpKind::AttentionPrefill, 33, 0),
        (OpKind::AttentionPrefill, 5, 32),
        (OpKind::AttentionDecode, 1, 16),
    ] {
        let shape = Shape::Attention {
            sequences: 3,
            new_tokens,
            cached: 45,
            heads: 6,
            kv_heads: 2,
            head_dim: 32,
            page,
        };
        ops.push(op(kind, shape, Dtype::F32));
    }
    ops.push(op(OpKind::EmptyLaunch, Shape::Launches { kernels: 3 }, Dtype::F32));
    ops
}

#[test]
fn every_operator_is_right_and_has_a_time() {
    let method = Method { fixed: Some(Fixed { warmup: 1, iterations: 2 }), ..Method::default() };
    for threads in [1, 3] {
        let mut host = Host::new(threads);
        for op in every_op() {
            for cache in [CacheState::Warm, CacheState::Cold] {
                if cache == CacheState::Cold && threads > 1 {
                    continue; // The rotation does not depend on threads, and takes memory.
                }
                // A small machine: rotation is what is tested, not its size.
                host.geometry.caches.clear();
                host.geometry.caches.push(super::super::geometry::Cache {
                    level: 1,
                    bytes: 8 << 10,
                    line_bytes: 64,
                    instances: 1,
                });
                let mut case = host.prepare(&op, Launch::Eager, cache).unwrap();
                for seed in [1, 2] {
                    let deviation = case.check(seed).unwrap();
                    assert!(deviation <= 1.0, "{op:?} deviates {deviation} times what is allowed");
                }
                let time = measure(&mut *case, &method, &mut monotonic_s).unwrap();
                assert!(time.median_s > 0.0, "{op:?}");
                assert!(case.identity().kernel.is_some());
            }
        }
    }
}

#[test]
fn what_a_cpu_cannot_do_says_so() {
    let mut host = Host::new(1);
    let product = op(OpKind::Linear, Shape::Matrix { m: 1, n: 1, k: 1 }, Dtype::F32);
    let refused = |host: &mut Host, op: &Op, launch| match host.prepare(op, launch, CacheState::Warm) {
        Err(CaseError::Unsupported { reason }) => reason,
        _ => panic!("{op:?} was not refused"),
    };
    refused(&mut host, &product, Launch::Graph);
    for bad in [
        Op { dtypes: Dtypes::all(Dtype::Bf16), ..product },
        op(OpKind::Linear, Shape::Matrix { m: 1, n: 1, k: 1 }, Dtype::F8E4m3),
        op(OpKind::Linear, Shape::Matrix { m: 0, n: 1, k: 1 }, Dtype::F32),
        op(OpKind::Linear, rows(1, 1), Dtype::F32),
        op(OpKind::AllReduce, Shape::Message { elements: 1, ranks: 2 }, Dtype::F32),
        op(OpKind::RmsNorm, rows(1, 1), Dtype::Bf16),
        op(
            OpKind::Conv2d,
            Shape::Image {
                batch: 1,
                channels: 1,
                height: 2,
                width: 2,
                filters: 1,
                kernel: 5,
                stride: 1,
                padding: 0,
            },
            Dtype::F32,
        ),
    ] {
        refused(&mut host, &bad, Launch::Eager);
    }
}

#[test]
fn operands_that_do_not_fit_are_told_before_they_are_made() {
    let mut host = Host::new(1);
    let huge = op(OpKind::Linear, Shape::Matrix { m: 1, n: 1 << 22, k: 1 << 22 }, Dtype::F32);
    assert!(matches!(
        host.prepare(&huge, Launch::Eager, CacheState::Warm),
        Err(CaseError::OutOfMemory { .. })
    ));
}

#[test]
fn a_wrong_result_is_seen() {
    let mut setup =
        Setup { precision: Precision::F32, cold_bytes: None, free_bytes: u64::MAX, random: Random::new(1) };
    let cpu = Cpu::new(1);
    for op in every_op().into_iter().filter(|op| op.kind != OpKind::EmptyLaunch) {
        let mut operation = operation(&op, &mut setup).unwrap();
        let mut random = Random::new(7);
        operation.refill(&mut random);
        // Nothing was computed: the result is poison, or still the input.
        let untouched = operation.deviation(&mut random);
        assert!(untouched > 1.0, "{op:?}: {untouched}");
        operation.call(&cpu, 0);
        assert!(operation.deviation(&mut random) <= 1.0, "{op:?}");
    }
}

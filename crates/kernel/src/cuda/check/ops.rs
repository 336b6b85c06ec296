//! Operators that a check runs: each kind once, each format of a product, shapes at which libraries change their ways.

use stopwatt_core::kernel_table::{Dtype, Dtypes, Op, OpKind, Shape};

pub(super) fn label(op: &Op) -> String {
    let shape = match op.shape {
        Shape::Matrix { m, n, k } => format!("{m}x{n}x{k}"),
        Shape::Launches { kernels } => kernels.to_string(),
        other => format!("{other:?}"),
    };
    format!("{:?} {shape} {}→{}", op.kind, op.dtypes.input.name(), op.dtypes.output.name())
}

pub(super) fn product([m, n, k]: [u32; 3], dtype: Dtype, output: Dtype) -> Op {
    Op {
        kind: OpKind::Linear,
        shape: Shape::Matrix { m, n, k },
        dtypes: Dtypes { input: dtype, weight: dtype, output },
    }
}

/// A product of each format, and the shapes at which libraries change their ways.
pub(super) fn products() -> Vec<Op> {
    let formats = [
        (Dtype::Bf16, Dtype::Bf16),
        (Dtype::F16, Dtype::F16),
        (Dtype::Tf32, Dtype::Tf32),
        (Dtype::F32, Dtype::F32),
        (Dtype::F8E4m3, Dtype::Bf16),
        (Dtype::I8, Dtype::F32),
        (Dtype::I8, Dtype::Bf16),
    ];
    let mut all: Vec<Op> =
        formats.into_iter().map(|(input, output)| product([512, 4096, 4096], input, output)).collect();
    for (input, output) in formats {
        all.push(product([16, 6144, 4096], input, output));
    }
    for m in [1, 17, 1025] {
        all.push(product([m, 28_672, 4096], Dtype::Bf16, Dtype::Bf16));
    }
    // A length that no vector divides.
    all.push(product([33, 1001, 515], Dtype::Bf16, Dtype::Bf16));
    all
}

/// Convolutions and recurrent layers of a usual size.
pub(super) fn layers() -> Vec<Op> {
    let image = Shape::Image {
        batch: 32,
        channels: 128,
        height: 28,
        width: 28,
        filters: 256,
        kernel: 3,
        stride: 2,
        padding: 1,
    };
    let sequence = Shape::Sequence { batch: 16, steps: 32, input: 512, hidden: 768, layers: 2 };
    let mut all = Vec::new();
    for dtype in [Dtype::Bf16, Dtype::F16, Dtype::Tf32, Dtype::F32] {
        all.push(Op { kind: OpKind::Conv2d, shape: image, dtypes: Dtypes::all(dtype) });
    }
    for (kind, dtype) in [
        (OpKind::Lstm, Dtype::F16),
        (OpKind::Lstm, Dtype::F32),
        (OpKind::Lstm, Dtype::Bf16),
        (OpKind::Gru, Dtype::F16),
        (OpKind::Gru, Dtype::F32),
    ] {
        all.push(Op { kind, shape: sequence, dtypes: Dtypes::all(dtype) });
    }
    all
}

/// Operators with kernels of our own.
pub(super) fn planned() -> Vec<Op> {
    let rows = |cols| Shape::Rows { rows: 1024, cols };
    let attention = |new_tokens, cached| Shape::Attention {
        sequences: 8,
        new_tokens,
        cached,
        heads: 32,
        kv_heads: 8,
        head_dim: 128,
        page: 16,
    };
    let experts = Shape::Experts {
        tokens: 256,
        experts: 8,
        top_k: 2,
        hidden: 1024,
        intermediate: 3584,
        skew_percent: 0,
    };
    let mut all = vec![
        (OpKind::Rope, Shape::Heads { tokens: 1024, heads: 32, kv_heads: 8, head_dim: 128 }),
        (OpKind::Embedding, Shape::Lookup { tokens: 1024, vocab: 128_256, hidden: 4096 }),
        (OpKind::Argmax, Shape::Rows { rows: 64, cols: 128_256 }),
        (OpKind::TopKTopP, Shape::Rows { rows: 64, cols: 128_256 }),
        (OpKind::AttentionDecode, attention(1, 4095)),
        (OpKind::AttentionPrefill, attention(1024, 0)),
        (OpKind::MoeExperts, experts),
    ];
    for kind in [OpKind::LayerNorm, OpKind::RmsNorm, OpKind::AddRmsNorm, OpKind::Softmax] {
        all.push((kind, rows(4096)));
    }
    for kind in [OpKind::Gelu, OpKind::SiluMul] {
        all.push((kind, rows(14_336)));
    }
    let op = |(kind, shape)| Op { kind, shape, dtypes: Dtypes::all(Dtype::Bf16) };
    all.into_iter().map(op).collect()
}

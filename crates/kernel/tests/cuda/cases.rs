//! Plans that cover every kernel, format, width of access and branch, small enough for an emulation.

use stopwatt_core::kernel_table::{Dtype, Dtypes, Op, OpKind, Shape};
use stopwatt_kernel::case::CaseError;
use stopwatt_kernel::cuda::plan::{Plan, Target};
use stopwatt_kernel::cuda::plans::plan;
use stopwatt_kernel::cuda::probes::Level;
use stopwatt_kernel::cuda::probes::bandwidth::{Order, cached, copy, gather, stream, triad};
use stopwatt_kernel::cuda::probes::latency::chase;
use stopwatt_kernel::cuda::probes::peak::{Unit, peak};

/// A device with few multiprocessors, so that small shapes count as large ones.
pub(crate) const SMALL: Target =
    Target { sm_count: 2, capability: (8, 0), shared_bytes_per_block: 163 << 10, l2_bytes: 1 << 20 };

pub(crate) const H100: Target =
    Target { sm_count: 132, capability: (9, 0), shared_bytes_per_block: 227 << 10, l2_bytes: 50 << 20 };

/// A small device with 8-bit floating point.
pub(crate) const ADA: Target = Target { capability: (8, 9), ..SMALL };

const FLOATS: [Dtype; 3] = [Dtype::F32, Dtype::F16, Dtype::Bf16];

pub(crate) fn op(kind: OpKind, shape: Shape, dtype: Dtype) -> Op {
    Op { kind, shape, dtypes: Dtypes::all(dtype) }
}

fn rows(rows: u32, cols: u32) -> Shape {
    Shape::Rows { rows, cols }
}

/// Operators on small shapes.
pub(crate) fn operators() -> Vec<(Op, Target)> {
    let mut ops = Vec::new();
    let mut add = |kind, shape, dtype, target| ops.push((op(kind, shape, dtype), target));
    for dtype in FLOATS {
        for kind in [OpKind::LayerNorm, OpKind::RmsNorm, OpKind::AddRmsNorm] {
            // A warp a row with a ragged last block, whole rows, odd widths, several accesses a thread.
            for (shape, target) in [
                (rows(5, 128), H100),
                (rows(3, 1000), H100),
                (rows(9, 4096), SMALL),
                (rows(2, 77), H100),
                (rows(1, 1), H100),
            ] {
                add(kind, shape, dtype, target);
            }
        }
        for kind in [OpKind::Gelu, OpKind::SiluMul] {
            for (shape, target) in
                [(rows(3, 1000), H100), (rows(9, 7680), SMALL), (rows(5, 33), H100), (rows(2, 6), H100)]
            {
                add(kind, shape, dtype, target);
            }
        }
        for shape in [rows(3, 40), rows(2, 1000), rows(1, 12_345), rows(1, 34_000), rows(3, 1)] {
            add(OpKind::Softmax, shape, dtype, H100);
        }
        for (heads, head_dim) in [(4, 128), (3, 64), (2, 10)] {
            let shape = Shape::Heads { tokens: 5, heads, kv_heads: 1, head_dim };
            add(OpKind::Rope, shape, dtype, H100);
        }
        for hidden in [64, 100, 7] {
            add(OpKind::Embedding, Shape::Lookup { tokens: 9, vocab: 50, hidden }, dtype, H100);
        }
        for shape in [rows(3, 20_000), rows(2, 1001), rows(300, 40)] {
            add(OpKind::Argmax, shape, dtype, H100);
        }
        for shape in [rows(3, 12_000), rows(2, 1001), rows(2, 20)] {
            add(OpKind::TopKTopP, shape, dtype, H100);
        }
    }
    for dtype in [Dtype::F16, Dtype::Bf16] {
        let mut add = |kind, shape, dtype, target| ops.push((op(kind, shape, dtype), target));
        // Sequences, new tokens, cached tokens, query heads, key-value heads, width, page.
        for ([sequences, new_tokens, cached, heads, kv_heads, head_dim, page], target) in [
            ([2, 1, 299, 8, 2, 128, 16], SMALL),
            ([3, 1, 70, 8, 1, 64, 16], H100),
            ([1, 1, 150, 6, 2, 256, 32], H100),
            ([2, 1, 40, 2, 2, 128, 0], SMALL),
            ([1, 1, 0, 1, 1, 64, 16], H100),
            ([2, 70, 0, 2, 1, 128, 16], H100),
            ([1, 130, 75, 4, 2, 64, 16], H100),
            ([1, 33, 0, 1, 1, 128, 0], H100),
            ([1, 1, 64, 2, 2, 64, 16], H100),
        ] {
            let shape = Shape::Attention { sequences, new_tokens, cached, heads, kv_heads, head_dim, page };
            if new_tokens == 1 {
                add(OpKind::AttentionDecode, shape, dtype, target);
            }
            if head_dim < 256 && (new_tokens > 1 || cached == 64) {
                add(OpKind::AttentionPrefill, shape, dtype, target);
            }
        }
        let mut eight_bits = op(
            OpKind::AttentionDecode,
            Shape::Attention {
                sequences: 2,
                new_tokens: 1,
                cached: 200,
                heads: 8,
                kv_heads: 2,
                head_dim: 128,
                page: 16,
            },
            dtype,
        );
        eight_bits.dtypes.weight = Dtype::F8E4m3;
        ops.push((eight_bits, SMALL));
        let mut add = |kind, shape, dtype, target| ops.push((op(kind, shape, dtype), target));
        for [tokens, experts, top_k, hidden, intermediate, skew_percent] in
            [[9, 4, 2, 128, 64, 120], [40, 2, 1, 64, 192, 0], [130, 2, 2, 192, 64, 0]]
        {
            let shape = Shape::Experts { tokens, experts, top_k, hidden, intermediate, skew_percent };
            add(OpKind::MoeExperts, shape, dtype, H100);
        }
    }
    ops
}

/// Plans whose instructions the emulation does not have.
pub(crate) fn device_only() -> Vec<(String, Plan)> {
    [Dtype::F16, Dtype::Bf16, Dtype::F8E4m3]
        .into_iter()
        .map(|dtype| {
            let name = format!("peak of warpgroups {}", dtype.name());
            let probe = peak(Unit::Warpgroup(dtype), 10, &H100);
            (name.clone(), probe.unwrap_or_else(|error| panic!("{name}: {error}")).plan)
        })
        .collect()
}

/// A plan, and one more for each further way to launch it.
fn ways(name: &str, make: impl Fn() -> Result<Plan, CaseError>) -> Vec<(String, Plan)> {
    let make = || make().unwrap_or_else(|error| panic!("{name}: {error}"));
    let first = make();
    let names: Vec<String> = first.ways.iter().map(|way| way.name.clone()).collect();
    let further = names.iter().enumerate().skip(1).map(|(number, way)| {
        let mut plan = make();
        plan.steps = plan.ways.swap_remove(number).steps;
        (format!("{name}, {way}"), plan)
    });
    std::iter::once((name.to_owned(), first)).chain(further).collect()
}

/// Everything else: operators and probes.
pub(crate) fn plans() -> Vec<(String, Plan)> {
    let mut all: Vec<(String, Plan)> = operators()
        .into_iter()
        .flat_map(|(op, target)| {
            let name = format!("{:?} {:?} {}", op.kind, op.shape, op.dtypes.input.name());
            ways(&name, move || plan(&op, &target))
        })
        .collect();
    let bytes = 4 * (128 << 10);
    all.extend(ways("copy", || copy(bytes, &Target { capability: (9, 0), ..SMALL }).map(|probe| probe.plan)));
    let mut probe = |name: &str, probe: Result<stopwatt_kernel::cuda::probes::Probe, _>| {
        let probe: Result<_, CaseError> = probe;
        all.push((name.to_owned(), probe.unwrap_or_else(|error| panic!("{name}: {error}")).plan));
    };
    for reads in 0..=8 {
        probe(&format!("stream {reads}/8"), stream(Level::Memory, 5 << 15, reads, 1, &SMALL));
    }
    probe("stream of the second level", stream(Level::Second, 40 << 15, 8, 2, &SMALL));
    probe("triad", triad(150 << 10));
    for granule in [16, 32, 64, 128, 512] {
        probe("gather at random", gather(Level::Memory, 1 << 18, granule, Order::Random, &SMALL));
        probe("gather in strides", gather(Level::Second, 1 << 17, granule, Order::Stride(8), &SMALL));
    }
    probe("cache of the first level", cached(Level::First, 4, &SMALL));
    probe("cache in shared memory", cached(Level::Shared, 3, &SMALL));
    probe("chase in shared memory", chase(Level::Shared, 4096, 4, 100));
    probe("chase in the first level", chase(Level::First, 1 << 14, 128, 1000));
    probe("chase in memory", chase(Level::Memory, 1 << 20, 128, 1000));
    for dtype in FLOATS {
        probe(&format!("peak of cores {}", dtype.name()), peak(Unit::Cores(dtype), 50, &SMALL));
    }
    probe("peak of integers", peak(Unit::Integers, 50, &SMALL));
    for dtype in [Dtype::F16, Dtype::Bf16, Dtype::Tf32, Dtype::I8, Dtype::F8E4m3] {
        probe(&format!("peak of matrix units {}", dtype.name()), peak(Unit::Matrix(dtype), 10, &ADA));
    }
    all
}

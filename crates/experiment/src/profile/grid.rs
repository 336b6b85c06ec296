//! Which operators on which shapes.
//!
//! Without a model a grid holds the shapes of a decoder of 8 billion parameters (hidden 4096, 32 and 8 heads of 128,
//! intermediate 14336, vocabulary 128256) and, for convolutions, those of a ResNet-50. With one, the operators come from
//! outside, and [`with_tile_edges`] adds the sizes beside those at which tiles fill.

use std::collections::BTreeMap;

use stopwatt_core::kernel_table::{Dtype, Dtypes, Family, Launch, Op, OpKind, Shape};

use super::ProfileError;

/// How many shapes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// A few of each family: minutes.
    Quick,
    /// Enough to interpolate between.
    Full,
}

/// Number formats of an operator for a model in a format: what the device stores.
pub type Formats<'a> = &'a dyn Fn(OpKind, Dtype) -> Dtypes;

/// The operators of these families, in each format, on the shapes of the grid.
#[must_use]
pub fn default(families: &[Family], dtypes: &[Dtype], extent: Extent, formats: Formats<'_>) -> Vec<Op> {
    let mut ops = Vec::new();
    for kind in OpKind::ALL.into_iter().filter(|k| families.contains(&k.family())) {
        for &dtype in dtypes {
            for shape in shapes(kind, extent) {
                ops.push(Op { kind, shape, dtypes: formats(kind, dtype) });
            }
        }
    }
    dedup(ops)
}

/// Every operator of `kinds` on one shape given by its sizes.
///
/// # Errors
/// The sizes are not those of the operator.
pub fn of_sizes(
    kinds: &[OpKind],
    sizes: &BTreeMap<String, u32>,
    dtypes: &[Dtype],
    formats: Formats<'_>,
) -> Result<Vec<Op>, ProfileError> {
    let mut ops = Vec::new();
    for &kind in kinds {
        let shape =
            Shape::of_sizes(kind, sizes).map_err(|source| ProfileError::Shape { op: kind.name(), source })?;
        ops.extend(dtypes.iter().map(|&dtype| Op { kind, shape, dtypes: formats(kind, dtype) }));
    }
    Ok(dedup(ops))
}

/// Adds the sizes one below and one above every token count of a product that fills tiles (a multiple of 64): that is
/// where time jumps, and where an interpolation that does not know of it goes wrong.
#[must_use]
pub fn with_tile_edges(ops: &[Op]) -> Vec<Op> {
    let mut all = Vec::with_capacity(ops.len());
    for op in ops {
        all.push(*op);
        if let (OpKind::Linear, Shape::Matrix { m, n, k }) = (op.kind, op.shape)
            && m > 0
            && m.is_multiple_of(64)
        {
            all.extend([m - 1, m + 1].map(|m| Op { shape: Shape::Matrix { m, n, k }, ..*op }));
        }
    }
    dedup(all)
}

/// How an operator is launched on a device: graphs only where they make a difference and exist.
#[must_use]
pub fn launches(op: &Op, has_graphs: bool) -> Vec<Launch> {
    match op.kind {
        // Sums of several GPUs are not captured: each of them has a stream of its own.
        OpKind::EmptyLaunch | OpKind::AllReduce => vec![Launch::Eager],
        OpKind::EmptyGraph => vec![Launch::Graph],
        _ if has_graphs => vec![Launch::Graph],
        _ => vec![Launch::Eager],
    }
}

/// Keeps the first of equals, in order.
fn dedup(ops: Vec<Op>) -> Vec<Op> {
    let mut seen = std::collections::HashSet::new();
    ops.into_iter().filter(|op| seen.insert(*op)).collect()
}

fn shapes(kind: OpKind, extent: Extent) -> Vec<Shape> {
    let full = extent == Extent::Full;
    let pick = |quick: &[u32], more: &[u32]| if full { more.to_vec() } else { quick.to_vec() };
    let tokens = pick(&[1, 16, 256], &[1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096]);
    let rows = |widths: &[u32]| {
        let pairs = tokens.iter().flat_map(|&rows| widths.iter().map(move |&cols| (rows, cols)));
        pairs.map(|(rows, cols)| Shape::Rows { rows, cols }).collect()
    };
    match kind {
        OpKind::Linear => {
            let sides: &[(u32, u32)] = match extent {
                Extent::Quick => &[(4096, 4096)],
                Extent::Full => &[
                    (1024, 1024),
                    (4096, 4096),
                    (6144, 4096),
                    (28672, 4096),
                    (4096, 14336),
                    (8192, 8192),
                    (128_256, 4096),
                ],
            };
            let m = pick(
                &[1, 16, 127, 128, 129, 512],
                &[
                    1, 2, 4, 8, 16, 32, 63, 64, 65, 96, 127, 128, 129, 192, 255, 256, 257, 384, 511, 512,
                    513, 768, 1023, 1024, 1025, 2048, 4096,
                ],
            );
            let all = sides.iter().flat_map(|&(n, k)| m.iter().map(move |&m| Shape::Matrix { m, n, k }));
            all.collect()
        }
        OpKind::Conv2d => {
            // Layers of ResNet-50: channels, side, filters, kernel, stride.
            let layers: &[(u32, u32, u32, u32, u32)] = match extent {
                Extent::Quick => &[(64, 56, 64, 3, 1), (256, 14, 1024, 1, 1)],
                Extent::Full => &[
                    (3, 224, 64, 7, 2),
                    (64, 56, 64, 3, 1),
                    (64, 56, 256, 1, 1),
                    (128, 28, 128, 3, 1),
                    (128, 56, 128, 3, 2),
                    (256, 14, 256, 3, 1),
                    (256, 14, 1024, 1, 1),
                    (512, 7, 512, 3, 1),
                ],
            };
            let batches = pick(&[1, 8], &[1, 8, 32]);
            let all = layers.iter().flat_map(|&layer| batches.iter().map(move |&batch| (layer, batch)));
            all.map(|((channels, side, filters, kernel, stride), batch)| Shape::Image {
                batch,
                channels,
                height: side,
                width: side,
                filters,
                kernel,
                stride,
                padding: kernel / 2,
            })
            .collect()
        }
        OpKind::Lstm | OpKind::Gru => {
            let sizes: &[(u32, u32, u32, u32)] = match extent {
                Extent::Quick => &[(1, 32, 512, 1), (16, 32, 512, 1)],
                Extent::Full => &[
                    (1, 128, 512, 1),
                    (16, 128, 512, 1),
                    (64, 128, 512, 2),
                    (1, 128, 1024, 1),
                    (64, 128, 1024, 2),
                ],
            };
            let shape = |&(batch, steps, hidden, layers): &(u32, u32, u32, u32)| Shape::Sequence {
                batch,
                steps,
                input: hidden,
                hidden,
                layers,
            };
            sizes.iter().map(shape).collect()
        }
        OpKind::LayerNorm | OpKind::RmsNorm | OpKind::AddRmsNorm => rows(&[4096]),
        OpKind::Gelu | OpKind::SiluMul => rows(&[14336]),
        OpKind::Softmax => rows(if full { &[1024, 4096] } else { &[4096] }),
        OpKind::Argmax | OpKind::TopKTopP => {
            let batches = pick(&[1, 16], &[1, 4, 16, 64, 256]);
            batches.iter().map(|&rows| Shape::Rows { rows, cols: 128_256 }).collect()
        }
        OpKind::Rope => tokens
            .iter()
            .map(|&tokens| Shape::Heads { tokens, heads: 32, kv_heads: 8, head_dim: 128 })
            .collect(),
        OpKind::Embedding => {
            tokens.iter().map(|&tokens| Shape::Lookup { tokens, vocab: 128_256, hidden: 4096 }).collect()
        }
        OpKind::AttentionPrefill => {
            let lengths = pick(&[128, 512], &[128, 512, 1024, 2048, 4096]);
            let prompt = lengths.iter().map(|&new_tokens| attention(1, new_tokens, 0, 0));
            let chunk = full.then(|| attention(1, 512, 3584, 16));
            prompt.chain(chunk).collect()
        }
        OpKind::AttentionDecode => {
            let (batches, contexts) =
                (pick(&[1, 8], &[1, 4, 16, 32, 64]), pick(&[511, 2047], &[127, 511, 1023, 2047, 4095, 8191]));
            let all = batches.iter().flat_map(|&b| contexts.iter().map(move |&c| attention(b, 1, c, 16)));
            all.collect()
        }
        OpKind::MoeExperts => {
            // Narrower than Mixtral 8×7B in the quick grid, whose experts alone are 2.8 GB in 16 bits.
            let (hidden, intermediate) = if full { (4096, 14336) } else { (1024, 3584) };
            let tokens = pick(&[1, 32], &[1, 8, 32, 128, 512]);
            let skews: &[u32] = if full { &[0, 100] } else { &[0] };
            let all = tokens.iter().flat_map(|&tokens| skews.iter().map(move |&skew| (tokens, skew)));
            all.map(|(tokens, skew_percent)| Shape::Experts {
                tokens,
                experts: 8,
                top_k: 2,
                hidden,
                intermediate,
                skew_percent,
            })
            .collect()
        }
        OpKind::AllReduce => {
            let exponents = if full { vec![10, 14, 18, 20, 22, 24, 26, 28] } else { vec![14, 20, 26] };
            exponents.iter().map(|&e| Shape::Message { elements: 1 << e, ranks: 2 }).collect()
        }
        OpKind::EmptyLaunch | OpKind::EmptyGraph => {
            pick(&[1, 32], &[1, 8, 32, 128]).iter().map(|&kernels| Shape::Launches { kernels }).collect()
        }
    }
}

fn attention(sequences: u32, new_tokens: u32, cached: u32, page: u32) -> Shape {
    Shape::Attention { sequences, new_tokens, cached, heads: 32, kv_heads: 8, head_dim: 128, page }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAMILIES: [Family; 8] = [
        Family::Linear,
        Family::Conv,
        Family::Recurrent,
        Family::Memory,
        Family::Attention,
        Family::Moe,
        Family::Collective,
        Family::Launch,
    ];

    fn all(_: OpKind, dtype: Dtype) -> Dtypes {
        Dtypes::all(dtype)
    }

    #[test]
    fn every_operator_is_in_every_grid_with_a_shape_of_its_own() {
        for extent in [Extent::Quick, Extent::Full] {
            let ops = default(&FAMILIES, &[Dtype::Bf16], extent, &all);
            for kind in OpKind::ALL {
                assert!(ops.iter().any(|op| op.kind == kind), "{kind:?}");
            }
            assert!(ops.iter().all(|op| op.work().is_some()), "a shape does not belong to its operator");
        }
    }

    #[test]
    fn formats_that_a_device_does_not_tell_apart_are_measured_once() {
        let one = |_: OpKind, _: Dtype| Dtypes::all(Dtype::F32);
        let ops = default(&[Family::Launch], &[Dtype::F32, Dtype::Bf16], Extent::Quick, &one);
        assert_eq!(ops.len(), 4);
    }

    #[test]
    fn tile_edges_stand_beside_full_tiles_only() {
        let op = |m| Op {
            kind: OpKind::Linear,
            shape: Shape::Matrix { m, n: 8, k: 8 },
            dtypes: Dtypes::all(Dtype::F32),
        };
        assert_eq!(with_tile_edges(&[op(16), op(128), op(129)]), [op(16), op(128), op(127), op(129)]);
    }

    #[test]
    fn a_shape_must_be_complete() {
        let sizes = BTreeMap::from([("m".to_owned(), 1)]);
        let error = of_sizes(&[OpKind::Linear], &sizes, &[Dtype::F32], &all).unwrap_err();
        assert!(matches!(error, ProfileError::Shape { op: "linear", .. }));
    }
}

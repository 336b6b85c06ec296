//! How much an operator has to compute and to move at least.

use super::{Op, OpKind, Shape};

/// Arithmetic and compulsory traffic of one call.
///
/// Bytes count each operand once, as if caches were perfect: a lower bound of what a device moves. Operations count
/// a multiplication and an addition as two; comparisons, roots and exponentials as one each.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Work {
    /// Floating-point (or integer) operations.
    pub flop: f64,
    /// Bytes read.
    pub read_bytes: f64,
    /// Bytes written.
    pub write_bytes: f64,
}

impl Work {
    /// Bytes both ways.
    #[must_use]
    pub fn bytes(&self) -> f64 {
        self.read_bytes + self.write_bytes
    }

    /// Operations a byte; `None` when nothing is moved.
    #[must_use]
    pub fn intensity(&self) -> Option<f64> {
        (self.bytes() > 0.0).then(|| self.flop / self.bytes())
    }
}

impl Op {
    /// What one call has to do at least; `None` when the shape does not belong to the operator.
    #[must_use]
    pub fn work(&self) -> Option<Work> {
        let (input, weight, output) =
            (self.dtypes.input.bytes(), self.dtypes.weight.bytes(), self.dtypes.output.bytes());
        let f = f64::from;
        let (flop, read_bytes, write_bytes) = match (self.kind, self.shape) {
            (OpKind::Linear, Shape::Matrix { m, n, k }) => {
                let (m, n, k) = (f(m), f(n), f(k));
                (2.0 * m * n * k, input * m * k + weight * n * k, output * m * n)
            }
            (
                OpKind::Conv2d,
                Shape::Image { batch, channels, height, width, filters, kernel, stride, padding },
            ) => {
                let side = |length: u32| {
                    (length + 2 * padding)
                        .checked_sub(kernel)
                        .and_then(|room| room.checked_div(stride))
                        .map(|n| n + 1)
                };
                let pixels = f(batch) * f(side(height)?) * f(side(width)?);
                let taps = f(channels) * f(kernel) * f(kernel);
                (
                    2.0 * pixels * f(filters) * taps,
                    input * f(batch) * f(channels) * f(height) * f(width) + weight * f(filters) * taps,
                    output * pixels * f(filters),
                )
            }
            (OpKind::Lstm | OpKind::Gru, Shape::Sequence { batch, steps, input: width, hidden, layers }) => {
                let gates = if self.kind == OpKind::Lstm { 4.0 } else { 3.0 };
                let (hidden, tokens) = (f(hidden), f(batch) * f(steps));
                // The first layer reads the input, each further one the state below it.
                let widths = f(width) + hidden * (f(layers) - 1.0);
                let weights = gates * hidden * (widths + f(layers) * hidden + 2.0 * f(layers));
                (
                    2.0 * tokens * gates * hidden * (widths + f(layers) * hidden),
                    input * tokens * f(width) + weight * weights,
                    output * tokens * hidden,
                )
            }
            (OpKind::LayerNorm, Shape::Rows { rows, cols }) => {
                let elements = f(rows) * f(cols);
                (8.0 * elements, input * elements + 2.0 * weight * f(cols), output * elements)
            }
            (OpKind::RmsNorm, Shape::Rows { rows, cols }) => {
                let elements = f(rows) * f(cols);
                (4.0 * elements, input * elements + weight * f(cols), output * elements)
            }
            (OpKind::AddRmsNorm, Shape::Rows { rows, cols }) => {
                let elements = f(rows) * f(cols);
                (5.0 * elements, 2.0 * input * elements + weight * f(cols), (input + output) * elements)
            }
            (OpKind::Gelu, Shape::Rows { rows, cols }) => {
                let elements = f(rows) * f(cols);
                (5.0 * elements, input * elements, output * elements)
            }
            (OpKind::SiluMul, Shape::Rows { rows, cols }) => {
                let elements = f(rows) * f(cols);
                (5.0 * elements, 2.0 * input * elements, output * elements)
            }
            (OpKind::Softmax, Shape::Rows { rows, cols }) => {
                let elements = f(rows) * f(cols);
                (5.0 * elements, input * elements, output * elements)
            }
            (OpKind::Rope, Shape::Heads { tokens, heads, kv_heads, head_dim }) => {
                let elements = f(tokens) * (f(heads) + f(kv_heads)) * f(head_dim);
                (3.0 * elements, input * elements, output * elements)
            }
            (OpKind::Embedding, Shape::Lookup { tokens, hidden, .. }) => {
                let elements = f(tokens) * f(hidden);
                (0.0, 4.0 * f(tokens) + weight * elements, output * elements)
            }
            (OpKind::Argmax | OpKind::TopKTopP, Shape::Rows { rows, cols }) => {
                let elements = f(rows) * f(cols);
                (elements, input * elements, 4.0 * f(rows))
            }
            (
                OpKind::AttentionPrefill | OpKind::AttentionDecode,
                Shape::Attention { sequences, new_tokens, cached, heads, kv_heads, head_dim, .. },
            ) => {
                let (sequences, new, cached, head_dim) =
                    (f(sequences), f(new_tokens), f(cached), f(head_dim));
                // A new token sees the cache, the new ones before it, and itself.
                let pairs = new * cached + new * (new + 1.0) / 2.0;
                let queries = sequences * new * f(heads) * head_dim;
                let cache = sequences * 2.0 * (cached + new) * f(kv_heads) * head_dim;
                (
                    4.0 * sequences * pairs * f(heads) * head_dim,
                    input * queries + weight * cache,
                    output * queries,
                )
            }
            (OpKind::MoeExperts, Shape::Experts { tokens, experts, top_k, hidden, intermediate, .. }) => {
                let (tokens, experts, top_k) = (f(tokens), f(experts), f(top_k));
                let matrices = 3.0 * f(hidden) * f(intermediate);
                // Expected number of experts that at least one token reaches, routing evenly.
                let reached = experts * (1.0 - (1.0 - top_k / experts).powf(tokens));
                (
                    2.0 * tokens * top_k * matrices,
                    input * tokens * f(hidden) + weight * reached * matrices,
                    output * tokens * f(hidden),
                )
            }
            (OpKind::AllReduce, Shape::Message { elements, ranks }) => {
                // Volume of a ring: each rank sends and receives 2(p−1)/p of the message.
                let volume = 2.0 * (f(ranks) - 1.0) / f(ranks) * f(elements);
                (volume / 2.0, input * volume, output * volume)
            }
            (OpKind::EmptyLaunch | OpKind::EmptyGraph, Shape::Launches { .. }) => (0.0, 0.0, 0.0),
            _ => return None,
        };
        Some(Work { flop, read_bytes, write_bytes })
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Dtype, Dtypes};
    use super::*;

    #[track_caller]
    fn check(kind: OpKind, shape: Shape, flop: f64, bytes: f64) {
        let work =
            Op { kind, shape, dtypes: Dtypes::all(Dtype::Bf16) }.work().expect("the shape belongs to it");
        assert!((work.flop - flop).abs() <= 1e-9 * flop, "{} operations, not {flop}", work.flop);
        assert!((work.bytes() - bytes).abs() <= 1e-9 * bytes, "{} bytes, not {bytes}", work.bytes());
    }

    #[test]
    fn a_product_counts_two_operations_a_term_and_each_operand_once() {
        // 2·2·3·5 = 60; (10 + 15 + 6)·2 B
        check(OpKind::Linear, Shape::Matrix { m: 2, n: 3, k: 5 }, 60.0, 62.0);
    }

    #[test]
    fn decode_attention_reads_the_whole_cache_once() {
        // One token sees 8 = 7 + itself: 4·2·8·4·16 FLOP; cache 2·2·8·2·16, queries and result 2·4·16 each, 2 B
        let shape = Shape::Attention {
            sequences: 2,
            new_tokens: 1,
            cached: 7,
            heads: 4,
            kv_heads: 2,
            head_dim: 16,
            page: 16,
        };
        check(OpKind::AttentionDecode, shape, 4096.0, 2.0 * (1024.0 + 128.0 + 128.0));
    }

    #[test]
    fn causal_prefill_counts_half_of_the_square() {
        // 4 tokens see 1+2+3+4 = 10 keys: 4·10·1·8
        let shape = Shape::Attention {
            sequences: 1,
            new_tokens: 4,
            cached: 0,
            heads: 1,
            kv_heads: 1,
            head_dim: 8,
            page: 0,
        };
        check(OpKind::AttentionPrefill, shape, 320.0, 2.0 * (32.0 + 64.0 + 32.0));
    }

    #[test]
    fn a_convolution_of_one_pixel_is_a_product() {
        let shape = Shape::Image {
            batch: 2,
            channels: 5,
            height: 1,
            width: 1,
            filters: 3,
            kernel: 1,
            stride: 1,
            padding: 0,
        };
        check(OpKind::Conv2d, shape, 60.0, 62.0);
    }

    #[test]
    fn few_tokens_reach_few_experts() {
        // One token of top-2 reaches exactly two of eight: 2·1·2·3·4·8 FLOP, weights 2·3·4·8, in and out 4 each
        let shape =
            Shape::Experts { tokens: 1, experts: 8, top_k: 2, hidden: 4, intermediate: 8, skew_percent: 0 };
        check(OpKind::MoeExperts, shape, 384.0, 2.0 * (192.0 + 8.0));
    }

    #[test]
    fn a_shape_of_another_operator_has_no_work() {
        let op = Op {
            kind: OpKind::Linear,
            shape: Shape::Rows { rows: 1, cols: 1 },
            dtypes: Dtypes::all(Dtype::F32),
        };
        assert_eq!(op.work(), None);
    }
}

//! Fused attention as a graph of cuDNN's operations. Pure: no GPU, no library.
//!
//! The one operation for all of it (cuDNN 9.13) takes a causal mask only from 9.21 on; the pattern of products, pointwise
//! operations and reductions that cuDNN fuses into one kernel is older and does both.

use stopwatt_core::kernel_table::{Dtype, Dtypes, Op, Shape};

use crate::case::CaseError;
use crate::cuda::ffi::cudnn::DataType;

/// Sizes of a causal prefill over a contiguous cache; the last new token sees all tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cuda) struct Form {
    pub(super) data: DataType,
    sequences: i64,
    fresh: i64,
    /// Tokens of a sequence, new ones too.
    all: i64,
    heads: i64,
    kv_heads: i64,
    head_dim: i64,
}

impl Form {
    pub(in crate::cuda) fn of(op: &Op) -> Result<Self, CaseError> {
        let unsupported = |reason: &str| Err(CaseError::Unsupported { reason: reason.to_owned() });
        let Shape::Attention { sequences, new_tokens, cached, heads, kv_heads, head_dim, page } = op.shape
        else {
            return unsupported("a shape that is not attention");
        };
        if page != 0 {
            return unsupported("a paged cache (page=0 is contiguous)");
        }
        let data = match op.dtypes.input {
            Dtype::Bf16 if op.dtypes == Dtypes::all(Dtype::Bf16) => DataType::Bf16,
            Dtype::F16 if op.dtypes == Dtypes::all(Dtype::F16) => DataType::F16,
            _ => return unsupported("formats other than bf16 or f16 throughout"),
        };
        let [sequences, fresh, cached, heads, kv_heads, head_dim] =
            [sequences, new_tokens, cached, heads, kv_heads, head_dim].map(i64::from);
        Ok(Self { data, sequences, fresh, all: cached + fresh, heads, kv_heads, head_dim })
    }

    /// The graph; masked scores become `masked`.
    pub(super) fn graph(&self, masked: f32) -> Graph {
        let Self { data, sequences, fresh, all, heads, kv_heads, head_dim } = *self;
        let mut graph = Graph { tensors: Vec::new(), nodes: Vec::new() };
        let f = DataType::F32;
        let tokens_of = |tokens, heads| [tokens * heads * head_dim, head_dim, heads * head_dim, 1];
        let query = graph.tensor(
            data,
            [sequences, heads, fresh, head_dim],
            tokens_of(fresh, heads),
            Role::Operand(0),
        );
        // Keys are the transposed right side of a product.
        let [sequence, head, token, one] = tokens_of(all, kv_heads);
        let key = graph.tensor(
            data,
            [sequences, kv_heads, head_dim, all],
            [sequence, head, one, token],
            Role::Operand(1),
        );
        let value = graph.tensor(
            data,
            [sequences, kv_heads, all, head_dim],
            tokens_of(all, kv_heads),
            Role::Operand(2),
        );
        // Position 3 of the plan's operands is the block table, which a contiguous cache does not need.
        let result = graph.tensor(
            data,
            [sequences, heads, fresh, head_dim],
            tokens_of(fresh, heads),
            Role::Operand(4),
        );

        let scores = |graph: &mut Graph, data| {
            let strides = [heads * fresh * all, fresh * all, all, 1];
            graph.tensor(data, [sequences, heads, fresh, all], strides, Role::Between)
        };
        let rows = |graph: &mut Graph| {
            graph.tensor(f, [sequences, heads, fresh, 1], [heads * fresh, fresh, 1, 1], Role::Between)
        };
        let product = scores(&mut graph, f);
        graph.nodes.push(Node::Matmul { a: query, b: key, c: product });
        let scale = graph.scalar(Value::F32(1.0 / (head_dim as f32).sqrt()));
        let scaled = scores(&mut graph, f);
        graph.pointwise(Mode::Mul, product, Some(scale), scaled);

        let i = DataType::I32;
        let mut row = scores(&mut graph, i);
        graph.pointwise(Mode::RowIndex, scaled, None, row);
        let column = scores(&mut graph, i);
        graph.pointwise(Mode::ColumnIndex, scaled, None, column);
        if all != fresh {
            // The diagonal ends in the lower right corner: rows count from the first new token.
            for (mode, length) in [(Mode::Add, all), (Mode::Sub, fresh)] {
                let length = graph.scalar(Value::I32(length as i32));
                let moved = scores(&mut graph, i);
                graph.pointwise(mode, row, Some(length), moved);
                row = moved;
            }
        }
        let seen = scores(&mut graph, DataType::Bool);
        graph.pointwise(Mode::NotLess, row, Some(column), seen);
        let least = graph.scalar(Value::F32(masked));
        let causal = scores(&mut graph, f);
        graph.nodes.push(Node::Pointwise {
            mode: Mode::Select,
            x: scaled,
            b: Some(least),
            t: Some(seen),
            y: causal,
        });

        let max = rows(&mut graph);
        graph.nodes.push(Node::Reduction { max: true, x: causal, y: max });
        let below = scores(&mut graph, f);
        graph.pointwise(Mode::Sub, causal, Some(max), below);
        let powers = scores(&mut graph, f);
        graph.pointwise(Mode::Exp, below, None, powers);
        let sum = rows(&mut graph);
        graph.nodes.push(Node::Reduction { max: false, x: powers, y: sum });
        // Nobody reads the logarithm of the denominator; without it the library does not know the pattern.
        let logarithm = rows(&mut graph);
        graph.pointwise(Mode::Log, sum, None, logarithm);
        let denominator = rows(&mut graph);
        graph.pointwise(Mode::Add, max, Some(logarithm), denominator);
        // The second product wants its left side in the operands' format.
        let weights = scores(&mut graph, data);
        graph.pointwise(Mode::Div, powers, Some(sum), weights);
        graph.nodes.push(Node::Matmul { a: weights, b: value, c: result });
        graph
    }
}

/// What holds a tensor.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Role {
    /// The plan's operand at this position.
    Operand(usize),
    /// A number of the host, given by value.
    Value(Value),
    /// Nothing: it goes from one operation to the next.
    Between,
}

/// A number.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Value {
    F32(f32),
    I32(i32),
}

/// A tensor; its position is its identity.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Tensor {
    pub(super) data: DataType,
    pub(super) dims: [i64; 4],
    /// In elements.
    pub(super) strides: [i64; 4],
    pub(super) role: Role,
}

/// What a pointwise operation computes from `x`, `b` and `t`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    Add,
    Sub,
    Mul,
    Div,
    Exp,
    Log,
    /// Position among the new tokens.
    RowIndex,
    /// Position among all tokens.
    ColumnIndex,
    /// `x ≥ b`
    NotLess,
    /// `x` where `t`, else `b`
    Select,
}

/// An operation between tensors, by their positions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Node {
    Matmul { a: usize, b: usize, c: usize },
    Pointwise { mode: Mode, x: usize, b: Option<usize>, t: Option<usize>, y: usize },
    Reduction { max: bool, x: usize, y: usize },
}

/// Operations in order.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Graph {
    pub(super) tensors: Vec<Tensor>,
    pub(super) nodes: Vec<Node>,
}

impl Graph {
    fn tensor(&mut self, data: DataType, dims: [i64; 4], strides: [i64; 4], role: Role) -> usize {
        self.tensors.push(Tensor { data, dims, strides, role });
        self.tensors.len() - 1
    }

    fn scalar(&mut self, value: Value) -> usize {
        let data = if matches!(value, Value::F32(_)) { DataType::F32 } else { DataType::I32 };
        self.tensor(data, [1; 4], [1; 4], Role::Value(value))
    }

    fn pointwise(&mut self, mode: Mode, x: usize, b: Option<usize>, y: usize) {
        self.nodes.push(Node::Pointwise { mode, x, b, t: None, y });
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use stopwatt_core::kernel_table::OpKind;

    use super::*;

    fn form(cached: u32, page: u32) -> Result<Form, CaseError> {
        let shape = Shape::Attention {
            sequences: 2,
            new_tokens: 3,
            cached,
            heads: 8,
            kv_heads: 2,
            head_dim: 64,
            page,
        };
        Form::of(&Op { kind: OpKind::AttentionPrefill, shape, dtypes: Dtypes::all(Dtype::Bf16) })
    }

    #[test]
    fn operands_lie_as_the_own_kernel_reads_them() {
        let graph = form(5, 0).unwrap().graph(f32::NEG_INFINITY);
        let operand = |at| *graph.tensors.iter().find(|t| t.role == Role::Operand(at)).unwrap();
        // Heads lie within a token: 3 new tokens of 8·64 elements, 8 tokens of 2·64 in the cache.
        assert_eq!(operand(0).strides, [1536, 64, 512, 1]);
        assert_eq!((operand(1).dims, operand(1).strides), ([2, 2, 64, 8], [1024, 64, 1, 128]));
        assert_eq!((operand(2).dims, operand(2).strides), ([2, 2, 8, 64], [1024, 64, 128, 1]));
        assert_eq!(operand(4).strides, operand(0).strides);
    }

    #[test]
    fn every_tensor_between_is_written_once_and_before_it_is_read() {
        for cached in [0, 5] {
            let graph = form(cached, 0).unwrap().graph(f32::MIN);
            let mut there: Vec<bool> =
                graph.tensors.iter().map(|t| t.role != Role::Between && t.role != Role::Operand(4)).collect();
            for node in &graph.nodes {
                let (read, written) = match *node {
                    Node::Matmul { a, b, c } => (vec![a, b], c),
                    Node::Pointwise { x, b, t, y, .. } => {
                        ([Some(x), b, t].into_iter().flatten().collect(), y)
                    }
                    Node::Reduction { x, y, .. } => (vec![x], y),
                };
                assert!(read.iter().all(|at| there[*at]), "{node:?}");
                assert!(!std::mem::replace(&mut there[written], true), "{node:?}");
            }
            assert!(there.into_iter().all(|t| t));
        }
    }

    #[test]
    fn cached_tokens_move_the_diagonal() {
        let moves = |cached| form(cached, 0).unwrap().graph(0.0).nodes.len();
        assert_eq!((moves(0), moves(5)), (14, 16));
    }

    #[test]
    fn what_it_does_not_cover_is_told() {
        assert!(form(0, 16).unwrap_err().to_string().contains("paged"));
    }
}

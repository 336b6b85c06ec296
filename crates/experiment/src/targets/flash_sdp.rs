//! `flash_sdp`: attention whose scores are written out as a matrix, against attention that never has them all.
//!
//! Plain: `S = scale · Q · Kᵀ` of `n × n` numbers a head, then softmax, then `S · V`: memory grows as n². Fused: scores
//! live for one tile of keys (online softmax), memory grows as n, and tiles above the diagonal are never computed.
//!
//! Both begin with the same rows of queries, keys and values and lay them out as they need them, within the time.

use stopwatt_kernel::cpu::{
    Cpu, KvLayer, KvLayerMut, KvShape, Matrix, Precision, Span, linear, paged_attention, softmax, store_kv,
};
use stopwatt_serving::random::Draws;

use super::{Done, Variant, Workload};

const BLOCK: usize = 16;

/// Causal attention of one sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FlashSdp {
    /// Tokens.
    pub tokens: usize,
    /// Heads, of queries and of keys alike.
    pub heads: usize,
    /// Numbers in a head.
    pub head_dim: usize,
}

impl Default for FlashSdp {
    fn default() -> Self {
        Self { tokens: 1024, heads: 8, head_dim: 64 }
    }
}

/// Rows of `heads × head_dim` numbers, one a token.
#[derive(Debug, Default)]
pub struct Rows {
    q: Vec<f32>,
    k: Vec<f32>,
    v: Vec<f32>,
}

impl FlashSdp {
    fn width(&self) -> usize {
        self.heads * self.head_dim
    }

    fn scale(&self) -> f32 {
        (self.head_dim as f32).sqrt().recip()
    }
}

impl Workload for FlashSdp {
    type Input = Rows;

    fn shape(&self) -> String {
        format!("tokens={} heads={} head_dim={}", self.tokens, self.heads, self.head_dim)
    }

    fn output_len(&self) -> usize {
        self.tokens * self.width()
    }

    fn draw(&self, draws: &mut Draws, into: &mut Rows) {
        for rows in [&mut into.q, &mut into.k, &mut into.v] {
            rows.clear();
            rows.extend((0..self.output_len()).map(|_| (draws.unit() * 4.0 - 2.0) as f32));
        }
    }

    fn baseline(&self, threads: usize) -> Result<Box<dyn Variant<Rows>>, String> {
        let Self { tokens, head_dim, .. } = *self;
        let matrix = |rows: usize, cols: usize| {
            Matrix::from_f32(rows, cols, Precision::F32, &vec![0.0; rows * cols]).map_err(|e| e.to_string())
        };
        Ok(Box::new(Materialised {
            of: *self,
            cpu: Cpu::new(threads),
            keys: matrix(tokens, head_dim)?,
            values: matrix(head_dim, tokens)?,
            queries: vec![0.0; tokens * head_dim],
            turned: vec![0.0; tokens * head_dim],
            scores: vec![0.0; tokens * tokens],
        }))
    }

    fn optimised(&self, threads: usize) -> Result<Box<dyn Variant<Rows>>, String> {
        let blocks = self.tokens.div_ceil(BLOCK);
        let shape = KvShape { block_size: BLOCK, kv_heads: self.heads, head_dim: self.head_dim };
        let numbers = blocks * shape.block_len();
        Ok(Box::new(Fused {
            of: *self,
            cpu: Cpu::new(threads),
            shape,
            table: (0..blocks as u32).collect(),
            keys: vec![0.0; numbers],
            values: vec![0.0; numbers],
        }))
    }
}

struct Materialised {
    of: FlashSdp,
    cpu: Cpu,
    keys: Matrix,
    /// Turned, since a product takes its right side by rows.
    values: Matrix,
    queries: Vec<f32>,
    turned: Vec<f32>,
    scores: Vec<f32>,
}

impl Variant<Rows> for Materialised {
    fn work(&mut self, input: &Rows, output: &mut [f32]) -> Result<Done, String> {
        let FlashSdp { tokens, heads, head_dim } = self.of;
        let (width, scale) = (self.of.width(), self.of.scale());
        for head in 0..heads {
            for t in 0..tokens {
                let (from, to) = (t * width + head * head_dim, t * head_dim);
                self.queries[to..][..head_dim].copy_from_slice(&input.q[from..][..head_dim]);
                self.turned[to..][..head_dim].copy_from_slice(&input.k[from..][..head_dim]);
            }
            self.keys.write_rows(0, &self.turned);
            for t in 0..tokens {
                for (i, v) in input.v[t * width + head * head_dim..][..head_dim].iter().enumerate() {
                    self.turned[i * tokens + t] = *v;
                }
            }
            self.values.write_rows(0, &self.turned);
            linear(&self.cpu, &self.queries, &self.keys, &mut self.scores);
            for (t, row) in self.scores.chunks_exact_mut(tokens).enumerate() {
                let (seen, hidden) = row.split_at_mut(t + 1);
                seen.iter_mut().for_each(|s| *s *= scale);
                hidden.fill(f32::NEG_INFINITY);
                softmax(&self.cpu, row);
            }
            linear(&self.cpu, &self.scores, &self.values, &mut self.queries);
            for t in 0..tokens {
                output[t * width + head * head_dim..][..head_dim]
                    .copy_from_slice(&self.queries[t * head_dim..][..head_dim]);
            }
        }
        Ok(Done { tokens: Some(tokens as u32), metrics: Vec::new() })
    }

    fn held_bytes(&self) -> usize {
        let numbers = self.queries.capacity() + self.turned.capacity() + self.scores.capacity();
        numbers * size_of::<f32>() + self.keys.bytes() + self.values.bytes()
    }
}

struct Fused {
    of: FlashSdp,
    cpu: Cpu,
    shape: KvShape,
    table: Vec<u32>,
    keys: Vec<f32>,
    values: Vec<f32>,
}

impl Variant<Rows> for Fused {
    fn work(&mut self, input: &Rows, output: &mut [f32]) -> Result<Done, String> {
        let FlashSdp { tokens, heads, .. } = self.of;
        let width = self.of.width();
        let spans = [Span { first_row: 0, rows: tokens, position: 0, blocks: &self.table }];
        let layer = KvLayerMut { shape: self.shape, keys: &mut self.keys, values: &mut self.values };
        store_kv(layer, &input.k, &input.v, width, &spans);
        let layer = KvLayer { shape: self.shape, keys: &self.keys, values: &self.values };
        paged_attention(&self.cpu, &input.q, width, heads, layer, &spans, self.of.scale(), output);
        Ok(Done { tokens: Some(tokens as u32), metrics: Vec::new() })
    }

    fn held_bytes(&self) -> usize {
        (self.keys.capacity() + self.values.capacity()) * size_of::<f32>()
            + self.table.capacity() * size_of::<u32>()
    }
}

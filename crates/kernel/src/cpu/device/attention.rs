//! Attention over the paged cache, as the engine runs it. A contiguous cache is one whose blocks ascend.

use stopwatt_core::kernel_table::{Op, Shape};

use super::{Operation, Setup, f32_bytes, multiple, sizes, unsupported};
use crate::case::CaseError;
use crate::cpu::random::Random;
use crate::cpu::{Buffer, Cpu, KvLayer, KvShape, Span, paged_attention};

/// Tokens of a block where the shape does not say.
const BLOCK: usize = 16;
/// Pairs of a row and a head that are computed again in double precision.
const CHECKED: usize = 12;

pub(super) struct Attention {
    kv: KvShape,
    heads: usize,
    new_tokens: usize,
    cached: usize,
    /// Blocks of each sequence.
    tables: Vec<Vec<u32>>,
    sets: Vec<Set>,
}

struct Set {
    q: Buffer,
    keys: Buffer,
    values: Buffer,
    y: Buffer,
}

impl Attention {
    pub(super) fn new(op: &Op, setup: &mut Setup) -> Result<Self, CaseError> {
        let Shape::Attention { sequences, new_tokens, cached, heads, kv_heads, head_dim, page } = op.shape
        else {
            return unsupported("not the shape of attention");
        };
        let [sequences, new_tokens, heads, kv_heads, head_dim] =
            sizes([sequences, new_tokens, heads, kv_heads, head_dim])?;
        if !heads.is_multiple_of(kv_heads) {
            return unsupported("query heads are not a multiple of key-value heads");
        }
        let block_size = if page == 0 { BLOCK } else { page as usize };
        let kv = KvShape { block_size, kv_heads, head_dim };
        let blocks = (cached as usize + new_tokens).div_ceil(block_size);
        let mut order: Vec<u32> = (0..(sequences * blocks) as u32).collect();
        if page > 0 {
            for i in (1..order.len()).rev() {
                order.swap(i, setup.random.below(i + 1));
            }
        }
        let tables = order.chunks_exact(blocks).map(<[u32]>::to_vec).collect();
        let rows = sequences * new_tokens * heads * head_dim;
        let cache = sequences * blocks * kv.block_len();
        let sets = (0..setup.copies(f32_bytes(2 * rows + 2 * cache))?)
            .map(|_| {
                Ok(Set {
                    q: setup.buffer(rows)?,
                    keys: setup.buffer(cache)?,
                    values: setup.buffer(cache)?,
                    y: setup.buffer(rows)?,
                })
            })
            .collect::<Result<_, CaseError>>()?;
        Ok(Self { kv, heads, new_tokens, cached: cached as usize, tables, sets })
    }

    fn scale(&self) -> f32 {
        1.0 / (self.kv.head_dim as f32).sqrt()
    }

    /// Deviation of one head of one row of the first set.
    fn head(&self, row: usize, head: usize) -> f64 {
        let (set, dim, size) = (&self.sets[0], self.kv.head_dim, self.kv.block_size);
        let table = &self.tables[row / self.new_tokens];
        let seen = self.cached + row % self.new_tokens + 1;
        let kv_head = head / (self.heads / self.kv.kv_heads);
        let at = (row * self.heads + head) * dim;
        let q = &set.q[at..][..dim];
        let place = |token: usize| (self.kv.head_begin(table[token / size], kv_head), token % size);
        let scores: Vec<f64> = (0..seen)
            .map(|token| {
                let (begin, slot) = place(token);
                let key = |i: usize| f64::from(set.keys[begin + i * size + slot]);
                let dot: f64 = (0..dim).map(|i| f64::from(q[i]) * key(i)).sum();
                dot * f64::from(self.scale())
            })
            .collect();
        let largest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = scores.iter().map(|s| (s - largest).exp()).sum();
        let (mut exact, mut sizes) = (vec![0.0; dim], vec![0.0; dim]);
        for (token, score) in scores.iter().enumerate() {
            let (begin, slot) = place(token);
            let share = (score - largest).exp() / sum;
            for i in 0..dim {
                let v = share * f64::from(set.values[begin + slot * dim + i]);
                exact[i] += v;
                sizes[i] += v.abs();
            }
        }
        let found = &set.y[at..][..dim];
        (0..dim).map(|i| multiple(found[i], exact[i], 2e-5 * sizes[i])).fold(0.0, f64::max)
    }
}

impl Operation for Attention {
    fn kernel(&self) -> &'static str {
        "paged_attention"
    }

    fn copies(&self) -> usize {
        self.sets.len()
    }

    fn refill(&mut self, random: &mut Random) {
        let set = &mut self.sets[0];
        random.fill(&mut set.q);
        random.fill(&mut set.keys);
        random.fill(&mut set.values);
        set.y.fill(f32::NAN);
    }

    fn call(&mut self, cpu: &Cpu, copy: usize) {
        let spans: Vec<Span<'_>> = self
            .tables
            .iter()
            .enumerate()
            .map(|(index, blocks)| Span {
                first_row: index * self.new_tokens,
                rows: self.new_tokens,
                position: self.cached,
                blocks,
            })
            .collect();
        let (scale, stride) = (self.scale(), self.heads * self.kv.head_dim);
        let Set { q, keys, values, y } = &mut self.sets[copy];
        let layer = KvLayer { shape: self.kv, keys, values };
        paged_attention(cpu, q, stride, self.heads, layer, &spans, scale, y);
    }

    fn deviation(&self, random: &mut Random) -> f64 {
        if self.sets[0].y.iter().any(|v| v.is_nan()) {
            return f64::INFINITY;
        }
        let rows = self.tables.len() * self.new_tokens;
        (0..CHECKED).map(|_| self.head(random.below(rows), random.below(self.heads))).fold(0.0, f64::max)
    }
}

//! Attention over a paged key/value cache, for prefill chunks and decode steps alike.
//!
//! ```text
//! keys    block ─► kv head ─► head_dim × block_size   (transposed: one load brings one number of many keys)
//! values  block ─► kv head ─► block_size × head_dim
//! ```
//!
//! A sequence owns a table of blocks in any order; token `t` is in slot `t % block_size` of `table[t / block_size]`.
//! Row `r` of a span sees the tokens up to its own position (causal). Softmax is computed online, tile by tile of
//! keys, so that no score matrix of the whole context exists (Milakov and Gimelshein 2018, Dao et al. 2022).

mod products;
mod store;
mod tile;

use std::cell::RefCell;

use super::simd::dispatch;
use super::threads::{Cpu, Output};
pub use store::store_kv;

/// Shape of the cache of one layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KvShape {
    /// Tokens in a block. A multiple of 16 is fastest.
    pub block_size: usize,
    /// Key/value heads.
    pub kv_heads: usize,
    /// Numbers in a head.
    pub head_dim: usize,
}

impl KvShape {
    /// Numbers in the keys (and as many in the values) of one block.
    pub fn block_len(&self) -> usize {
        self.block_size * self.kv_heads * self.head_dim
    }

    /// Where the part of one head in one block begins.
    pub(crate) fn head_begin(&self, block: u32, head: usize) -> usize {
        (block as usize * self.kv_heads + head) * self.head_dim * self.block_size
    }
}

/// The cache of one layer.
#[derive(Debug, Clone, Copy)]
pub struct KvLayer<'a> {
    /// Its shape.
    pub shape: KvShape,
    /// Keys, in the layout that the module describes.
    pub keys: &'a [f32],
    /// Values, in the layout that the module describes.
    pub values: &'a [f32],
}

/// The cache of one layer, for writing.
#[derive(Debug)]
pub struct KvLayerMut<'a> {
    /// Its shape.
    pub shape: KvShape,
    /// Keys, in the layout that the module describes.
    pub keys: &'a mut [f32],
    /// Values, in the layout that the module describes.
    pub values: &'a mut [f32],
}

/// Consecutive rows of a step that belong to one sequence.
#[derive(Debug, Clone, Copy)]
pub struct Span<'a> {
    /// Index of the first row.
    pub first_row: usize,
    /// Number of rows.
    pub rows: usize,
    /// Position of the first row in its sequence: the tokens that are in the cache before it.
    pub position: usize,
    /// Blocks of the sequence. They must cover `position + rows` tokens.
    pub blocks: &'a [u32],
}

/// `out[r] = softmax(scale · q[r] · Kᵀ) · V` for each head of each row of each span.
///
/// `q` holds rows that begin `q_stride` numbers apart, each with `heads × head_dim` numbers; `out` holds as many rows
/// without gaps. Query heads share key/value heads in groups of `heads / kv_heads`. Keys and values of the rows
/// themselves must be in the cache already.
///
/// # Panics
///
/// When a span reaches beyond `q`, `out`, its own block table or the cache, or when spans do not ascend by row.
pub fn paged_attention(
    cpu: &Cpu,
    q: &[f32],
    q_stride: usize,
    heads: usize,
    kv: KvLayer<'_>,
    spans: &[Span<'_>],
    scale: f32,
    out: &mut [f32],
) {
    let shape = kv.shape;
    let width = heads * shape.head_dim;
    assert!(heads.is_multiple_of(shape.kv_heads) && width <= q_stride, "paged_attention: heads do not fit");
    let group = heads / shape.kv_heads;
    let tile_rows = (tile::QUERIES / group).max(1);
    let mut tasks = Vec::new();
    let mut free_row = 0;
    for span in spans {
        if span.rows == 0 {
            continue;
        }
        // Rows are written by several threads: no row may belong to two spans.
        assert!(span.first_row >= free_row, "paged_attention: spans overlap or do not ascend");
        free_row = span.first_row + span.rows;
        let last = span.first_row + span.rows - 1;
        assert!(
            q.len() >= last * q_stride + width && out.len() >= (last + 1) * width,
            "paged_attention: rows"
        );
        check_blocks(&shape, span, kv.keys.len().min(kv.values.len()));
        for begin in (0..span.rows).step_by(tile_rows) {
            let rows = tile_rows.min(span.rows - begin);
            tasks.extend((0..shape.kv_heads).map(|head| (span, begin, rows, head)));
        }
    }
    let out = Output::new(out);
    cpu.each(tasks.len(), |task| {
        thread_local! {
            static SCRATCH: RefCell<tile::Scratch> = RefCell::default();
        }
        let (span, begin, rows, head) = tasks[task];
        let tile = tile::Tile { q, q_stride, heads, group, kv, span, begin, rows, head, scale, out };
        SCRATCH.with_borrow_mut(|scratch| dispatch(cpu.isa(), tile::Attend(tile, scratch)));
    });
}

fn check_blocks(shape: &KvShape, span: &Span<'_>, numbers: usize) {
    let needed = (span.position + span.rows).div_ceil(shape.block_size);
    assert!(span.blocks.len() >= needed, "block table is shorter than its sequence");
    let present = numbers / shape.block_len();
    assert!(span.blocks[..needed].iter().all(|&b| (b as usize) < present), "block is not in the cache");
}

//! Writing new keys and values into the cache.

use super::{KvLayerMut, Span, check_blocks};

/// Writes the keys and values of every row of every span to its slot in the cache.
///
/// Rows of `k` and `v` begin `stride` numbers apart, each with `kv_heads × head_dim` numbers.
///
/// # Panics
///
/// When a span reaches beyond `k`, `v`, its own block table or the cache.
pub fn store_kv(kv: KvLayerMut<'_>, k: &[f32], v: &[f32], stride: usize, spans: &[Span<'_>]) {
    let shape = kv.shape;
    let (size, dim) = (shape.block_size, shape.head_dim);
    for span in spans {
        check_blocks(&shape, span, kv.keys.len().min(kv.values.len()));
        for r in 0..span.rows {
            let (block, slot) = ((span.position + r) / size, (span.position + r) % size);
            let row = (span.first_row + r) * stride;
            for head in 0..shape.kv_heads {
                let begin = shape.head_begin(span.blocks[block], head);
                let k = &k[row + head * dim..][..dim];
                let keys = &mut kv.keys[begin..][..size * dim];
                keys[slot..].iter_mut().step_by(size).zip(k).for_each(|(to, from)| *to = *from);
                let v = &v[row + head * dim..][..dim];
                kv.values[begin + slot * dim..][..dim].copy_from_slice(v);
            }
        }
    }
}

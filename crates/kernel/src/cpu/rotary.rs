//! Rotary position embedding, in Hugging Face's half-split convention.
//!
//! Number `i` of a head pairs with number `i + d/2`; GGUF files interleave the pairs instead, which their loader
//! undoes.

/// The angles of one step: cosine and sine for each row and pair.
#[derive(Debug, Clone, Default)]
pub struct Rotary {
    cos: Vec<f32>,
    sin: Vec<f32>,
    pairs: usize,
}

impl Rotary {
    /// Computes the angles `position × frequency` for each row.
    ///
    /// The product is rounded to `f32` before its cosine is taken, as PyTorch does, so that long contexts agree with
    /// the implementation that models are trained with.
    pub fn fill(&mut self, positions: &[usize], frequencies: &[f32]) {
        self.pairs = frequencies.len();
        self.cos.clear();
        self.sin.clear();
        for &position in positions {
            for &frequency in frequencies {
                let (sin, cos) = f64::from(position as f32 * frequency).sin_cos();
                self.cos.push(cos as f32);
                self.sin.push(sin as f32);
            }
        }
    }
}

/// Rotates `heads` heads at the begin of each row of `x`; rows begin `stride` numbers apart.
///
/// # Panics
///
/// When `x` does not hold the rows that `angles` was filled for.
pub fn rotate(angles: &Rotary, x: &mut [f32], stride: usize, heads: usize) {
    let pairs = angles.pairs;
    assert!(pairs > 0 && heads * 2 * pairs <= stride, "rotate: heads are longer than a row");
    assert!(x.len().div_ceil(stride) == angles.cos.len() / pairs, "rotate: rows differ");
    let rows = x.chunks_mut(stride).zip(angles.cos.chunks_exact(pairs)).zip(angles.sin.chunks_exact(pairs));
    for ((row, cos), sin) in rows {
        for head in row[..heads * 2 * pairs].chunks_exact_mut(2 * pairs) {
            let (low, high) = head.split_at_mut(pairs);
            for (((low, high), cos), sin) in low.iter_mut().zip(high).zip(cos).zip(sin) {
                let (a, b) = (*low, *high);
                *low = a * cos - b * sin;
                *high = b * cos + a * sin;
            }
        }
    }
}

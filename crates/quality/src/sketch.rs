//! A text as a few bits that can be kept where the text may not: they tell how alike two texts are, and not what they say.
//!
//! The bits are the signs of projections of the n-gram vector ([`crate::ngram`]) onto 256 directions of ±1. Two texts
//! whose vectors are at an angle θ differ in a share θ/π of them (Charikar, "Similarity estimation techniques from
//! rounding algorithms", STOC 2002), so the cosine is known to about 0.1, and the mean of many far better.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ngram::Vector;

/// Bits of a sketch.
const BITS: u32 = 256;

/// What is kept of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Sketch {
    /// A hash of the whole text, the caller's.
    pub hash: u64,
    /// Signs of the projections; `None` for a text without characters.
    pub signs: Option<[u64; 4]>,
}

impl Sketch {
    /// The sketch of a text with this hash.
    pub fn of(hash: u64, text: &str) -> Self {
        Self { hash, signs: Vector::of(text).map(|v| v.signs()) }
    }

    /// Whether the texts are the same.
    pub fn is_same(&self, other: &Self) -> bool {
        self.hash == other.hash
    }

    /// About the cosine of the texts, from 0 to 1: 1 for the same, 0 where one is empty.
    pub fn cosine(&self, other: &Self) -> f64 {
        if self.is_same(other) {
            return 1.0;
        }
        let (Some(a), Some(b)) = (self.signs, other.signs) else { return 0.0 };
        let apart: u32 = a.iter().zip(b).map(|(a, b)| (a ^ b).count_ones()).sum();
        (std::f64::consts::PI * f64::from(apart) / f64::from(BITS)).cos().max(0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sketch_tells_about_the_cosine() {
        let texts = [
            "환자는 고혈압으로 외래에 내원하였으며 혈압은 150에 95로 측정되었다.",
            "환자는 당뇨병으로 외래에 내원하였으며 혈당은 190으로 측정되었다.",
            "The patient came with high blood pressure, which was 150 over 95.",
            "The patient came with high blood sugar, which was 190.",
            "하루 세 번 식후 30분에 드십시오.",
        ];
        let (mut error, mut pairs) = (0.0, 0.0);
        for (i, a) in texts.iter().enumerate() {
            for (j, b) in texts.iter().enumerate().skip(i) {
                let exact = Vector::of(a).unwrap().cosine(&Vector::of(b).unwrap()).max(0.0);
                let found = Sketch::of(i as u64, a).cosine(&Sketch::of(j as u64, b));
                // Standard deviation π/2/√256 ≈ 0.098 at a right angle, less elsewhere: four of them.
                assert!((found - exact).abs() < 0.4, "{found} for {exact}");
                (error, pairs) = (error + found - exact, pairs + 1.0);
            }
        }
        assert!((error / pairs).abs() < 0.1, "{}", error / pairs);
        assert_eq!(Sketch::of(1, "").cosine(&Sketch::of(2, "가")), 0.0);
        assert_eq!(Sketch::of(1, "").cosine(&Sketch::of(1, "")), 1.0);
    }
}

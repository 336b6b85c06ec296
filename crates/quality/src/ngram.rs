//! Texts as vectors of hashed character n-grams: how alike two texts are, without a model and in every language.
//!
//! Characters, not words: Korean glues particles to nouns, so `병원에서` and `병원의` share no word but most of their
//! characters. Features are the n-grams of one to three characters, hashed to 4096 places with a sign (Weinberger and
//! others, "Feature hashing for large scale multitask learning", ICML 2009), weighted 1 + ln(count) (Salton & Buckley,
//! Information Processing & Management 24 (1988), 513–523). The hash is FNV-1a, the same on every platform.

use std::collections::HashMap;

use crate::Profile;

/// Places of a vector.
const PLACES: u64 = 4096;
/// Characters of the longest n-gram.
const LONGEST: usize = 3;

/// A text as a direction.
#[derive(Debug, Clone, PartialEq)]
pub struct Vector {
    values: Vec<f32>,
}

impl Vector {
    /// The vector of a text, case and white space made alike; `None` for a text without characters.
    pub fn of(text: &str) -> Option<Self> {
        let text: Vec<char> = Profile::Text.apply(text).to_lowercase().chars().collect();
        let mut counts: HashMap<&[char], u32> = HashMap::new();
        for n in 1..=LONGEST {
            for gram in text.windows(n) {
                *counts.entry(gram).or_insert(0) += 1;
            }
        }
        let mut values = vec![0.0; PLACES as usize];
        for (gram, count) in counts {
            let hash = fnv(gram);
            let weight = 1.0 + f64::from(count).ln();
            let sign = if hash >> 63 == 0 { weight } else { -weight };
            values[(hash % PLACES) as usize] += sign;
        }
        let length = values.iter().map(|v| v * v).sum::<f64>().sqrt();
        (length > 0.0).then(|| Self { values: values.iter().map(|v| (v / length) as f32).collect() })
    }

    /// The cosine of two texts: 1 for the same, about 0 for texts that share nothing.
    pub fn cosine(&self, other: &Self) -> f64 {
        self.values.iter().zip(&other.values).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
    }

    /// The signs of its projections onto 256 fixed directions of ±1.
    pub(crate) fn signs(&self) -> [u64; 4] {
        let mut sums = [0.0_f32; 256];
        for (place, value) in self.values.iter().enumerate().filter(|(_, v)| **v != 0.0) {
            for word in 0..4 {
                let directions = mixed(place as u64 * 4 + word as u64);
                for (bit, sum) in sums[word * 64..][..64].iter_mut().enumerate() {
                    *sum += if directions >> bit & 1 == 1 { *value } else { -value };
                }
            }
        }
        std::array::from_fn(|word| {
            let bits = sums[word * 64..][..64].iter().enumerate();
            bits.fold(0, |all, (bit, sum)| all | u64::from(*sum > 0.0) << bit)
        })
    }
}

/// The finaliser of SplitMix64 (Steele, Lea & Flood, OOPSLA 2014).
fn mixed(z: u64) -> u64 {
    let z = z.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// FNV-1a over the code points, its bits mixed (the low ones are used as a place).
fn fnv(gram: &[char]) -> u64 {
    let hash = gram
        .iter()
        .flat_map(|c| (*c as u32).to_le_bytes())
        .fold(0xcbf2_9ce4_8422_2325_u64, |h, byte| (h ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    (hash ^ (hash >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cosine(a: &str, b: &str) -> f64 {
        Vector::of(a).unwrap().cosine(&Vector::of(b).unwrap())
    }

    #[test]
    fn likeness_orders_texts_also_in_korean() {
        let asked = "고혈압 환자의 약물 치료는 어떻게 하나요?";
        let to_the_point = cosine(asked, "고혈압 환자는 약물 치료로 이뇨제를 먼저 씁니다.");
        let beside_it = cosine(asked, "오늘 서울의 날씨는 맑고 바람이 붑니다.");
        assert!(to_the_point > beside_it + 0.2, "{to_the_point} and {beside_it}");
        assert!((cosine(asked, asked) - 1.0).abs() < 1e-6);
        // Particles differ, words are the same.
        assert!(cosine("병원에서", "병원의") > 0.4);
    }

    #[test]
    fn texts_that_share_nothing_are_near_zero() {
        let far = cosine(&"abcdefgh ".repeat(5), &"가나다라마".repeat(9));
        assert!(far.abs() < 0.1, "{far}");
        assert!(Vector::of(" \n").is_none() || Vector::of("").is_none());
    }

    #[test]
    fn normal_forms_and_case_are_alike() {
        assert!(
            (cosine("Caf\u{e9} 한글", "cafe\u{301} \u{1112}\u{1161}\u{11ab}\u{1100}\u{1173}\u{11af}") - 1.0)
                .abs()
                < 1e-6
        );
    }
}

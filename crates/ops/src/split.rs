//! Which variant of an A/B split a request belongs to.
//!
//! Weighted rendezvous hashing (Thaler & Ravishankar 1998; the weights as in Schindelhauer & Schomaker 2005): the
//! variant with the largest −weight / ln(hash of key and name). A key keeps its variant as long as there is one; a
//! variant that is added, removed or given another weight moves only the keys that must move.

use sha2::{Digest as _, Sha256};

/// The share of the keys that a variant gets.
#[derive(Debug, Clone, PartialEq)]
pub struct Variant {
    /// Its name.
    pub name: String,
    /// Its weight, above 0.
    pub weight: f64,
}

/// Index of the variant that `key` belongs to; `None` without variants.
pub fn choose(variants: &[Variant], key: &[u8]) -> Option<usize> {
    if variants.len() < 2 {
        return (!variants.is_empty()).then_some(0);
    }
    let score = |v: &Variant| -v.weight / uniform(&v.name, key).ln();
    let scores = variants.iter().map(score).enumerate();
    scores.max_by(|a, b| a.1.total_cmp(&b.1)).map(|(i, _)| i)
}

/// A number between 0 and 1 that depends on name and key only, on every platform.
fn uniform(name: &str, key: &[u8]) -> f64 {
    let mut hash = Sha256::new();
    hash.update((name.len() as u64).to_le_bytes());
    hash.update(name.as_bytes());
    hash.update(key);
    let digest = hash.finalize();
    let bits = u64::from_le_bytes(digest[..8].try_into().expect("a digest has 32 bytes"));
    ((bits >> 11) as f64 + 0.5) / (1u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variants(weights: &[f64]) -> Vec<Variant> {
        let name = |i: usize| char::from(b'a' + i as u8).to_string();
        weights.iter().enumerate().map(|(i, w)| Variant { name: name(i), weight: *w }).collect()
    }

    fn shares(variants: &[Variant]) -> Vec<usize> {
        let mut counts = vec![0; variants.len()];
        for key in 0..10_000_u32 {
            counts[choose(variants, &key.to_le_bytes()).unwrap()] += 1;
        }
        counts
    }

    #[test]
    fn keys_divide_by_weight() {
        let counts = shares(&variants(&[9.0, 1.0]));
        // Binomial: standard deviation 30; the bound is four of them.
        assert!(counts[1].abs_diff(1000) < 120, "{counts:?}");
        let counts = shares(&variants(&[1.0, 1.0, 2.0]));
        assert!(counts[2].abs_diff(5000) < 200, "{counts:?}");
    }

    #[test]
    fn a_further_variant_takes_keys_and_moves_no_others() {
        let (two, three) = (variants(&[1.0, 1.0]), variants(&[1.0, 1.0, 1.0]));
        for key in 0..2000_u32 {
            let key = key.to_le_bytes();
            let (was, is) = (choose(&two, &key), choose(&three, &key));
            assert!(is == was || is == Some(2));
        }
    }

    #[test]
    fn one_variant_takes_all_and_none_takes_nothing() {
        assert_eq!(choose(&variants(&[1.0]), b"k"), Some(0));
        assert_eq!(choose(&[], b"k"), None);
    }
}

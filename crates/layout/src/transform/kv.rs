//! K: a cache of keys and values that is made smaller.
//!
//! Tokens are kept that got the most attention so far, besides the first few, which attract attention whatever they say
//! (Xiao et al., "Efficient streaming language models with attention sinks", arXiv 2309.17453), and the most recent
//! (Zhang et al., "H2O: heavy-hitter oracle", arXiv 2306.14048). What is kept can be rounded with [`quant`](super::quant)
//! row by row.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::TransformError;

/// What is kept of a cache.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Eviction {
    /// Share of the tokens that is dropped.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub drop: f64,
    /// First tokens, which are always kept.
    pub sinks: usize,
    /// Last tokens, which are always kept.
    pub recent: usize,
}

impl Default for Eviction {
    fn default() -> Self {
        Self { drop: 0.5, sinks: 4, recent: 32 }
    }
}

/// The tokens that are kept, ascending. `attention` is how much attention each got; among equals the earlier stays.
/// Sinks and recent tokens are kept even where they are more than the share that may stay.
///
/// # Errors
/// A share outside 0 to 1, or attention that is no number.
pub fn kept(attention: &[f64], eviction: &Eviction) -> Result<Vec<u32>, TransformError> {
    if !(0.0..=1.0).contains(&eviction.drop) {
        return Err(TransformError::Rate { rate: eviction.drop });
    }
    if let Some(col) = attention.iter().position(|v| !v.is_finite()) {
        return Err(TransformError::NotFinite { row: 0, col });
    }
    let n = attention.len();
    let stay = n - (eviction.drop * n as f64).round() as usize;
    let always = |i: usize| i < eviction.sinks || i + eviction.recent >= n;
    let mut kept: Vec<u32> = (0..n).filter(|&i| always(i)).map(|i| i as u32).collect();
    let mut others: Vec<usize> = (0..n).filter(|&i| !always(i)).collect();
    others.sort_by(|&a, &b| attention[b].total_cmp(&attention[a]));
    kept.extend(others.into_iter().take(stay.saturating_sub(kept.len())).map(|i| i as u32));
    kept.sort_unstable();
    Ok(kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sinks_recent_ones_and_the_most_attended_stay() {
        let attention = [0.0, 0.1, 0.9, 0.2, 0.5, 0.3, 0.0, 0.0];
        let keep = |drop, sinks, recent| kept(&attention, &Eviction { drop, sinks, recent }).unwrap();
        assert_eq!(keep(0.5, 1, 1), [0, 2, 4, 7]);
        assert_eq!(keep(0.0, 1, 1), [0, 1, 2, 3, 4, 5, 6, 7]);
        // What is always kept is more than may stay.
        assert_eq!(keep(1.0, 2, 2), [0, 1, 6, 7]);
        assert_eq!(keep(0.75, 0, 0), [2, 4]);
    }

    #[test]
    fn nonsense_is_refused() {
        assert!(kept(&[0.0], &Eviction { drop: 1.5, ..Eviction::default() }).is_err());
        assert!(kept(&[0.0], &Eviction { drop: f64::NAN, ..Eviction::default() }).is_err());
        assert!(matches!(
            kept(&[0.0, f64::NAN], &Eviction::default()),
            Err(TransformError::NotFinite { col: 1, .. })
        ));
        assert_eq!(kept(&[], &Eviction::default()), Ok(vec![]));
    }
}

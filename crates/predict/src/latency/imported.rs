//! How far rows that somebody else measured are trusted.
//!
//! Left-out rows say how well a table predicts itself, not how far it is from this device in this engine's hands: another
//! version of the libraries, operands that stay in a cache, one sample a point. That shows where both tables have the very
//! row, which is so for products: their factors are the middle 90 % of measured over imported on an H100. For kinds of
//! which no measured row stands for the engine's kernel they are a judgement, and wide. Every interval is the root of the
//! sum of both squares.

use stopwatt_core::kernel_table::OpKind;

use super::spread::Spread;

/// Middle 90 % of measured over imported: 58 products in 16 bits that the built-in table of an H100 and AIConfigurator
/// 0.12.0 (vLLM 0.24.0) both have; the median is 1.000. On an H200, which is not in it, 56 of 58 lie inside.
const PRODUCTS: Spread = Spread { lo: 0.89, hi: 1.06 };
/// By judgement: in these tables operands of attention and of sums that fit the cache stay in it, so that the engine's take
/// longer, up to twice where they are small.
const OTHERS: Spread = Spread { lo: 0.70, hi: 1.50 };

/// Factors on an imported time within which measured ones lie.
pub(super) fn between(kind: OpKind) -> Spread {
    match kind {
        OpKind::Linear => PRODUCTS,
        _ => OTHERS,
    }
}

/// The spread of left-out rows made wider by that between tables.
pub(super) fn widened(own: Spread, kind: OpKind) -> Spread {
    let other = between(kind);
    Spread {
        lo: (1.0 - (1.0 - own.lo.min(1.0)).hypot(1.0 - other.lo)).max(0.05),
        hi: 1.0 + (own.hi.max(1.0) - 1.0).hypot(other.hi - 1.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn squares_add_up() {
        let Spread { lo, hi } = widened(Spread { lo: 0.97, hi: 1.1 }, OpKind::Linear);
        assert!((lo - (1.0 - 0.03_f64.hypot(1.0 - PRODUCTS.lo))).abs() < 1e-12);
        assert!((hi - (1.0 + 0.1_f64.hypot(PRODUCTS.hi - 1.0))).abs() < 1e-12);
        assert!(widened(Spread { lo: 0.0, hi: 1.0 }, OpKind::MoeExperts).lo > 0.0);
    }
}

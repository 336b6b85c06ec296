//! Errors by kind, and the rates made of them.

use std::hash::Hash;
use std::ops::AddAssign;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::edit::{Op, align};

/// Errors of a reading against its reference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct Counts {
    /// Symbols of the reference.
    pub reference: u64,
    /// Symbols that stand for another.
    pub substitutions: u64,
    /// Symbols of the reference that are missing.
    pub deletions: u64,
    /// Symbols that are not in the reference.
    pub insertions: u64,
}

impl Counts {
    /// Compares two sequences.
    pub fn of<T: Eq + Hash>(reference: &[T], hypothesis: &[T]) -> Self {
        Self::of_ops(&align(reference, hypothesis))
    }

    /// Counts an alignment.
    pub fn of_ops(ops: &[Op]) -> Self {
        let mut counts = Self::default();
        for op in ops {
            match op {
                Op::Equal => {}
                Op::Substitute => counts.substitutions += 1,
                Op::Delete => counts.deletions += 1,
                Op::Insert => counts.insertions += 1,
            }
            counts.reference += u64::from(*op != Op::Insert);
        }
        counts
    }

    /// All errors.
    pub fn errors(&self) -> u64 {
        self.substitutions + self.deletions + self.insertions
    }

    /// Errors a symbol of the reference, which may exceed 1; `None` where the reference is empty.
    pub fn rate(&self) -> Option<f64> {
        (self.reference > 0).then(|| self.errors() as f64 / self.reference as f64)
    }
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.reference += other.reference;
        self.substitutions += other.substitutions;
        self.deletions += other.deletions;
        self.insertions += other.insertions;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_of_errors_by_hand() {
        // 아스피린 100mg → 아스피린정 10mg: one syllable added, one digit lost.
        let of =
            |a: &str, b: &str| Counts::of(&a.chars().collect::<Vec<_>>(), &b.chars().collect::<Vec<_>>());
        let c = of("아스피린 100mg", "아스피린정 10mg");
        assert_eq!((c.reference, c.substitutions, c.deletions, c.insertions), (10, 0, 1, 1));
        assert_eq!(c.rate(), Some(0.2));
        let c = of("5mg", "15 mgg");
        assert_eq!((c.insertions, c.errors(), c.rate()), (3, 3, Some(1.0)));
        assert_eq!((of("", "abc").rate(), of("", "abc").insertions), (None, 3));
    }
}

//! Diagnosis codes (KCD, ICD-10): how many were found, as whole codes and as categories of three characters.
//!
//! The text is kept as it is: a code is a capital letter, two digits, and up to three more behind an optional point.
//! `O` for `0` and `I` for `1` are errors, as they are in a claim.

use std::collections::BTreeMap;
use std::ops::AddAssign;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::normalise::Profile;

/// Codes found and missed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct Found {
    /// Codes in both.
    pub right: u64,
    /// Codes of the truth that were not read.
    pub missed: u64,
    /// Codes that were read and do not stand there.
    pub invented: u64,
}

impl Found {
    /// Share of what was read that is right.
    pub fn precision(&self) -> Option<f64> {
        share(self.right, self.right + self.invented)
    }

    /// Share of what stands there that was read.
    pub fn recall(&self) -> Option<f64> {
        share(self.right, self.right + self.missed)
    }

    /// Their harmonic mean, 2 right / (2 right + missed + invented).
    pub fn f1(&self) -> Option<f64> {
        share(2 * self.right, 2 * self.right + self.missed + self.invented)
    }

    /// Compares two collections, each of which may hold a value several times.
    pub fn of<T: Ord>(truth: impl IntoIterator<Item = T>, read: impl IntoIterator<Item = T>) -> Self {
        let mut counts: BTreeMap<T, (u64, u64)> = BTreeMap::new();
        truth.into_iter().for_each(|t| counts.entry(t).or_default().0 += 1);
        read.into_iter().for_each(|t| counts.entry(t).or_default().1 += 1);
        let mut found = Self::default();
        for (a, b) in counts.into_values() {
            found.right += a.min(b);
            found.missed += a.saturating_sub(b);
            found.invented += b.saturating_sub(a);
        }
        found
    }
}

fn share(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

impl AddAssign for Found {
    fn add_assign(&mut self, other: Self) {
        self.right += other.right;
        self.missed += other.missed;
        self.invented += other.invented;
    }
}

/// Every code of a text, without points and in capitals.
pub fn codes(text: &str) -> Vec<String> {
    let text: Vec<char> = Profile::KoMed.apply(text).chars().collect();
    let mut out = Vec::new();
    let mut i = 0;
    while i < text.len() {
        let inside_word = i > 0 && (text[i - 1].is_ascii_alphanumeric() || text[i - 1] == '.');
        match if inside_word { None } else { code_at(&text[i..]) } {
            Some((code, length)) => {
                out.push(code);
                i += length;
            }
            None => i += 1,
        }
    }
    out
}

fn code_at(text: &[char]) -> Option<(String, usize)> {
    let digit = |i: usize| text.get(i).is_some_and(char::is_ascii_digit);
    if !(text[0].is_ascii_alphabetic() && digit(1) && digit(2)) {
        return None;
    }
    let mut length = 3;
    let point = usize::from(text.get(3) == Some(&'.'));
    let more = text[(3 + point).min(text.len())..].iter().take_while(|c| c.is_ascii_digit()).count();
    if more > 3 {
        return None;
    }
    if more > 0 {
        length = 3 + point + more;
    }
    // Letters or further digits behind it make it something else, such as B12X or H2O.
    let ends = !text.get(length).is_some_and(|c| c.is_ascii_alphanumeric());
    ends.then(|| {
        (text[..length].iter().filter(|c| **c != '.').map(char::to_ascii_uppercase).collect(), length)
    })
}

/// The category of a code: its first three characters.
pub fn category(code: &str) -> &str {
    code.get(..3).unwrap_or(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_found_by_their_form() {
        assert_eq!(
            codes("E11.9 (주상병), i109. J00 / 2026-A012345 H2O X12Y M81.99"),
            ["E119", "I109", "J00", "M8199"]
        );
        assert_eq!(codes("E1l.9 El1.9"), Vec::<String>::new());
    }

    #[test]
    fn f1_by_hand() {
        // E119 twice and I10 once; read: E119, I10, K297. Right 2, missed 1, invented 1: F1 = 4/6.
        let found = Found::of(["E119", "E119", "I10"], ["E119", "I10", "K297"]);
        assert_eq!(found, Found { right: 2, missed: 1, invented: 1 });
        assert!((found.f1().unwrap() - 4.0 / 6.0).abs() < 1e-12);
        assert_eq!((found.precision(), found.recall()), (Some(2.0 / 3.0), Some(2.0 / 3.0)));
        assert_eq!(Found::default().f1(), None);
        assert_eq!(category("E119"), "E11");
    }
}

//! Names of drugs: right, garbled, or those of another drug.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::normalise::Profile;

/// How the name of a drug was read, the most dangerous before what is only unreadable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Drug {
    /// As it stands there.
    Equal,
    /// A name that the vocabulary has, of something else.
    AnotherDrug,
    /// No name that is known.
    Garbled,
    /// Nothing was read.
    Missing,
}

/// The form in which names are compared.
pub fn key(name: &str) -> String {
    Profile::KoMedNoSpace.apply(name)
}

/// Compares a reading; `known` says whether a key is in the vocabulary.
pub fn compare(truth: &str, reading: &str, known: impl Fn(&str) -> bool) -> Drug {
    match (key(truth), key(reading)) {
        (a, b) if a == b => Drug::Equal,
        (_, b) if b.is_empty() => Drug::Missing,
        (_, b) if known(&b) => Drug::AnotherDrug,
        _ => Drug::Garbled,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_drug_is_told_from_a_garbled_name() {
        let known = |k: &str| ["아테놀올정", "아토르바스타틴정"].contains(&k);
        assert_eq!(compare("아테놀올정", "아테놀올 정", known), Drug::Equal);
        assert_eq!(compare("아테놀올정", "아토르바스타틴정", known), Drug::AnotherDrug);
        assert_eq!(compare("아테놀올정", "아태놀올정", known), Drug::Garbled);
        assert_eq!(compare("아테놀올정", " ", known), Drug::Missing);
    }
}

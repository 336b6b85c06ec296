//! How right a text is that was read from a page, against the text that stands there; and, of answers that have no
//! right one, whether they are as they were.
//!
//! ```text
//! truth, prediction ──► normalise ──► edit ──► counts, order       errors of characters, jamo, words, lines
//!                            └──────► field ──► number, drug, code   whether what matters is right
//!                                     anomaly                        loops, refusals, invented text
//! pages ──► page ──► summary                                       micro, macro, intervals over documents
//! answers ──► answer (repetition, ngram) ──► track                 versions and variants, with intervals
//! repeated prompts ──► consistency                                 against the baseline's own agreement
//!                      sketch                                      the same where texts may not be kept
//! ```
//!
//! Invariants, held by tests:
//!
//! - S + D + I is the Levenshtein distance, and D − I the difference of the lengths;
//! - a perfect reading in another Unicode normal form has no error under any profile but the raw one;
//! - values are never normalised by compatibility (NFKC): `10³` is not `103`;
//! - an empty reference enters no ratio; what was inserted there is counted apart.
//!
//! The crate opens no file, reads no clock, and what it returns holds no text of a document.

pub mod anomaly;
pub mod answer;
pub mod cleanup;
pub mod code;
pub mod consistency;
pub mod counts;
pub mod drug;
pub mod edit;
pub mod field;
pub mod ngram;
pub mod normalise;
pub mod number;
pub mod order;
pub mod page;
pub mod repetition;
pub mod sketch;
pub mod summary;
pub mod track;
pub mod unit;

pub use counts::Counts;
pub use normalise::Profile;

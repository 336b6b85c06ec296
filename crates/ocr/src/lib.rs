//! The OCR benchmark: do documents come out right, and in time?
//!
//! ```text
//! generate ─► images/, truth.jsonl      made-up documents of known text
//! truth.jsonl ─┬─► verify            is the truth itself right?
//!              └─► score ◄── read, readings   errors, fields and intervals ([`stopwatt_quality`])
//! ```
//!
//! No error and no result holds text of a document; a file is told by its name and a line by its number.

pub mod compare;
pub mod confusion;
pub mod evidence;
pub mod generate;
pub mod input;
pub mod profile;
pub mod read;
pub mod rows;
pub mod run;
pub mod score;
mod thumbnail;
pub mod verdict;
pub mod verify;

//! Rows that cannot be right: far longer than rows that do more; of imported ones also those that are faster than the
//! device can be, and those that were measured twice and do not agree.
//!
//! A device that is held back for some milliseconds makes every sample of one row long, so that nothing inside the row
//! shows it. Beside its neighbours it shows: more work of the same kind does not take a fraction of the time. Libraries
//! do pick bad kernels for odd shapes, up to twice the time of a larger product on an H100, and those rows are right;
//! the limit lies above that.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use stopwatt_core::kernel_table::OpKind;

/// How many times longer than a row with more work a row may be.
pub(super) const LIMIT: f64 = 2.5;
/// The same of rows with one sample each, which lie close.
pub(super) const IMPORTED_LIMIT: f64 = 1.5;
/// Share of the roof's time below which nothing can be.
pub(super) const LEAST_OF_ROOF: f64 = 0.95;
/// How far two rows of one operator may be apart.
pub(super) const MOST_APART: f64 = 1.15;

/// What is wrong with a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Defect {
    /// It takes longer than one that does more.
    #[default]
    TooLong,
    /// It is faster than the data sheet's peak or bandwidth.
    AboveRoof,
    /// It was measured several times, with times that do not agree.
    Disagrees,
}

impl Defect {
    /// Words for people.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Defect::TooLong => "longer than one that does more",
            Defect::AboveRoof => "faster than the device can be",
            Defect::Disagrees => "measured twice, and does not agree",
        }
    }
}

/// A row that cannot be right.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FlaggedRow {
    /// The operator.
    pub op: OpKind,
    /// Its sizes.
    pub shape: String,
    /// Its time, in seconds.
    pub time_s: f64,
    /// How many times longer it is than its neighbours permit; how many times faster than the roof; how many times its
    /// measurements are apart.
    pub ratio: f64,
    /// What is wrong with it.
    #[serde(default)]
    pub defect: Defect,
}

/// A row of a line: sizes, roof and time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen {
    pub sizes: [u32; 3],
    pub roof: f64,
    pub time: f64,
}

/// Indices of the rows that are too long, with the factor. `rows` are in order of their sizes.
///
/// A row is held against every row that is at least as large in every size; and by time over roof against the row before
/// it, which does less, and the one after it, which does more: it must exceed both.
pub(super) fn too_long(rows: &[Seen], limit: f64) -> Vec<(usize, f64)> {
    let covers = |a: &Seen, b: &Seen| a.sizes != b.sizes && a.sizes.iter().zip(&b.sizes).all(|(a, b)| a >= b);
    let mut found = Vec::new();
    for (i, row) in rows.iter().enumerate() {
        let larger = rows.iter().filter(|other| covers(other, row)).map(|other| row.time / other.time);
        let slowness = |other: &Seen| other.time / other.roof;
        let before = i.checked_sub(1).map(|j| &rows[j]).filter(|other| covers(row, other));
        let after = rows.get(i + 1).filter(|other| covers(other, row));
        let beside = before.zip(after).map(|(a, b)| slowness(row) / slowness(a).max(slowness(b)));
        let ratio = larger.chain(beside).fold(0.0, f64::max);
        if ratio > limit {
            found.push((i, ratio));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(times: &[f64]) -> Vec<Seen> {
        times
            .iter()
            .enumerate()
            .map(|(i, &time)| Seen { sizes: [1 << i, 0, 0], roof: 0.7 * f64::from(1 << i), time })
            .collect()
    }

    #[test]
    fn a_row_held_back_is_found_wherever_it_stands() {
        assert_eq!(too_long(&line(&[1.0, 2.0, 24.0, 8.0, 16.0, 32.0]), LIMIT), [(2, 6.0)]);
        assert_eq!(too_long(&line(&[6.0, 2.0, 4.0, 8.0, 16.0]), LIMIT)[0].0, 0);
        // The last row is too long as well, but not by as much.
        let found = too_long(&line(&[1.0, 2.0, 4.0, 8.0, 120.0, 60.0]), LIMIT);
        assert_eq!(found.iter().map(|(i, _)| *i).collect::<Vec<_>>(), [4]);
    }

    #[test]
    fn launches_and_bad_choices_of_a_library_stay() {
        // Times that a launch bounds, and a product that takes 1.9 times as long as a larger one.
        assert!(too_long(&line(&[1.0, 1.0, 1.0, 1.1, 2.0, 4.0]), LIMIT).is_empty());
        assert!(too_long(&line(&[4.0, 8.0, 30.0, 16.0, 32.0]), LIMIT).is_empty());
    }
}

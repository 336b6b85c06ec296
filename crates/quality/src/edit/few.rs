//! Texts with few errors: how far each diagonal of the matrix is reached with so many (Ukkonen, "Algorithms for
//! approximate string matching", Information and Control 64 (1985), 100–118). The work grows with the square of the
//! errors and hardly with the length.

use super::Op;

/// Symbols for one error that is tried: beyond, whole words of the matrix are faster.
const SYMBOLS_AN_ERROR: usize = 40;
/// Errors after which the pace is looked at.
const LOOK_AT: usize = 16;

/// What trying a few errors came to.
pub(super) enum Few {
    /// There are no more.
    Reached(Reach),
    /// There are more: about so many.
    Many {
        /// How many there are at the pace of the first.
        about: usize,
    },
}

/// For each number of errors and each diagonal, the furthest row with no more errors.
pub(super) struct Reach {
    /// Diagonals −e to e of e errors, one number of errors after the other; −1 is not reached.
    rows: Vec<i32>,
    /// Errors of the whole.
    pub(super) errors: usize,
}

impl Reach {
    /// Tries a few errors.
    pub(super) fn of(a: &[u32], b: &[u32]) -> Few {
        let longest = a.len().max(b.len());
        let most = longest / SYMBOLS_AN_ERROR;
        let goal = a.len() as i32 - b.len() as i32;
        let mut reach = Self { rows: Vec::new(), errors: 0 };
        for errors in 0..=most {
            for diagonal in -(errors as i32)..=errors as i32 {
                let before = |d: i32| if errors == 0 { -1 } else { reach.at(errors - 1, d) };
                // Substitute, delete (a row further) and insert (the same row).
                let (same, deleted, inserted) =
                    (before(diagonal), before(diagonal - 1), before(diagonal + 1));
                let step = |row: i32| if row < 0 { -1 } else { row + 1 };
                let first = if errors == 0 { 0 } else { -1 };
                let mut row = first.max(step(same)).max(step(deleted)).max(inserted);
                row = row.min(a.len() as i32).min(b.len() as i32 + diagonal);
                if row >= 0 && row - diagonal >= 0 {
                    let (x, y) = (&a[row as usize..], &b[(row - diagonal) as usize..]);
                    row += x.iter().zip(y).take_while(|(x, y)| x == y).count() as i32;
                } else {
                    row = -1;
                }
                reach.rows.push(row);
            }
            if errors as i32 >= goal.abs() && reach.at(errors, goal) == a.len() as i32 {
                reach.errors = errors;
                return Few::Reached(reach);
            }
            let last = errors == most;
            if last || errors >= LOOK_AT && errors.is_power_of_two() {
                // At this pace it would take so many.
                let row = reach.rows[errors * errors..].iter().max().map_or(0, |row| *row as usize);
                let about = (errors.max(1) * a.len().max(1)).div_ceil(row.max(1)).min(longest);
                let about = about.max(goal.unsigned_abs() as usize);
                if last || about > most {
                    return Few::Many { about };
                }
            }
        }
        Few::Many { about: longest }
    }

    fn at(&self, errors: usize, diagonal: i32) -> i32 {
        if diagonal.unsigned_abs() as usize > errors {
            return -1;
        }
        self.rows[errors * errors + (diagonal + errors as i32) as usize]
    }

    /// Whether the first `row` symbols of the one and `col` of the other differ by less than `errors`.
    fn below(&self, row: usize, col: usize, errors: usize) -> bool {
        errors > 0 && self.at(errors - 1, row as i32 - col as i32) >= row as i32
    }

    /// Walks back, with the preferences of the other way.
    pub(super) fn trace(&self, a: &[u32], b: &[u32], ops: &mut Vec<Op>) {
        let from = ops.len();
        let (mut row, mut col, mut errors) = (a.len(), b.len(), self.errors);
        while row > 0 && col > 0 {
            let op = if self.below(row - 1, col, errors) {
                Op::Delete
            } else if self.below(row, col - 1, errors) && !self.below(row - 1, col - 1, errors) {
                Op::Insert
            } else if a[row - 1] == b[col - 1] {
                Op::Equal
            } else {
                Op::Substitute
            };
            row -= usize::from(op != Op::Insert);
            col -= usize::from(op != Op::Delete);
            errors -= usize::from(op != Op::Equal);
            ops.push(op);
        }
        ops.extend(std::iter::repeat_n(Op::Delete, row));
        ops.extend(std::iter::repeat_n(Op::Insert, col));
        ops[from..].reverse();
    }
}

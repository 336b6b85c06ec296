//! A band of the matrix: with at most `most` errors no path leaves the diagonals near that of both ends (Ukkonen,
//! Information and Control 64 (1985), 100–118), so only blocks on them are computed. Cells on its edges get upper bounds;
//! those on shortest paths are exact, so the walk back finds the path that it would find in the whole matrix.

use super::{Op, places};

/// Columns of a band, for the walk back.
pub(super) struct Band {
    /// Errors of the whole.
    pub(super) errors: usize,
    /// Blocks of a stored column.
    height: usize,
    /// Differences between neighbouring rows, block by block: up and down. Empty where they were not kept.
    bits: Vec<(u64, u64)>,
    /// First diagonal.
    low: isize,
}

impl Band {
    /// The band of the errors that there are, `about` so many: it is doubled until they fit.
    pub(super) fn until(a: &[u32], b: &[u32], about: usize, keep: bool) -> Self {
        let longest = a.len().max(b.len());
        let mut most = (about + about / 8 + 32).min(longest);
        loop {
            // No two sequences differ by more than the longer one.
            match Self::of(a, b, most, keep) {
                Some(band) => return band,
                None => most = (2 * most).min(longest),
            }
        }
    }

    /// About the memory of a band that is kept.
    pub(super) fn bytes(a: &[u32], b: &[u32], about: usize) -> usize {
        (about / 64 + 2).min(a.len().div_ceil(64)) * 16 * b.len()
    }

    /// The band of `most` errors; `None` where there are more. `a` is in the rows.
    pub(super) fn of(a: &[u32], b: &[u32], most: usize, keep: bool) -> Option<Self> {
        let (rows, columns) = (a.len() as isize, b.len() as isize);
        let (difference, most) = (rows - columns, most as isize);
        if difference.abs() > most {
            return None;
        }
        // Diagonals d with |d| + |difference − d| ≤ most.
        let (low, high) = ((difference - most).div_euclid(2), (difference + most).div_euclid(2) + 1);
        let blocks = a.len().div_ceil(64);
        let places = places(a, blocks);
        let known = places.len() / blocks - 1;
        let height = (((high - low) / 64 + 2) as usize).min(blocks);
        let mut column = vec![(!0_u64, 0_u64); blocks];
        let mut bits = Vec::with_capacity(if keep { height * b.len() } else { 0 });
        // Blocks in use end here; the value of the lowest row in use, in the column before.
        let mut end = 0;
        let mut value = 0_isize;
        for (at, symbol) in b.iter().enumerate() {
            let first_row = (at as isize + 1 + low).max(1) - 1;
            let last_row = (at as isize + 1 + high).clamp(1, rows) - 1;
            let first = (first_row / 64) as usize;
            let new_end = (last_row / 64) as usize + 1;
            // Rows that come in grow by one each, counted from the lowest before.
            value += (new_end - end) as isize * 64;
            end = new_end;
            let from = (*symbol as usize).min(known) * blocks;
            let places = &places[from + first..from + end];
            let (mut carry_plus, mut carry_minus) = (1, 0);
            for (place, (plus, minus)) in places.iter().zip(&mut column[first..end]) {
                let matched = place | carry_minus;
                let diagonal = ((matched & *plus).wrapping_add(*plus) ^ *plus) | matched | *minus;
                let across_plus = *minus | !(diagonal | *plus);
                let across_minus = *plus & diagonal;
                let (next_plus, next_minus) = (across_plus >> 63, across_minus >> 63);
                let (shifted_plus, shifted_minus) =
                    (across_plus << 1 | carry_plus, across_minus << 1 | carry_minus);
                *plus = shifted_minus | !(diagonal | shifted_plus);
                *minus = shifted_plus & diagonal;
                (carry_plus, carry_minus) = (next_plus, next_minus);
            }
            value += carry_plus as isize - carry_minus as isize;
            if keep {
                bits.extend_from_slice(&column[first..(first + height).min(blocks)]);
                bits.resize(bits.len().next_multiple_of(height), (!0, 0));
            }
        }
        // Rows of the last block that are not there.
        let (plus, minus) = column[blocks - 1];
        let used = a.len() - (blocks - 1) * 64;
        let beyond = if used == 64 { 0 } else { !0 << used };
        let errors = value - (plus & beyond).count_ones() as isize + (minus & beyond).count_ones() as isize;
        (errors <= most && end == blocks).then_some(Self { errors: errors as usize, height, bits, low })
    }

    fn bit(&self, row: usize, column: usize) -> (bool, bool) {
        let first = ((column as isize + 1 + self.low).max(1) - 1) as usize / 64;
        let Some(block) = (row / 64).checked_sub(first).filter(|b| *b < self.height) else {
            return (false, false);
        };
        let (plus, minus) = self.bits[column * self.height + block];
        (plus >> (row % 64) & 1 == 1, minus >> (row % 64) & 1 == 1)
    }

    /// Walks back, with the preferences of the other ways.
    pub(super) fn trace(&self, a: &[u32], b: &[u32], ops: &mut Vec<Op>) {
        let from = ops.len();
        let (mut row, mut column) = (a.len(), b.len());
        while row > 0 && column > 0 {
            if self.bit(row - 1, column - 1).0 {
                row -= 1;
                ops.push(Op::Delete);
            } else {
                column -= 1;
                if column > 0 && self.bit(row - 1, column - 1).1 {
                    ops.push(Op::Insert);
                } else {
                    row -= 1;
                    ops.push(if a[row] == b[column] { Op::Equal } else { Op::Substitute });
                }
            }
        }
        ops.extend(std::iter::repeat_n(Op::Delete, row));
        ops.extend(std::iter::repeat_n(Op::Insert, column));
        ops[from..].reverse();
    }
}

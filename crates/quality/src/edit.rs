//! Edit distance and alignment of two sequences.
//!
//! The distance is the bit-parallel algorithm of Myers (Journal of the ACM 46 (1999), 395–415) in the form of Hyyrö
//! ("A bit-vector algorithm for computing Levenshtein and Damerau edit distances", Nordic Journal of Computing 10
//! (2003), 29–39), 64 rows of the matrix a word. An alignment needs the vertical differences of every column; where they
//! would not fit in `MATRIX_BYTES`, the problem is halved first (Hirschberg, Communications of the ACM 18 (1975),
//! 341–343). Texts with few errors take a way whose work grows with the errors (`few`).
//!
//! Several alignments can be shortest. The one returned is found from the end, and prefers to delete, then to insert,
//! then to substitute, as RapidFuzz does, so that counts agree with tools built on it.

mod few;

use std::collections::HashMap;
use std::hash::Hash;

use few::Reach;

/// Most memory of the differences of one matrix: what a cache holds. Halving once more costs less than missing it.
const MATRIX_BYTES: usize = 1 << 20;

/// One step from the reference to the hypothesis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op {
    /// The symbols are the same.
    Equal,
    /// Another symbol stands there.
    Substitute,
    /// A symbol of the reference is missing.
    Delete,
    /// A symbol was added.
    Insert,
}

/// The fewest insertions, deletions and substitutions that make `b` of `a`.
pub fn distance<T: Eq + Hash>(a: &[T], b: &[T]) -> usize {
    let (a, b) = trimmed(a, b).2;
    if a.is_empty() || b.is_empty() {
        return a.len() + b.len();
    }
    let (a, b) = interned(a, b);
    if let Some(reach) = Reach::of(&a, &b) {
        return reach.errors;
    }
    // The work is in the blocks of the one times the length of the other: blocks are better filled by the longer one.
    let (a, b) = if a.len() >= b.len() { (a, b) } else { (b, a) };
    let mut column = Column::new(&a);
    for symbol in b {
        column.step(symbol);
    }
    column.last()
}

/// A shortest way from `a` to `b`, in order.
pub fn align<T: Eq + Hash>(a: &[T], b: &[T]) -> Vec<Op> {
    let (prefix, suffix, (a, b)) = trimmed(a, b);
    let mut ops = vec![Op::Equal; prefix];
    let (a, b) = interned(a, b);
    match Reach::of(&a, &b) {
        Some(reach) => reach.trace(&a, &b, &mut ops),
        None => align_into(&a, &b, &mut ops, MATRIX_BYTES),
    }
    ops.extend(std::iter::repeat_n(Op::Equal, suffix));
    ops
}

/// Lengths of what both have in common at the begin and the end, and what remains.
fn trimmed<'a, T: Eq>(a: &'a [T], b: &'a [T]) -> (usize, usize, (&'a [T], &'a [T])) {
    let prefix = a.iter().zip(b).take_while(|(x, y)| x == y).count();
    let (a, b) = (&a[prefix..], &b[prefix..]);
    let suffix = a.iter().rev().zip(b.iter().rev()).take_while(|(x, y)| x == y).count();
    (prefix, suffix, (&a[..a.len() - suffix], &b[..b.len() - suffix]))
}

/// Numbers instead of symbols. Those that only `b` has share one, which matches nothing.
fn interned<T: Eq + Hash>(a: &[T], b: &[T]) -> (Vec<u32>, Vec<u32>) {
    let mut numbers = HashMap::new();
    let a = a
        .iter()
        .map(|symbol| {
            let next = numbers.len() as u32;
            *numbers.entry(symbol).or_insert(next)
        })
        .collect();
    let none = numbers.len() as u32;
    (a, b.iter().map(|symbol| numbers.get(symbol).copied().unwrap_or(none)).collect())
}

/// One column of the matrix: the differences between neighbouring rows, as bits.
struct Column {
    rows: usize,
    blocks: usize,
    /// For each symbol the rows where it stands; the last symbol stands nowhere.
    places: Vec<u64>,
    plus: Vec<u64>,
    minus: Vec<u64>,
    columns: usize,
}

impl Column {
    fn new(a: &[u32]) -> Self {
        let blocks = a.len().div_ceil(64);
        let symbols = a.iter().max().map_or(0, |m| *m as usize + 1);
        let mut places = vec![0; (symbols + 1) * blocks];
        for (row, symbol) in a.iter().enumerate() {
            places[*symbol as usize * blocks + row / 64] |= 1 << (row % 64);
        }
        Self { rows: a.len(), blocks, places, plus: vec![!0; blocks], minus: vec![0; blocks], columns: 0 }
    }

    /// The next column, of one more symbol of the other sequence.
    fn step(&mut self, symbol: u32) {
        self.columns += 1;
        let known = self.places.len() / self.blocks - 1;
        let from = (symbol as usize).min(known) * self.blocks;
        let places = &self.places[from..from + self.blocks];
        // The uppermost row grows by one a column.
        let (mut carry_plus, mut carry_minus) = (1, 0);
        for ((place, plus), minus) in places.iter().zip(&mut self.plus).zip(&mut self.minus) {
            let matched = place | carry_minus;
            let diagonal = ((matched & *plus).wrapping_add(*plus) ^ *plus) | matched | *minus;
            let across_plus = *minus | !(diagonal | *plus);
            let across_minus = *plus & diagonal;
            let shifted_plus = across_plus << 1 | carry_plus;
            let shifted_minus = across_minus << 1 | carry_minus;
            (carry_plus, carry_minus) = (across_plus >> 63, across_minus >> 63);
            *plus = shifted_minus | !(diagonal | shifted_plus);
            *minus = shifted_plus & diagonal;
        }
    }

    /// The value in the last row.
    fn last(&self) -> usize {
        let mask = |block: usize| match self.rows - block * 64 {
            rest @ 0..64 => (1_u64 << rest) - 1,
            _ => !0,
        };
        let ones = |bits: &[u64]| -> usize {
            bits.iter().enumerate().map(|(i, b)| (b & mask(i)).count_ones() as usize).sum()
        };
        self.columns + ones(&self.plus) - ones(&self.minus)
    }

    /// The values of all rows, from row 0.
    fn values(&self) -> Vec<usize> {
        let mut value = self.columns;
        let mut values = vec![value];
        for row in 0..self.rows {
            let bit = |bits: &[u64]| (bits[row / 64] >> (row % 64) & 1) as usize;
            value = value + bit(&self.plus) - bit(&self.minus);
            values.push(value);
        }
        values
    }
}

fn align_into(a: &[u32], b: &[u32], ops: &mut Vec<Op>, most: usize) {
    if a.is_empty() || b.is_empty() {
        ops.extend(std::iter::repeat_n(Op::Delete, a.len()));
        ops.extend(std::iter::repeat_n(Op::Insert, b.len()));
        return;
    }
    if a.len().div_ceil(64) * 16 * b.len() <= most || b.len() < 2 {
        return trace(a, b, ops);
    }
    let middle = b.len() / 2;
    let values = |a: &[u32], b: &mut dyn Iterator<Item = u32>| {
        let mut column = Column::new(a);
        b.for_each(|symbol| column.step(symbol));
        column.values()
    };
    let left = values(a, &mut b[..middle].iter().copied());
    let back: Vec<u32> = a.iter().rev().copied().collect();
    let right = values(&back, &mut b[middle..].iter().rev().copied());
    let split =
        (0..=a.len()).min_by_key(|row| left[*row] + right[a.len() - row]).expect("row 0 is always there");
    align_into(&a[..split], &b[..middle], ops, most);
    align_into(&a[split..], &b[middle..], ops, most);
}

/// Computes all columns and walks back.
fn trace(a: &[u32], b: &[u32], ops: &mut Vec<Op>) {
    let mut column = Column::new(a);
    let blocks = column.blocks;
    let mut plus = Vec::with_capacity(blocks * b.len());
    let mut minus = Vec::with_capacity(blocks * b.len());
    for symbol in b {
        column.step(*symbol);
        plus.extend_from_slice(&column.plus);
        minus.extend_from_slice(&column.minus);
    }
    let bit = |bits: &[u64], row: usize, col: usize| bits[col * blocks + row / 64] >> (row % 64) & 1 == 1;
    let from = ops.len();
    let (mut row, mut col) = (a.len(), b.len());
    while row > 0 && col > 0 {
        if bit(&plus, row - 1, col - 1) {
            row -= 1;
            ops.push(Op::Delete);
        } else {
            col -= 1;
            if col > 0 && bit(&minus, row - 1, col - 1) {
                ops.push(Op::Insert);
            } else {
                row -= 1;
                ops.push(if a[row] == b[col] { Op::Equal } else { Op::Substitute });
            }
        }
    }
    ops.extend(std::iter::repeat_n(Op::Delete, row));
    ops.extend(std::iter::repeat_n(Op::Insert, col));
    ops[from..].reverse();
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The textbook matrix.
    fn slow(a: &[u8], b: &[u8]) -> usize {
        let mut row: Vec<usize> = (0..=b.len()).collect();
        for (i, x) in a.iter().enumerate() {
            let mut diagonal = row[0];
            row[0] = i + 1;
            for (j, y) in b.iter().enumerate() {
                let next = (diagonal + usize::from(x != y)).min(row[j] + 1).min(row[j + 1] + 1);
                diagonal = std::mem::replace(&mut row[j + 1], next);
            }
        }
        row[b.len()]
    }

    fn errors(ops: &[Op]) -> usize {
        ops.iter().filter(|op| **op != Op::Equal).count()
    }

    #[track_caller]
    fn check(a: &[u8], b: &[u8], most: usize) {
        let mut ops = Vec::new();
        let (x, y) = interned(a, b);
        align_into(&x, &y, &mut ops, most);
        let (mut i, mut j) = (0, 0);
        for op in &ops {
            match op {
                Op::Equal => assert_eq!(a[i], b[j]),
                Op::Substitute => assert_ne!(a[i], b[j]),
                Op::Delete | Op::Insert => {}
            }
            i += usize::from(*op != Op::Insert);
            j += usize::from(*op != Op::Delete);
        }
        assert_eq!((i, j), (a.len(), b.len()));
        assert_eq!(errors(&ops), slow(a, b));
    }

    #[test]
    fn the_textbook_pairs() {
        // Wagner & Fischer's measure: kitten → sitting 3, Saturday → Sunday 3, intention → execution 5 (Jurafsky & Martin).
        for (a, b, d) in [
            ("kitten", "sitting", 3),
            ("Saturday", "Sunday", 3),
            ("intention", "execution", 5),
            ("", "ab", 2),
        ] {
            let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
            assert_eq!((distance(&a, &b), distance(&b, &a), errors(&align(&a, &b))), (d, d, d));
        }
    }

    #[test]
    fn alignment_is_that_of_rapidfuzz() {
        // rapidfuzz 3.14.6, Levenshtein.editops("abcd", "bcxd") = delete 0, insert 3; of ("ab", "ba") = insert 0, delete 1.
        use Op::{Delete, Equal, Insert};
        assert_eq!(align(b"abcd", b"bcxd"), [Delete, Equal, Equal, Insert, Equal]);
        assert_eq!(align(b"ab", b"ba"), [Insert, Equal, Delete]);
    }

    proptest! {
        #[test]
        fn distances_are_those_of_the_matrix(a in "[a-d]{0,200}", b in "[a-e]{0,200}") {
            let (a, b) = (a.as_bytes(), b.as_bytes());
            prop_assert_eq!(distance(a, b), slow(a, b));
            prop_assert!(distance(a, b) <= a.len().max(b.len()));
        }

        #[test]
        fn alignments_are_shortest_in_little_memory_too(a in "[a-c]{0,150}", b in "[a-d]{0,150}") {
            check(a.as_bytes(), b.as_bytes(), usize::MAX);
            check(a.as_bytes(), b.as_bytes(), 200);
        }

        #[test]
        fn few_errors_are_aligned_alike(a in "[a-c]{80,200}", edits in prop::collection::vec((0_usize..200, 0_u8..3), 0..12)) {
            let mut b = a.clone().into_bytes();
            for (at, kind) in edits {
                let at = at % b.len();
                match kind {
                    0 => _ = b.remove(at),
                    1 => b.insert(at, b'd'),
                    _ => b[at] = b'a',
                }
            }
            let (x, y) = interned(a.as_bytes(), &b);
            let (mut ops, mut other) = (Vec::new(), Vec::new());
            if let Some(reach) = Reach::of(&x, &y) {
                reach.trace(&x, &y, &mut ops);
                align_into(&x, &y, &mut other, usize::MAX);
                prop_assert_eq!(ops, other);
                prop_assert_eq!(reach.errors, slow(a.as_bytes(), &b));
            }
        }

        #[test]
        fn no_detour_is_shorter(a in "[ab]{0,30}", b in "[ab]{0,30}", c in "[ab]{0,30}") {
            let d = |x: &str, y: &str| distance(x.as_bytes(), y.as_bytes());
            prop_assert!(d(&a, &c) <= d(&a, &b) + d(&b, &c));
        }
    }
}

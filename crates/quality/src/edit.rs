//! Edit distance and alignment of two sequences.
//!
//! The distance is the bit-parallel algorithm of Myers (Journal of the ACM 46 (1999), 395–415) in the form of Hyyrö
//! ("A bit-vector algorithm for computing Levenshtein and Damerau edit distances", Nordic Journal of Computing 10
//! (2003), 29–39), 64 rows of the matrix a word, and only those on the band of diagonals that so many errors can reach (`band`). An
//! alignment needs the vertical differences of every column; where they would not fit in `MATRIX_BYTES`, the problem is
//! halved first (Hirschberg, Communications of the ACM 18 (1975), 341–343). Texts with few errors take a way whose work
//! grows with the errors alone (`few`), and from which the others learn how wide a band they may need.
//!
//! Several alignments can be shortest. The one returned is found from the end, and prefers to delete, then to insert,
//! then to substitute, as RapidFuzz does, so that counts agree with tools built on it.

mod band;
mod few;

use std::collections::HashMap;
use std::hash::Hash;

use band::Band;
use few::{Few, Reach};

/// Most memory of the differences of one band.
const MATRIX_BYTES: usize = 64 << 20;

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
    match Reach::of(&a, &b) {
        Few::Reached(reach) => reach.errors,
        Few::Many { about } => Band::until(&a, &b, about, false).errors,
    }
}

/// A shortest way from `a` to `b`, in order.
pub fn align<T: Eq + Hash>(a: &[T], b: &[T]) -> Vec<Op> {
    let (prefix, suffix, (a, b)) = trimmed(a, b);
    let mut ops = vec![Op::Equal; prefix];
    let (a, b) = interned(a, b);
    match Reach::of(&a, &b) {
        Few::Reached(reach) => reach.trace(&a, &b, &mut ops),
        Few::Many { about } => align_into(&a, &b, about, &mut ops, MATRIX_BYTES),
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

/// For each symbol of `a` the rows where it stands, block by block; the last symbol stands nowhere.
fn places(a: &[u32], blocks: usize) -> Vec<u64> {
    let symbols = a.iter().max().map_or(0, |m| *m as usize + 1);
    let mut places = vec![0; (symbols + 1) * blocks];
    for (row, symbol) in a.iter().enumerate() {
        places[*symbol as usize * blocks + row / 64] |= 1 << (row % 64);
    }
    places
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
        Self {
            rows: a.len(),
            blocks,
            places: places(a, blocks),
            plus: vec![!0; blocks],
            minus: vec![0; blocks],
            columns: 0,
        }
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

/// Aligns what has `about` so many errors in about `most` bytes.
fn align_into(a: &[u32], b: &[u32], about: usize, ops: &mut Vec<Op>, most: usize) {
    if a.is_empty() || b.is_empty() {
        ops.extend(std::iter::repeat_n(Op::Delete, a.len()));
        ops.extend(std::iter::repeat_n(Op::Insert, b.len()));
        return;
    }
    if Band::bytes(a, b, about) <= most || b.len() < 2 {
        return Band::until(a, b, about, true).trace(a, b, ops);
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
    align_into(&a[..split], &b[..middle], left[split], ops, most);
    align_into(&a[split..], &b[middle..], right[a.len() - split], ops, most);
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
        align_into(&x, &y, 1, &mut ops, most);
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
            if let Few::Reached(reach) = Reach::of(&x, &y) {
                reach.trace(&x, &y, &mut ops);
                Band::until(&x, &y, y.len().max(x.len()), true).trace(&x, &y, &mut other);
                prop_assert_eq!(ops, other);
                prop_assert_eq!(reach.errors, slow(a.as_bytes(), &b));
            }
        }

        #[test]
        fn a_band_finds_what_the_whole_matrix_finds(a in "[a-c]{1,400}", b in "[a-d]{1,400}", about in 1_usize..500) {
            let (x, y) = interned(a.as_bytes(), b.as_bytes());
            let whole = Band::until(&x, &y, 800, true);
            let band = Band::until(&x, &y, about, true);
            let (mut of_whole, mut of_band) = (Vec::new(), Vec::new());
            whole.trace(&x, &y, &mut of_whole);
            band.trace(&x, &y, &mut of_band);
            prop_assert_eq!(of_whole, of_band);
            prop_assert_eq!(band.errors, slow(a.as_bytes(), b.as_bytes()));
        }

        #[test]
        fn no_detour_is_shorter(a in "[ab]{0,30}", b in "[ab]{0,30}", c in "[ab]{0,30}") {
            let d = |x: &str, y: &str| distance(x.as_bytes(), y.as_bytes());
            prop_assert!(d(&a, &c) <= d(&a, &b) + d(&b, &c));
        }
    }
}

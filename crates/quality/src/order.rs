//! Scores that forgive the order: words as a bag, and lines wherever they stand.
//!
//! - Words: each word of the reference is found as often as it stands in both.
//! - Lines: each line of the reference is paired with at most one of the reading so that the errors of all pairs and the
//!   lengths of lines left over are fewest. The difference to the plain character error rate is what the order costs.

use std::collections::HashMap;

use crate::code::Found;
use crate::counts::Counts;
use crate::edit;

/// Most pairs of lines that are compared.
const MOST_PAIRS: usize = 250_000;

/// Words in any order.
pub fn bag_of_words(reference: &str, reading: &str) -> Found {
    Found::of(reference.split_whitespace(), reading.split_whitespace())
}

/// Which line of the reading belongs to each line of the reference. `None` where there are too many lines to compare.
pub fn pair_lines(reference: &[Vec<char>], reading: &[Vec<char>]) -> Option<Vec<Option<usize>>> {
    let mut pairs = vec![None; reference.len()];
    // Equal lines belong together: by the triangle inequality no other pairing is better.
    let mut places: HashMap<&[char], Vec<usize>> = HashMap::new();
    for (j, line) in reading.iter().enumerate().rev() {
        places.entry(line).or_default().push(j);
    }
    let mut taken = vec![false; reading.len()];
    for (pair, line) in pairs.iter_mut().zip(reference) {
        if let Some(j) = places.get_mut(line.as_slice()).and_then(Vec::pop) {
            taken[j] = true;
            *pair = Some(j);
        }
    }
    let rows: Vec<usize> = (0..reference.len()).filter(|i| pairs[*i].is_none()).collect();
    let columns: Vec<usize> = (0..reading.len()).filter(|j| !taken[*j]).collect();
    if rows.is_empty() || columns.is_empty() {
        return Some(pairs);
    }
    if rows.len() * columns.len() > MOST_PAIRS {
        return None;
    }
    // What a pair saves over leaving both lines alone, as a cost; a pair that saves nothing is none.
    let cost: Vec<Vec<i64>> = rows
        .iter()
        .map(|i| {
            let a = &reference[*i];
            let of = |j: &usize| {
                let b = &reading[*j];
                edit::distance(a, b) as i64 - (a.len() + b.len()) as i64
            };
            columns.iter().map(of).collect()
        })
        .collect();
    for (row, column) in assign(&cost).into_iter().enumerate() {
        if let Some(column) = column.filter(|c| cost[row][*c] < 0) {
            pairs[rows[row]] = Some(columns[column]);
        }
    }
    Some(pairs)
}

/// Character errors with lines in the best order.
pub fn line_counts(reference: &[Vec<char>], reading: &[Vec<char>], pairs: &[Option<usize>]) -> Counts {
    let mut counts = Counts::default();
    let mut left: Vec<bool> = vec![true; reading.len()];
    for (line, pair) in reference.iter().zip(pairs) {
        let other: &[char] = match pair {
            Some(j) => {
                left[*j] = false;
                &reading[*j]
            }
            None => &[],
        };
        counts += Counts::of(line, other);
    }
    let extra: usize = reading.iter().zip(left).filter(|(_, left)| *left).map(|(l, _)| l.len()).sum();
    counts.insertions += extra as u64;
    counts
}

/// The assignment of rows to columns of least cost, as many as the smaller side has (Kuhn's method with potentials, as
/// in Jonker & Volgenant, Computing 38 (1987), 325–340).
pub(crate) fn assign(cost: &[Vec<i64>]) -> Vec<Option<usize>> {
    let rows = cost.len();
    let columns = cost.first().map_or(0, Vec::len);
    if rows > columns {
        let turned: Vec<Vec<i64>> = (0..columns).map(|c| cost.iter().map(|row| row[c]).collect()).collect();
        let mut out = vec![None; rows];
        for (column, row) in assign(&turned).into_iter().enumerate() {
            if let Some(row) = row {
                out[row] = Some(column);
            }
        }
        return out;
    }
    // Row and column 0 are not there: an owner 0 is none.
    let (mut u, mut v) = (vec![0_i64; rows + 1], vec![0_i64; columns + 1]);
    let mut owner = vec![0_usize; columns + 1];
    let mut way = vec![0_usize; columns + 1];
    for row in 1..=rows {
        owner[0] = row;
        let mut column = 0;
        let mut least = vec![i64::MAX; columns + 1];
        let mut used = vec![false; columns + 1];
        while owner[column] != 0 {
            used[column] = true;
            let (from, mut delta, mut next) = (owner[column], i64::MAX, 0);
            for c in (1..=columns).filter(|c| !used[*c]) {
                let reduced = cost[from - 1][c - 1] - u[from] - v[c];
                if reduced < least[c] {
                    least[c] = reduced;
                    way[c] = column;
                }
                if least[c] < delta {
                    delta = least[c];
                    next = c;
                }
            }
            for c in 0..=columns {
                if used[c] {
                    u[owner[c]] += delta;
                    v[c] -= delta;
                } else if c > 0 {
                    least[c] -= delta;
                }
            }
            column = next;
        }
        while column != 0 {
            let before = way[column];
            owner[column] = owner[before];
            column = before;
        }
    }
    let mut out = vec![None; rows];
    for column in 1..=columns {
        if owner[column] > 0 {
            out[owner[column] - 1] = Some(column - 1);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn lines(text: &str) -> Vec<Vec<char>> {
        text.lines().map(|l| l.chars().collect()).collect()
    }

    #[test]
    fn lines_in_another_order_cost_nothing() {
        let (a, b) = (lines("약물명 용량\n아스피린 5mg\n끝"), lines("끝\n약물명 용량\n아스피린 6mg\n쪽 1"));
        let pairs = pair_lines(&a, &b).unwrap();
        assert_eq!(pairs, [Some(1), Some(2), Some(0)]);
        let c = line_counts(&a, &b, &pairs);
        // One digit, and the line `쪽 1` of three characters that stands nowhere.
        assert_eq!((c.reference, c.substitutions, c.insertions, c.deletions), (15, 1, 3, 0));
    }

    #[test]
    fn words_as_a_bag() {
        let found = bag_of_words("1일 3회 1일", "3회 1일 2회");
        assert_eq!(found, Found { right: 2, missed: 1, invented: 1 });
    }

    proptest! {
        #[test]
        fn no_assignment_is_cheaper(cost in prop::collection::vec(prop::collection::vec(-9_i64..9, 4), 1..5)) {
            fn best(cost: &[Vec<i64>], free: &mut Vec<usize>) -> i64 {
                let Some((row, rest)) = cost.split_first() else { return 0 };
                (0..free.len()).map(|k| {
                    let c = free.remove(k);
                    let total = row[c] + best(rest, free);
                    free.insert(k, c);
                    total
                }).min().unwrap()
            }
            let found = assign(&cost);
            let mut columns: Vec<usize> = found.iter().map(|c| c.unwrap()).collect();
            let total: i64 = cost.iter().zip(&columns).map(|(row, c)| row[*c]).sum();
            prop_assert_eq!(total, best(&cost, &mut vec![0, 1, 2, 3]));
            let turned: Vec<Vec<i64>> = (0..4).map(|c| cost.iter().map(|r| r[c]).collect()).collect();
            let again: i64 = assign(&turned).iter().enumerate().filter_map(|(c, r)| r.map(|r| cost[r][c])).sum();
            prop_assert_eq!(total, again);
            columns.sort_unstable();
            columns.dedup();
            prop_assert_eq!(columns.len(), cost.len());
        }
    }
}

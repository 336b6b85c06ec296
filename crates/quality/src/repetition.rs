//! How much a text repeats itself, character by character and so in every language.
//!
//! `rep-n` is 1 − distinct/all n-grams (Welleck and others, "Neural text generation with unlikelihood training", ICLR
//! 2020), here of characters. It grows with the length of a text of itself, so only texts of like length compare.

use std::collections::HashSet;
use std::io::Write as _;

use flate2::Compression;
use flate2::write::DeflateEncoder;

/// Bytes below which a compression ratio says more of the format than of the text.
const LEAST_BYTES: usize = 64;

/// 1 − distinct/all n-grams of `n` characters; `None` where the text has fewer than two.
pub fn rep(text: &[char], n: usize) -> Option<f64> {
    let all = text.len().checked_sub(n)? + 1;
    let distinct: HashSet<&[char]> = text.windows(n).collect();
    (n > 0 && all >= 2).then(|| 1.0 - distinct.len() as f64 / all as f64)
}

/// Length of the longest passage that stands twice (it may overlap itself), as a share of the text; `None` for fewer
/// than two characters.
pub fn longest_repeat(text: &[char]) -> Option<f64> {
    let n = text.len();
    if n < 2 {
        return None;
    }
    let order = suffixes(text);
    let mut rank = vec![0; n];
    for (i, at) in order.iter().enumerate() {
        rank[*at] = i;
    }
    // Neighbours in the order of suffixes share most (Kasai and others, CPM 2001): dropping one character of a suffix
    // loses one of what it shares at most.
    let (mut shared, mut longest) = (0_usize, 0);
    for (at, place) in rank.iter().enumerate() {
        let Some(before) = place.checked_sub(1).map(|i: usize| order[i]) else {
            shared = 0;
            continue;
        };
        while text.get(at + shared).is_some_and(|c| text.get(before + shared) == Some(c)) {
            shared += 1;
        }
        longest = longest.max(shared);
        shared = shared.saturating_sub(1);
    }
    Some(longest as f64 / n as f64)
}

/// Starts of the suffixes in their order, by prefix doubling (Manber & Myers, SIAM Journal on Computing 22 (1993)).
fn suffixes(text: &[char]) -> Vec<usize> {
    let n = text.len();
    let mut order: Vec<usize> = (0..n).collect();
    let mut rank: Vec<usize> = text.iter().map(|c| *c as usize).collect();
    let mut next = vec![0; n];
    let mut length = 1;
    loop {
        let key = |i: usize| (rank[i], rank.get(i + length).map_or(0, |r| r + 1));
        order.sort_unstable_by_key(|i| key(*i));
        next[order[0]] = 0;
        for pair in order.windows(2) {
            next[pair[1]] = next[pair[0]] + usize::from(key(pair[0]) != key(pair[1]));
        }
        std::mem::swap(&mut rank, &mut next);
        if rank[order[n - 1]] == n - 1 || length >= n {
            return order;
        }
        length *= 2;
    }
}

/// Bytes of the text over bytes of it compressed (deflate, level 6): about 2 for prose, far more for loops. `None`
/// below 64 bytes.
pub fn compression(text: &str) -> Option<f64> {
    if text.len() < LEAST_BYTES {
        return None;
    }
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::new(6));
    encoder.write_all(text.as_bytes()).ok()?;
    let compressed = encoder.finish().ok()?;
    Some(text.len() as f64 / compressed.len() as f64)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn chars(text: &str) -> Vec<char> {
        text.chars().collect()
    }

    #[test]
    fn by_hand() {
        // Pairs of 가나가나: 가나, 나가, 가나: two of three are distinct.
        assert!((rep(&chars("가나가나"), 2).unwrap() - 1.0 / 3.0).abs() < 1e-12);
        assert_eq!(rep(&chars("가나다라"), 2), Some(0.0));
        assert_eq!((rep(&chars("가"), 2), rep(&chars("가나"), 2)), (None, None));
        // "ana" stands twice in "banana", overlapping; "aaaa" shares three of four with itself.
        assert_eq!(longest_repeat(&chars("banana")), Some(0.5));
        assert_eq!(longest_repeat(&chars("aaaa")), Some(0.75));
        assert_eq!(longest_repeat(&chars("가나다라")), Some(0.0));
    }

    #[test]
    fn a_loop_stands_out_in_every_measure() {
        let prose = "환자는 고혈압으로 외래에 내원하였으며 혈압은 150에 95로 측정되었다. 약을 바꾸고 한 달 뒤 다시 보기로 하였다. 식사와 운동도 설명하였다.";
        let looped = "하루 세 번 식후 30분. ".repeat(20);
        let of = |t: &str| {
            (rep(&chars(t), 4).unwrap(), longest_repeat(&chars(t)).unwrap(), compression(t).unwrap())
        };
        let (good, bad) = (of(prose), of(&looped));
        assert!(good.0 < 0.1 && bad.0 > 0.9, "{good:?} {bad:?}");
        assert!(good.1 < 0.1 && bad.1 > 0.9, "{good:?} {bad:?}");
        assert!(good.2 < 2.5 && bad.2 > 8.0, "{good:?} {bad:?}");
    }

    proptest! {
        #[test]
        fn the_longest_repeat_is_that_of_a_search(text in "[ab가]{2,40}") {
            let text = chars(&text);
            let n = text.len();
            let slow = (0..n).flat_map(|i| (i + 1..n).map(move |j| (i, j)))
                .map(|(i, j)| (0..n - j).take_while(|k| text[i + k] == text[j + k]).count())
                .max().unwrap_or(0);
            prop_assert_eq!(longest_repeat(&text), Some(slow as f64 / n as f64));
        }
    }
}

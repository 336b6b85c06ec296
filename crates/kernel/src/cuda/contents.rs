//! What operands held before a call, as numbers of double precision, read from where they lie when they are asked for.
//!
//! A check looks at a few hundred elements of a result. Of the operands behind them it needs rows here and there, which
//! may be little of many gigabytes: so pieces are fetched and widened one by one, each once.

use std::ops::Range;
use std::sync::OnceLock;

use super::numbers::widen;
use super::plan::Element;

/// Bytes that are fetched at once; a multiple of every element's.
const PIECE: usize = 64 << 10;

/// Reads a range of bytes of an operand; from any thread, several at once.
pub(super) type Fetch<'a> = Box<dyn Fn(Range<usize>) -> Vec<u8> + Sync + 'a>;

/// One operand.
pub struct Column<'a> {
    element: Element,
    len: usize,
    place: Place<'a>,
}

enum Place<'a> {
    Held(Vec<u8>),
    Fetched { fetch: Fetch<'a>, pieces: Box<[OnceLock<Vec<u8>>]> },
}

impl<'a> Column<'a> {
    /// An operand whose content is at hand, little-endian.
    #[must_use]
    pub fn held(element: Element, bytes: Vec<u8>) -> Self {
        Self { element, len: bytes.len() / element.bytes(), place: Place::Held(bytes) }
    }

    /// An operand of `len` elements that `fetch` reads. Pieces that it gives too short are filled up with what is not
    /// a number in floating formats, so that nothing is right by mistake.
    pub(super) fn fetched(element: Element, len: usize, fetch: Fetch<'a>) -> Self {
        let pieces = (0..(len * element.bytes()).div_ceil(PIECE)).map(|_| OnceLock::new()).collect();
        Self { element, len, place: Place::Fetched { fetch, pieces } }
    }

    /// An operand that held nothing: poison.
    #[must_use]
    pub fn empty(element: Element) -> Self {
        Self::held(element, Vec::new())
    }

    /// Its elements.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it held nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// One element.
    ///
    /// # Panics
    /// There are no so many elements.
    #[must_use]
    pub fn number(&self, index: usize) -> f64 {
        self.row(index, 1)[0]
    }

    /// `count` elements from `from` on.
    ///
    /// # Panics
    /// There are no so many elements.
    #[must_use]
    pub fn row(&self, from: usize, count: usize) -> Vec<f64> {
        assert!(from + count <= self.len, "{from} + {count} of {} elements", self.len);
        let size = self.element.bytes();
        let wanted = from * size..(from + count) * size;
        match &self.place {
            Place::Held(bytes) => widen(self.element, &bytes[wanted]),
            Place::Fetched { fetch, pieces } => {
                let mut numbers = Vec::with_capacity(count);
                for number in wanted.start / PIECE..wanted.end.div_ceil(PIECE) {
                    let begin = number * PIECE;
                    let end = (begin + PIECE).min(self.len * size);
                    let piece = pieces[number].get_or_init(|| {
                        let mut bytes = fetch(begin..end);
                        bytes.resize(end - begin, 0xff);
                        bytes
                    });
                    let here = wanted.start.max(begin) - begin..wanted.end.min(end) - begin;
                    numbers.extend(widen(self.element, &piece[here]));
                }
                numbers
            }
        }
    }

    /// All elements.
    #[must_use]
    pub fn all(&self) -> Vec<f64> {
        self.row(0, self.len)
    }
}

/// What the operands of a plan held before a call, in the plan's order; poisoned ones are empty. Of operands that a call
/// replaces, too, it is what they held before.
pub struct Contents<'a> {
    /// One an operand of the plan.
    pub operands: &'a [Column<'a>],
}

impl Contents<'_> {
    /// One element of an operand.
    ///
    /// # Panics
    /// There is no such operand or element.
    #[must_use]
    pub fn number(&self, operand: usize, index: usize) -> f64 {
        self.operands[operand].number(index)
    }

    /// `count` elements of an operand, from `from` on.
    ///
    /// # Panics
    /// There is no such operand, or it has fewer elements.
    #[must_use]
    pub fn row(&self, operand: usize, from: usize, count: usize) -> Vec<f64> {
        self.operands[operand].row(from, count)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// 100 000 integers, each its own index.
    fn counted() -> Vec<u8> {
        (0..100_000_i32).flat_map(i32::to_le_bytes).collect()
    }

    #[test]
    fn what_is_fetched_is_what_is_held() {
        let bytes = counted();
        let held = Column::held(Element::I32, bytes.clone());
        let fetched = Column::fetched(Element::I32, 100_000, Box::new(|r| bytes[r].to_vec()));
        // Within a piece, over the seam of two, over several, and the end.
        for (from, count) in [(0, 1), (16_380, 10), (5, 70_000), (99_990, 10), (3, 0)] {
            assert_eq!(fetched.row(from, count), held.row(from, count), "{from} + {count}");
        }
        assert_eq!(fetched.number(99_999), 99_999.0);
        assert_eq!(fetched.all().len(), 100_000);
    }

    #[test]
    fn a_piece_is_fetched_once_and_only_when_it_is_asked_for() {
        let (bytes, times) = (counted(), AtomicUsize::new(0));
        let fetch = |r: Range<usize>| {
            times.fetch_add(1, Ordering::Relaxed);
            bytes[r].to_vec()
        };
        let column = Column::fetched(Element::I32, 100_000, Box::new(fetch));
        let _ = (column.number(0), column.number(1), column.row(10, 100), column.number(99_999));
        assert_eq!(times.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn what_cannot_be_read_is_no_number() {
        let column = Column::fetched(Element::Bf16, 10, Box::new(|_| Vec::new()));
        assert!(column.all().iter().all(|v| v.is_nan()));
    }
}

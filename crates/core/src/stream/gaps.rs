//! Gaps of a trial as histograms: mergeable, small, and of a stated error.
//!
//! # Bins
//!
//! Log-linear, as in HdrHistogram: gaps below 2048 ns have a bin each, every further doubling has 1024 bins of equal
//! width. The middle of a bin is at most 1/2048 away from any value in it ([`RELATIVE_ERROR`]). Count, sum, sum of
//! squares, minimum and maximum are exact.
//!
//! # Granules
//!
//! An interval of a quantile needs to know how values follow each other, which one histogram of a trial no longer
//! tells. So a trial keeps up to [`MOST_GRANULES`] histograms, each of a stretch of neighbouring gaps: those of one
//! request in order of time, then those of the next request. Resampling draws stretches instead of gaps. A trial
//! begins with one gap a granule; when there are too many, neighbours are joined two by two. Which granule a gap is
//! in follows from its request's id and its place in the stream, never from the order of arrival.

use std::collections::BTreeMap;

use super::{Gap, gaps};
use crate::clock::Nanos;
use crate::request::ChunkStamp;

/// Largest distance between a gap and what its histogram says it was, relative to the gap.
pub const RELATIVE_ERROR: f64 = 1.0 / 2048.0;

/// Granules of a trial, at most.
pub const MOST_GRANULES: usize = 128;

/// Binary logarithm of the bins of one doubling.
const BITS: u32 = 10;
/// Bits of a place that count inside one request.
const INSIDE: u32 = 12;
/// Gaps that wait to be sorted into bins.
const PENDING: usize = 512;

/// The bin of a gap. A negative gap, which only clocks that disagree could make, counts as none.
pub fn bin(ns: Nanos) -> u16 {
    let v = ns.max(0).unsigned_abs();
    let shift = (63 - (v | 1).leading_zeros()).saturating_sub(BITS);
    // At most 53 · 1024 + 2047 for the largest i64.
    ((shift << BITS) as u64 + (v >> shift)) as u16
}

/// The middle of a bin, in nanoseconds.
pub fn middle(bin: u16) -> f64 {
    let shift = (u32::from(bin) >> BITS).saturating_sub(1);
    let low = (u64::from(bin) - (u64::from(shift) << BITS)) << shift;
    low as f64 + ((1u64 << shift) - 1) as f64 / 2.0
}

/// The gaps of one stretch of a trial.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Granule {
    /// Number of gaps.
    pub n: u64,
    /// Their sum.
    pub sum_ns: i64,
    /// Sum of their squares, in ns².
    pub squares: f64,
    /// The shortest.
    pub min_ns: Nanos,
    /// The longest.
    pub max_ns: Nanos,
    /// Bin and number of gaps in it, by bin.
    pub bins: Vec<(u16, u32)>,
}

/// Gaps of a finished trial, stretch by stretch in order.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct TrialGaps {
    /// Gaps as they were.
    pub chunk_gap: Vec<Granule>,
    /// Gaps divided by the tokens of their chunk; `None` when every chunk had one token, which makes them the same.
    pub itl: Option<Vec<Granule>>,
}

/// Takes the gaps of a trial.
#[derive(Debug, Clone, Default)]
pub struct GapRecorder {
    chunk_gap: Granules,
    itl: Option<Granules>,
}

impl GapRecorder {
    /// Takes the stream of the request `id`.
    pub fn take(&mut self, id: u64, chunks: &[ChunkStamp]) {
        if self.itl.is_none() && gaps(chunks).any(|g| g.divisor() > 1) {
            self.itl = Some(self.chunk_gap.clone());
        }
        self.chunk_gap.take(id, gaps(chunks).map(|g| g.ns));
        if let Some(itl) = &mut self.itl {
            itl.take(id, gaps(chunks).map(Gap::per_token_ns));
        }
    }

    /// What was taken.
    pub fn finish(self) -> TrialGaps {
        TrialGaps { chunk_gap: self.chunk_gap.finish(), itl: self.itl.map(Granules::finish) }
    }
}

/// Granules in the making, by place.
#[derive(Debug, Clone, Default)]
struct Granules {
    /// Bits of a place that its granule leaves out.
    shift: u32,
    by_place: BTreeMap<u64, Building>,
}

impl Granules {
    fn take(&mut self, id: u64, gaps: impl Iterator<Item = Nanos>) {
        let begin = id << INSIDE;
        let mut gaps = (0u64..).zip(gaps).peekable();
        // Neighbours are mostly in one granule: looked up once for all of them.
        while let Some(&(i, _)) = gaps.peek() {
            let key = place(begin, i) >> self.shift;
            let shift = self.shift;
            let granule = self.by_place.entry(key).or_default();
            while let Some((_, ns)) = gaps.next_if(|(i, _)| place(begin, *i) >> shift == key) {
                granule.push(ns.max(0));
            }
            while self.by_place.len() > MOST_GRANULES {
                self.join_neighbours();
            }
        }
    }

    fn join_neighbours(&mut self) {
        self.shift += 1;
        let mut joined: BTreeMap<u64, Building> = BTreeMap::new();
        for (key, granule) in std::mem::take(&mut self.by_place) {
            match joined.entry(key >> 1) {
                std::collections::btree_map::Entry::Vacant(free) => {
                    free.insert(granule);
                }
                std::collections::btree_map::Entry::Occupied(mut first) => first.get_mut().join(granule),
            }
        }
        self.by_place = joined;
    }

    fn finish(self) -> Vec<Granule> {
        self.by_place.into_values().map(Building::finish).collect()
    }
}

/// Where a gap stands in the order of its trial.
fn place(begin: u64, index: u64) -> u64 {
    begin | index.min((1 << INSIDE) - 1)
}

/// A granule that still grows.
#[derive(Debug, Clone)]
struct Building {
    n: u64,
    sum_ns: i64,
    squares: u128,
    min_ns: Nanos,
    max_ns: Nanos,
    bins: Vec<(u16, u32)>,
    /// Bins of the latest gaps, unsorted.
    pending: Vec<u16>,
}

impl Default for Building {
    fn default() -> Self {
        Self {
            n: 0,
            sum_ns: 0,
            squares: 0,
            min_ns: Nanos::MAX,
            max_ns: 0,
            bins: Vec::new(),
            pending: Vec::new(),
        }
    }
}

impl Building {
    fn push(&mut self, ns: Nanos) {
        self.n += 1;
        self.sum_ns = self.sum_ns.saturating_add(ns);
        self.squares = self.squares.saturating_add(u128::from(ns.unsigned_abs()).pow(2));
        self.min_ns = self.min_ns.min(ns);
        self.max_ns = self.max_ns.max(ns);
        self.pending.push(bin(ns));
        if self.pending.len() >= PENDING {
            self.sort_in();
        }
    }

    /// Sorts what is pending into the bins.
    fn sort_in(&mut self) {
        self.pending.sort_unstable();
        let pending = self.pending.chunk_by(|a, b| a == b).map(|same| (same[0], same.len() as u32));
        self.bins = merged(&self.bins, pending);
        self.pending.clear();
    }

    fn join(&mut self, mut other: Self) {
        other.sort_in();
        self.sort_in();
        self.n += other.n;
        self.sum_ns = self.sum_ns.saturating_add(other.sum_ns);
        self.squares = self.squares.saturating_add(other.squares);
        self.min_ns = self.min_ns.min(other.min_ns);
        self.max_ns = self.max_ns.max(other.max_ns);
        self.bins = merged(&self.bins, other.bins.into_iter());
    }

    fn finish(mut self) -> Granule {
        self.sort_in();
        let Self { n, sum_ns, squares, min_ns, max_ns, bins, .. } = self;
        Granule { n, sum_ns, squares: squares as f64, min_ns, max_ns, bins }
    }
}

/// Two ascending lists of bins as one.
fn merged(a: &[(u16, u32)], b: impl Iterator<Item = (u16, u32)>) -> Vec<(u16, u32)> {
    let mut b = b.peekable();
    let mut all = Vec::with_capacity(a.len() + b.size_hint().0);
    for &(bin, count) in a {
        while let Some(before) = b.next_if(|(other, _)| *other < bin) {
            all.push(before);
        }
        let more = b.next_if(|(other, _)| *other == bin).map_or(0, |(_, n)| n);
        all.push((bin, count.saturating_add(more)));
    }
    all.extend(b);
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::ChunkKind;

    #[test]
    fn bins_are_exact_for_short_gaps_and_close_for_long_ones() {
        assert_eq!((bin(-5), bin(0), bin(2047), middle(0), middle(2047)), (0, 0, 2047, 0.0, 2047.0));
        // 2048 and 2049 share the first bin of the next doubling.
        assert_eq!((bin(2048), bin(2049), bin(2050), middle(2048)), (2048, 2048, 2049, 2048.5));
        let mut last = 0;
        let mut v: Nanos = 1;
        while v < Nanos::MAX / 3 {
            for v in [v, v + v / 3, v * 2 - 1] {
                let b = bin(v);
                assert!(b >= last, "bins grow with the value");
                assert!((middle(b) - v as f64).abs() <= v as f64 * RELATIVE_ERROR, "{v}");
                last = b;
            }
            v *= 2;
        }
        assert_eq!(bin(Nanos::MAX), 55_295);
    }

    /// The stream of a request with gaps of `gaps` nanoseconds.
    fn stream(gaps: impl IntoIterator<Item = Nanos>, tokens: u32) -> Vec<ChunkStamp> {
        let mut t_ns = 0;
        let chunk = |t_ns| ChunkStamp::new(t_ns, Some(tokens), ChunkKind::Content);
        let mut chunks = vec![chunk(0)];
        chunks.extend(gaps.into_iter().map(|gap| {
            t_ns += gap;
            chunk(t_ns)
        }));
        chunks
    }

    #[test]
    fn few_gaps_have_a_granule_each() {
        let mut r = GapRecorder::default();
        r.take(7, &stream([30, 10, 20], 1));
        let g = r.finish();
        let found: Vec<_> = g.chunk_gap.iter().map(|g| (g.n, g.sum_ns, g.bins.clone())).collect();
        assert_eq!(found, [(1, 30, vec![(30, 1)]), (1, 10, vec![(10, 1)]), (1, 20, vec![(20, 1)])]);
        assert_eq!(g.itl, None);
    }

    #[test]
    fn many_gaps_are_joined_with_their_neighbours_whatever_the_order() {
        let requests: Vec<(u64, Vec<ChunkStamp>)> = (0..1000u64)
            .map(|id| {
                (id + 40, stream((0..37).map(|i| ((id * 37 + i) * 7919 % 100_003 + 5_000) as Nanos), 1))
            })
            .collect();
        let mut forward = GapRecorder::default();
        requests.iter().for_each(|(id, chunks)| forward.take(*id, chunks));
        let mut shuffled = GapRecorder::default();
        (0..1000).for_each(|i| {
            let (id, chunks) = &requests[i * 377 % 1000];
            shuffled.take(*id, chunks);
        });
        let gaps = forward.finish();
        assert_eq!(gaps, shuffled.finish());
        let granules = gaps.chunk_gap;
        assert!((MOST_GRANULES / 2..=MOST_GRANULES).contains(&granules.len()), "{}", granules.len());
        assert_eq!(granules.iter().map(|g| g.n).sum::<u64>(), 37_000);
        assert!(granules.iter().all(|g| g.bins.iter().map(|b| u64::from(b.1)).sum::<u64>() == g.n));
        assert!(granules.iter().all(|g| g.bins.is_sorted_by(|a, b| a.0 < b.0)));
        let sum: u64 = (0..37_000u64).map(|i| i * 7919 % 100_003 + 5_000).sum();
        assert_eq!(granules.iter().map(|g| g.sum_ns).sum::<i64>(), sum as i64);
    }

    #[test]
    fn times_per_token_are_kept_apart_once_a_chunk_has_several() {
        let mut r = GapRecorder::default();
        r.take(0, &stream([100], 1));
        r.take(1, &stream([100], 4));
        let g = r.finish();
        let means = |g: &[Granule]| g.iter().map(|g| g.sum_ns).collect::<Vec<_>>();
        assert_eq!(means(&g.chunk_gap), [100, 100]);
        assert_eq!(means(&g.itl.unwrap()), [100, 25]);
    }
}

//! What a trace costs on a device: granules that are not in the cache when they are read.
//!
//! Units lie one after another in the order of π. A step reads its units in the order of their places, as a kernel does
//! that is given a sorted list; what lies in one granule comes with one transfer. The cache is fully associative with
//! least-recently-used replacement, so a granule misses when at least as many others were read since it was (its reuse
//! distance, Mattson et al., "Evaluation techniques for storage hierarchies", IBM Systems Journal 9 (1970) 78–117).
//! It is a model: real caches have sets, prefetchers and other tenants.

use serde::{Deserialize, Serialize};

use crate::permutation::Permutation;
use crate::trace::Trace;

/// What a device moves, and how much of it a cache holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Geometry {
    /// Bytes of a unit, in eighths: a 4-bit number has 4.
    pub unit_bits: u64,
    /// Bytes that one transfer brings.
    pub granule_bytes: u64,
    /// Bytes that the cache holds.
    pub cache_bytes: u64,
}

/// What reading a trace comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Misses {
    /// Units read.
    pub units: u64,
    /// Granules asked for: each once a step.
    pub granules: u64,
    /// Granules that were not in the cache.
    pub misses: u64,
}

impl Misses {
    /// Share of the granules asked for that were in the cache; `None` when nothing was asked for.
    pub fn hit_rate(&self) -> Option<f64> {
        (self.granules > 0).then(|| 1.0 - self.misses as f64 / self.granules as f64)
    }

    /// Granules asked for, for each unit read; `None` when nothing was read.
    pub fn granules_per_unit(&self) -> Option<f64> {
        (self.units > 0).then(|| self.granules as f64 / self.units as f64)
    }
}

impl Geometry {
    /// Whether several units share a granule, so that their order can matter.
    pub fn shares(&self) -> bool {
        self.unit_bits < self.granule_bytes * 8
    }

    /// Units of a granule, where they divide it.
    pub fn units_of_granule(&self) -> Option<usize> {
        let bits = self.granule_bytes * 8;
        (self.unit_bits > 0 && bits.is_multiple_of(self.unit_bits)).then(|| (bits / self.unit_bits) as usize)
    }

    /// The granules that the unit at a place lies in.
    fn granules_at(&self, place: u32) -> std::ops::RangeInclusive<u64> {
        let bits = self.granule_bytes.max(1) * 8;
        let begin = u64::from(place) * self.unit_bits;
        begin / bits..=(begin + self.unit_bits.max(1) - 1) / bits
    }
}

/// Reads a trace in the order of `pi` through an empty cache.
///
/// # Panics
/// When trace and permutation differ in width.
pub fn misses(trace: &Trace, pi: &Permutation, geometry: &Geometry) -> Misses {
    assert_eq!(trace.d(), pi.len(), "a permutation of another width");
    let capacity = geometry.cache_bytes / geometry.granule_bytes.max(1);
    let last = geometry.granules_at(trace.d().saturating_sub(1) as u32);
    let mut cache = Recency::new(*last.end() as usize + 1, trace.accesses());
    let mut found = Misses { units: trace.accesses() as u64, granules: 0, misses: 0 };
    let mut places = Vec::new();
    for step in trace.steps() {
        places.clear();
        places.extend(step.iter().map(|&u| pi.position()[u as usize]));
        places.sort_unstable();
        let mut done = None;
        for &place in &places {
            for granule in geometry.granules_at(place) {
                if done.is_some_and(|d| granule <= d) {
                    continue;
                }
                done = Some(granule);
                found.granules += 1;
                let distance = cache.read(granule as usize);
                found.misses += u64::from(distance.is_none_or(|between| between >= capacity));
            }
        }
    }
    found
}

/// How many others were read since something was: a Fenwick tree over times that holds 1 at the last time of each.
struct Recency {
    last: Vec<usize>,
    tree: Vec<i64>,
    live: u64,
    now: usize,
}

impl Recency {
    fn new(items: usize, at_least: usize) -> Self {
        let length = (2 * items.max(1)).max(at_least.min(1 << 20)) + 1;
        Self { last: vec![0; items], tree: vec![0; length], live: 0, now: 0 }
    }

    fn add(&mut self, mut at: usize, by: i64) {
        while at < self.tree.len() {
            self.tree[at] += by;
            at += at & at.wrapping_neg();
        }
    }

    fn up_to(&self, mut at: usize) -> u64 {
        let mut sum = 0;
        while at > 0 {
            sum += self.tree[at];
            at &= at - 1;
        }
        sum as u64
    }

    /// Reads one; how many others were read since it was, `None` the first time.
    fn read(&mut self, item: usize) -> Option<u64> {
        if self.now + 1 == self.tree.len() {
            self.renumber();
        }
        self.now += 1;
        let before = std::mem::replace(&mut self.last[item], self.now);
        let distance = (before > 0).then(|| self.live - self.up_to(before));
        if before > 0 {
            self.add(before, -1);
        } else {
            self.live += 1;
        }
        self.add(self.now, 1);
        distance
    }

    /// Times begin anew, in the same order.
    fn renumber(&mut self) {
        let mut seen: Vec<usize> = (0..self.last.len()).filter(|&i| self.last[i] > 0).collect();
        seen.sort_by_key(|&i| self.last[i]);
        self.tree.fill(0);
        for (time, &item) in seen.iter().enumerate() {
            self.last[item] = time + 1;
            self.add(time + 1, 1);
        }
        self.now = seen.len();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn geometry(unit_bytes: u64, granule_bytes: u64, cache_bytes: u64) -> Geometry {
        Geometry { unit_bits: unit_bytes * 8, granule_bytes, cache_bytes }
    }

    #[test]
    fn known_counts() {
        // Two units of 32 bytes a line of 64: {0,1} {2,3}. Steps 0 1 | 2 | 0 3: lines A | B | A B.
        let trace = Trace::new(4, [vec![0, 1], vec![2], vec![0, 3]]).unwrap();
        let read = |pi: &[u32], cache| {
            let pi = Permutation::from_order(pi.to_vec()).unwrap();
            let m = misses(&trace, &pi, &geometry(32, 64, cache));
            (m.granules, m.misses)
        };
        assert_eq!(read(&[0, 1, 2, 3], 128), (4, 2));
        // One line: A, B, A, B all miss.
        assert_eq!(read(&[0, 1, 2, 3], 64), (4, 4));
        // {0,2} {1,3}: A B | A | A B: the last two are hits with two lines; with one, A stays from step 2 to 3.
        assert_eq!(read(&[0, 2, 1, 3], 128), (5, 2));
        assert_eq!(read(&[0, 2, 1, 3], 64), (5, 4));
    }

    #[test]
    fn units_that_fill_granules_cannot_share_them() {
        let steps = (0..40u32).map(|s| (0..6).map(|i| (s * 7 + i * i) % 32).collect());
        let trace = Trace::new(32, steps).unwrap();
        for unit in [64, 128, 512] {
            let g = geometry(unit, 64, 1024);
            assert!(!g.shares());
            // The order in which a step reads them is another, so that what a small cache still holds may differ; what
            // is asked for does not, nor what misses without a cache or with one for all.
            for cache_bytes in [0, 1 << 20] {
                let g = Geometry { cache_bytes, ..g };
                let read = |seed| misses(&trace, &Permutation::random(32, seed), &g);
                assert!((1..5).all(|seed| read(seed) == read(0)), "{unit} bytes");
            }
        }
        assert!(geometry(32, 64, 1024).shares());
        assert_eq!(geometry(4, 64, 0).units_of_granule(), Some(16));
        assert_eq!(geometry(48, 64, 0).units_of_granule(), None);
    }

    #[test]
    fn a_unit_across_a_border_reads_both_sides() {
        let trace = Trace::new(2, [vec![1]]).unwrap();
        let found = misses(&trace, &Permutation::identity(2), &geometry(48, 64, 0));
        assert_eq!((found.granules, found.misses, found.hit_rate()), (2, 2, Some(0.0)));
    }

    proptest! {
        #[test]
        fn misses_are_those_of_a_list_of_recently_used(
            steps in prop::collection::vec(prop::collection::vec(0u32..24, 0..8), 1..60),
            lines in 0u64..8,
            seed in 0u64..10,
        ) {
            prop_assume!(steps.iter().any(|s| !s.is_empty()));
            let trace = Trace::new(24, steps).unwrap();
            let pi = Permutation::random(24, seed);
            let found = misses(&trace, &pi, &geometry(16, 64, lines * 64));
            let (mut list, mut count): (Vec<u32>, u64) = (Vec::new(), 0);
            for step in trace.steps() {
                let mut read: Vec<u32> = step.iter().map(|&u| pi.position()[u as usize] / 4).collect();
                read.sort_unstable();
                read.dedup();
                for line in read {
                    match list.iter().position(|&l| l == line) {
                        Some(at) => { list.remove(at); }
                        None => count += 1,
                    }
                    list.insert(0, line);
                    list.truncate(lines as usize);
                }
            }
            prop_assert_eq!(found.misses, count);
        }
    }
}

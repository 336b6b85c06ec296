//! How requests come through the server's front: parsed side by side on one thread, then handed over one by one.
//!
//! A server with one event loop gives every request a turn, so that of many that come at once the first is through hardly
//! before the last: `k` requests of `p` seconds each are through after about `k · p`. Seen at vLLM 0.26: of 64 requests
//! that are sent at once none reaches the engine for 40 ms, and the engine's first step holds two of them.

use std::collections::VecDeque;

/// Nanoseconds from one hand-over to the next, and from the first hand-over until an idle engine begins a step.
pub(super) const HAND_OVER: u64 = 50_000;

/// Requests that are being parsed. Times in nanoseconds; they only grow.
#[derive(Debug)]
pub(super) struct Parsing {
    /// What a request takes alone.
    each: f64,
    /// Requests with the work at which they are through, counted as the work that every one of them has had.
    requests: VecDeque<(u32, f64)>,
    had: f64,
    now: u64,
}

impl Parsing {
    pub(super) fn new(seconds: f64) -> Self {
        Self { each: seconds * 1e9, requests: VecDeque::new(), had: 0.0, now: 0 }
    }

    /// A request comes at `at`. Those that are through by then are told.
    pub(super) fn add(&mut self, at: u64, request: u32, through: &mut dyn FnMut(u32, u64)) {
        self.advance(at, through);
        self.requests.push_back((request, self.had + self.each));
    }

    /// When the next request is through if none comes before, and which one.
    pub(super) fn next(&self) -> Option<(u32, u64)> {
        let (request, needs) = *self.requests.front()?;
        let left = (needs - self.had).max(0.0) * self.requests.len() as f64;
        Some((request, self.now + left.round() as u64))
    }

    /// Time goes on to `to`; tells every request that is through by then, and when.
    pub(super) fn advance(&mut self, to: u64, through: &mut dyn FnMut(u32, u64)) {
        while let Some((request, at)) = self.next().filter(|(_, at)| *at <= to) {
            self.had = self.requests.pop_front().map_or(self.had, |(_, needs)| needs);
            self.now = self.now.max(at);
            through(request, at);
        }
        if to > self.now {
            let sharing = self.requests.len().max(1) as f64;
            self.had += (to - self.now) as f64 / sharing;
            self.now = to;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn through(arrivals: &[(u64, u32)], until: u64) -> Vec<(u32, u64)> {
        let mut parsing = Parsing::new(1e-3);
        let mut all = Vec::new();
        for &(at, request) in arrivals {
            parsing.add(at, request, &mut |r, t| all.push((r, t)));
        }
        parsing.advance(until, &mut |r, t| all.push((r, t)));
        all
    }

    #[test]
    fn those_that_come_at_once_are_through_at_once() {
        let ms = 1_000_000;
        assert_eq!(through(&[(0, 0)], 9 * ms), [(0, ms)]);
        assert_eq!(through(&[(0, 0), (0, 1), (0, 2)], 9 * ms), [(0, 3 * ms), (1, 3 * ms), (2, 3 * ms)]);
        assert_eq!(through(&[(0, 0), (0, 1)], ms), []);
    }

    #[test]
    fn one_that_comes_later_slows_the_others() {
        // Alone for half a millisecond, then two share: the first needs another whole one, the second half of one more.
        let ms = 1_000_000;
        assert_eq!(through(&[(0, 0), (ms / 2, 1)], 9 * ms), [(0, 3 * ms / 2), (1, 2 * ms)]);
        // One that comes when the others are through is alone.
        assert_eq!(through(&[(0, 0), (5 * ms, 1)], 9 * ms), [(0, ms), (1, 6 * ms)]);
    }
}

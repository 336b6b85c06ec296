//! A part of a trace, played faster or slower.

use std::time::Duration;

use stopwatt_core::Nanos;

use super::Entry;

/// Which part of a trace is played, and how fast.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Window {
    /// Where it begins, in the trace's own time.
    pub from: Duration,
    /// How long it is, in the trace's own time; `None` goes on to the end.
    pub length: Option<Duration>,
    /// How much faster than recorded; below 1 is slower.
    pub speedup: f64,
    /// Most entries; `None` is no limit.
    pub most: Option<u64>,
}

impl Default for Window {
    fn default() -> Self {
        Self { from: Duration::ZERO, length: None, speedup: 1.0, most: None }
    }
}

impl Window {
    /// The entries inside the window, their times counted from its begin and divided by the speed-up. Entries without
    /// times are only limited in number.
    pub fn cut(&self, entries: Vec<Entry>) -> Vec<Entry> {
        let nanos = |d: Duration| Nanos::try_from(d.as_nanos()).unwrap_or(Nanos::MAX);
        let from = nanos(self.from);
        let to = self.length.map_or(Nanos::MAX, |l| from.saturating_add(nanos(l)));
        let most = self.most.map_or(usize::MAX, |n| usize::try_from(n).unwrap_or(usize::MAX));
        entries
            .into_iter()
            .filter(|e| e.at_ns.is_none_or(|at| (from..to).contains(&at)))
            .take(most)
            .map(|mut e| {
                e.at_ns = e.at_ns.map(|at| ((at - from) as f64 / self.speedup).round() as Nanos);
                e
            })
            .collect()
    }
}

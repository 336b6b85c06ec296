//! A workload that was recorded: the entries of a trace in place of drawn lengths.

use crate::random::{Draws, Purpose};
use crate::trace::{Entry, Turn};
use crate::workload::{Length, LengthError};

/// Recorded requests.
#[derive(Clone, PartialEq)]
pub struct Recorded {
    /// What people call it.
    pub name: String,
    /// Tokens of a prefix block.
    pub block_tokens: u32,
    /// Most turns taken of each conversation.
    pub most_turns: u32,
    entries: Vec<Entry>,
    /// In which order entries are taken: that of time, or a shuffled one for entries without times.
    order: Vec<u32>,
}

impl std::fmt::Debug for Recorded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Recorded")
            .field("name", &self.name)
            .field("entries", &self.entries.len())
            .finish_non_exhaustive()
    }
}

impl Recorded {
    /// Entries without times are shuffled by `seed`. `None` when there is none, or more than 2³².
    pub fn new(
        name: String,
        entries: Vec<Entry>,
        block_tokens: u32,
        most_turns: u32,
        seed: u64,
    ) -> Option<Self> {
        let mut order: Vec<u32> = (0..u32::try_from(entries.len()).ok()?).collect();
        if entries.is_empty() {
            return None;
        }
        if entries.iter().any(|e| e.at_ns.is_none()) {
            let mut draws = Draws::new(Purpose::Order, [seed, 0, 0, 0]);
            // Fisher–Yates.
            for i in (1..order.len()).rev() {
                order.swap(i, draws.below(i as u32 + 1) as usize);
            }
        }
        Some(Self { name, block_tokens: block_tokens.max(1), most_turns: most_turns.max(1), entries, order })
    }

    /// Number of entries.
    #[expect(clippy::len_without_is_empty, reason = "it cannot be empty")]
    pub fn len(&self) -> u64 {
        self.entries.len() as u64
    }

    /// Whether entries have times.
    pub fn is_timed(&self) -> bool {
        self.entries.iter().all(|e| e.at_ns.is_some())
    }

    /// Whether prompts are texts.
    pub fn has_texts(&self) -> bool {
        self.entries.iter().any(|e| e.turns.iter().any(|t| !t.messages.is_empty()))
    }

    /// Entry number `index`; they begin again after the last.
    pub fn entry(&self, index: u64) -> &Entry {
        &self.entries[self.order[(index % self.len()) as usize] as usize]
    }

    /// The turns that are taken of entry number `index`.
    pub fn turns(&self, index: u64) -> &[Turn] {
        let turns = &self.entry(index).turns;
        &turns[..turns.len().min(self.most_turns as usize)]
    }

    /// Entries in order of time, as they lie in the file.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The span of a length over all first turns that state it; `None` when none does.
    pub fn span(&self, of: impl Fn(&Turn) -> Option<u32>) -> Option<Result<Length, LengthError>> {
        let known = || self.entries.iter().filter_map(|e| of(e.turns.first()?));
        let (lo, hi) = (known().min()?, known().max()?);
        Some(if lo == hi { Length::fixed(lo) } else { Length::uniform(lo, hi) })
    }

    /// Mean entries a second from the first to the last; `None` without times or with fewer than two entries.
    pub fn rate_rps(&self) -> Option<f64> {
        let last = self.entries.iter().filter_map(|e| e.at_ns).max()?;
        let first = self.entries.iter().filter_map(|e| e.at_ns).min()?;
        (last > first).then(|| (self.entries.len() - 1) as f64 * 1e9 / (last - first) as f64)
    }
}

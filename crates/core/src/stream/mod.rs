//! What reports need of token streams without keeping them.
//!
//! ```text
//! chunks of one request ──► StreamSummary     a few numbers a request: columns of `events.parquet`
//!                       ├─► TrialGaps         gaps of a trial as histograms of neighbouring stretches ┐ `streams.parquet`
//!                       └─► TokenSeries       tokens over time                                       ┘
//! ```
//!
//! Request metrics follow from the summaries alone, gap metrics from the histograms, so that a run of any length is
//! reported without reading its chunks, and recorded in memory that does not grow with it.
//!
//! Invariants, each held by a test below or in the modules:
//!
//! - the order in which requests are taken does not matter: sums are integers, stretches follow from ids;
//! - a value in a histogram is at most [`gaps::RELATIVE_ERROR`] away from the one measured.

pub mod gaps;
mod recorder;
mod series;

pub use gaps::{GapRecorder, Granule, TrialGaps};
pub use recorder::{StreamRecorder, Streams, TrialKey};
pub use series::TokenSeries;

use serde::{Deserialize, Serialize};

use crate::clock::Nanos;
use crate::request::{ChunkKind, ChunkStamp, EndKind, Phase, RequestRecord};

/// What the token chunks of one stream come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct StreamSummary {
    /// First token chunk.
    pub first_token_ns: Nanos,
    /// Last token chunk.
    pub last_token_ns: Nanos,
    /// First token chunk that is not reasoning.
    pub first_answer_ns: Option<Nanos>,
    /// Tokens of the first token chunk; `None` when it did not say.
    pub first_chunk_tokens: Option<u32>,
    /// Number of token chunks: one more than there are gaps.
    pub token_chunks: u32,
    /// Tokens of all token chunks; `None` unless each says.
    pub stated_tokens: Option<u32>,
    /// Longest gap between token chunks; 0 without a gap.
    pub longest_gap_ns: Nanos,
    /// Longest gap divided by the tokens of the chunk after it where they are known, to the nanosecond.
    pub longest_itl_ns: Nanos,
}

impl StreamSummary {
    /// Sums up a stream; `None` when it has no token chunk.
    pub fn of(chunks: &[ChunkStamp]) -> Option<Self> {
        let mut tokens = chunks.iter().filter(|c| c.kind.is_token());
        let first = tokens.next()?;
        let answer = |c: &ChunkStamp| (c.kind != ChunkKind::Reasoning).then_some(c.t_ns);
        let mut summary = Self {
            first_token_ns: first.t_ns,
            last_token_ns: first.t_ns,
            first_answer_ns: answer(first),
            first_chunk_tokens: first.tokens,
            token_chunks: 1,
            stated_tokens: first.tokens,
            longest_gap_ns: 0,
            longest_itl_ns: 0,
        };
        for chunk in tokens {
            let gap = Gap { ns: chunk.t_ns.wrapping_sub(summary.last_token_ns), tokens: chunk.tokens };
            summary.last_token_ns = chunk.t_ns;
            summary.first_answer_ns = summary.first_answer_ns.or_else(|| answer(chunk));
            summary.token_chunks += 1;
            summary.stated_tokens = summary.stated_tokens.zip(chunk.tokens).map(|(a, b)| a.saturating_add(b));
            summary.longest_gap_ns = summary.longest_gap_ns.max(gap.ns);
            summary.longest_itl_ns = summary.longest_itl_ns.max(gap.per_token_ns());
        }
        Some(summary)
    }

    /// Number of gaps between token chunks.
    pub fn gaps(&self) -> u64 {
        u64::from(self.token_chunks.saturating_sub(1))
    }
}

/// The time between two token chunks of one stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    /// Its length.
    pub ns: Nanos,
    /// Tokens of the chunk that ends it; `None` when it did not say.
    pub tokens: Option<u32>,
}

impl Gap {
    /// What the gap is divided by for a time per token: the tokens of the chunk, one where that is not known.
    pub fn divisor(self) -> u32 {
        self.tokens.unwrap_or(1).max(1)
    }

    /// Time per token, to the nanosecond.
    pub fn per_token_ns(self) -> Nanos {
        let n = Nanos::from(self.divisor());
        if n == 1 { self.ns } else { self.ns.saturating_add(n / 2).div_euclid(n) }
    }
}

/// The gaps between the token chunks of a stream, in order.
pub fn gaps(chunks: &[ChunkStamp]) -> impl Iterator<Item = Gap> {
    let mut before = None;
    chunks.iter().filter(|c| c.kind.is_token()).filter_map(move |c| {
        let gap = before.map(|b: Nanos| Gap { ns: c.t_ns.wrapping_sub(b), tokens: c.tokens });
        before = Some(c.t_ns);
        gap
    })
}

/// Whether the gaps of a request belong to a metric: it was measured and ended well.
pub fn counts(record: &RequestRecord) -> bool {
    record.phase == Phase::Measure && record.end == EndKind::Ok
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(t_ns: Nanos, tokens: Option<u32>, kind: ChunkKind) -> ChunkStamp {
        ChunkStamp::new(t_ns, tokens, kind)
    }

    #[test]
    fn by_hand() {
        let chunks = [
            chunk(5, None, ChunkKind::Role),
            chunk(10, Some(2), ChunkKind::Reasoning),
            chunk(40, Some(3), ChunkKind::Content),
            chunk(60, Some(1), ChunkKind::Content),
            chunk(61, None, ChunkKind::Usage),
            chunk(70, None, ChunkKind::Done),
        ];
        let s = StreamSummary::of(&chunks).unwrap();
        let expected = StreamSummary {
            first_token_ns: 10,
            last_token_ns: 60,
            first_answer_ns: Some(40),
            first_chunk_tokens: Some(2),
            token_chunks: 3,
            stated_tokens: Some(6),
            longest_gap_ns: 30,
            longest_itl_ns: 20,
        };
        assert_eq!((s, s.gaps()), (expected, 2));
        let found: Vec<_> = gaps(&chunks).map(|g| (g.ns, g.per_token_ns())).collect();
        assert_eq!(found, [(30, 10), (20, 20)]);
    }

    #[test]
    fn a_chunk_that_does_not_say_its_tokens_leaves_the_sum_unknown() {
        let chunks = [chunk(1, Some(1), ChunkKind::Content), chunk(2, None, ChunkKind::Content)];
        assert_eq!(StreamSummary::of(&chunks).unwrap().stated_tokens, None);
        assert_eq!(StreamSummary::of(&[chunk(1, None, ChunkKind::Done)]), None);
    }

    #[test]
    fn time_per_token_is_rounded_to_the_nearest_nanosecond() {
        let per = |ns, tokens| Gap { ns, tokens }.per_token_ns();
        assert_eq!((per(10, Some(4)), per(11, Some(4)), per(9, None), per(9, Some(0))), (3, 3, 9, 9));
    }
}

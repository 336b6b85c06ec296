//! Tokens over time, in slices that widen as the run grows.

use crate::clock::Nanos;
use crate::request::RequestRecord;

/// Slices, at most.
const MOST_SLICES: usize = 8192;
/// Width of the slices of a short run.
const NARROWEST_NS: Nanos = 1_000_000;

/// Tokens received in each slice of the time since `t0`, whatever became of their request. Chunks that do not state
/// their tokens get an even share of the request's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenSeries {
    width_ns: Nanos,
    /// Thousandths of tokens: integers add up to the same sum in any order.
    milli: Vec<u64>,
}

impl Default for TokenSeries {
    fn default() -> Self {
        Self { width_ns: NARROWEST_NS, milli: Vec::new() }
    }
}

impl TokenSeries {
    /// A series that was stored; `None` when it is none.
    pub fn from_parts(width_ns: Nanos, milli: Vec<u64>) -> Option<Self> {
        (width_ns > 0 && milli.len() <= MOST_SLICES).then_some(Self { width_ns, milli })
    }

    /// Width of a slice.
    pub fn width_ns(&self) -> Nanos {
        self.width_ns
    }

    /// Thousandths of tokens in each slice, from `t0` on.
    pub fn milli(&self) -> &[u64] {
        &self.milli
    }

    /// Takes the stream of a request.
    pub fn take(&mut self, record: &RequestRecord) {
        let Some(last) = record.token_chunks().next_back() else { return };
        self.reach(last.t_ns);
        let even = || record.output_tokens().map_or(1.0, f64::from) / record.token_chunks().count() as f64;
        let mut share = None;
        for chunk in record.token_chunks() {
            let milli = match chunk.tokens {
                Some(tokens) => u64::from(tokens) * 1000,
                None => (*share.get_or_insert_with(even) * 1000.0).round() as u64,
            };
            let at =
                usize::try_from(chunk.t_ns.max(0) / self.width_ns).unwrap_or(0).min(self.milli.len() - 1);
            self.milli[at] = self.milli[at].saturating_add(milli);
        }
    }

    /// Makes room up to a moment.
    fn reach(&mut self, t_ns: Nanos) {
        let needed =
            |width: Nanos| usize::try_from(t_ns.max(0) / width).unwrap_or(usize::MAX).saturating_add(1);
        while needed(self.width_ns) > MOST_SLICES {
            self.width_ns *= 2;
            self.milli = self.milli.chunks(2).map(|pair| pair.iter().sum()).collect();
        }
        self.milli.resize(self.milli.len().max(needed(self.width_ns)), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::{ChunkKind, ChunkStamp};

    fn request(stamps: &[(Nanos, Option<u32>)], output_usage: Option<u32>) -> RequestRecord {
        RequestRecord {
            output_usage,
            chunks: stamps
                .iter()
                .map(|&(t_ns, tokens)| ChunkStamp::new(t_ns, tokens, ChunkKind::Content))
                .collect(),
            ..RequestRecord::blank()
        }
    }

    #[test]
    fn slices_widen_and_keep_every_token() {
        let ms = 1_000_000;
        let mut s = TokenSeries::default();
        s.take(&request(&[(0, Some(2)), (ms, Some(1)), (5 * ms, Some(4))], None));
        assert_eq!((s.width_ns(), s.milli()), (ms, &[2000, 1000, 0, 0, 0, 4000][..]));
        s.take(&request(&[(8192 * ms, Some(1))], None));
        assert_eq!((s.width_ns(), s.milli().len()), (2 * ms, 4097));
        assert_eq!((&s.milli()[..3], s.milli()[4096]), (&[3000, 0, 4000][..], 1000));
    }

    #[test]
    fn chunks_that_do_not_say_share_the_tokens_of_their_request() {
        let mut s = TokenSeries::default();
        s.take(&request(&[(0, None), (0, None), (0, None)], Some(9)));
        assert_eq!(s.milli(), [9000]);
        s.take(&request(&[(0, None)], None));
        assert_eq!(s.milli(), [10_000]);
    }
}

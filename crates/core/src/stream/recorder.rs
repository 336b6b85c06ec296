//! Gaps and tokens of a whole run, taken request by request.

use std::collections::BTreeMap;

use super::{GapRecorder, TokenSeries, TrialGaps, counts};
use crate::request::RequestRecord;

/// Point and trial.
pub type TrialKey = (u32, u32);

/// Trials that are kept open: rows of one may come while the next has begun.
const OPEN: usize = 4;

/// What the streams of a run come to besides their summaries.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Streams {
    /// Gaps of the successful requests of each trial.
    pub gaps: BTreeMap<TrialKey, TrialGaps>,
    /// Tokens of all requests over time.
    pub tokens: TokenSeries,
}

impl Streams {
    /// Gaps in all histograms together.
    pub fn gap_count(&self) -> u64 {
        self.gaps.values().flat_map(|t| &t.chunk_gap).map(|g| g.n).sum()
    }
}

/// Takes the requests of a run.
#[derive(Debug, Default)]
pub struct StreamRecorder {
    open: BTreeMap<TrialKey, GapRecorder>,
    /// Open trials, the one that was met last at the end.
    order: Vec<TrialKey>,
    tokens: TokenSeries,
}

impl StreamRecorder {
    /// Takes a request. Returns the trial that this closes, if any, so that memory is bounded by a few trials; one that
    /// gets another request after that is closed once more with the rest.
    pub fn take(&mut self, record: &RequestRecord) -> Option<(TrialKey, TrialGaps)> {
        self.tokens.take(record);
        if !counts(record) || record.token_chunks().nth(1).is_none() {
            return None;
        }
        let key = (record.point, record.trial);
        if self.order.last() != Some(&key) {
            self.order.retain(|k| *k != key);
            self.order.push(key);
        }
        self.open.entry(key).or_default().take(record.id, &record.chunks);
        (self.order.len() > OPEN).then(|| self.close(0))
    }

    /// Closes the trials that are still open, oldest first, and gives the tokens over time.
    pub fn finish(mut self) -> (Vec<(TrialKey, TrialGaps)>, TokenSeries) {
        let mut rest = Vec::new();
        while !self.order.is_empty() {
            rest.push(self.close(0));
        }
        (rest, self.tokens)
    }

    fn close(&mut self, oldest: usize) -> (TrialKey, TrialGaps) {
        let key = self.order.remove(oldest);
        (key, self.open.remove(&key).unwrap_or_default().finish())
    }
}

impl TrialGaps {
    /// Adds what came after the trial had been closed.
    pub fn append(&mut self, more: Self) {
        if self.itl.is_some() || more.itl.is_some() {
            let itl = self.itl.get_or_insert_with(|| self.chunk_gap.clone());
            itl.extend(more.itl.unwrap_or_else(|| more.chunk_gap.clone()));
        }
        self.chunk_gap.extend(more.chunk_gap);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::{ChunkKind, ChunkStamp, EndKind, Phase};

    fn request(id: u64, trial: u32) -> RequestRecord {
        let chunk = |t_ns| ChunkStamp::new(t_ns, Some(1), ChunkKind::Content);
        RequestRecord {
            id,
            trial,
            phase: Phase::Measure,
            chunks: [10, 30, 60].map(chunk).to_vec(),
            ..RequestRecord::blank()
        }
    }

    #[test]
    fn old_trials_are_closed_and_a_late_row_is_not_lost() {
        let mut recorder = StreamRecorder::default();
        let mut all = Streams::default();
        let mut closed = Vec::new();
        for (id, trial) in (0..).zip([0, 1, 2, 3, 4, 5, 0]) {
            if let Some((key, gaps)) = recorder.take(&request(id, trial)) {
                closed.push(key.1);
                all.gaps.entry(key).or_default().append(gaps);
            }
        }
        assert_eq!(closed, [0, 1, 2]);
        for (key, gaps) in recorder.finish().0 {
            all.gaps.entry(key).or_default().append(gaps);
        }
        assert_eq!((all.gap_count(), all.gaps.len()), (14, 6));
        assert_eq!(all.gaps[&(0, 0)].chunk_gap.len(), 4);
    }

    #[test]
    fn failed_and_unmeasured_requests_have_no_gaps_but_tokens() {
        let mut recorder = StreamRecorder::default();
        recorder.take(&RequestRecord { end: EndKind::Timeout, ..request(0, 0) });
        recorder.take(&RequestRecord { phase: Phase::Warmup, ..request(1, 0) });
        let (gaps, tokens) = recorder.finish();
        assert!(gaps.is_empty());
        assert_eq!(tokens.milli(), [6000]);
    }
}

//! The values of one request, by the definitions of [`stopwatt_core::metric`].
//!
//! ```text
//! intended  dispatched  connected      first token   …   last token
//! │─send lag─│─connect───│─────ttft──────│────(N − n₁)·tpot────│
//! │          │           │──────────────e2e────────────────────│
//! │────────────────e2e from schedule───────────────────────────│
//! ```
//!
//! Nothing here asks whether the request ended well: that is the caller's choice.

use stopwatt_core::clock::Nanos;
use stopwatt_core::{EndKind, Metric, RequestRow};

/// What one request contributes to each metric, in seconds. `None` when its stamps do not tell.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct RequestMetrics {
    /// First token chunk − send begin.
    pub ttft: Option<f64>,
    /// First token chunk that is not reasoning − send begin.
    pub ttft_answer: Option<f64>,
    /// (last − first token chunk) / (N − tokens of the first chunk). A first chunk that does not state its tokens
    /// counts as one token. `None` for a single token chunk: it has no gap to divide.
    pub tpot: Option<f64>,
    /// The longest gap between token chunks, each divided by the tokens of the later chunk where they are known.
    /// `None` without a gap.
    pub longest_itl: Option<f64>,
    /// The longest gap between token chunks. `None` without a gap.
    pub longest_gap: Option<f64>,
    /// Last token chunk − send begin; of an iteration that is no request: end − begin.
    pub e2e: Option<f64>,
    /// Last token chunk − intended.
    pub e2e_from_schedule: Option<f64>,
    /// Connection stood − dispatched; `None` when a kept-alive connection was used.
    pub connect: Option<f64>,
    /// Dispatched − intended.
    pub send_lag: Option<f64>,
    /// Prompt tokens by the server's usage.
    pub input_tokens: Option<f64>,
    /// Completion tokens, see `RequestRecord::output_tokens`.
    pub output_tokens: Option<f64>,
}

impl RequestMetrics {
    /// The one value of a metric that has one value a request; `None` also for every other metric.
    pub fn value(&self, metric: Metric) -> Option<f64> {
        match metric {
            Metric::Ttft => self.ttft,
            Metric::TtftAnswer => self.ttft_answer,
            Metric::Tpot => self.tpot,
            Metric::E2e => self.e2e,
            Metric::E2eFromSchedule => self.e2e_from_schedule,
            Metric::Connect => self.connect,
            Metric::SendLag => self.send_lag,
            Metric::InputTokens => self.input_tokens,
            Metric::OutputTokens => self.output_tokens,
            _ => None,
        }
    }
}

/// Computes the values of one request.
pub fn request_metrics(row: &RequestRow) -> RequestMetrics {
    let since = |from: Option<Nanos>, to: Option<Nanos>| Some(seconds(to? - from?));
    let begin = row.send_begin_ns();
    let stream = row.stream;
    // An iteration of a target that is no server ended well without status and first byte: it ends when it ends, not
    // with its last token.
    let answered = row.status.is_some() || row.first_byte_ns.get().is_some();
    let is_iteration = !answered && row.written_ns.get().is_some() && row.end == EndKind::Ok;
    let last = if is_iteration { Some(row.end_ns) } else { stream.map(|s| s.last_token_ns) };
    let with_gaps = stream.filter(|s| s.gaps() > 0);
    RequestMetrics {
        ttft: since(begin, stream.map(|s| s.first_token_ns)),
        ttft_answer: since(begin, stream.and_then(|s| s.first_answer_ns)),
        tpot: tpot(row),
        longest_itl: with_gaps.map(|s| seconds(s.longest_itl_ns)),
        longest_gap: with_gaps.map(|s| seconds(s.longest_gap_ns)),
        e2e: since(begin, last),
        e2e_from_schedule: since(Some(row.intended_ns), last),
        connect: row.connected_ns.get().zip(row.dispatched_ns.get()).map(|(c, d)| seconds(c - d)),
        send_lag: row.dispatched_ns.get().map(|d| seconds(d - row.intended_ns)),
        input_tokens: row.input_usage.map(f64::from),
        output_tokens: row.output_tokens().map(f64::from),
    }
}

fn tpot(row: &RequestRow) -> Option<f64> {
    let stream = row.stream.filter(|s| s.gaps() > 0)?;
    let after_first = row.output_tokens()?.checked_sub(stream.first_chunk_tokens.unwrap_or(1).max(1))?;
    (after_first > 0).then(|| seconds(stream.last_token_ns - stream.first_token_ns) / f64::from(after_first))
}

/// Nanoseconds as seconds.
pub(crate) fn seconds(ns: Nanos) -> f64 {
    ns as f64 / 1e9
}

#[cfg(test)]
mod tests {
    use stopwatt_core::ChunkKind;

    use super::*;
    use crate::testing::{chunk, ok_request};

    const MS: i64 = 1_000_000;

    #[test]
    fn by_hand() {
        let mut r = ok_request(0, 10 * MS, &[110, 130, 150, 190]);
        r.intended_ns = 4 * MS;
        r.connected_ns = Some(13 * MS);
        let m = request_metrics(&RequestRow::of(&r));
        assert_eq!(m.send_lag, Some(0.006));
        assert_eq!(m.connect, Some(0.003));
        assert_eq!(m.ttft, Some(0.097), "connecting is not in it");
        assert_eq!(m.e2e, Some(0.177));
        assert_eq!(m.e2e_from_schedule, Some(0.186));
        assert_eq!(m.tpot, Some(0.080 / 3.0));
        assert_eq!((m.longest_gap, m.longest_itl), (Some(0.04), Some(0.04)));
    }

    #[test]
    fn several_tokens_in_a_chunk_divide_the_gap() {
        let mut r = ok_request(0, 0, &[]);
        r.chunks = vec![
            chunk(100 * MS, Some(2), ChunkKind::Content),
            chunk(150 * MS, Some(5), ChunkKind::Content),
            chunk(170 * MS, None, ChunkKind::Content),
        ];
        r.output_usage = Some(9);
        let m = request_metrics(&RequestRow::of(&r));
        assert_eq!((m.longest_itl, m.longest_gap), (Some(0.02), Some(0.05)));
        assert_eq!(m.tpot, Some(0.07 / 7.0));
    }

    #[test]
    fn role_usage_and_done_are_no_tokens_and_reasoning_is_no_answer() {
        let mut r = ok_request(0, 0, &[]);
        r.chunks = vec![
            chunk(10 * MS, None, ChunkKind::Role),
            chunk(20 * MS, Some(1), ChunkKind::Reasoning),
            chunk(30 * MS, Some(1), ChunkKind::Tool),
            chunk(40 * MS, None, ChunkKind::Usage),
            chunk(50 * MS, None, ChunkKind::Done),
        ];
        r.output_usage = Some(2);
        let m = request_metrics(&RequestRow::of(&r));
        assert_eq!((m.ttft, m.ttft_answer, m.e2e, m.tpot), (Some(0.02), Some(0.03), Some(0.03), Some(0.01)));
    }

    #[test]
    fn one_chunk_has_no_time_per_token() {
        let mut r = ok_request(0, 0, &[25]);
        r.output_usage = Some(8);
        let m = request_metrics(&RequestRow::of(&r));
        assert_eq!((m.tpot, m.longest_itl, m.e2e), (None, None, Some(0.025)));
    }

    #[test]
    fn an_iteration_ends_with_its_end() {
        let mut r = ok_request(0, 0, &[10, 25]);
        (r.status, r.first_byte_ns, r.written_ns, r.end_ns) = (None, None, Some(0), 30 * MS);
        let m = request_metrics(&RequestRow::of(&r));
        assert_eq!((m.ttft, m.e2e, m.e2e_from_schedule), (Some(0.01), Some(0.03), Some(0.03)));
        r.chunks.clear();
        let m = request_metrics(&RequestRow::of(&r));
        assert_eq!((m.ttft, m.e2e), (None, Some(0.03)));
    }

    #[test]
    fn without_stamps_nothing_is_known() {
        let mut r = ok_request(0, 0, &[]);
        r.dispatched_ns = None;
        r.connected_ns = None;
        r.output_usage = None;
        r.input_usage = None;
        assert_eq!(request_metrics(&RequestRow::of(&r)), RequestMetrics::default());
    }
}

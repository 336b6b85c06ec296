//! Small records for tests.

use stopwatt_core::clock::Nanos;
use stopwatt_core::log::{EngineCounters, Fact, LogEvent};
use stopwatt_core::{ChunkKind, ChunkStamp, EndKind, FinishReason, Phase, RequestRecord};

pub(crate) fn chunk(t_ns: Nanos, tokens: Option<u32>, kind: ChunkKind) -> ChunkStamp {
    ChunkStamp { t_ns, tokens, kind }
}

/// A successful request sent at `begin`, with one token at each of `token_ms` milliseconds on the run's clock.
pub(crate) fn ok_request(id: u64, begin: Nanos, token_ms: &[i64]) -> RequestRecord {
    let chunks: Vec<_> = token_ms.iter().map(|t| chunk(t * 1_000_000, Some(1), ChunkKind::Content)).collect();
    let end_ns = chunks.last().map_or(begin, |c| c.t_ns);
    RequestRecord {
        id,
        point: 0,
        trial: 0,
        phase: Phase::Measure,
        input_asked: 16,
        output_asked: token_ms.len() as u32,
        input_usage: Some(16),
        output_usage: Some(token_ms.len() as u32),
        cached_usage: None,
        output_tokenizer: None,
        intended_ns: begin,
        dispatched_ns: Some(begin),
        connected_ns: None,
        written_ns: Some(begin),
        first_byte_ns: chunks.first().map(|c| c.t_ns),
        end_ns,
        end: EndKind::Ok,
        status: Some(200),
        error_len: None,
        error_hash: None,
        finish: Some(FinishReason::Length),
        chunks,
    }
}

/// A log of these facts, a millisecond apart.
pub(crate) fn log(facts: &[Fact]) -> Vec<LogEvent> {
    facts.iter().zip(0..).map(|(fact, i)| LogEvent { t_ns: i * 1_000_000, fact: fact.clone() }).collect()
}

/// The end of a trial with a window in milliseconds and nothing else known.
pub(crate) fn trial_ended(point: u32, trial: u32, start_ms: i64, end_ms: i64) -> Fact {
    Fact::TrialEnded {
        point,
        trial,
        start_ns: start_ms * 1_000_000,
        end_ns: end_ms * 1_000_000,
        client_cpu_s: None,
        engine_cpu_s: None,
        engine_rss_bytes: None,
        planned: None,
        counters_before: EngineCounters::new(),
        counters_after: EngineCounters::new(),
    }
}

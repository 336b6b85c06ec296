//! One request as a tool reads it: which chunks are tokens, where it begins and ends, how many tokens it has, and
//! whether it was a success.

use stopwatt_core::clock::Nanos;
use stopwatt_core::{ChunkKind, ChunkShape, ChunkStamp, EndKind, RequestRecord};

use super::Dialect;

/// What a tool makes of a request.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// A success.
    Success(Reading),
    /// A success in that tool, although Stopwatt ended the stream at an event it counts as a failure. The rest of
    /// the stream is not known, so the request is counted and has no latencies.
    CutSuccess,
    /// A failure.
    Failure,
    /// Stopped by Stopwatt: the tool would not have had it.
    Absent,
}

/// A successful request in a tool's eyes.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading {
    /// Begin of the request.
    pub start_ns: Nanos,
    /// Times of the chunks that count as tokens, in order.
    pub tokens: Vec<Nanos>,
    /// Time of the first token that is no reasoning.
    pub first_answer_ns: Option<Nanos>,
    /// Where the tool's latency of the request ends.
    pub end_ns: Nanos,
    /// Output tokens; `None` where the tool would have to tokenise a text that was not kept.
    pub output: Option<u32>,
    /// Input tokens.
    pub input: u32,
    /// Tokens in the first counted chunk, where the server said.
    pub first_tokens: Option<u32>,
}

/// Reads a request by the rules of `dialect`.
pub fn read(dialect: Dialect, record: &RequestRecord) -> Verdict {
    match record.end {
        EndKind::Cancelled | EndKind::Interrupted => return Verdict::Absent,
        EndKind::Ok | EndKind::NoTokens => {}
        EndKind::StreamError | EndKind::Malformed if forgives(dialect, record) => return Verdict::CutSuccess,
        _ => return Verdict::Failure,
    }
    let Some(start_ns) = record.dispatched_ns else { return Verdict::Failure };
    let counted: Vec<&ChunkStamp> = record.chunks.iter().filter(|c| counts(dialect, c)).collect();
    // These two call any stream that ends at status 200 a success; the others want a token.
    let needs_no_token = matches!(dialect, Dialect::Sglang | Dialect::InferencePerf);
    if counted.is_empty() && (!needs_no_token || record.chunks.is_empty()) {
        return Verdict::Failure;
    }
    Verdict::Success(reading(dialect, record, start_ns, &counted))
}

fn reading(dialect: Dialect, record: &RequestRecord, start_ns: Nanos, counted: &[&ChunkStamp]) -> Reading {
    let is_answer = |c: &&&ChunkStamp| c.shape_or_typical().has(ChunkShape::TEXT.with(ChunkShape::TOOL));
    let tokens = counted.iter().flat_map(|c| {
        // inference-perf gives every token of a chunk the time of the chunk.
        let n = if dialect == Dialect::InferencePerf { c.tokens.unwrap_or(1).max(1) } else { 1 };
        std::iter::repeat_n(c.t_ns, n as usize)
    });
    Reading {
        start_ns,
        tokens: tokens.collect(),
        first_answer_ns: counted.iter().find(is_answer).map(|c| c.t_ns),
        end_ns: end(dialect, record, counted),
        output: output(dialect, record, counted),
        input: input(dialect, record),
        first_tokens: counted.first().and_then(|c| c.tokens),
    }
}

/// Whether the tool overlooks an error event or an event that is not JSON, as long as a token came before it.
fn forgives(dialect: Dialect, record: &RequestRecord) -> bool {
    let some = record.chunks.iter().any(|c| counts(dialect, c));
    match (dialect, record.end) {
        (Dialect::Vllm, EndKind::StreamError) => some,
        (Dialect::VllmRs | Dialect::Aiperf, _) => some,
        (Dialect::Sglang, EndKind::StreamError) | (Dialect::InferencePerf, _) => true,
        _ => false,
    }
}

/// Whether a chunk is a token.
fn counts(dialect: Dialect, chunk: &ChunkStamp) -> bool {
    use ChunkShape as S;
    let shape = chunk.shape_or_typical();
    let is_chat = shape.has(S::DELTA);
    let reasoning = S::REASONING.with(S::REASONING_CONTENT);
    match dialect {
        Dialect::VllmRs => shape.has(S::CHOICE),
        Dialect::Vllm if !is_chat => shape.has(S::CHOICE),
        Dialect::Vllm => {
            shape.has(S::TEXT.with(S::REASONING).with(S::TOOL))
                || (shape.has(S::EMPTY_TEXT) && !shape.has(S::ROLE))
        }
        Dialect::Sglang => shape.has(S::TEXT.with(reasoning)),
        Dialect::Guidellm => shape.has(S::TEXT.with(reasoning).with(S::TOOL)),
        Dialect::Aiperf => shape.has(S::TEXT.with(reasoning).with(S::TOOL_TEXT)),
        Dialect::InferencePerf => shape.has(S::TEXT),
        Dialect::Mlperf => chunk.kind.is_token(),
    }
}

fn end(dialect: Dialect, record: &RequestRecord, counted: &[&ChunkStamp]) -> Nanos {
    let last_token = counted.last().map(|c| c.t_ns);
    let last_line = record.chunks.last().map(|c| c.t_ns);
    let done = record.chunks.iter().find(|c| c.kind == ChunkKind::Done).map(|c| c.t_ns);
    match dialect {
        Dialect::Vllm | Dialect::VllmRs | Dialect::Aiperf => last_token,
        Dialect::Sglang => last_line,
        Dialect::Guidellm => done,
        Dialect::InferencePerf | Dialect::Mlperf => None,
    }
    .unwrap_or(record.end_ns)
}

fn output(dialect: Dialect, record: &RequestRecord, counted: &[&ChunkStamp]) -> Option<u32> {
    use ChunkShape as S;
    let usage = record.output_usage;
    // Usage in a chunk that the rule passes; runs from before shapes do not tell where it came.
    let usage_in = |passes: &dyn Fn(&ChunkStamp) -> bool| {
        let any = record
            .chunks
            .iter()
            .any(|c| if c.shape.is_unknown() { true } else { c.shape.has(S::USAGE) && passes(c) });
        usage.filter(|_| any)
    };
    match dialect {
        // It reads usage only where the chunk is no token, and tokenises the text where it found none.
        Dialect::Vllm => usage_in(&|c| !counts(dialect, c)).filter(|n| *n > 0).or(record.output_tokenizer),
        Dialect::VllmRs => usage.filter(|n| *n > 0).or_else(|| u32::try_from(counted.len()).ok()),
        Dialect::Sglang if record.chunks.iter().any(|c| c.shape_or_typical().has(S::DELTA)) => {
            usage.or(Some(record.output_asked))
        }
        Dialect::Sglang => usage_in(&|c| counts(dialect, c)).or(Some(record.output_asked)),
        Dialect::Guidellm => usage.or_else(|| u32::try_from(counted.len()).ok()),
        Dialect::InferencePerf => record.output_tokenizer.or(usage),
        Dialect::Aiperf | Dialect::Mlperf => record.output_tokens(),
    }
}

fn input(dialect: Dialect, record: &RequestRecord) -> u32 {
    match dialect {
        // Both count the prompt themselves and never ask the server.
        Dialect::VllmRs | Dialect::Sglang => record.input_asked,
        _ => record.input_usage.unwrap_or(record.input_asked),
    }
}

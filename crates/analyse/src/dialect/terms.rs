//! The one table of what other tools call their numbers, how they make them, and what sets them apart from ours.
//!
//! `--dialect` prints by it, `stopwatt explain` tells from it, and the documentation is checked against it.

use stopwatt_core::Metric;

use super::Dialect;

/// What is computed; see `measures`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quantity {
    /// First counted chunk − start.
    Ttft,
    /// The same with failures as infinitely late.
    AdjustedTtft,
    /// First counted chunk that is no reasoning − start.
    TtftAnswer,
    /// Second − first counted chunk.
    SecondToken,
    /// Mean time of the tokens after the first.
    Tpot,
    /// Time of the request divided by all its tokens.
    PerToken,
    /// Gaps between counted chunks.
    Gap,
    /// End − start.
    E2e,
    /// The same with failures as infinitely late.
    AdjustedE2e,
    /// Wait in the client before the start.
    Queue,
    /// End − start, with that wait.
    QueuedE2e,
    /// Inverse of [`Quantity::Tpot`].
    UserRate,
    /// Input tokens of a request.
    InputLength,
    /// Output tokens of a request.
    OutputLength,
    /// The measuring window.
    Window,
    /// Successes.
    Completed,
    /// Failures.
    Failed,
    /// Input tokens of successes.
    TotalInput,
    /// Output tokens of successes.
    TotalOutput,
    /// Successes / window.
    RequestRate,
    /// Input tokens / window.
    InputRate,
    /// Output tokens / window.
    OutputRate,
    /// Input and output tokens / window.
    TotalRate,
    /// Sum of end − start / window.
    Concurrency,
    /// Most counted chunks in a second.
    PeakRate,
    /// Most requests that touch one second.
    PeakConcurrency,
}

/// A number of a tool.
#[derive(Debug, Clone, Copy)]
pub struct Term {
    /// Whose.
    pub dialect: Dialect,
    /// As the tool prints it.
    pub name: &'static str,
    /// Its key in the tool's file, without the statistic.
    pub key: &'static str,
    /// The unit in which the tool gives it: `ms`, `s`, `ns`, `1/s` or `1`.
    pub unit: &'static str,
    /// How it is made.
    pub formula: &'static str,
    /// Our metric that is nearest.
    pub ours: Option<Metric>,
    /// What sets it apart from ours; `None` when nothing does.
    pub differs: Option<&'static str>,
    /// What is computed.
    pub quantity: Quantity,
}

macro_rules! terms {
    ($($dialect:ident: [$($name:literal $key:literal $unit:literal $quantity:ident => $ours:expr, $formula:literal, $differs:expr;)+])+) => {
        /// Every term, by tool, in the order in which the tool prints them.
        pub const TERMS: &[Term] = &[$($(Term {
            dialect: Dialect::$dialect, name: $name, key: $key, unit: $unit, formula: $formula,
            ours: $ours, differs: $differs, quantity: Quantity::$quantity,
        }),+),+];
    };
}

const BEGIN: &str = "begins before the connection is opened";
const BEGIN_AND_CHUNKS: &str =
    "begins before the connection is opened, and other chunks count as the first token";
const N_MINUS_ONE: &str = "divides by N − 1 even where the first chunk brings several tokens";
const CHUNK_GAPS: &str = "gaps between chunks, not divided by the tokens in them: this is our chunk_gap";
const WALL: &str = "over the time until the last response, not the window of a trial";

terms! {
    Vllm: [
        "Successful requests" "completed" "1" Completed => None, "requests with status 200 and a counted chunk", Some("an error event inside the stream is no failure");
        "Failed requests" "failed" "1" Failed => Some(Metric::ErrorRate), "all other requests", Some("a count, not a share");
        "Benchmark duration" "duration" "s" Window => None, "before the first request to the end of the last", None;
        "Total input tokens" "total_input_tokens" "1" TotalInput => Some(Metric::InputTokens), "sum of prompt_tokens by usage", Some("a sum over requests");
        "Total generated tokens" "total_output_tokens" "1" TotalOutput => Some(Metric::OutputTokens), "sum of completion_tokens by usage, else of the tokenised text", Some("a sum over requests");
        "Request throughput" "request_throughput" "1/s" RequestRate => Some(Metric::RequestThroughput), "completed / duration", Some(WALL);
        "Output token throughput" "output_throughput" "1/s" OutputRate => Some(Metric::OutputThroughput), "total output tokens / duration", Some(WALL);
        "Peak output token throughput" "max_output_tokens_per_s" "1/s" PeakRate => None, "most chunks in one second since the first request", Some("counts chunks, so it can lie below the mean when chunks hold several tokens");
        "Peak concurrent requests" "max_concurrent_requests" "1" PeakConcurrency => None, "most requests that touch one second", Some("can exceed the requests in flight at any moment");
        "Total token throughput" "total_token_throughput" "1/s" TotalRate => Some(Metric::TotalThroughput), "(input + output tokens) / duration", Some(WALL);
        "TTFT" "ttft" "ms" Ttft => Some(Metric::Ttft), "first counted chunk − before sending", Some(BEGIN_AND_CHUNKS);
        "TPOT" "tpot" "ms" Tpot => Some(Metric::Tpot), "(latency − TTFT) / (N − 1), requests with N > 1", Some(N_MINUS_ONE);
        "ITL" "itl" "ms" Gap => Some(Metric::Itl), "gaps between counted chunks", Some(CHUNK_GAPS);
        "E2EL" "e2el" "ms" E2e => Some(Metric::E2e), "last counted chunk − before sending", Some(BEGIN);
        "Client Queue Time" "client_queue_time" "ms" Queue => Some(Metric::SendLag), "wait for a free slot of --max-concurrency", Some("only the wait for a slot; ours is the whole delay since the planned time");
        "E2EL incl. Client Queue" "e2el_including_client_queue" "ms" QueuedE2e => Some(Metric::E2eFromSchedule), "E2EL + client queue time", Some("misses lateness outside the wait for a slot");
    ]
    VllmRs: [
        "Successful requests" "completed" "1" Completed => None, "requests with status 200 and a chunk with a choice", Some("error events and events that are not JSON are overlooked");
        "Failed requests" "failed" "1" Failed => Some(Metric::ErrorRate), "all other requests", Some("a count, not a share");
        "Benchmark duration" "duration" "s" Window => None, "before the first request to the end of the last", None;
        "Total input tokens" "total_input_tokens" "1" TotalInput => Some(Metric::InputTokens), "sum of prompt lengths as planned", Some("a sum over requests, counted by the client");
        "Total generated tokens" "total_output_tokens" "1" TotalOutput => Some(Metric::OutputTokens), "sum of completion_tokens by usage, else of chunks", Some("a sum over requests");
        "Request throughput" "request_throughput" "1/s" RequestRate => Some(Metric::RequestThroughput), "completed / duration", Some(WALL);
        "Input token throughput" "input_throughput" "1/s" InputRate => None, "input tokens / duration", None;
        "Output token throughput" "output_throughput" "1/s" OutputRate => Some(Metric::OutputThroughput), "total output tokens / duration", Some(WALL);
        "Peak output token throughput" "max_output_tokens_per_s" "1/s" PeakRate => None, "most chunks in one second since the first request", Some("counts chunks, so it can lie below the mean when chunks hold several tokens");
        "Peak concurrent requests" "max_concurrent_requests" "1" PeakConcurrency => None, "most requests that touch one second", Some("can exceed the requests in flight at any moment");
        "Total token throughput" "total_token_throughput" "1/s" TotalRate => Some(Metric::TotalThroughput), "(input + output tokens) / duration", Some(WALL);
        "TTFT" "ttft" "ms" Ttft => Some(Metric::Ttft), "first chunk with a choice − before sending", Some("begins before the connection is opened, and a chunk with only a role is a token");
        "TPOT" "tpot" "ms" Tpot => Some(Metric::Tpot), "(latency − TTFT) / (N − 1), requests with N > 1", Some("an early role chunk lengthens it by the wait for the first token; divides by N − 1");
        "ITL" "itl" "ms" Gap => Some(Metric::Itl), "gaps between chunks with a choice", Some("gaps between chunks, not divided by their tokens; the first may be the wait for the first token");
        "E2EL" "e2el" "ms" E2e => Some(Metric::E2e), "last chunk with a choice − before sending", Some("begins before the connection is opened and may end with the finish chunk");
    ]
    Sglang: [
        "Successful requests" "completed" "1" Completed => None, "requests with status 200 whose stream ends", Some("an error event, or no token at all, is no failure");
        "Benchmark duration" "duration" "s" Window => None, "before the first request to the end of the last", None;
        "Total input tokens" "total_input_tokens" "1" TotalInput => Some(Metric::InputTokens), "sum of prompt lengths as planned", Some("a sum over requests, counted by the client");
        "Total generated tokens" "total_output_tokens" "1" TotalOutput => Some(Metric::OutputTokens), "sum of completion_tokens by usage, else of the tokens asked for", Some("a sum over requests");
        "Request throughput" "request_throughput" "1/s" RequestRate => Some(Metric::RequestThroughput), "completed / duration", Some(WALL);
        "Input token throughput" "input_throughput" "1/s" InputRate => None, "input tokens / duration", None;
        "Output token throughput" "output_throughput" "1/s" OutputRate => Some(Metric::OutputThroughput), "total output tokens / duration", Some(WALL);
        "Peak output token throughput" "max_output_tokens_per_s" "1/s" PeakRate => None, "most chunks in one second since the first request", Some("counts chunks, so it can lie below the mean when chunks hold several tokens");
        "Peak concurrent requests" "max_concurrent_requests" "1" PeakConcurrency => None, "most requests that touch one second", Some("can exceed the requests in flight at any moment");
        "Total token throughput" "total_throughput" "1/s" TotalRate => Some(Metric::TotalThroughput), "(input + output tokens) / duration", Some(WALL);
        "Concurrency" "concurrency" "1" Concurrency => None, "sum of E2E latencies / duration", None;
        "E2E Latency" "e2e_latency" "ms" E2e => Some(Metric::E2e), "last line of the stream − before sending", Some("ends with the usage chunk or [DONE], not with the last token");
        "TTFT" "ttft" "ms" Ttft => Some(Metric::Ttft), "first chunk with content or reasoning − before sending", Some("begins before the connection is opened; a tool call is no token");
        "TPOT" "tpot" "ms" Tpot => Some(Metric::Tpot), "(latency − TTFT) / (N − 1), requests with N > 1", Some("has the tail of the stream after the last token in it; divides by N − 1");
        "ITL" "itl" "ms" Gap => Some(Metric::Itl), "gaps between chunks with content or reasoning", Some(CHUNK_GAPS);
    ]
    Guidellm: [
        "Successful requests" "request_totals.successful" "1" Completed => None, "complete streams with text, a tool call or output tokens", None;
        "Errored requests" "request_totals.errored" "1" Failed => Some(Metric::ErrorRate), "all others but those it stopped", Some("a count, not a share");
        "Requests per second" "requests_per_second" "1/s" RequestRate => Some(Metric::RequestThroughput), "successes / (first start to last end)", Some(WALL);
        "Output tokens per second" "output_tokens_per_second" "1/s" OutputRate => Some(Metric::OutputThroughput), "output tokens / (first start to last end), the tokens of a request spread evenly", Some(WALL);
        "Total tokens per second" "tokens_per_second" "1/s" TotalRate => Some(Metric::TotalThroughput), "input and output tokens / (first start to last end)", Some(WALL);
        "Request latency" "request_latency" "s" E2e => Some(Metric::E2e), "[DONE], else the close of the stream − before sending", Some("ends with the stream, not with the last token");
        "TTFT" "time_to_first_token_ms" "ms" Ttft => Some(Metric::Ttft), "first chunk with content, reasoning or a tool call − before sending", Some(BEGIN);
        "TTFOT" "time_to_first_output_token_ms" "ms" TtftAnswer => Some(Metric::TtftAnswer), "first chunk with content or a tool call − before sending", Some(BEGIN);
        "ITL" "inter_token_latency_ms" "ms" Tpot => Some(Metric::Tpot), "(last − first token) / (N − 1) of a request, weighted by N − 1", Some("called ITL, but one value a request: no hitch shows in it; it is our tpot");
        "TPOT" "time_per_output_token_ms" "ms" PerToken => None, "(last token − start) / N of a request, weighted by N", Some("called TPOT, but the wait for the first token is in it");
        "Output tokens" "output_token_count" "1" OutputLength => Some(Metric::OutputTokens), "completion_tokens by usage, else chunks", None;
        "Prompt tokens" "prompt_token_count" "1" InputLength => Some(Metric::InputTokens), "prompt_tokens by usage", None;
    ]
    Aiperf: [
        "Time to First Token" "time_to_first_token" "ms" Ttft => Some(Metric::Ttft), "first chunk with data, reasoning included − request start", Some(BEGIN);
        "Time to First Token (error-adjusted)" "adj_time_to_first_token" "ms" AdjustedTtft => None, "the same with failures as infinite; nearest rank", Some("only where requests failed");
        "Time to Second Token" "time_to_second_token" "ms" SecondToken => None, "second − first chunk with data", None;
        "Time to First Output Token" "time_to_first_output_token" "ms" TtftAnswer => Some(Metric::TtftAnswer), "first chunk that is no reasoning − request start", Some(BEGIN);
        "Request Latency" "request_latency" "ms" E2e => Some(Metric::E2e), "last chunk with data − request start", Some(BEGIN);
        "Request Latency (error-adjusted)" "adj_request_latency" "ms" AdjustedE2e => Some(Metric::E2eWithFailures), "the same with failures as infinite; nearest rank", Some("only where requests failed");
        "Inter Token Latency" "inter_token_latency" "ms" Tpot => Some(Metric::Tpot), "(request latency − TTFT) / (N − tokens of the first chunk where the server says them, else 1)", Some("called ITL, but one value a request: no hitch shows in it; it is our tpot");
        "Inter Chunk Latency" "inter_chunk_latency" "ms" Gap => Some(Metric::ChunkGap), "gaps between chunks with data", None;
        "Output Token Throughput Per User" "output_token_throughput_per_user" "1/s" UserRate => None, "1 / inter token latency of a request", None;
        "Output Sequence Length" "output_sequence_length" "1" OutputLength => Some(Metric::OutputTokens), "output and reasoning tokens", None;
        "Input Sequence Length" "input_sequence_length" "1" InputLength => Some(Metric::InputTokens), "prompt tokens", None;
        "Output Token Throughput" "output_token_throughput" "1/s" OutputRate => Some(Metric::OutputThroughput), "output tokens / (first start to last chunk with data)", Some(WALL);
        "Request Throughput" "request_throughput" "1/s" RequestRate => Some(Metric::RequestThroughput), "valid requests / (first start to last chunk with data)", Some(WALL);
        "Request Count" "request_count" "1" Completed => None, "valid requests", Some("error events and events that are not JSON are overlooked");
        "Benchmark Duration" "benchmark_duration" "s" Window => None, "first start to last chunk with data", None;
    ]
    InferencePerf: [
        "Request Latency" "request_latency" "s" E2e => Some(Metric::E2e), "end of the stream − start", Some("ends with the stream, not with the last token");
        "Normalized Time Per Output Token" "normalized_time_per_output_token" "s" PerToken => None, "request latency / N", Some("the wait for the first token is in it");
        "Time Per Output Token" "time_per_output_token" "s" Tpot => Some(Metric::Tpot), "(last − first content chunk) / (N − 1)", Some("divides by N − 1; reasoning is no token");
        "Time To First Token" "time_to_first_token" "s" Ttft => Some(Metric::Ttft), "first content chunk − start, requests with at least two tokens", Some("begins before the connection is opened; reasoning and tool calls are no tokens");
        "Inter Token Latency" "inter_token_latency" "s" Gap => Some(Metric::ChunkGap), "gaps between tokens, those of one chunk 0 apart", Some("several tokens in a chunk add zeros; reasoning is no token");
        "Input tokens per second" "input_tokens_per_sec" "1/s" InputRate => None, "input tokens / (first start to last end)", None;
        "Output tokens per second" "output_tokens_per_sec" "1/s" OutputRate => Some(Metric::OutputThroughput), "output tokens / (first start to last end)", Some(WALL);
        "Total tokens per second" "total_tokens_per_sec" "1/s" TotalRate => Some(Metric::TotalThroughput), "input and output tokens / (first start to last end)", Some(WALL);
        "Requests per second" "requests_per_sec" "1/s" RequestRate => Some(Metric::RequestThroughput), "successes / (first start to last end)", Some(WALL);
        "Successes" "successes.count" "1" Completed => None, "streams that end at status 200", Some("error events and events that are not JSON are overlooked");
        "Failures" "failures.count" "1" Failed => Some(Metric::ErrorRate), "all others", Some("a count, not a share");
    ]
    Mlperf: [
        "Completed samples per second" "result_completed_samples_per_sec" "1/s" RequestRate => Some(Metric::RequestThroughput), "(samples − 1) / (start to completion of the sample issued last)", Some(WALL);
        "Completed tokens per second" "result_token_throughput" "1/s" OutputRate => Some(Metric::OutputThroughput), "tokens / (start to completion of the sample issued last)", Some(WALL);
        "latency" "result_latency" "ns" E2e => Some(Metric::E2e), "completion − issue", Some("ends with the stream, not with the last token");
        "First Token latency" "result_first_token_latency" "ns" Ttft => Some(Metric::Ttft), "first token complete − issue", Some("begins before the connection is opened; percentiles are the sample at ⌊n·p⌋");
        "Time to Output Token" "result_time_per_output_token" "ns" Tpot => Some(Metric::Tpot), "(latency − first token latency) / (N − 1)", Some("has the tail of the stream after the last token in it; divides by N − 1");
    ]
}

/// Terms nearest to `metric` in other tools.
pub fn differing(metric: Metric) -> impl Iterator<Item = &'static Term> {
    TERMS.iter().filter(move |t| t.ours == Some(metric))
}

/// Terms that another tool calls by the word for `metric` although they are another of our metrics, or none.
pub fn same_word(metric: Metric) -> impl Iterator<Item = &'static Term> {
    let words: &[&str] = match metric {
        Metric::Ttft => &["TTFT"],
        Metric::Tpot => &["TPOT", "Time Per Output Token"],
        Metric::Itl => &["ITL", "Inter Token Latency"],
        _ => &[],
    };
    TERMS.iter().filter(move |t| words.contains(&t.name) && t.ours != Some(metric))
}

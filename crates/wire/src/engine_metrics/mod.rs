//! What an engine says of itself at `/metrics`, under Stopwatt's own names.
//!
//! ```text
//! Prometheus text ──► samples (name, labels, value) ──► map of the engine ──► EngineCounters
//! ```
//!
//! Engines name and count the same things differently; the table below is the one place that knows. A key is absent
//! when the engine does not give it: nothing is guessed. Counters are totals since the engine began; a window is the
//! difference of two readings.

mod text;

pub use text::{Labels, Sample, samples};

use stopwatt_core::log::EngineCounters;

/// Requests being computed.
pub const RUNNING: &str = "running";
/// Requests waiting to be computed.
pub const WAITING: &str = "waiting";
/// Share of the KV cache in use, 0 to 1; the mean over data-parallel engines.
pub const KV_USAGE: &str = "kv_usage";
/// Prompt tokens looked up in the prefix cache, total.
pub const PREFIX_CACHE_QUERIES_TOKENS: &str = "prefix_cache_queries_tokens";
/// Prompt tokens found in the prefix cache, total.
pub const PREFIX_CACHE_HITS_TOKENS: &str = "prefix_cache_hits_tokens";
/// Prompt tokens, cached ones included, total.
pub const PROMPT_TOKENS: &str = "prompt_tokens";
/// Generated tokens, total.
pub const GENERATION_TOKENS: &str = "generation_tokens";
/// Requests whose computation was thrown away to free memory, total.
pub const PREEMPTIONS: &str = "preemptions";
/// Requests that ended well, total.
pub const REQUESTS_SUCCESS: &str = "requests_success";

/// How samples of one name join.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Join {
    /// Added up over labels.
    Sum,
    /// The mean over labels.
    Mean,
    /// Added up over labels, without requests that were aborted or failed.
    SumOfGood,
}
use Join::{Mean, Sum, SumOfGood};

/// Stopwatt's key, the engine's name without `_total`, how samples join.
///
/// Two rows of one engine with the same key add up. Sources: vLLM 0.32 `/metrics` as recorded in `tests/samples`, and
/// the names of its V0 engine; SGLang, "Production Metrics"; llama.cpp server `/metrics` as recorded; Text Generation
/// Inference, "Metrics".
const NAMES: &[(&str, &str, Join)] = &[
    (RUNNING, "vllm:num_requests_running", Sum),
    (WAITING, "vllm:num_requests_waiting", Sum),
    (KV_USAGE, "vllm:kv_cache_usage_perc", Mean),
    (KV_USAGE, "vllm:gpu_cache_usage_perc", Mean),
    (PREFIX_CACHE_QUERIES_TOKENS, "vllm:prefix_cache_queries", Sum),
    (PREFIX_CACHE_QUERIES_TOKENS, "vllm:gpu_prefix_cache_queries", Sum),
    (PREFIX_CACHE_HITS_TOKENS, "vllm:prefix_cache_hits", Sum),
    (PREFIX_CACHE_HITS_TOKENS, "vllm:gpu_prefix_cache_hits", Sum),
    (PROMPT_TOKENS, "vllm:prompt_tokens", Sum),
    (GENERATION_TOKENS, "vllm:generation_tokens", Sum),
    (PREEMPTIONS, "vllm:num_preemptions", Sum),
    (REQUESTS_SUCCESS, "vllm:request_success", SumOfGood),
    (RUNNING, "sglang:num_running_reqs", Sum),
    (WAITING, "sglang:num_queue_reqs", Sum),
    (KV_USAGE, "sglang:token_usage", Mean),
    (PREFIX_CACHE_QUERIES_TOKENS, "sglang:prompt_tokens", Sum),
    (PREFIX_CACHE_HITS_TOKENS, "sglang:cached_tokens", Sum),
    (PROMPT_TOKENS, "sglang:prompt_tokens", Sum),
    (GENERATION_TOKENS, "sglang:generation_tokens", Sum),
    (PREEMPTIONS, "sglang:num_retracted_requests", Sum),
    (RUNNING, "llamacpp:requests_processing", Sum),
    (WAITING, "llamacpp:requests_deferred", Sum),
    (KV_USAGE, "llamacpp:kv_cache_usage_ratio", Mean),
    (PREFIX_CACHE_QUERIES_TOKENS, "llamacpp:prompt_tokens", Sum),
    (PREFIX_CACHE_QUERIES_TOKENS, "llamacpp:prompt_tokens_cached", Sum),
    (PREFIX_CACHE_HITS_TOKENS, "llamacpp:prompt_tokens_cached", Sum),
    (PROMPT_TOKENS, "llamacpp:prompt_tokens", Sum),
    (PROMPT_TOKENS, "llamacpp:prompt_tokens_cached", Sum),
    (GENERATION_TOKENS, "llamacpp:tokens_predicted", Sum),
    (RUNNING, "tgi_batch_current_size", Sum),
    (WAITING, "tgi_queue_size", Sum),
    (PROMPT_TOKENS, "tgi_request_input_length_sum", Sum),
    (GENERATION_TOKENS, "tgi_request_generated_tokens_sum", Sum),
    (REQUESTS_SUCCESS, "tgi_request_success", Sum),
];

/// Reads the answer of `/metrics`. Lines of other metrics and lines that are no samples are passed over.
pub fn counters(metrics: &str) -> EngineCounters {
    let mut found = EngineCounters::new();
    let mut means: Vec<(&str, f64)> = Vec::new();
    for sample in samples(metrics).filter(|s| s.value.is_finite()) {
        let name = sample.name.strip_suffix("_total").unwrap_or(sample.name);
        for (key, _, join) in NAMES.iter().filter(|(_, n, _)| *n == name) {
            if *join == SumOfGood && sample.labels.get("finished_reason").is_some_and(|r| is_bad(&r)) {
                continue;
            }
            *found.entry((*key).to_owned()).or_insert(0.0) += sample.value;
            if *join == Mean {
                match means.iter_mut().find(|(k, _)| k == key) {
                    Some((_, n)) => *n += 1.0,
                    None => means.push((key, 1.0)),
                }
            }
        }
    }
    for (key, n) in means {
        if let Some(value) = found.get_mut(key) {
            *value /= n;
        }
    }
    // An engine that does not count hits has not said that it looks prompts up.
    if !found.contains_key(PREFIX_CACHE_HITS_TOKENS) {
        found.remove(PREFIX_CACHE_QUERIES_TOKENS);
    }
    found
}

fn is_bad(reason: &str) -> bool {
    matches!(reason, "abort" | "error")
}

#[cfg(test)]
mod tests;

//! Which engine calls which value what. Names change about twice a year, so each value lists the names it has had.

use stopwatt_core::engine::{
    GENERATION_TOKENS, KV_EVICTIONS, KV_FRAGMENTATION, KV_USAGE, PREEMPTIONS, PREFIX_CACHE_HITS_TOKENS,
    PREFIX_CACHE_QUERIES_TOKENS, PROMPT_TOKENS, REQUESTS_SUCCESS, RUNNING, WAITING,
};

/// How samples of one name join.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Join {
    /// Added up over labels.
    Sum,
    /// The mean over labels.
    Mean,
    /// Added up over labels, without requests that were aborted or failed.
    SumOfGood,
}
use Join::{Mean, Sum, SumOfGood};

/// The names of one engine.
pub(super) struct Family {
    /// Name of the engine.
    pub(super) engine: &'static str,
    pub(super) values: &'static [Value],
}

/// One of Stopwatt's values, and the ways to get it, current names first. The first way of which anything is there
/// is taken: an engine that gives old and new names during a change says the same thing twice.
pub(super) struct Value {
    pub(super) key: &'static str,
    pub(super) join: Join,
    pub(super) ways: &'static [Way],
}

/// Names that add up, without `_total`, and the versions that use them. `name{label=value}` takes only those samples.
pub(super) struct Way {
    pub(super) versions: &'static str,
    pub(super) names: &'static [&'static str],
}

const fn value(key: &'static str, join: Join, ways: &'static [Way]) -> Value {
    Value { key, join, ways }
}

const fn way(versions: &'static str, names: &'static [&'static str]) -> Way {
    Way { versions, names }
}

/// Sources: vLLM 0.32 `/metrics` as recorded in `tests/samples`, and the deprecation notes in its "Production
/// Metrics" for the `gpu_` names that V0 and the first releases of V1 used; SGLang, "Production Metrics"; llama.cpp
/// server `/metrics` as recorded; Text Generation Inference, "Metrics"; TensorRT-LLM and its Triton backend by the
/// model server protocol of the Gateway API inference extension.
pub(super) const FAMILIES: &[Family] = &[
    Family {
        engine: "vllm",
        values: &[
            value(RUNNING, Sum, &[way("", &["vllm:num_requests_running"])]),
            value(WAITING, Sum, &[way("", &["vllm:num_requests_waiting"])]),
            value(
                KV_USAGE,
                Mean,
                &[
                    way("V1", &["vllm:kv_cache_usage_perc"]),
                    way("V0 and early V1", &["vllm:gpu_cache_usage_perc"]),
                ],
            ),
            value(
                PREFIX_CACHE_QUERIES_TOKENS,
                Sum,
                &[
                    way("V1", &["vllm:prefix_cache_queries"]),
                    way("early V1", &["vllm:gpu_prefix_cache_queries"]),
                ],
            ),
            value(
                PREFIX_CACHE_HITS_TOKENS,
                Sum,
                &[way("V1", &["vllm:prefix_cache_hits"]), way("early V1", &["vllm:gpu_prefix_cache_hits"])],
            ),
            value(PROMPT_TOKENS, Sum, &[way("", &["vllm:prompt_tokens"])]),
            value(GENERATION_TOKENS, Sum, &[way("", &["vllm:generation_tokens"])]),
            value(PREEMPTIONS, Sum, &[way("", &["vllm:num_preemptions"])]),
            value(
                KV_EVICTIONS,
                Sum,
                &[
                    way("", &["stopwatt_kv_evictions"]),
                    // Each evicted block is one observation, where vLLM is told to watch its blocks.
                    way("", &["vllm:kv_block_idle_before_evict_seconds_count"]),
                ],
            ),
            value(KV_FRAGMENTATION, Mean, &[way("", &["stopwatt_kv_fragmentation_ratio"])]),
            value(REQUESTS_SUCCESS, SumOfGood, &[way("", &["vllm:request_success"])]),
        ],
    },
    Family {
        engine: "sglang",
        values: &[
            value(RUNNING, Sum, &[way("", &["sglang:num_running_reqs"])]),
            value(WAITING, Sum, &[way("", &["sglang:num_queue_reqs"])]),
            value(KV_USAGE, Mean, &[way("", &["sglang:token_usage"])]),
            value(PREFIX_CACHE_QUERIES_TOKENS, Sum, &[way("", &["sglang:prompt_tokens"])]),
            value(PREFIX_CACHE_HITS_TOKENS, Sum, &[way("", &["sglang:cached_tokens"])]),
            value(PROMPT_TOKENS, Sum, &[way("", &["sglang:prompt_tokens"])]),
            value(GENERATION_TOKENS, Sum, &[way("", &["sglang:generation_tokens"])]),
            value(PREEMPTIONS, Sum, &[way("", &["sglang:num_retracted_requests"])]),
        ],
    },
    Family {
        engine: "llama.cpp",
        values: &[
            value(RUNNING, Sum, &[way("", &["llamacpp:requests_processing"])]),
            value(WAITING, Sum, &[way("", &["llamacpp:requests_deferred"])]),
            value(KV_USAGE, Mean, &[way("until 2025", &["llamacpp:kv_cache_usage_ratio"])]),
            // It counts the tokens it computes apart from those it found.
            value(
                PREFIX_CACHE_QUERIES_TOKENS,
                Sum,
                &[way("", &["llamacpp:prompt_tokens", "llamacpp:prompt_tokens_cached"])],
            ),
            value(PREFIX_CACHE_HITS_TOKENS, Sum, &[way("", &["llamacpp:prompt_tokens_cached"])]),
            value(
                PROMPT_TOKENS,
                Sum,
                &[way("", &["llamacpp:prompt_tokens", "llamacpp:prompt_tokens_cached"])],
            ),
            value(GENERATION_TOKENS, Sum, &[way("", &["llamacpp:tokens_predicted"])]),
        ],
    },
    Family {
        engine: "tgi",
        values: &[
            value(RUNNING, Sum, &[way("", &["tgi_batch_current_size"])]),
            value(WAITING, Sum, &[way("", &["tgi_queue_size"])]),
            value(PROMPT_TOKENS, Sum, &[way("", &["tgi_request_input_length_sum"])]),
            value(GENERATION_TOKENS, Sum, &[way("", &["tgi_request_generated_tokens_sum"])]),
            value(REQUESTS_SUCCESS, Sum, &[way("", &["tgi_request_success"])]),
        ],
    },
    Family {
        engine: "tensorrt-llm",
        values: &[
            value(
                RUNNING,
                Sum,
                &[
                    way("trtllm-serve", &["trtllm_num_requests_running"]),
                    way("Triton", &["nv_trt_llm_request_metrics{request_type=scheduled}"]),
                ],
            ),
            value(
                WAITING,
                Sum,
                &[
                    way("trtllm-serve", &["trtllm_num_requests_waiting"]),
                    way("Triton", &["nv_trt_llm_request_metrics{request_type=waiting}"]),
                ],
            ),
            value(
                KV_USAGE,
                Mean,
                &[
                    way("trtllm-serve", &["trtllm_kv_cache_utilization"]),
                    way("Triton", &["nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type=fraction}"]),
                ],
            ),
            value(REQUESTS_SUCCESS, SumOfGood, &[way("trtllm-serve", &["trtllm_request_success"])]),
        ],
    },
];

/// Counters of steps, and of tokens where an engine counts no steps. vLLM counts the prompt's tokens when its prefill
/// has ended, but its iterations one by one.
pub(super) const HEARTBEATS: &[&str] = &[
    "vllm:iteration_tokens_total_count",
    "vllm:prompt_tokens",
    "vllm:generation_tokens",
    "sglang:realtime_tokens",
    "sglang:prompt_tokens",
    "sglang:generation_tokens",
    "tgi_batch_inference_count",
    "tgi_request_generated_tokens_sum",
    "llamacpp:n_decode",
    "llamacpp:prompt_tokens",
    "llamacpp:tokens_predicted",
    "trtllm_request_success",
];

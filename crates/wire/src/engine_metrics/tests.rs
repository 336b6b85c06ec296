use super::*;
use proptest::prelude::*;

#[track_caller]
fn check(page: &str, expected: &[(&str, f64)]) {
    let expected: EngineCounters = expected.iter().map(|(k, v)| ((*k).to_owned(), *v)).collect();
    assert_eq!(counters(page), expected);
}

#[test]
fn recorded_pages_of_real_engines() {
    check(
        include_str!("../../tests/samples/vllm-metrics.prom"),
        &[
            (RUNNING, 0.0),
            (WAITING, 0.0),
            (KV_USAGE, 0.0),
            (PREFIX_CACHE_QUERIES_TOKENS, 3100.0),
            (PREFIX_CACHE_HITS_TOKENS, 0.0),
            (PROMPT_TOKENS, 3100.0),
            (GENERATION_TOKENS, 268.0),
            (PREEMPTIONS, 0.0),
            (REQUESTS_SUCCESS, 11.0),
        ],
    );
    check(
        include_str!("../../tests/samples/llamacpp-metrics-after-load.prom"),
        &[
            (RUNNING, 0.0),
            (WAITING, 0.0),
            (PREFIX_CACHE_QUERIES_TOKENS, 3096.0),
            (PREFIX_CACHE_HITS_TOKENS, 236.0),
            (PROMPT_TOKENS, 3096.0),
            (GENERATION_TOKENS, 348.0),
        ],
    );
}

#[test]
fn samples_join_over_labels() {
    check(
        concat!(
            "vllm:num_requests_running{engine=\"0\"} 3\n",
            "vllm:num_requests_running{engine=\"1\"} 4\n",
            "vllm:kv_cache_usage_perc{engine=\"0\"} 0.5\n",
            "vllm:kv_cache_usage_perc{engine=\"1\"} 0.25\n",
            "vllm:request_success_total{finished_reason=\"stop\"} 5\n",
            "vllm:request_success_total{finished_reason=\"abort\"} 7\n",
            "vllm:request_success_created{finished_reason=\"stop\"} 1.7e9\n",
            "vllm:request_prompt_tokens_sum 99\n",
        ),
        &[(RUNNING, 7.0), (KV_USAGE, 0.375), (REQUESTS_SUCCESS, 5.0)],
    );
}

#[test]
fn names_of_sglang_and_tgi() {
    check(
        concat!(
            "sglang:prompt_tokens_total{model_name=\"m\"} 8.5e+06\n",
            "sglang:cached_tokens_total{cache_source=\"device\"} 5\n",
            "sglang:generation_tokens_total{model_name=\"m\"} 7\n",
            "sglang:token_usage{model_name=\"m\"} 0.28\n",
            "sglang:num_running_reqs{model_name=\"m\"} 161.0\n",
            "sglang:num_queue_reqs{model_name=\"m\"} 2826.0\n",
        ),
        &[
            (PROMPT_TOKENS, 8.5e6),
            (PREFIX_CACHE_QUERIES_TOKENS, 8.5e6),
            (PREFIX_CACHE_HITS_TOKENS, 5.0),
            (GENERATION_TOKENS, 7.0),
            (KV_USAGE, 0.28),
            (RUNNING, 161.0),
            (WAITING, 2826.0),
        ],
    );
    check("sglang:prompt_tokens_total 5\n", &[(PROMPT_TOKENS, 5.0)]);
    check(
        "tgi_queue_size 1\ntgi_batch_current_size 2\ntgi_request_success{method=\"a\"} 3\ntgi_request_generated_tokens_sum 4\n",
        &[(WAITING, 1.0), (RUNNING, 2.0), (REQUESTS_SUCCESS, 3.0), (GENERATION_TOKENS, 4.0)],
    );
}

#[test]
fn names_of_tensorrt_llm() {
    check(
        concat!(
            "trtllm_num_requests_running{model_name=\"m\"} 3\n",
            "trtllm_num_requests_waiting{model_name=\"m\"} 4\n",
            "trtllm_kv_cache_utilization{model_name=\"m\"} 0.62\n",
            "trtllm_request_success_total{finished_reason=\"length\"} 7\n",
        ),
        &[(RUNNING, 3.0), (WAITING, 4.0), (KV_USAGE, 0.62), (REQUESTS_SUCCESS, 7.0)],
    );
    check(
        concat!(
            "nv_trt_llm_request_metrics{model=\"m\",request_type=\"waiting\"} 2\n",
            "nv_trt_llm_request_metrics{model=\"m\",request_type=\"scheduled\"} 5\n",
            "nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type=\"fraction\"} 0.5\n",
            "nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type=\"max\"} 900\n",
        ),
        &[(RUNNING, 5.0), (WAITING, 2.0), (KV_USAGE, 0.5)],
    );
}

#[test]
fn old_and_new_names_of_one_value_are_not_added_up() {
    let both = concat!(
        "vllm:kv_cache_usage_perc 0.5\nvllm:gpu_cache_usage_perc 0.5\n",
        "vllm:prefix_cache_queries_total 100\nvllm:gpu_prefix_cache_queries_total 100\n",
        "vllm:prefix_cache_hits_total 40\nvllm:gpu_prefix_cache_hits_total 40\n",
    );
    let new = [(KV_USAGE, 0.5), (PREFIX_CACHE_QUERIES_TOKENS, 100.0), (PREFIX_CACHE_HITS_TOKENS, 40.0)];
    check(both, &new);
    let old = both.lines().filter(|l| l.contains("gpu_")).collect::<Vec<_>>().join("\n");
    check(&old, &new);
    let of = |page: &str| read(page).map(|r| (r.engine, r.versions));
    assert_eq!(of(both), Some(("vllm", Some("V1"))));
    assert_eq!(of(&old), Some(("vllm", Some("V0 and early V1"))));
    assert_eq!(of("llamacpp:requests_deferred 0\n"), Some(("llama.cpp", None)));
    assert_eq!(of("python_gc_objects_collected_total 5\n"), None);
    // Collectors that know no colon.
    check("vllm_num_requests_running{engine=\"0\"} 3\n", &[(RUNNING, 3.0)]);
}

#[test]
fn the_text_format_in_its_corners() {
    let page = "# HELP a b\na{x=\"1\\\"}\\n\\\\\", y=\"{,}\",} +Inf 1700000000\n\n b 2e-3 # {} 1\nbad{x=\"\nc{} NaN\nd\n{} 1\r\n";
    let got: Vec<_> = samples(page).collect();
    let names: Vec<_> = got.iter().map(|s| s.name).collect();
    assert_eq!(names, ["a", "b", "c"]);
    let labels: Vec<_> = got[0].labels.iter().collect();
    assert_eq!(labels, [("x", "1\"}\n\\".into()), ("y", "{,}".into())]);
    assert_eq!((got[0].value, got[1].value), (f64::INFINITY, 0.002));
    assert!(got[2].value.is_nan());
    assert_eq!(got[0].labels.get("z"), None);
}

proptest! {
    #[test]
    fn no_page_causes_a_panic(page in r#"([a-z:_]{0,4}|[{}"\\=, #0-9.\n]){0,40}"#) {
        let _ = counters(&page);
        for s in samples(&page) {
            let _ = s.labels.iter().count();
        }
    }
}

#[test]
fn a_heartbeat_is_the_sum_of_what_only_work_raises() {
    let page = "vllm:iteration_tokens_total_count{engine=\"0\"} 7\nvllm:iteration_tokens_total_sum 900\n\
                vllm:generation_tokens_total 40\nvllm:num_requests_running 3\n";
    assert_eq!(heartbeat(page), Some(47.0));
    assert_eq!(heartbeat("llamacpp:n_decode_total 12\n"), Some(12.0));
    assert_eq!(heartbeat("process_cpu_seconds_total 5\n"), None);
}

//! The counters of a server.

use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use stopwatt_core::clock::{Nanos, unix_now};
use stopwatt_wire::exposition::Histogram;

use super::process;
use crate::api::Finish;

// The bounds are vLLM's, so that dashboards made for it show the same buckets.
const TTFT_BOUNDS: &[f64] = &[
    0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0,
    80.0, 160.0, 640.0, 2560.0,
];
const ITL_BOUNDS: &[f64] = &[
    0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0,
];
const REQUEST_BOUNDS: &[f64] = &[
    0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 60.0, 120.0, 240.0, 480.0,
    960.0, 1920.0, 7680.0,
];

/// A request that came to its end. Stamps are raw monotonic.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ended {
    pub(crate) finish: Finish,
    pub(crate) received_ns: Nanos,
    /// When its first step was planned.
    pub(crate) started_ns: Nanos,
    pub(crate) first_token_ns: Nanos,
    pub(crate) last_token_ns: Nanos,
    pub(crate) tokens: u32,
}

/// The counters of a server. Times are nanoseconds.
#[derive(Debug)]
pub(crate) struct Metrics {
    labels: String,
    started_unix_ns: Nanos,
    running: AtomicU64,
    waiting: AtomicU64,
    /// Bits of an `f64` between 0 and 1.
    kv_usage: AtomicU64,
    /// The same, NaN while no block is held.
    kv_fragmentation: AtomicU64,
    kv_evictions: AtomicU64,
    prefix_queries: AtomicU64,
    prefix_hits: AtomicU64,
    preemptions: AtomicU64,
    prompt_tokens: AtomicU64,
    generation_tokens: AtomicU64,
    stopped: AtomicU64,
    at_length: AtomicU64,
    aborted: AtomicU64,
    failed: AtomicU64,
    ttft: Histogram,
    itl: Histogram,
    tpot: Histogram,
    e2e: Histogram,
    queue: Histogram,
    prefill: Histogram,
    decode: Histogram,
}

impl Metrics {
    pub(crate) fn new(model_name: &str) -> Self {
        let escaped = model_name.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        Self {
            labels: format!("engine=\"0\",model_name=\"{escaped}\""),
            started_unix_ns: unix_now(),
            running: AtomicU64::new(0),
            waiting: AtomicU64::new(0),
            kv_usage: AtomicU64::new(0),
            kv_fragmentation: AtomicU64::new(f64::NAN.to_bits()),
            kv_evictions: AtomicU64::new(0),
            prefix_queries: AtomicU64::new(0),
            prefix_hits: AtomicU64::new(0),
            preemptions: AtomicU64::new(0),
            prompt_tokens: AtomicU64::new(0),
            generation_tokens: AtomicU64::new(0),
            stopped: AtomicU64::new(0),
            at_length: AtomicU64::new(0),
            aborted: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            ttft: Histogram::new(
                "vllm:time_to_first_token_seconds",
                "Histogram of time to first token in seconds.",
                TTFT_BOUNDS,
            ),
            itl: Histogram::new(
                "vllm:inter_token_latency_seconds",
                "Histogram of inter-token latency in seconds.",
                ITL_BOUNDS,
            ),
            tpot: Histogram::new(
                "vllm:request_time_per_output_token_seconds",
                "Histogram of time_per_output_token_seconds per request.",
                ITL_BOUNDS,
            ),
            e2e: Histogram::new(
                "vllm:e2e_request_latency_seconds",
                "Histogram of e2e request latency in seconds.",
                REQUEST_BOUNDS,
            ),
            queue: Histogram::new(
                "vllm:request_queue_time_seconds",
                "Histogram of time spent in WAITING phase for request.",
                REQUEST_BOUNDS,
            ),
            prefill: Histogram::new(
                "vllm:request_prefill_time_seconds",
                "Histogram of time spent in PREFILL phase for request.",
                REQUEST_BOUNDS,
            ),
            decode: Histogram::new(
                "vllm:request_decode_time_seconds",
                "Histogram of time spent in DECODE phase for request.",
                REQUEST_BOUNDS,
            ),
        }
    }

    /// Requests being computed, and requests that wait for their first step.
    pub(crate) fn set_load(&self, running: usize, waiting: usize) {
        self.running.store(running as u64, Relaxed);
        self.waiting.store(waiting as u64, Relaxed);
    }

    /// Share of the KV blocks that running requests hold.
    pub(crate) fn set_kv_usage(&self, share: f64) {
        self.kv_usage.store(share.to_bits(), Relaxed);
    }

    /// Prompt tokens looked up in the prefix cache, and found there, since the start.
    pub(crate) fn set_prefix_cache(&self, queries: u64, hits: u64) {
        self.prefix_queries.store(queries, Relaxed);
        self.prefix_hits.store(hits, Relaxed);
    }

    /// Share of the held blocks' places without a token, and cached blocks that were evicted since the start.
    pub(crate) fn set_kv_blocks(&self, fragmentation: Option<f64>, evictions: u64) {
        self.kv_fragmentation.store(fragmentation.unwrap_or(f64::NAN).to_bits(), Relaxed);
        self.kv_evictions.store(evictions, Relaxed);
    }

    /// Requests that lost their KV blocks to others, since the start.
    pub(crate) fn set_preemptions(&self, n: u64) {
        self.preemptions.store(n, Relaxed);
    }

    /// A request began to be computed after waiting for `queued`.
    pub(crate) fn queued(&self, queued: Nanos) {
        self.queue.observe(queued, 1);
    }

    /// The first tokens of a request came.
    pub(crate) fn first_tokens(&self, ttft: Nanos, prompt_tokens: u32, tokens: u32) {
        self.prompt_tokens.fetch_add(u64::from(prompt_tokens), Relaxed);
        self.generation_tokens.fetch_add(u64::from(tokens), Relaxed);
        self.ttft.observe(ttft, 1);
    }

    /// Further tokens came, `gap` after those before.
    #[inline]
    pub(crate) fn next_tokens(&self, gap: Nanos, tokens: u32) {
        self.generation_tokens.fetch_add(u64::from(tokens), Relaxed);
        self.itl.observe(gap, 1);
    }

    /// A request came to its end.
    pub(crate) fn finished(&self, ended: &Ended) {
        match ended.finish {
            Finish::Stop => self.stopped.fetch_add(1, Relaxed),
            Finish::Length => self.at_length.fetch_add(1, Relaxed),
        };
        let decode = ended.last_token_ns - ended.first_token_ns;
        self.e2e.observe(ended.last_token_ns - ended.received_ns, 1);
        self.prefill.observe(ended.first_token_ns - ended.started_ns, 1);
        self.decode.observe(decode, 1);
        if ended.tokens > 1 {
            self.tpot.observe(decode / Nanos::from(ended.tokens - 1), 1);
        }
    }

    /// The client of a request went away.
    pub(crate) fn aborted(&self) {
        self.aborted.fetch_add(1, Relaxed);
    }

    /// The server failed a request.
    pub(crate) fn failed(&self) {
        self.failed.fetch_add(1, Relaxed);
    }

    /// The text format.
    pub(crate) fn render(&self) -> String {
        let mut out = String::with_capacity(16 << 10);
        let l = &self.labels;
        let mut plain = |kind: &str, name: &str, help: &str, values: &[(&str, f64)]| {
            let family = format!("# HELP {name} {help}\n# TYPE {name} {kind}\n");
            out.push_str(&family);
            for (labels, value) in values {
                let open = if labels.is_empty() { String::new() } else { format!("{{{labels}}}") };
                writeln!(out, "{name}{open} {value}").expect("writing to memory cannot fail");
            }
        };
        let n = |counter: &AtomicU64| counter.load(Relaxed) as f64;
        if let Some((resident, total)) = process::memory_bytes() {
            plain(
                "gauge",
                "process_virtual_memory_bytes",
                "Virtual memory size in bytes.",
                &[("", total as f64)],
            );
            plain(
                "gauge",
                "process_resident_memory_bytes",
                "Resident memory size in bytes.",
                &[("", resident as f64)],
            );
        }
        let started = self.started_unix_ns as f64 * 1e-9;
        plain(
            "gauge",
            "process_start_time_seconds",
            "Start time of the process since unix epoch in seconds.",
            &[("", started)],
        );
        plain(
            "counter",
            "process_cpu_seconds_total",
            "Total user and system CPU time spent in seconds.",
            &[("", process::cpu_seconds())],
        );
        plain(
            "gauge",
            "vllm:num_requests_running",
            "Number of requests in model execution batches.",
            &[(l, n(&self.running))],
        );
        plain(
            "gauge",
            "vllm:num_requests_waiting",
            "Number of requests waiting to be processed.",
            &[(l, n(&self.waiting))],
        );
        let usage = f64::from_bits(self.kv_usage.load(Relaxed));
        plain(
            "gauge",
            "vllm:kv_cache_usage_perc",
            "KV-cache usage. 1 means 100 percent usage.",
            &[(l, usage)],
        );
        let fragmentation = f64::from_bits(self.kv_fragmentation.load(Relaxed));
        if fragmentation.is_finite() {
            let help = "Share of the places in held KV blocks that hold no token.";
            plain("gauge", "stopwatt_kv_fragmentation_ratio", help, &[(l, fragmentation)]);
        }
        let evictions = "Cached KV blocks whose content made room for another.";
        plain("counter", "stopwatt_kv_evictions_total", evictions, &[(l, n(&self.kv_evictions))]);
        let queries = "Prefix cache queries, in terms of number of queried tokens.";
        plain("counter", "vllm:prefix_cache_queries_total", queries, &[(l, n(&self.prefix_queries))]);
        let hits = "Prefix cache hits, in terms of number of cached tokens.";
        plain("counter", "vllm:prefix_cache_hits_total", hits, &[(l, n(&self.prefix_hits))]);
        let preemptions = "Cumulative number of preemption from the engine.";
        plain("counter", "vllm:num_preemptions_total", preemptions, &[(l, n(&self.preemptions))]);
        plain(
            "counter",
            "vllm:prompt_tokens_total",
            "Number of prefill tokens processed.",
            &[(l, n(&self.prompt_tokens))],
        );
        let generated = "Number of generation tokens processed.";
        plain("counter", "vllm:generation_tokens_total", generated, &[(l, n(&self.generation_tokens))]);
        let reasons = [
            ("stop", n(&self.stopped)),
            ("length", n(&self.at_length)),
            ("abort", n(&self.aborted)),
            ("error", n(&self.failed)),
        ]
        .map(|(reason, value)| (format!("{l},finished_reason=\"{reason}\""), value));
        let reasons: Vec<_> = reasons.iter().map(|(labels, value)| (labels.as_str(), *value)).collect();
        plain("counter", "vllm:request_success_total", "Count of successfully processed requests.", &reasons);
        for histogram in
            [&self.ttft, &self.itl, &self.tpot, &self.e2e, &self.queue, &self.prefill, &self.decode]
        {
            histogram.render(&mut out, l);
        }
        out
    }
}

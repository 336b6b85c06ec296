//! The one table of metrics: name, unit, direction, definition, formula, source.
//!
//! Nothing else in Stopwatt writes a metric's name as a string.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Which direction is an improvement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// Smaller is better.
    Lower,
    /// Larger is better.
    Higher,
    /// Neither: it describes the load, not the engine.
    Neutral,
}

/// What a value of the metric belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Per {
    /// One value a request.
    Request,
    /// Several values a request (one a gap).
    Gap,
    /// One value a trial.
    Trial,
}

/// Everything that is true of a metric.
#[derive(Debug, Clone, Copy)]
pub struct MetricInfo {
    /// Name in files.
    pub name: &'static str,
    /// Name for people.
    pub title: &'static str,
    /// SI unit, or `1` for a ratio.
    pub unit: &'static str,
    /// Direction of improvement.
    pub better: Direction,
    /// Name and version of the definition.
    pub definition: &'static str,
    /// The formula, in the words of the glossary.
    pub formula: &'static str,
    /// What one value belongs to.
    pub per: Per,
}

macro_rules! metrics {
    ($($(#[doc = $doc:literal])+ $k:ident { $name:literal, $title:literal, $unit:literal, $better:ident, $def:literal, $per:ident })+) => {
        /// A metric.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Metric { $($(#[doc = $doc])+ $k),+ }
        impl Metric {
            /// Every metric, in reading order.
            pub const ALL: &'static [Self] = &[$(Self::$k),+];
            /// What is true of it.
            pub const fn info(self) -> &'static MetricInfo {
                match self { $(Self::$k => &MetricInfo {
                    name: $name, title: $title, unit: $unit, better: Direction::$better, definition: $def,
                    formula: concat!($($doc),+), per: Per::$per,
                }),+ }
            }
        }
    };
}

metrics! {
    /// Time to first token: first content, reasoning or tool chunk − send begin (dispatched, or connected when a connection had to be opened, so that connecting never hides in it).
    Ttft { "ttft", "TTFT", "s", Lower, "ttft_any/1", Request }
    /// Time to the first token that is not reasoning − send begin.
    TtftAnswer { "ttft_answer", "TTFT (answer)", "s", Lower, "ttft_answer/1", Request }
    /// Time per output token: (last − first token chunk) / (output tokens − tokens in the first chunk).
    Tpot { "tpot", "TPOT", "s", Lower, "tpot_excl_first/1", Request }
    /// Inter-token latency: gap between token chunks, divided by the tokens of the later chunk where they are known.
    Itl { "itl", "ITL", "s", Lower, "itl_per_token/1", Gap }
    /// Gap between token chunks, not divided.
    ChunkGap { "chunk_gap", "Chunk gap", "s", Lower, "chunk_gap/1", Gap }
    /// End-to-end latency: last token chunk − send begin.
    E2e { "e2e", "E2E latency", "s", Lower, "e2e_last_token/1", Request }
    /// End-to-end latency from the intended send time, so that a late client or a full connection pool cannot hide.
    E2eFromSchedule { "e2e_from_schedule", "E2E from schedule", "s", Lower, "e2e_from_schedule/1", Request }
    /// End-to-end latency with failed requests ranked as infinitely late.
    E2eWithFailures { "e2e_with_failures", "E2E incl. failures", "s", Lower, "e2e_failures_inf/1", Request }
    /// Time to open a connection, TLS included; only requests that opened one.
    Connect { "connect", "Connect", "s", Lower, "connect/1", Request }
    /// How late the client took a request up: dispatched − intended.
    SendLag { "send_lag", "Send lag", "s", Lower, "send_lag/1", Request }
    /// Tail latency ratio: p99 / p50 of E2E, in each trial that has 100 requests, else over all trials together.
    Tlr { "tlr", "Tail latency ratio", "1", Lower, "tlr_e2e_p99_p50/1", Trial }
    /// Gaps between token chunks above `analysis.stall_s` (1 s unless set), counted in each trial, so that a freeze too rare for a percentile still shows.
    Stalls { "stalls", "Stalls", "1", Lower, "chunk_gaps_above_limit/1", Trial }
    /// Longest gap between two token chunks of one request, in each trial.
    LongestGap { "longest_gap", "Longest gap", "s", Lower, "longest_chunk_gap/1", Trial }
    /// Output tokens of successful requests / measuring window.
    OutputThroughput { "output_throughput", "Output tokens/s", "1/s", Higher, "output_tokens_per_window/1", Trial }
    /// Input and output tokens of successful requests / measuring window.
    TotalThroughput { "total_throughput", "Total tokens/s", "1/s", Higher, "total_tokens_per_window/1", Trial }
    /// Successful requests / measuring window.
    RequestThroughput { "request_throughput", "Requests/s", "1/s", Higher, "requests_per_window/1", Trial }
    /// Successful requests that meet every SLO / measuring window.
    Goodput { "goodput", "Goodput requests/s", "1/s", Higher, "slo_requests_per_window/1", Trial }
    /// Requests that meet every SLO / all ended requests, failures included.
    SloAttainment { "slo_attainment", "SLO attainment", "1", Higher, "slo_share_of_ended/1", Trial }
    /// Failed requests / all ended requests.
    ErrorRate { "error_rate", "Error rate", "1", Lower, "errors_share_of_ended/1", Trial }
    /// Prompt tokens served from the prefix cache / prompt tokens looked up, from the engine's counters or usage.
    KvHitRate { "kv_hit_rate", "KV cache hit rate", "1", Higher, "prefix_hit_tokens/1", Trial }
    /// Prompt tokens of a request by the server's usage.
    InputTokens { "input_tokens", "Input tokens", "1", Neutral, "usage_prompt_tokens/1", Request }
    /// Completion tokens of a request by the server's usage, else by the tokenizer.
    OutputTokens { "output_tokens", "Output tokens", "1", Neutral, "usage_completion_tokens/1", Request }
    /// CPU seconds of the engine / measuring window: cores kept busy; only for an engine that Stopwatt started.
    EngineCpu { "engine_cpu", "Engine CPU cores", "1", Lower, "engine_cpu_cores/1", Trial }
    /// Peak resident memory of the engine; only for an engine that Stopwatt started.
    EngineMemory { "engine_memory", "Engine memory", "B", Lower, "engine_peak_rss/1", Trial }
    /// Mean power over the measuring window: of the GPUs, where there is none of the CPU packages, or of an external meter.
    Power { "power", "Power", "W", Lower, "mean_power_in_window/1", Trial }
    /// All energy of the measuring window / output tokens of the successful requests that ended in it.
    EnergyPerToken { "energy_per_token", "Energy per token", "J", Lower, "gross_energy_per_output_token/1", Trial }
    /// The same, less the energy that the idle machine would have used.
    NetEnergyPerToken { "net_energy_per_token", "Energy per token above idle", "J", Lower, "net_energy_per_output_token/1", Trial }
    /// All energy of the measuring window / input and output tokens of the successful requests that ended in it.
    EnergyPerTotalToken { "energy_per_total_token", "Energy per input or output token", "J", Lower, "gross_energy_per_token/1", Trial }
    /// All energy of the measuring window / successful requests that ended in it.
    EnergyPerRequest { "energy_per_request", "Energy per request", "J", Lower, "gross_energy_per_request/1", Trial }
    /// Peak of the memory in use on the GPUs together, by any process.
    GpuMemory { "gpu_memory", "GPU memory", "B", Lower, "gpu_peak_memory_used/1", Trial }
    /// Share of time that the SMs had work, mean over the measuring window, SMs and GPUs.
    GpuUse { "gpu_utilisation", "GPU utilisation", "1", Neutral, "gpm_sm_utilisation/1", Trial }
    /// Sectors found in the L2 cache / sectors looked up, over all profiled kernels; one value a profiled run.
    L2HitRate { "l2_hit_rate", "L2 hit rate", "1", Higher, "l2_hit_sectors/1", Trial }
    /// Bytes that kernels read from and wrote to the GPU's memory / iterations of the profiled run; one value a profiled run.
    DramBytes { "dram_bytes", "DRAM bytes", "B", Lower, "dram_read_and_written_per_iteration/1", Trial }
    /// Accesses of the first-level data cache that hit / accesses, by the CPU's counters over the target's processes.
    L1dHitRate { "l1d_hit_rate", "L1d hit rate", "1", Higher, "perf_l1d_read_hits/1", Trial }
    /// Accesses of the last-level cache that hit / accesses, by the CPU's counters over the target's processes.
    LlcHitRate { "llc_hit_rate", "LLC hit rate", "1", Higher, "perf_llc_hits/1", Trial }
    /// 1 − the mean score of the items by which outputs are judged (the mean score where smaller is better): of answers, the share that differs from the baseline's. Against a baseline, sides are compared item by item.
    QualityLoss { "quality_loss", "Quality loss", "1", Lower, "quality_loss_of_items/1", Trial }
}

impl Metric {
    /// Name in files.
    pub const fn name(self) -> &'static str {
        self.info().name
    }

    /// Whether it lies between 0 and 1, so that differences are percentage points.
    pub const fn is_share(self) -> bool {
        matches!(
            self,
            Self::SloAttainment
                | Self::ErrorRate
                | Self::KvHitRate
                | Self::GpuUse
                | Self::L2HitRate
                | Self::L1dHitRate
                | Self::LlcHitRate
                | Self::QualityLoss
        )
    }

    /// Reads the name used in files.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|m| m.name() == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_round_trip() {
        for &m in Metric::ALL {
            assert_eq!(Metric::from_name(m.name()), Some(m));
            assert!(m.info().definition.contains('/'), "{} has no version", m.name());
        }
    }
}

//! The memory of a device by what takes it, and how much is left for the cache.
//!
//! ```text
//! cache = share · memory − weights − peak of activations − outside the allocator − graphs (0.21 to 0.25)
//! ```
//!
//! Weights and cache are counted. The other three are what vLLM measures when it starts; here they are estimates with
//! a range, or the figures of somebody's log ([`Known`]).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::cache::CacheLayout;
use crate::engine::EngineSettings;
use crate::hardware::Gpu;
use crate::model::Attention;
use crate::operators::Deployment;

const GIB: f64 = (1_u64 << 30) as f64;

/// Bytes that vLLM's trial run of the sampler holds for each logit: logits in 16 and 32 bits, sorted values and their
/// 64-bit places, the scratch of the sort, probabilities and their sums. Solved from one published log (pull request
/// 10511: 1.26 GiB for 256 sequences of 128,256 logits).
const SAMPLER_BYTES: f64 = 41.2;
/// Memory outside the allocator of one device: libraries and their workspaces (0.13 to 0.20 GiB in published logs).
const OUTSIDE: f64 = 0.16 * GIB;
/// The same in 0.26, by two logs.
const OUTSIDE_026: f64 = 0.22 * GIB;
/// What activations of 0.26 take beside the largest step and the logits in 16 bits. Solved from two logs on an H100 (8,192
/// tokens, 1,024 sequences): 1.11 GiB for Llama 3.1 8B, 0.83 GiB for a model of 3072 · 8192 in 28 layers.
const BESIDE_026: f64 = 0.10 * GIB;
/// More of it where devices talk to each other: buffers of collectives. A guess between 0.5 and 2 GiB.
const OUTSIDE_LINKED: f64 = 1.0 * GIB;
/// Bytes that a captured graph holds a layer: 0.98 and 0.80 GiB for 102 graphs of 32 and 28 layers in two logs of 0.26.
/// Published estimates lie between a third and 1.3 times of it.
const GRAPH_LAYER_BYTES: f64 = 0.3 * 1_048_576.0;

/// Figures from the log of an engine, in bytes, in place of estimates.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Known {
    /// Peak of activations.
    pub activation_bytes: Option<f64>,
    /// Memory outside the allocator.
    pub outside_bytes: Option<f64>,
    /// Captured graphs.
    pub graph_bytes: Option<f64>,
}

/// Where a figure is from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Basis {
    /// Counted from shapes.
    Counted,
    /// Stated by the user.
    Stated,
    /// Estimated.
    Estimate,
}

/// Bytes with a range.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Bytes {
    /// Bytes.
    pub value: f64,
    /// Least, by the estimate's range.
    pub lo: f64,
    /// Most.
    pub hi: f64,
    /// Where the figure is from.
    pub basis: Basis,
}

impl Bytes {
    fn counted(value: f64) -> Self {
        Self { value, lo: value, hi: value, basis: Basis::Counted }
    }

    fn known_or(stated: Option<f64>, value: f64, lo: f64, hi: f64) -> Self {
        match stated {
            Some(value) => Self { value, lo: value, hi: value, basis: Basis::Stated },
            None => Self { value, lo: value * lo, hi: value * hi, basis: Basis::Estimate },
        }
    }
}

/// What will happen when the engine starts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", tag = "verdict")]
pub enum Forecast {
    /// It starts.
    Fits,
    /// It starts at the middle of the estimates, not at their unfavourable end.
    Tight {
        /// Bytes that may be missing.
        missing_bytes: f64,
    },
    /// Nothing is left for the cache.
    NoRoomForCache {
        /// Bytes that are missing for a single block.
        missing_bytes: f64,
        /// What would make it fit.
        try_instead: Vec<String>,
    },
    /// The cache does not hold one sequence of the longest length.
    ContextTooLong {
        /// The longest that fits, in tokens.
        fits_tokens: u64,
    },
    /// Captured graphs, which this version does not count, do not fit beside the rest.
    GraphsMayNotFit {
        /// Bytes that are missing.
        missing_bytes: f64,
    },
}

/// Sequences of some length that fit at once.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Concurrency {
    /// Tokens of each, prompt and output.
    pub tokens: u32,
    /// How many fit by memory.
    pub sequences: f64,
    /// By the unfavourable end of the estimates.
    pub lo: f64,
    /// By the favourable end.
    pub hi: f64,
}

/// The memory of one device.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct MemoryDoc {
    /// Format of the weights.
    pub dtype: String,
    /// Memory that a program sees.
    pub total_bytes: f64,
    /// Share of it that the engine takes.
    pub gpu_memory_utilization: f64,
    /// Weights on the fullest device.
    pub weights: Bytes,
    /// Peak of activations in the trial run.
    pub activations: Bytes,
    /// Outside the allocator.
    pub outside: Bytes,
    /// Captured graphs.
    pub graphs: Bytes,
    /// Whether this version leaves room for them.
    pub graphs_counted: bool,
    /// Bytes left for the cache; negative when none are.
    pub cache: Bytes,
    /// Bytes that a token takes in all layers on one device.
    pub token_bytes: f64,
    /// Cache blocks.
    pub kv_blocks: u32,
    /// Tokens of the cache, as vLLM prints them.
    pub kv_cache_tokens: u64,
    /// The same at the ends of the estimates.
    pub kv_cache_tokens_range: [u64; 2],
    /// Sequences that fit, by length.
    pub concurrency: Vec<Concurrency>,
    /// What will happen.
    pub forecast: Forecast,
}

/// What takes the memory of the fullest device, and what is left.
struct Taken {
    weights: Bytes,
    activations: Bytes,
    outside: Bytes,
    graphs: Bytes,
    graphs_counted: bool,
    cache: Bytes,
}

impl Taken {
    fn of(deployment: &Deployment, gpu: &Gpu, settings: &EngineSettings, known: &Known) -> Self {
        let weights = Bytes::counted(deployment.weight_bytes());
        let activations =
            Bytes::known_or(known.activation_bytes, activation_peak(deployment, settings), 0.8, 1.4);
        let outside = match deployment.tp * deployment.pp {
            1 if settings.version.sorts_in_trial() => Bytes::known_or(known.outside_bytes, OUTSIDE, 0.8, 1.5),
            1 => Bytes::known_or(known.outside_bytes, OUTSIDE_026, 0.7, 1.2),
            _ => Bytes::known_or(known.outside_bytes, OUTSIDE + OUTSIDE_LINKED, 0.5, 2.0),
        };
        // Graphs of whole steps up to the number of sequences, and of pieces at every size.
        let sizes = settings.capture_sizes();
        let graphs = sizes.len() + sizes.iter().filter(|&&size| size <= settings.max_num_seqs).count();
        let graphs = graphs as f64 * f64::from(deployment.stage_layers()) * GRAPH_LAYER_BYTES;
        let graphs = Bytes::known_or(known.graph_bytes, graphs, 0.5, 2.0);
        let graphs_counted = settings.version.counts_graphs();

        let requested = settings.gpu_memory_utilization * gpu.usable_bytes;
        let counted = if graphs_counted { graphs } else { Bytes::counted(0.0) };
        let left = |w: f64, a: f64, o: f64, g: f64| requested - w - a - o - g;
        let cache = match settings.kv_cache_memory_bytes {
            Some(bytes) => Bytes { value: bytes, lo: bytes, hi: bytes, basis: Basis::Stated },
            None => Bytes {
                value: left(weights.value, activations.value, outside.value, counted.value),
                lo: left(weights.hi, activations.hi, outside.hi, counted.hi),
                hi: left(weights.lo, activations.lo, outside.lo, counted.lo),
                basis: Basis::Estimate,
            },
        };
        Self { weights, activations, outside, graphs, graphs_counted, cache }
    }
}

/// The memory of the fullest device, with concurrency at these lengths.
#[must_use]
pub fn memory(
    deployment: &Deployment,
    gpu: &Gpu,
    settings: &EngineSettings,
    known: &Known,
    lengths: &[u32],
) -> MemoryDoc {
    let Taken { weights, activations, outside, graphs, graphs_counted, cache } =
        Taken::of(deployment, gpu, settings, known);
    let layout = CacheLayout::of(deployment);
    let blocks = |bytes: f64| {
        settings.num_gpu_blocks_override.unwrap_or_else(|| layout.blocks(bytes.max(0.0), settings.block_size))
    };
    let (kv_blocks, least, most) = (blocks(cache.value), blocks(cache.lo), blocks(cache.hi));
    let step = settings.max_num_batched_tokens;
    let needed = |tokens: u32| f64::from(layout.sequence_blocks(tokens, settings.block_size, step).max(1));
    let concurrency = lengths
        .iter()
        .map(|&tokens| Concurrency {
            tokens,
            sequences: f64::from(kv_blocks) / needed(tokens),
            lo: f64::from(least) / needed(tokens),
            hi: f64::from(most) / needed(tokens),
        })
        .collect();

    let block = layout.block_bytes(settings.block_size);
    let longest = needed(settings.max_model_len);
    let rest = gpu.usable_bytes - weights.value - activations.value - outside.value - cache.value.max(0.0);
    let forecast = if kv_blocks <= 1 {
        let missing_bytes = 2.0 * block - cache.value;
        Forecast::NoRoomForCache { missing_bytes, try_instead: remedies(deployment, gpu, settings, known) }
    } else if f64::from(kv_blocks - 1) < longest {
        Forecast::ContextTooLong { fits_tokens: layout.tokens(kv_blocks - 1, settings.block_size) }
    } else if !graphs_counted && graphs.value > rest {
        Forecast::GraphsMayNotFit { missing_bytes: graphs.value - rest }
    } else if f64::from(least) < longest {
        Forecast::Tight { missing_bytes: longest * block - cache.lo }
    } else {
        Forecast::Fits
    };
    MemoryDoc {
        dtype: deployment.precision.name().to_owned(),
        total_bytes: gpu.usable_bytes,
        gpu_memory_utilization: settings.gpu_memory_utilization,
        weights,
        activations,
        outside,
        graphs,
        graphs_counted,
        cache,
        token_bytes: layout.token_bytes(),
        kv_blocks,
        kv_cache_tokens: layout.tokens(kv_blocks, settings.block_size),
        kv_cache_tokens_range: [least, most].map(|blocks| layout.tokens(blocks, settings.block_size)),
        concurrency,
        forecast,
    }
}

/// Most bytes of activations at once in a step of full size, or in the trial run of the sampler.
fn activation_peak(deployment: &Deployment, settings: &EngineSettings) -> f64 {
    let (model, tp) = (&deployment.model, f64::from(deployment.tp));
    let (tokens, base) = (f64::from(settings.max_num_batched_tokens), deployment.precision.base.bytes());
    let hidden = f64::from(model.hidden);
    // Gate, up and their product, beside the residual and the hidden state.
    let dense = model.dense.map_or(0.0, |d| 3.0 * f64::from(d.intermediate) / tp);
    // Routed experts write gate and up, their product, and each expert's result.
    let moe = model.moe.map_or(0.0, |moe| {
        let width = f64::from(moe.intermediate) / tp;
        f64::from(moe.top_k) * ((2.0 * width).max(hidden) + width)
            + 3.0 * f64::from(moe.shared.unwrap_or(0)) / tp
    });
    let attention = match &model.attention {
        Attention::Grouped(a) => 2.0 * f64::from(a.heads + a.kv_heads) * f64::from(a.head_dim) / tp,
        Attention::Latent(a) => 3.0 * f64::from(a.heads * (a.nope_dim + a.rope_dim)) / tp,
    };
    let forward = tokens * (2.0 * hidden + dense.max(moe).max(attention)) * base;
    let sequences = f64::from(settings.max_num_seqs.min(settings.max_num_batched_tokens));
    if !settings.version.sorts_in_trial() {
        return forward + sequences * f64::from(model.vocab) * base + BESIDE_026;
    }
    forward.max(sequences * f64::from(model.vocab) * SAMPLER_BYTES)
}

/// Changes with which the engine would start: a smaller format, more devices, other settings.
fn remedies(deployment: &Deployment, gpu: &Gpu, settings: &EngineSettings, known: &Known) -> Vec<String> {
    let mut tries = Vec::new();
    let fits = |other: &Deployment, settings: &EngineSettings| {
        let layout = CacheLayout::of(other);
        let (block, step) = (settings.block_size, settings.max_num_batched_tokens);
        let needed = layout.sequence_blocks(settings.max_model_len, block, step).saturating_add(1);
        Taken::of(other, gpu, settings, known).cache.value >= f64::from(needed) * layout.block_bytes(block)
    };
    let shorter = EngineSettings { max_model_len: settings.max_model_len.min(8192), ..settings.clone() };
    for name in ["fp8", "int4"] {
        let Some(precision) = crate::Precision::parse(name) else { continue };
        let other = Deployment { precision, ..deployment.clone() };
        if fits(&other, settings) {
            tries.push(format!("weights in {name}"));
        } else if fits(&other, &shorter) {
            tries.push(format!("weights in {name} with max_model_len={}", shorter.max_model_len));
        }
    }
    for ways in [2, 4, 8, 16] {
        let (model, precision) = (deployment.model.clone(), deployment.precision);
        let split = Deployment::new(model, precision, deployment.tp * ways, deployment.pp);
        if let Ok(other) = split
            && fits(&other, settings)
        {
            tries.push(format!("{} devices (tensor_parallel_size={})", other.tp * other.pp, other.tp));
            break;
        }
    }
    let more = EngineSettings { gpu_memory_utilization: 0.95, ..settings.clone() };
    if settings.gpu_memory_utilization < 0.95 && fits(deployment, &more) {
        tries.push("gpu_memory_utilization=0.95".to_owned());
    }
    let fewer = EngineSettings { max_num_seqs: settings.max_num_seqs.min(64), ..settings.clone() };
    if fits(deployment, &fewer) {
        tries.push("max_num_seqs=64, whose trial run takes less memory".to_owned());
    }
    tries
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::EngineVersion;
    use crate::hardware::preset;
    use crate::model::builtin;
    use crate::precision::Precision;

    fn deployed(name: &str, precision: &str, tp: u32) -> Deployment {
        Deployment::new(builtin(name).unwrap(), Precision::parse(precision).unwrap(), tp, 1).unwrap()
    }

    fn settings(name: &str, gpu: &str, version: &str) -> EngineSettings {
        let version = EngineVersion::parse(version).unwrap();
        EngineSettings::defaults(version, &builtin(name).unwrap(), preset(gpu).unwrap())
    }

    #[test]
    fn a_published_start_is_reproduced() {
        // vLLM pull request 10511: Llama 3 8B on 79.22 GiB at 0.90: weights 14.96, outside 1.79, peak 1.26, cache
        // 53.29 GiB; the weights on two devices 7.48 GiB each.
        let mut gpu = preset("h100").unwrap().clone();
        gpu.usable_bytes = 79.22 * GIB;
        let mut s = settings("llama-3-8b", "a100", "0.10");
        s.gpu_memory_utilization = 0.9;
        let known = Known { outside_bytes: Some(1.79 * GIB), ..Known::default() };
        let doc = memory(&deployed("llama-3-8b", "bf16", 1), &gpu, &s, &known, &[8192]);
        let gib = |bytes: f64| (bytes / GIB * 100.0).round() / 100.0;
        assert_eq!((gib(doc.weights.value), gib(doc.activations.value)), (14.96, 1.26));
        assert!((doc.cache.value / GIB - 53.29).abs() < 0.01, "{}", doc.cache.value / GIB);
        // The log rounds to 0.01 GiB: 82 tokens of 128 KiB.
        assert!(doc.kv_cache_tokens.abs_diff(436_552) <= 82, "{}", doc.kv_cache_tokens);
        assert_eq!(gib(deployed("llama-3-8b", "bf16", 2).weight_bytes()), 7.48);
    }

    #[test]
    fn formats_shrink_the_weights() {
        // 8 B parameters: 16 GB in 16 bits, about half and a third of it quantised, since tables stay.
        let gib = |p: &str| deployed("llama-3.1-8b", p, 1).weight_bytes() / GIB;
        assert!(
            (gib("bf16") - 14.96).abs() < 0.005
                && (gib("fp8") - 8.46).abs() < 0.01
                && (gib("int4") - 5.31).abs() < 0.01,
            "{} {} {}",
            gib("bf16"),
            gib("fp8"),
            gib("int4")
        );
        // All parameters are in the count, once.
        for name in ["qwen3-30b-a3b", "gemma-2-9b", "qwen2.5-7b", "deepseek-v3", "smollm2-135m"] {
            let deployment = deployed(name, "bf16", 1);
            assert_eq!(
                deployment.weight_bytes(),
                2.0 * deployment.model.parameters().total() as f64,
                "{name}"
            );
        }
    }

    #[test]
    fn what_does_not_fit_says_by_how_much_and_what_would() {
        let s = settings("llama-3.1-70b", "h100", "0.25");
        let doc = memory(
            &deployed("llama-3.1-70b", "bf16", 1),
            preset("h100").unwrap(),
            &s,
            &Known::default(),
            &[],
        );
        let Forecast::NoRoomForCache { missing_bytes, try_instead } = doc.forecast else {
            panic!("141 GB fit?")
        };
        assert!((60.0..70.0).contains(&(missing_bytes / GIB)), "{}", missing_bytes / GIB);
        assert!(
            try_instead.iter().any(|t| t.contains("int4"))
                && try_instead.iter().any(|t| t.contains("tensor_parallel_size=4"))
        );
        assert!(
            !try_instead.iter().any(|t| t.contains("fp8")),
            "70 GB of weights and 5 GB of sampling do not fit"
        );
        let split = memory(
            &deployed("llama-3.1-70b", "bf16", 4),
            preset("h100").unwrap(),
            &s,
            &Known::default(),
            &[],
        );
        assert_eq!(split.forecast, Forecast::Fits);
    }

    #[test]
    fn a_long_context_needs_its_cache() {
        let s = settings("llama-3.1-8b", "rtx-4090", "0.26");
        let doc = memory(
            &deployed("llama-3.1-8b", "bf16", 1),
            preset("rtx-4090").unwrap(),
            &s,
            &Known::default(),
            &[],
        );
        let Forecast::ContextTooLong { fits_tokens } = doc.forecast else { panic!("{:?}", doc.forecast) };
        assert!((20_000..50_000).contains(&fits_tokens), "{fits_tokens}");
    }

    #[test]
    fn logs_of_026_are_reproduced() {
        // On an H100 of 79.18 GiB at 0.85, max_model_len 8192: weights 15.0, activations 1.1, outside 0.22, graphs 0.98
        // and not counted; 417,536 tokens. The 3B shape, its head apart from the embedding: 556,848.
        let mut gpu = preset("h100").unwrap().clone();
        gpu.usable_bytes = 79.18 * GIB;
        let of = |name: &str, tied: bool| {
            let mut deployment = deployed(name, "bf16", 1);
            deployment.model.tied = tied;
            let mut s = settings(name, "h100", "0.26");
            (s.gpu_memory_utilization, s.max_model_len) = (0.85, 8192);
            memory(&deployment, &gpu, &s, &Known::default(), &[8192])
        };
        for (doc, tokens) in [(of("llama-3.1-8b", false), 417_536.0), (of("llama-3.2-3b", false), 556_848.0)]
        {
            let off = doc.kv_cache_tokens as f64 / tokens - 1.0;
            assert!(off.abs() < 0.003 && !doc.graphs_counted, "{off}: {doc:?}");
        }
    }

    #[test]
    fn graphs_are_counted_from_021() {
        let of = |version| {
            let s =
                EngineSettings { gpu_memory_utilization: 0.9, ..settings("llama-3.1-8b", "h100", version) };
            memory(
                &deployed("llama-3.1-8b", "bf16", 1),
                preset("h100").unwrap(),
                &s,
                &Known::default(),
                &[1024],
            )
        };
        let (before, after) = (of("0.20"), of("0.25"));
        assert!((before.cache.value - after.cache.value - after.graphs.value).abs() < 1.0);
        assert!(
            before.kv_cache_tokens > after.kv_cache_tokens
                && after.concurrency[0].lo < after.concurrency[0].sequences
        );
    }
}

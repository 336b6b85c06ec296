//! Every workload pair: what it is called, how it runs on a CPU and on CUDA, and what it has to teach.

use super::{
    Batching, Bound, FlashSdp, Moe, NotSetUp, PagedAttention, Perplexity, Prefixes, Setting, Way, Worker,
    Workload,
};

/// Chapter of the course that the pairs follow; part of their identifiers.
pub const CHAPTER: &str = "ch16";

/// Sets a side up.
pub type SetUp = fn(&Setting) -> Result<Box<dyn Worker>, NotSetUp>;

/// How a pair runs on a kind of device.
#[derive(Debug)]
#[non_exhaustive]
pub enum Form {
    /// In this program.
    BuiltIn {
        /// Sets a side up.
        set_up: SetUp,
        /// Largest difference between outputs, relative to the largest number of the baseline's.
        tolerance: f64,
    },
    /// A program in Python that speaks JSON lines.
    Program {
        /// Its file.
        file: &'static str,
        /// GPUs that it needs.
        gpus: u32,
        /// Largest difference between outputs, relative to the largest number of the baseline's.
        tolerance: f64,
    },
    /// A command of Stopwatt itself, whose run must be valid and steady; it has one side.
    Own {
        /// Its words.
        words: &'static [&'static str],
        /// The same with a small load.
        small: &'static [&'static str],
    },
    /// There is none, and why.
    Missing(&'static str),
}

/// The same work in two ways.
#[derive(Debug)]
pub struct Pair {
    /// Name on the command line.
    pub name: &'static str,
    /// One line for lists.
    pub title: &'static str,
    /// `pipeline.mode` of the baseline and of the optimised side.
    pub modes: [&'static str; 2],
    /// The one thing that differs between the sides.
    pub variable: &'static str,
    /// On a CPU.
    pub cpu: Form,
    /// On NVIDIA GPUs.
    pub cuda: Form,
    /// What it shows, and what it costs.
    pub shows: &'static str,
    /// When it helps.
    pub helps: &'static str,
    /// When it does not.
    pub fails: &'static str,
    /// What to expect, as a formula.
    pub formula: &'static str,
    /// Where the formula or the method comes from.
    pub source: &'static str,
}

impl Pair {
    /// Identifier: chapter and name.
    pub fn id(&self) -> String {
        format!("{CHAPTER}:{}", self.name)
    }

    /// Which side a mode is.
    pub fn way(&self, mode: &str) -> Option<Way> {
        match self.modes.iter().position(|m| *m == mode)? {
            0 => Some(Way::Baseline),
            _ => Some(Way::Optimised),
        }
    }
}

/// The pairs that a word names: an identifier or a name, a chapter, or the common begin of several names.
pub fn find(word: &str) -> Vec<&'static Pair> {
    if word == CHAPTER {
        return PAIRS.iter().collect();
    }
    let name = word.strip_prefix(CHAPTER).and_then(|w| w.strip_prefix(':')).unwrap_or(word);
    let exact: Vec<&Pair> = PAIRS.iter().filter(|p| p.name == name).collect();
    if !exact.is_empty() {
        return exact;
    }
    PAIRS.iter().filter(|p| p.name.strip_prefix(name).is_some_and(|rest| rest.starts_with('_'))).collect()
}

fn bound<W: Workload>(workload: W, setting: &Setting) -> Result<Box<dyn Worker>, NotSetUp> {
    Ok(Box::new(Bound::set_up(workload, setting.way, setting.threads)?))
}

const BASELINE_OPTIMISED: [&str; 2] = ["baseline", "optimised"];

const ONLY_GPUS: Form = Form::Missing("a CPU has no launches that could be saved");
const NO_FP8: Form = Form::Missing("CPUs have no products of e4m3 numbers");

const ON_CPUS: Form = Form::Missing(
    "the built-in engine computes on CPUs; `stopwatt pair --serve-cmd` compares two engines on a GPU",
);
const TWO_GPUS: Form = Form::Missing("it is about two GPUs");

/// A step of the decode loop that is improved one thing at a time.
const fn step(
    name: &'static str,
    title: &'static str,
    modes: [&'static str; 2],
    variable: &'static str,
    tolerance: f64,
) -> Pair {
    Pair {
        name,
        title,
        modes,
        variable,
        cpu: ONLY_GPUS,
        cuda: Form::Program { file: "inference_optimizations.py", gpus: 1, tolerance },
        shows: "A decode loop of a small decoder, improved step by step: naive, fused, paged, graph, fp8_kv. Each pair \
                compares a step with the one before; the product of the speed-ups is that of the whole. Bytes of the \
                cache and the perplexity of given tokens stand beside the time.",
        helps: "It tells which step is worth its trouble on this machine, and which is not once the others are there.",
        fails: "The model is small and its weights are random: the perplexity says whether a step changes the numbers, \
                not whether a real model bears it.",
        formula: "time of a step ≈ max(launches · launch time, bytes / bandwidth), bytes = weights + cache",
        source: "each step as in the pair of its name: flash_sdp, paged_attention, piece_graphs, fp8_kv",
    }
}

const STEP_FUSED: Pair = step(
    "inference_optimizations_fused",
    "a decode loop: scores as a matrix, against one kernel for attention",
    ["naive", "fused"],
    "the attention kernel",
    3e-2,
);
const STEP_PAGED: Pair = step(
    "inference_optimizations_paged",
    "a decode loop: caches in one piece that grows, against blocks from a pool",
    ["fused", "paged"],
    "where keys and values lie",
    3e-2,
);
const STEP_GRAPH: Pair = step(
    "inference_optimizations_graph",
    "a decode loop: kernels launched one by one, against one CUDA graph a step",
    ["paged", "graph"],
    "how the kernels are launched",
    3e-2,
);
const STEP_FP8_KV: Pair = step(
    "inference_optimizations_fp8_kv",
    "a decode loop: a cache in bf16, against e4m3",
    ["graph", "fp8_kv"],
    "the number format of keys and values",
    0.15,
);

/// Every pair, in the order of lists.
pub static PAIRS: &[Pair] = &[
    Pair {
        name: "flash_sdp",
        title: "attention with a matrix of scores, against fused attention",
        modes: BASELINE_OPTIMISED,
        variable: "whether scores are written out as an n × n matrix",
        cpu: Form::BuiltIn {
            set_up: |setting| {
                let small = setting.small.then_some(FlashSdp { tokens: 96, heads: 2, head_dim: 32 });
                bound(small.unwrap_or_default(), setting)
            },
            tolerance: 1e-4,
        },
        cuda: Form::Program { file: "flash_sdp.py", gpus: 1, tolerance: 2e-2 },
        shows: "Causal attention of a prompt. Plain: S = QKᵀ/√d of n × n numbers a head, then softmax, then SV. Fused: \
                scores live for one tile of keys (online softmax), and tiles above the diagonal are never computed, which \
                the plain form cannot do.",
        helps: "Long prompts: memory for scores grows as n², and every score is written and read several times.",
        fails: "Decode steps (one query a sequence have no n × n matrix) and prompts of a few dozen tokens, where the \
                projections dominate.",
        formula: "bytes of scores = heads · n² · 4 · (writes + reads, about 6); bytes fused = heads · n · d · 4 · 4. \
                  Operations are halved as well by the causal tiles.",
        source: "Dao et al. 2022, FlashAttention; Milakov and Gimelshein 2018, online normaliser",
    },
    Pair {
        name: "paged_attention",
        title: "key/value caches that are allocated anew as they grow, against blocks from a pool",
        modes: BASELINE_OPTIMISED,
        variable: "where the keys and values of a sequence lie",
        cpu: Form::BuiltIn {
            set_up: |setting| {
                let small = setting.small.then_some(PagedAttention {
                    context: 48,
                    steps: 20,
                    ..PagedAttention::default()
                });
                bound(small.unwrap_or_default(), setting)
            },
            tolerance: 1e-5,
        },
        cuda: Form::Program { file: "paged_attention.py", gpus: 1, tolerance: 1e-3 },
        shows: "Decode steps of a batch whose caches grow, with the same attention kernel on both sides. In one piece, \
                each token means a larger allocation and a copy of everything; in blocks, a token goes into the last one. \
                Allocations, bytes copied, page faults and the used share of what is allocated stand beside the time.",
        helps: "Many sequences of unknown length: no copying, no room kept for the longest case, room for more sequences.",
        fails: "A cache that is allocated once at its final length costs nothing either; the block table then only adds \
                an indirection.",
        formula: "bytes copied a step = 2 · tokens · kv_heads · head_dim · bytes; unused share in blocks ≤ \
                  (block − 1) / tokens",
        source: "Kwon et al. 2023, PagedAttention",
    },
    Pair {
        name: "moe",
        title: "experts computed token by token, against tokens grouped by expert",
        modes: BASELINE_OPTIMISED,
        variable: "whether the tokens of an expert are one product or many",
        cpu: Form::BuiltIn {
            set_up: |setting| {
                let small =
                    setting.small.then_some(Moe { tokens: 32, experts: 8, hidden: 64, inner: 96, top: 2 });
                bound(small.unwrap_or_default(), setting)
            },
            tolerance: 1e-4,
        },
        cuda: Form::Program { file: "moe.py", gpus: 1, tolerance: 2e-2 },
        shows: "A layer of routed experts under skewed routing. Ungrouped, an expert's weights are read for every token; \
                grouped, once a step. The share of the largest expert and the number of idle ones stand beside the time.",
        helps: "Steps of many tokens: more tokens an expert make one product with more rows.",
        fails: "A step of one token has nothing to group, and very skewed routing leaves one expert as the bottleneck.",
        formula: "bytes of weights ungrouped = tokens · top · 3 · hidden · inner · b; grouped = experts in use · 3 · hidden \
                  · inner · b",
        source: "Gale et al. 2022, MegaBlocks",
    },
    Pair {
        name: "piece_graphs",
        title: "a decode step launched kernel by kernel, against CUDA graphs of its pieces",
        modes: BASELINE_OPTIMISED,
        variable: "whether the kernels between two attentions are launched one by one or as a graph",
        cpu: ONLY_GPUS,
        cuda: Form::Program { file: "piece_graphs.py", gpus: 1, tolerance: 1e-2 },
        shows: "A decode step of a small decoder at batch 2. What lies between two attentions is captured once as a CUDA \
                graph; attention stays outside, as in piecewise graphs, since its shape changes with every step.",
        helps: "Small batches of small models: a launch takes the host some microseconds, as long as the kernel itself.",
        fails: "Large batches and long prompts, where kernels take longer than their launches; and where shapes change, a \
                graph for each has to be captured and kept.",
        formula: "saved a step ≈ kernels · (launch time − graph node time); break-even = capture time / saved a step",
        source: "NVIDIA, CUDA C++ Programming Guide, CUDA graphs",
    },
    Pair {
        name: "regional_compilation",
        title: "decoder blocks run eagerly, against one compiled block that serves every layer",
        modes: BASELINE_OPTIMISED,
        variable: "whether the block is compiled",
        cpu: Form::Program { file: "regional_compilation.py", gpus: 0, tolerance: 1e-4 },
        cuda: Form::Program { file: "regional_compilation.py", gpus: 1, tolerance: 3e-2 },
        shows: "A prompt through the blocks of a small decoder, by PyTorch. The block is compiled once by torch.compile and \
                used for all layers, which costs what one layer costs to compile.",
        helps: "Blocks with many small operators between the products (norms, rotary, gates): they are fused, and read and \
                write memory once.",
        fails: "Short lives: what compiling takes has to be earned back; shapes that change compile again.",
        formula: "break-even = compile time / (eager − compiled) iterations; regional compile time ≈ full / layers",
        source: "PyTorch documentation, regional compilation with torch.compile",
    },
    Pair {
        name: "fp8",
        title: "a feed-forward layer in bf16, against scaled e4m3",
        modes: BASELINE_OPTIMISED,
        variable: "the number format of weights and activations",
        cpu: NO_FP8,
        cuda: Form::Program { file: "fp8.py", gpus: 1, tolerance: 0.1 },
        shows: "A gated feed-forward layer of an 8B model. Weights are quantised when it is set up, activations within the \
                time, each with a scale a row. The error against single precision stands beside the time.",
        helps: "Prefill and large batches, which are bound by products: twice the operations a second. Small batches read \
                half the bytes of weights.",
        fails: "Small steps, where quantising activations costs more than the product saves; layers with outliers, where \
                the error hurts.",
        formula: "time ≈ max(2 · rows · weights / peak, weights · b / bandwidth) with b 2 → 1 and twice the peak",
        source: "Micikevicius et al. 2022, FP8 formats for deep learning",
    },
    Pair {
        name: "fp8_kv",
        title: "decode attention over a cache in bf16, against e4m3",
        modes: BASELINE_OPTIMISED,
        variable: "the number format of keys and values",
        cpu: NO_FP8,
        cuda: Form::Program { file: "fp8_kv.py", gpus: 1, tolerance: 0.1 },
        shows: "One decode step's attention of a large batch over long caches, by the same kernel: half the bytes, and a \
                scale for each key/value head.",
        helps: "Long contexts and large batches, which are bound by reading the cache; and twice as many tokens fit.",
        fails: "Short contexts: weights dominate there.",
        formula: "time ≈ 2 · batch · context · kv_heads · head_dim · b / bandwidth, with b 2 → 1",
        source: "vLLM documentation, quantised KV cache",
    },
    STEP_FUSED,
    STEP_PAGED,
    STEP_GRAPH,
    STEP_FP8_KV,
    Pair {
        name: "symmetric_memory",
        title: "sums and copies between GPUs by NCCL, against direct access over NVLink",
        modes: ["nccl", "symmetric"],
        variable: "how the GPUs exchange data",
        cpu: TWO_GPUS,
        cuda: Form::Program { file: "symmetric_memory.py", gpus: 2, tolerance: 1e-2 },
        shows: "Sums over two GPUs as small as those of decode steps, and replicas of cache pages that go to the other GPU. \
                By NCCL, or by PyTorch's symmetric memory: each GPU reads and writes the other's memory. Pages come back \
                into the output, so that a byte that was changed on the way shows.",
        helps: "Sums of about a megabyte: a tenth less time on two H100s.",
        fails: "Smaller sums within CUDA graphs, where NCCL is as fast on two H100s; large messages, which the links \
                bound; GPUs without NVLink between them.",
        formula: "time ≈ latency + bytes · (ranks − 1) / (ranks · link bandwidth); latency is what differs",
        source: "PyTorch documentation, symmetric memory",
    },
    Pair {
        name: "multi_gpu_validation",
        title: "a model on one device, against the same split over two",
        modes: ["single", "tensor_parallel"],
        variable: "on how many devices the layers lie",
        cpu: Form::Program { file: "multi_gpu_validation.py", gpus: 0, tolerance: 1e-4 },
        cuda: Form::Program { file: "multi_gpu_validation.py", gpus: 2, tolerance: 2e-2 },
        shows: "Whether tensor parallelism computes what one device computes: the largest difference of the outputs stands \
                in the checks. Each rank has half of the heads and of the inner width; two sums a layer join them, so that \
                a rank that took no part shows. On a CPU two processes take the place of two GPUs.",
        helps: "After every change of the split, of the collective or of the driver.",
        fails: "It says nothing of speed at this size.",
        formula: "y = Σ over ranks of x · Wᵣᵀ: exact but for the order of the sum",
        source: "Shoeybi et al. 2019, Megatron-LM",
    },
    Pair {
        name: "serving_multigpu",
        title: "decode steps on one GPU, against two with tensor parallelism",
        modes: ["single", "tensor_parallel"],
        variable: "on how many GPUs the layers lie",
        cpu: TWO_GPUS,
        cuda: Form::Program { file: "serving_multigpu.py", gpus: 2, tolerance: 2e-2 },
        shows: "A decode step of layers as wide as those of a 70B model, at batch 64 with 2048 tokens each.",
        helps: "Large models, bound by reading weights: each GPU reads half of them.",
        fails: "Small models: two sums a layer cost more than half of the layer.",
        formula: "time(2) ≈ time(1) / 2 + 2 · layers · time of a sum of batch · hidden · 2 bytes",
        source: "Pope et al. 2022, Efficiently scaling transformer inference",
    },
    Pair {
        name: "cache_monitoring",
        title: "prompts with shared prefixes: computed anew, against found in the prefix cache",
        modes: BASELINE_OPTIMISED,
        variable: "whether blocks are kept for prompts that begin alike",
        cpu: Form::BuiltIn {
            set_up: |setting| {
                let small = Prefixes { prompts: 8, groups: 2, prefix: 32, own: 12 };
                bound(if setting.small { small } else { Prefixes::default() }, setting)
            },
            tolerance: 1e-5,
        },
        cuda: ON_CPUS,
        shows: "A known trace of prompts that share prefixes, one after another on a small model, twice without anything kept \
                in between. Hits, queries and evictions are held against what the trace says they must be; after each \
                round no block may be held, and the outputs must be those of a cache that keeps nothing, so that a stale \
                block would show.",
        helps: "Conversations, few-shot prompts and documents asked about again.",
        fails: "Prompts that share nothing: looking them up is all that is left.",
        formula: "prefill saved = hit tokens / prompt tokens; hits are whole blocks: ⌊shared / block⌋ · block",
        source: "vLLM documentation, automatic prefix caching",
    },
    Pair {
        name: "load_test",
        title: "the built-in engine under steady load: are TTFT and TPOT stable after warm-up?",
        modes: ["warm-up", "load"],
        variable: "nothing: it is a test of one side",
        cpu: Form::Own {
            words: &[
                "bench",
                "--concurrency",
                "4",
                "--input",
                "64",
                "--output",
                "32",
                "--duration",
                "8s",
                "--repeats",
                "3",
            ],
            small: &[
                "bench",
                "--concurrency",
                "2",
                "--input",
                "16",
                "--output",
                "8",
                "--duration",
                "1s",
                "--repeats",
                "3",
            ],
        },
        cuda: ON_CPUS,
        shows: "`stopwatt bench` for some seconds against the built-in engine and its scheduler. It fails when a request fails, \
                when the engine gets into no steady state, or when a latency drifts over the load.",
        helps: "Before trusting any figure of a service: a service that drifts has no latency, only a history.",
        fails: "It says nothing of other loads; `stopwatt bench --find` looks for the edge.",
        formula: "drift: the interval of the Theil–Sen slope over the trial excludes zero, and the change is not small",
        source: "docs/validity.md",
    },
    Pair {
        name: "perplexity",
        title: "a real model as it is, against its weights rounded to 8-bit integers",
        modes: ["as_is", "int8"],
        variable: "whether weights are rounded to int8 in groups of 64",
        cpu: Form::BuiltIn { set_up: |setting| Perplexity::set_up(setting), tolerance: 0.1 },
        cuda: ON_CPUS,
        shows: "Perplexity of a text in overlapping windows, each token counted once, before and after rounding; it stands in \
                the metrics of both sides. Weights must be real (`--weights`, a GGUF file or a folder with safetensors): of \
                random ones perplexity says nothing.",
        helps: "To know what quantisation costs before it is trusted.",
        fails: "It is no speed-up: rounded weights are computed with in their old format, so that only quality differs.",
        formula: "perplexity = exp(mean over tokens of −log p(token | those before it in its window))",
        source: "Jelinek et al. 1977; groups as in GPTQ and AWQ checkpoints",
    },
    Pair {
        name: "scheduler",
        title: "static batches, against continuous batching with chunked prefill",
        modes: BASELINE_OPTIMISED,
        variable: "the scheduling rules",
        cpu: Form::BuiltIn {
            set_up: |setting| {
                let small =
                    setting.small.then_some(Batching { requests: 12, slots: 4, prompt: 24, output: 24 });
                bound(small.unwrap_or_default(), setting)
            },
            tolerance: 1e-5,
        },
        cuda: ON_CPUS,
        shows: "A queue of requests on a small model, by the scheduler of the built-in engine. A static batch runs until \
                its longest request has ended; a continuous one takes the next request as soon as another leaves. Prompts \
                are not padded on either side, which is kind to static batches.",
        helps: "Output lengths that differ: the longer the tail, the more slots of a static batch stand idle.",
        fails: "Requests of equal length that come together: both schedules are then the same.",
        formula: "slot use of static batches = mean output / mean of the longest output of a batch; speed-up ≈ its inverse \
                  where a step's time does not depend on the batch",
        source: "Yu et al. 2022, Orca; Agrawal et al. 2024, Sarathi-Serve",
    },
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_unique_and_found_by_identifier_name_chapter_and_begin() {
        let names: BTreeSet<_> = PAIRS.iter().map(|p| p.name).collect();
        assert_eq!(names.len(), PAIRS.len());
        for pair in PAIRS {
            let name = |found: Vec<&Pair>| found.iter().map(|p| p.name).collect::<Vec<_>>();
            assert_eq!(name(find(pair.name)), [pair.name]);
            assert_eq!(name(find(&pair.id())), [pair.name]);
            assert_ne!(pair.modes[0], pair.modes[1]);
        }
        assert_eq!(find(CHAPTER).len(), PAIRS.len());
        assert!(find("flash").len() == 1, "the begin of a name, up to a word");
        assert_eq!(find("inference_optimizations").len(), 4, "all steps");
        assert!(find("fla").is_empty() && find("ch17:moe").is_empty());
    }
}

//! The settings of `stopwatt bench`: one typed tree, the same for files, the environment and flags.
//!
//! Lengths are written `128`, `50:200` (uniform) or, where a scenario sweeps, as lists. Times are seconds.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use stopwatt_analyse::{CacheState, Settings, TokenRanges, slo};
use stopwatt_core::search::FindKind;
use stopwatt_record::redact;
use stopwatt_serving::trace;
use stopwatt_serving::workload::Profile;

use super::error::BenchError;
use crate::fingerprint::InputConfig;

/// Everything that can be set.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct BenchConfig {
    /// What to measure: `single`, `batch`, `sweep`, `stress`, `long-context`, `prefix-sharing`, `soak` or `guide`.
    pub scenario: ScenarioKind,
    /// Where the engine is.
    pub target: TargetConfig,
    /// The built-in engine, started when `target.url` is not set.
    pub engine: EngineConfig,
    /// An engine that is started for the measurement, once for each of its settings.
    pub serve: ServeConfig,
    /// What model and data are: part of the fingerprint. What is not declared here is taken from the settings.
    pub input: InputConfig,
    /// What is sent.
    pub workload: WorkloadConfig,
    /// When it is sent.
    pub load: LoadConfig,
    /// What a request asks of the engine.
    pub request: RequestConfig,
    /// How long, how often, until when.
    pub measure: MeasureConfig,
    /// Service-level objectives: for goodput as `ttft < 500ms, tpot < 50ms`, for a load as a whole as
    /// `p99 ttft < 500ms, mean tpot < 50ms, error_rate < 1%`.
    pub slo: Option<String>,
    /// The search for the highest load whose objectives hold.
    pub find: FindConfig,
    /// Seed of lengths, prompts, arrivals and resampling.
    pub seed: u64,
    /// How intervals are made.
    pub analysis: AnalysisConfig,
    /// What the machine costs.
    pub cost: CostConfig,
    /// What is kept.
    pub record: RecordConfig,
}

/// What the machine costs.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct CostConfig {
    /// Id of a row of the price table; `null` leaves cost out.
    pub price: Option<String>,
    /// Price table, TOML or YAML; `null` is `prices.toml`.
    pub prices: Option<String>,
    /// Share of time in which the machine really serves, for the cost with idle time.
    pub utilisation: Option<f64>,
}

/// A named procedure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ScenarioKind {
    /// One request at a time: latency without queueing.
    Single,
    /// A fixed number of requests in flight: throughput and memory.
    #[default]
    Batch,
    /// Concurrency × input length, one point each.
    Sweep,
    /// Rising load up to and beyond capacity: maximum throughput and p99.
    Stress,
    /// Inputs from 4K tokens up to the model's limit: TTFT and memory against length.
    LongContext,
    /// The same load without and with shared prefixes: cache hit rate and its worth.
    PrefixSharing,
    /// A fixed load for a long time: drift and leaks.
    Soak,
    /// The whole procedure: single, batches, input lengths, soak.
    Guide,
}

impl ScenarioKind {
    /// Name in files and on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Single => "single",
            Self::Batch => "batch",
            Self::Sweep => "sweep",
            Self::Stress => "stress",
            Self::LongContext => "long-context",
            Self::PrefixSharing => "prefix-sharing",
            Self::Soak => "soak",
            Self::Guide => "guide",
        }
    }
}

/// Where the engine is and how to talk to it.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TargetConfig {
    /// Base URL of an OpenAI-compatible engine; `null` starts the built-in one.
    pub url: Option<String>,
    /// Model name; `null` takes the only one that the engine lists.
    pub model: Option<String>,
    /// Which endpoint to use; `auto` takes completions with token ids where the engine takes them, else chat.
    pub endpoint: EndpointChoice,
    /// Name of the environment variable that holds the API key. The key itself is never stored.
    pub api_key_env: Option<String>,
    /// Further headers, `Name: value`. Values are not stored.
    pub headers: Vec<String>,
    /// PEM file with the certificate authority of the engine.
    pub ca_cert: Option<String>,
    /// `tokenizer.json` to count tokens with, where the engine does not.
    pub tokenizer: Option<String>,
    /// Licence of the model, to state it in reports.
    pub licence: Option<String>,
}

/// Which endpoint is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum EndpointChoice {
    /// Completions with token ids where the engine takes them, else chat.
    #[default]
    Auto,
    /// `/v1/chat/completions`.
    Chat,
    /// `/v1/completions`.
    Completions,
}

/// The built-in engine.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct EngineConfig {
    /// Weights: a GGUF file or a folder with safetensors; `null` makes random weights of a small Llama.
    pub weights: Option<String>,
    /// Threads that compute; `null` is cores − 1.
    pub threads: Option<u32>,
    /// Longest input plus output, in tokens; `null` takes the scenario's need, up to the model's limit.
    pub max_context: Option<u32>,
    /// Whether the prefix cache is on.
    pub prefix_caching: Option<bool>,
}

/// An engine that is started for the measurement, once for each of its settings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ServeConfig {
    /// Its command, with `{port}` and a place for each of its settings: `vllm serve M --port {port} --max-num-seqs {seqs}`.
    /// It is split into words, and no shell sees it.
    pub command: Option<String>,
    /// Values to try, `NAME=VALUE,VALUE…`: of a place in the command, or `concurrency`, `rate` or `input`.
    pub sweep: Vec<String>,
    /// Longest time from its start to its first token, in seconds.
    pub ready_s: f64,
}

impl Default for ServeConfig {
    fn default() -> Self {
        Self { command: None, sweep: Vec::new(), ready_s: 900.0 }
    }
}

/// What is sent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct WorkloadConfig {
    /// `chat`, `document`, `medical-ocr`, or a YAML or TOML file of the same form.
    pub profile: String,
    /// Input tokens: `128` or `50:200`; `null` takes the profile's. Sweeps take `inputs`.
    pub input: Option<String>,
    /// Output tokens: `128` or `100:500`; `null` takes the profile's.
    pub output: Option<String>,
    /// Share of the input that requests of a group have in common, 0 to 1; `null` takes the profile's.
    pub prefix_share: Option<f64>,
    /// Input lengths of a sweep; empty takes the scenario's.
    pub inputs: Vec<u32>,
    /// Changes the content of the prompts and nothing else; `null` takes a new one for each run, so that no engine can
    /// know them. The same salt, seed and settings send the same measured prompts again.
    pub salt: Option<u64>,
    /// What the engine's prefix cache holds before the run: `cold` (nothing of these prompts; what the workload shares
    /// on purpose may be found), `warm` (these very prompts) or `any`. Checked against what the engine reports; `null`
    /// is `cold`, without a remark where the engine reports nothing.
    pub cache: Option<CacheState>,

    /// Number of different shared prefixes; `null` takes the profile's.
    pub prefix_groups: Option<u32>,
    /// Tokens of a shared prefix, in place of a share of the input.
    pub prefix_tokens: Option<u32>,
    /// How unevenly shared prefixes are asked for: prefix *k* in proportion to *k*^−x (Zipf); `null` or 0 is evenly.
    pub prefix_zipf: Option<f64>,

    /// Recorded requests or prompts to send in place of drawn ones: a file of one of the forms of `trace_format`.
    pub trace: Option<String>,
    /// Form of `trace`; `null` finds it out from the content.
    pub trace_format: Option<trace::Format>,
    /// What is done about a row that makes no sense or does not fit the model.
    pub bad_rows: trace::BadRows,
    /// How much faster than recorded a trace is played.
    pub speedup: f64,
    /// Where in the trace to begin, in seconds of its own time.
    pub from_s: f64,
    /// How much of the trace to play, in seconds of its own time; `null` goes to its end.
    pub for_s: Option<f64>,
    /// Most requests (or conversations) taken from the trace.
    pub max_requests: Option<u64>,
    /// Tokens of a prefix block of the trace (Mooncake 512, Alibaba 16).
    pub block_tokens: u32,

    /// Turns of a conversation: `3` or `2:6`; each turn carries everything said before. `null`: every request stands
    /// for itself. Of recorded conversations: the most turns taken.
    pub turns: Option<String>,
    /// Tokens that a later turn adds: `32` or `10:200`; `null` takes the input length.
    pub turn_input: Option<String>,
    /// Seconds between an answer and the next turn: `2`, `1:5`, `exponential:3` or `lognormal:4:2`.
    pub think_time: Option<String>,

    /// Folder of PNG, JPEG, WebP or GIF images to send with the prompts.
    pub images: Option<String>,
    /// Size of generated images, `512x512`, in place of a folder.
    pub image_size: Option<String>,
    /// Images in each request.
    pub images_per_request: u32,

    /// Licence of the recorded data or images, to state it in reports.
    pub licence: Option<String>,
}

impl Default for WorkloadConfig {
    fn default() -> Self {
        Self {
            profile: "chat".to_owned(),
            input: None,
            output: None,
            prefix_share: None,
            inputs: Vec::new(),
            salt: None,
            cache: None,
            prefix_groups: None,
            prefix_tokens: None,
            prefix_zipf: None,
            trace: None,
            trace_format: None,
            bad_rows: trace::BadRows::Stop,
            speedup: 1.0,
            from_s: 0.0,
            for_s: None,
            max_requests: None,
            block_tokens: 512,
            turns: None,
            turn_input: None,
            think_time: None,
            images: None,
            image_size: None,
            images_per_request: 1,
            licence: None,
        }
    }
}

/// When requests are sent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LoadConfig {
    /// `closed` keeps `concurrency` in flight; the others send at planned times whatever the engine does.
    pub arrival: Option<ArrivalKind>,
    /// Requests in flight; a list makes points. Empty takes the scenario's.
    pub concurrency: Vec<u32>,
    /// Requests per second; a list makes points.
    pub rate: Vec<f64>,
    /// Rate at the end of a ramp, in requests per second.
    pub rate_end: Option<f64>,
    /// Shape of gamma arrivals: 1 is Poisson, below 1 burstier.
    pub burstiness: Option<f64>,
    /// Most requests in flight in an open loop; `null` is no limit.
    pub max_in_flight: Option<u32>,
    /// Whether latencies count from the kernel's receive stamps instead of the client's reads: `auto` takes them on
    /// Linux for connections without TLS, `on` insists on them.
    pub kernel_stamps: KernelStampsChoice,

    /// Share of the load that this run sends, as `0/4`: the shares of one seed together send exactly the whole.
    pub shard: Option<String>,
    /// Zero of the schedule: RFC 3339, UNIX seconds, or `+10s` from now. Shares need one common time.
    pub start_at: Option<String>,
    /// How much later than `start_at` a share may be ready and still be valid, in seconds.
    pub start_tolerance_s: f64,
    /// Seconds between the trials of shares, so that the slowest answer of one ends before the next begins.
    pub shard_gap_s: f64,
}

impl Default for LoadConfig {
    fn default() -> Self {
        Self {
            arrival: None,
            concurrency: Vec::new(),
            rate: Vec::new(),
            rate_end: None,
            burstiness: None,
            max_in_flight: None,
            kernel_stamps: KernelStampsChoice::Auto,
            shard: None,
            start_at: None,
            start_tolerance_s: 0.05,
            shard_gap_s: 10.0,
        }
    }
}

/// Whether kernel receive stamps are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum KernelStampsChoice {
    /// Where the system has them and the connection is not encrypted.
    #[default]
    Auto,
    /// Yes; a system or a connection without them is an error.
    On,
    /// No: every stamp is the client's own.
    Off,
}

/// An arrival process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ArrivalKind {
    /// Closed loop: the next request starts when one ends.
    Closed,
    /// Equal gaps.
    Constant,
    /// Exponential gaps.
    Poisson,
    /// Gamma gaps.
    Gamma,
    /// A rate that rises linearly.
    Ramp,
    /// When the recorded requests of `workload.trace` were sent.
    Trace,
}

impl ArrivalKind {
    /// Name in files and on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Constant => "constant",
            Self::Poisson => "poisson",
            Self::Gamma => "gamma",
            Self::Ramp => "ramp",
            Self::Trace => "trace",
        }
    }
}

/// What a request asks of the engine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RequestConfig {
    /// Whether output runs to its full length: `auto` asks for it where the engine can.
    pub ignore_eos: Tri,
    /// Sampling temperature.
    pub temperature: f64,
    /// Ask for the token ids of every chunk (vLLM), so that tokens are known where a chunk holds several. The answer
    /// grows by it.
    pub return_token_ids: bool,
    /// JSON object merged into every request body.
    pub extra_body: Option<serde_json::Value>,
}

impl Default for RequestConfig {
    fn default() -> Self {
        Self { ignore_eos: Tri::Auto, temperature: 0.0, return_token_ids: false, extra_body: None }
    }
}

/// Yes, no, or where possible.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Tri {
    /// Where possible.
    #[default]
    Auto,
    /// Yes; an engine that cannot is an error.
    Yes,
    /// No.
    No,
}

/// How long, how often, until when.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct MeasureConfig {
    /// Requests in a trial; `null` takes the scenario's.
    pub requests: Option<u64>,
    /// Seconds of a trial, instead of a number of requests.
    pub duration_s: Option<f64>,
    /// Trials at each point: the unit of every interval.
    pub repeats: u32,
    /// Fewest warm-up requests at each point; 0 switches warm-up off and marks the run unstabilised.
    pub warmup: u64,
    /// Longest warm-up at each point, in seconds.
    pub warmup_max_s: f64,
    /// Longest a request may take.
    pub timeout_s: f64,
    /// Longest silence inside a request.
    pub idle_timeout_s: f64,
    /// Longest a connection may take to open.
    pub connect_timeout_s: f64,
    /// Length of a soak.
    pub soak_s: f64,
    /// Seconds between readings of the engine's metrics; 0 reads them only before and after each trial.
    pub scrape_s: f64,
    /// Whether power and the GPUs are sampled, where the machine has sensors and the engine runs on it.
    pub power: bool,
    /// Fixed readings of the sensors a second. `null` varies between 20 and 50 ms, which no periodic load can alias with.
    pub power_sample_hz: Option<f64>,
    /// Trace of an external power meter, a CSV file that begins with `t_s,power_w`, in the place of the machine's own
    /// sensors. Times are UNIX seconds, or seconds since the run began.
    pub power_csv: Option<std::path::PathBuf>,
    /// GPUs whose power, energy and processes are watched: `all`, or positions and UUIDs between commas. `null` takes
    /// those that the engine sees (CUDA_VISIBLE_DEVICES), else all.
    pub gpus: Option<String>,
}

impl Default for MeasureConfig {
    fn default() -> Self {
        Self {
            requests: None,
            duration_s: None,
            repeats: 5,
            warmup: 8,
            warmup_max_s: 20.0,
            timeout_s: 600.0,
            idle_timeout_s: 60.0,
            connect_timeout_s: 10.0,
            soak_s: 1800.0,
            scrape_s: 1.0,
            power: true,
            power_sample_hz: None,
            power_csv: None,
            gpus: None,
        }
    }
}

/// The search for the highest load whose objectives hold.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct FindConfig {
    /// What to search for: `max-rate` or `max-concurrency`.
    pub load: Option<FindKind>,
    /// Relative width of the gap between what holds and what fails at which the search ends.
    pub precision: f64,
    /// Longest the search may take, in seconds; what is open then is reported as unresolved.
    pub budget_s: f64,
    /// Trials at one load, at most.
    pub trials: u32,
    /// No load above this one is tried; `null` is no limit.
    pub ceiling: Option<f64>,
}

impl Default for FindConfig {
    fn default() -> Self {
        Self { load: None, precision: 0.05, budget_s: 1800.0, trials: 8, ceiling: None }
    }
}

/// How intervals are made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AnalysisConfig {
    /// Confidence level.
    pub level: f64,
    /// Bootstrap resamples.
    pub resamples: u32,
    /// A gap between token chunks above this many seconds is a stall.
    pub stall_s: f64,
}

impl Default for AnalysisConfig {
    fn default() -> Self {
        Self { level: 0.95, resamples: 2000, stall_s: 1.0 }
    }
}

/// What is kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RecordConfig {
    /// Whether every chunk's stamp is kept; without them ITL cannot be recomputed.
    pub chunks: bool,
    /// Whether an engine that Stopwatt starts leaves its log in the run.
    pub keep_engine_log: bool,
}

impl Default for RecordConfig {
    fn default() -> Self {
        Self { chunks: true, keep_engine_log: false }
    }
}

/// The settings of the analysis, as they are locked into the run.
pub fn analysis_settings(config: &BenchConfig) -> Result<Settings, BenchError> {
    let slos = match &config.slo {
        Some(text) => {
            slo::parse(text).map_err(|e| BenchError::Setting { setting: "slo", problem: e.to_string() })?
        }
        None => Vec::new(),
    };
    if config.analysis.stall_s.is_nan() || config.analysis.stall_s <= 0.0 {
        let problem = "a stall must be longer than 0 s".to_owned();
        return Err(BenchError::Setting { setting: "analysis.stall_s", problem });
    }
    Ok(Settings {
        mode: match config.find.load {
            Some(find) => format!("bench:find {}", find.name()),
            None => format!("bench:{}", config.scenario.name()),
        },
        seed: config.seed,
        level: config.analysis.level,
        resamples: config.analysis.resamples,
        stall_s: config.analysis.stall_s,
        slos,
        cache: config.workload.cache,
        token_ranges: ocr_ranges(&config.workload.profile),
        cost: None,
        reproduces: None,
    })
}

/// What a profile of documents states of its tokens; other profiles are only drawn from.
fn ocr_ranges(profile: &str) -> Option<TokenRanges> {
    let profile = Profile::built_in(profile).ok().filter(Profile::is_document_type)?;
    let workload = profile.workload();
    let pair = |(lo, hi): (u32, u32)| [lo, hi];
    Some(TokenRanges { input: pair(workload.input.bounds()), output: pair(workload.output.bounds()) })
}

impl BenchConfig {
    /// What the input is: as declared, else as the settings of the workload, the load and the engine have it.
    pub(crate) fn declared_input(&self) -> InputConfig {
        let InputConfig { model, dataset, batch, lengths, padding, kv_cache } = self.input.clone();
        let w = &self.workload;
        let side = |length: &Option<String>| length.clone().unwrap_or_else(|| redact::file_name(&w.profile));
        let cache = [
            self.engine.prefix_caching.map(|on| format!("prefix caching {}", if on { "on" } else { "off" })),
            self.engine.max_context.map(|n| format!("context {n}")),
            w.cache.map(|state| format!("{state:?}").to_lowercase()),
        ];
        let cache: Vec<String> = cache.into_iter().flatten().collect();
        InputConfig {
            model: model.or_else(|| self.engine.weights.clone()),
            dataset: dataset.or_else(|| w.trace.clone()),
            batch: batch.or_else(|| match self.load.concurrency[..] {
                [one] => Some(one.into()),
                _ => None,
            }),
            lengths: lengths
                .or_else(|| w.trace.is_none().then(|| format!("{}+{}", side(&w.input), side(&w.output)))),
            padding,
            kv_cache: kv_cache.or_else(|| (!cache.is_empty()).then(|| cache.join(", "))),
        }
    }
}

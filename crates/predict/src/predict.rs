//! The answer to "what will this engine do with this model on this device under this load": one simulation at the
//! expected step times, and two at the ends of their interval.

use std::collections::BTreeMap;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use stopwatt_serving::arrival::ArrivalSpec;
use stopwatt_serving::step::{StepModel, StepShape};
use stopwatt_serving::workload::Workload;
use stopwatt_stats::distribution::normal_quantile;

use crate::corrector::{Corrector, Launch};
use crate::engine::EngineSettings;
use crate::hardware::Gpu;
use crate::latency::{FlaggedRow, Latency, Tier};
use crate::memory::{CacheLayout, Forecast, Known, MemoryDoc, memory};
use crate::operators::{Deployment, Engine, Part};
use crate::regime::{Factors, Regime, Spreads};
use crate::simulate::{
    Frontend, Load, Scenario, SimulateError, Statistic, Summary, simulate, simulate_watched,
};
use crate::step::{StepError, StepPredictor, StepTime};

/// What to predict.
#[derive(Debug, Clone)]
pub struct Question {
    /// Model, precision and devices.
    pub deployment: Deployment,
    /// Times of operators on the device.
    pub latency: Latency,
    /// Where its measured rows are from.
    pub table: Option<TableDoc>,
    /// The engine's settings.
    pub settings: EngineSettings,
    /// What the host adds.
    pub corrector: Corrector,
    /// Figures of memory from a log.
    pub known: Known,
    /// Lengths of requests.
    pub workload: Workload,
    /// When they come.
    pub load: Load,
    /// How many; at most, where `duration_s` ends it.
    pub requests: u32,
    /// Seconds after which no request is sent; `None` sends all.
    pub duration_s: Option<f64>,
    /// Whether the first requests of a closed loop, which come all at once, are left out.
    pub drop_first_wave: bool,
    /// Seed of lengths and times.
    pub seed: u64,
    /// Time outside the engine's steps.
    pub frontend: Frontend,
    /// Intervals of a calibration; without one they come from those of steps.
    pub spreads: Option<Spreads>,
}

impl Question {
    /// Version of the engine whose rules are followed.
    #[must_use]
    pub fn engine_version(&self) -> String {
        match self.deployment.engine {
            Engine::Vllm | Engine::Static => self.settings.version.to_string(),
            Engine::BuiltIn => env!("CARGO_PKG_VERSION").to_owned(),
        }
    }
}

/// Why there is no prediction.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum PredictError {
    /// Steps of this model or device are not known.
    #[error(transparent)]
    Step(#[from] StepError),
    /// The engine refuses the load or the settings.
    #[error(transparent)]
    Simulate(#[from] SimulateError),
    /// The model does not fit.
    #[error(
        "{model} does not fit on {gpu}: {:.1} GiB are missing{}", missing_bytes / GIB, instead(try_instead)
    )]
    DoesNotFit {
        /// The model.
        model: String,
        /// The device.
        gpu: String,
        /// Bytes that are missing.
        missing_bytes: f64,
        /// What would make it fit.
        try_instead: Vec<String>,
    },
    /// The cache does not hold one sequence of full length, so that the engine does not start.
    #[error(
        "the engine would not start: the cache holds {fits_tokens} tokens, and one sequence of `max_model_len` has \
         {max_model_len}"
    )]
    ContextTooLong {
        /// Tokens that fit.
        fits_tokens: u64,
        /// The setting.
        max_model_len: u32,
    },
    /// More requests are left out than there are.
    #[error("no request is left after the first wave; ask for more")]
    NoneLeft,
}

const GIB: f64 = (1_u64 << 30) as f64;

fn instead(tries: &[String]) -> String {
    if tries.is_empty() { String::new() } else { format!("; would fit: {}", tries.join(", or ")) }
}

impl PredictError {
    /// What to try next.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::DoesNotFit { .. } => Some("change --dtype, --tp or --engine-arg gpu_memory_utilization=…"),
            Self::ContextTooLong { .. } => {
                Some("lower it with --engine-arg max_model_len=…, as for the engine")
            }
            Self::NoneLeft => Some("raise --requests"),
            _ => None,
        }
    }
}

/// Mean and percentiles of a latency in seconds, with the 90 % prediction interval of the mean.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LatencyDoc {
    /// Arithmetic mean.
    pub mean: f64,
    /// Median.
    pub p50: f64,
    /// 95th percentile.
    pub p95: f64,
    /// 99th percentile.
    pub p99: f64,
    /// 90 % prediction interval of the mean.
    pub interval90: [f64; 2],
}

/// The load that was asked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LoadDoc {
    /// Prompt lengths in tokens.
    pub input: String,
    /// Output lengths in tokens.
    pub output: String,
    /// Clients of a closed loop; `null` in an open one.
    pub concurrency: Option<u32>,
    /// How requests come: `closed`, `constant`, `poisson`, `gamma`, `ramp` or `trace`.
    pub arrival: String,
    /// Mean requests a second of an open loop, of a ramp those at its begin; `null` in a closed one.
    pub rate_rps: Option<f64>,
    /// Requests a second at the end of a ramp; `null` otherwise.
    pub rate_end_rps: Option<f64>,
    /// Seconds after which no request is sent; `null` where their number ends it.
    pub duration_s: Option<f64>,
    /// Turns of a conversation; `null` where every request stands for itself.
    #[serde(default)]
    pub turns: Option<String>,
    /// Seconds between an answer and the next turn; `null` as above.
    #[serde(default)]
    pub think_time: Option<String>,
    /// Requests simulated.
    pub requests: u32,
    /// Requests counted.
    pub counted: usize,
    /// Seed.
    pub seed: u64,
}

/// What the prefix cache served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct PrefixCacheDoc {
    /// Prompt tokens of all requests.
    pub prompt_tokens: u64,
    /// Those of them that were found in the cache, in whole blocks.
    pub hit_tokens: u64,
    /// Conversations that ended early, since their next turn would not have fit the model's context.
    pub conversations_cut: u32,
}

/// The measured kernels that times rest on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TableDoc {
    /// Runs, files, or the table that is built in.
    pub sources: Vec<String>,
    /// Rows that are used.
    pub rows: usize,
    /// Rows that cannot be right and are left out.
    pub flagged: Vec<FlaggedRow>,
    /// Rows that are left out since the engine runs another kernel there.
    pub other_kernels: usize,
    /// Rows that somebody else measured; `null` without any.
    #[serde(default)]
    pub imported: Option<ImportedDoc>,
}

/// Rows that somebody else measured, of lower trust: they answer where nothing else was measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ImportedDoc {
    /// Files.
    pub sources: Vec<String>,
    /// Rows that are used.
    pub rows: usize,
    /// Rows that cannot be right and are left out.
    pub flagged: usize,
    /// Rows of operators or formats that are not predicted here, by why.
    pub without_counterpart: BTreeMap<String, usize>,
}

/// The engine whose rules were followed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct EngineDoc {
    /// Name.
    pub name: String,
    /// Version of the rules.
    pub version: String,
    /// Share of the memory it takes.
    pub gpu_memory_utilization: f64,
    /// Most tokens of a sequence.
    pub max_model_len: u32,
    /// Most running requests.
    pub max_num_seqs: u32,
    /// Most tokens of a step.
    pub max_num_batched_tokens: u32,
    /// Tokens of a cache block.
    pub block_size: u32,
    /// Largest captured graph; 0 where none is.
    pub largest_graph: u32,
    /// Devices that share each layer.
    pub tensor_parallel_size: u32,
    /// Groups of devices that share out the layers.
    pub pipeline_parallel_size: u32,
}

/// A part of a step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PartDoc {
    /// Which part; `null` is what the host adds.
    pub part: Option<Part>,
    /// Calls.
    pub calls: u32,
    /// Seconds.
    pub time_s: f64,
    /// Share of the step.
    pub share: f64,
    /// The weakest evidence that its times rest on; `null` for the host.
    pub tier: Option<Tier>,
}

/// A step that stands for many.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StepDoc {
    /// Sequences that decode.
    pub sequences: u32,
    /// Tokens that each has already.
    pub context_tokens: u32,
    /// Prompt tokens.
    pub prompt_tokens: u32,
    /// Seconds.
    pub time_s: f64,
    /// 90 % interval.
    pub interval90: [f64; 2],
    /// Its parts, longest first.
    pub parts: Vec<PartDoc>,
    /// Seconds by evidence.
    pub tiers: BTreeMap<Tier, f64>,
}

/// What the time to the first token is made of: means in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TtftDoc {
    /// Outside the engine's steps: parsing, tokenising, sending.
    pub outside_s: f64,
    /// In the queue.
    pub queue_s: f64,
    /// From the step that admits the request to its first token, other requests' share of those steps included.
    pub prefill_s: f64,
    /// Of that, what a prompt of mean length would take alone.
    pub prompt_alone_s: f64,
}

/// The prediction. Times in seconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PredictionDoc {
    /// The model.
    pub model: String,
    /// Format of the weights.
    pub dtype: String,
    /// The device.
    pub gpu: String,
    /// The engine.
    pub engine: EngineDoc,
    /// The load.
    pub load: LoadDoc,
    /// Time to the first token.
    pub ttft_s: LatencyDoc,
    /// Time an output token after the first; `null` when no request has a second one.
    pub tpot_s: Option<LatencyDoc>,
    /// Gaps between tokens; `null` as above.
    pub itl_s: Option<LatencyDoc>,
    /// Time to the last token.
    pub e2e_s: LatencyDoc,
    /// Output tokens a second.
    pub output_tokens_per_s: f64,
    /// Its 90 % prediction interval.
    pub output_tokens_per_s_interval90: [f64; 2],
    /// Requests a second.
    pub requests_per_s: f64,
    /// Mean sequences of a step.
    pub mean_batch: f64,
    /// Tokens that the cache holds, as vLLM prints them.
    pub kv_cache_tokens: u64,
    /// Largest share of it that was held.
    pub kv_cache_peak: f64,
    /// Requests whose cache was dropped to make room for others.
    pub preemptions: u64,
    /// What the prefix cache served.
    #[serde(default)]
    pub prefix_cache: PrefixCacheDoc,
    /// What TTFT is made of.
    pub ttft_parts: TtftDoc,
    /// The decode step that stands for most of them.
    pub decode_step: StepDoc,
    /// The step of one prompt of mean length.
    pub prefill_step: StepDoc,
    /// Measured kernels; `null` where all rests on the data sheet.
    pub kernel_table: Option<TableDoc>,
    /// What the host adds to a step.
    pub corrector: Corrector,
    /// Memory.
    pub memory: MemoryDoc,
    /// What the reader should know.
    pub notes: Vec<String>,
}

/// A step model whose steps are all longer or shorter by a factor: one for steps with prompts, one for the others.
pub(crate) struct Scaled<'a> {
    pub(crate) inner: &'a StepPredictor,
    pub(crate) prefill: f64,
    pub(crate) decode: f64,
}

impl StepModel for Scaled<'_> {
    fn step(&self, shape: &StepShape) -> Duration {
        let factor = if shape.chunks.is_empty() { self.decode } else { self.prefill };
        let seconds = self.inner.step_s(shape).unwrap_or(f64::MAX) * factor;
        Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
    }

    fn launching(&self, shape: &StepShape) -> Duration {
        self.inner.launching(shape)
    }
}

/// The memory of an engine that starts, with concurrency at one length; an error where it would not start.
pub fn start(
    deployment: &Deployment,
    gpu: &Gpu,
    settings: &EngineSettings,
    known: &Known,
    length: u32,
) -> Result<MemoryDoc, PredictError> {
    let memory = memory(deployment, gpu, settings, known, &[length]);
    match &memory.forecast {
        Forecast::NoRoomForCache { missing_bytes, try_instead } => Err(PredictError::DoesNotFit {
            model: deployment.model.name.clone(),
            gpu: gpu.name.clone(),
            missing_bytes: *missing_bytes,
            try_instead: try_instead.clone(),
        }),
        Forecast::ContextTooLong { fits_tokens } => Err(PredictError::ContextTooLong {
            fits_tokens: *fits_tokens,
            max_model_len: settings.max_model_len,
        }),
        _ => Ok(memory),
    }
}

/// What the simulator is to do, and the memory of the engine.
pub(crate) fn scenario(q: &Question) -> Result<(Scenario, MemoryDoc), PredictError> {
    let length = mean_length(q);
    let memory = start(&q.deployment, q.latency.gpu(), &q.settings, &q.known, length)?;
    let layout = CacheLayout::of(&q.deployment);
    let scenario = Scenario {
        scheduler: q.settings.scheduler(scheduler_blocks(&layout, &memory, &q.settings, length)),
        workload: q.workload.clone(),
        load: q.load,
        requests: q.requests,
        duration_s: q.duration_s,
        seed: q.seed,
        frontend: q.frontend,
        batch_wait_s: q.settings.batch_wait_s,
    };
    Ok((scenario, memory))
}

/// Mean tokens of a request.
fn mean_length(q: &Question) -> u32 {
    let (input, output) = q.workload.nominal_lengths();
    (input + output).round().max(1.0) as u32
}

/// Whether the host sets the pace of decoding, and no load of the calibration was of that kind.
fn host_is_guessed(corrector: &Corrector, kernels_s: f64, sequences: u32) -> bool {
    let least_s = corrector.least_s(Launch::Graph, sequences);
    !corrector.graph_seen && corrector.computing_s(kernels_s, sequences, 0) < least_s
}

/// Predicts.
pub fn predict(question: &Question) -> Result<PredictionDoc, PredictError> {
    let q = question;
    let gpu = q.latency.gpu();
    let (input, output) = q.workload.nominal_lengths();
    let (length, layout) = (mean_length(q), CacheLayout::of(&q.deployment));
    let (scenario, memory) = scenario(q)?;
    let model = StepPredictor::new(q.deployment.clone(), q.latency.clone(), &q.settings, q.corrector)?;
    let expected = simulate(&scenario, &model)?;
    let mean_batch = expected.sequences as f64 / expected.steps.max(1) as f64;

    let (sequences, context) = (mean_batch.round().max(1.0) as u32, (input + output / 2.0).round() as u32);
    let decode = model.explain(&decode_shape(sequences, context))?;
    let prompt = (input.round() as u32).clamp(1, q.settings.max_num_batched_tokens);
    let mut prompt_shape = StepShape { admitted: 1, ..StepShape::default() };
    prompt_shape.add(prompt, 0, true);
    let prefill = model.explain(&prompt_shape)?;

    let drop = match q.load {
        Load::Closed { concurrency } if q.drop_first_wave => concurrency as usize,
        _ => 0,
    };
    let summary = Summary::of(&expected, drop).ok_or(PredictError::NoneLeft)?.with_after(q.frontend.after_s);
    let regime = Regime::of(&expected, summary.queue_s / summary.ttft.mean.max(f64::MIN_POSITIVE));
    let factors = q.spreads.as_ref().map(|spreads| {
        let factors = spreads.factors(regime);
        if host_is_guessed(&q.corrector, decode.kernels_s, sequences) {
            factors.of_unseen_host()
        } else {
            factors
        }
    });
    // Faster and slower steps: the ends of what the mean may be. Left-out loads of a calibration say it directly.
    let mut ends = Vec::new();
    for end in [|t: &StepTime| t.lo / t.s, |t: &StepTime| t.hi / t.s] {
        let (prefill, decode) = match &factors {
            None => (end(&prefill), end(&decode)),
            Some(factors) => {
                let which = usize::from(ends.len() == 1);
                (factors.ttft[which], factors.tpot[which])
            }
        };
        let scaled = Scaled { inner: &model, prefill: prefill.max(0.05), decode: decode.max(0.05) };
        ends.push(Summary::of(&simulate(&scenario, &scaled)?, drop).ok_or(PredictError::NoneLeft)?);
    }
    // Left-out loads of a calibration give the interval itself; but in an open loop a queue may make more of it.
    let closed = matches!(q.load, Load::Closed { .. });
    let (arrival, rate_rps, rate_end_rps) = arrival(q);
    let range = |of: &dyn Fn(&Summary) -> f64, seen: Option<[f64; 2]>| {
        let mean = of(&summary);
        let mut all = vec![mean];
        all.extend(seen.into_iter().flatten().map(|factor| factor * mean));
        if seen.is_none() || !closed && regime == Regime::Queueing {
            all.extend(ends.iter().map(of));
        }
        [all.iter().copied().fold(f64::INFINITY, f64::min), all.iter().copied().fold(0.0, f64::max)]
    };
    let latency = |s: Statistic, of: &dyn Fn(&Summary) -> f64, seen: Option<[f64; 2]>| LatencyDoc {
        mean: s.mean,
        p50: s.p50,
        p95: s.p95,
        p99: s.p99,
        interval90: range(of, seen),
    };
    let seen = |of: fn(&Factors) -> [f64; 2]| factors.as_ref().map(of);
    let notes = notes(q, &memory, &layout, &decode, length);
    Ok(PredictionDoc {
        model: q.deployment.model.name.clone(),
        dtype: q.deployment.precision.name().to_owned(),
        gpu: gpu.name.clone(),
        engine: EngineDoc {
            name: q.deployment.engine.name().to_owned(),
            version: q.engine_version(),
            gpu_memory_utilization: q.settings.gpu_memory_utilization,
            max_model_len: q.settings.max_model_len,
            max_num_seqs: q.settings.max_num_seqs,
            max_num_batched_tokens: q.settings.max_num_batched_tokens,
            block_size: q.settings.block_size,
            largest_graph: q.settings.capture_sizes().last().copied().unwrap_or(0),
            tensor_parallel_size: q.deployment.tp,
            pipeline_parallel_size: q.deployment.pp,
        },
        load: LoadDoc {
            input: q.workload.input.label(),
            output: q.workload.output.label(),
            concurrency: match q.load {
                Load::Closed { concurrency } => Some(concurrency),
                Load::Open(_) | Load::Recorded => None,
            },
            arrival: arrival.to_owned(),
            rate_rps,
            rate_end_rps,
            duration_s: q.duration_s,
            turns: q.workload.dialogue.as_ref().map(|d| d.turns.label()),
            think_time: q.workload.dialogue.as_ref().map(|d| d.think.to_string()),
            requests: expected.requests.len() as u32,
            counted: summary.requests,
            seed: q.seed,
        },
        ttft_s: latency(summary.ttft, &|s| s.ttft.mean, seen(|s| s.ttft)),
        tpot_s: summary.tpot.map(|t| latency(t, &|s| s.tpot.map_or(0.0, |t| t.mean), seen(|s| s.tpot))),
        itl_s: summary.itl.map(|t| latency(t, &|s| s.itl.map_or(0.0, |t| t.mean), seen(|s| s.tpot))),
        e2e_s: latency(summary.e2e, &|s| s.e2e.mean, seen(|s| s.e2e)),
        output_tokens_per_s: summary.output_tokens_per_s,
        output_tokens_per_s_interval90: range(
            &|s| s.output_tokens_per_s,
            // An open loop below its limit gets what it asks for.
            seen(|s| s.e2e).filter(|_| closed).map(|[lo, hi]| [1.0 / hi, 1.0 / lo]),
        ),
        requests_per_s: summary.requests_per_s,
        mean_batch,
        kv_cache_tokens: memory.kv_cache_tokens,
        kv_cache_peak: f64::from(expected.kv_peak_ppm) * 1e-6,
        preemptions: expected.preemptions,
        prefix_cache: PrefixCacheDoc {
            prompt_tokens: expected.requests.iter().map(|r| u64::from(r.input)).sum(),
            hit_tokens: expected.requests.iter().map(|r| u64::from(r.cached)).sum(),
            conversations_cut: expected.cut,
        },
        ttft_parts: TtftDoc {
            outside_s: summary.outside_s,
            queue_s: summary.queue_s,
            prefill_s: summary.prefill_s,
            prompt_alone_s: prefill.s,
        },
        decode_step: step_doc(&decode, sequences, context, 0),
        prefill_step: step_doc(&prefill, 0, 0, prompt),
        kernel_table: q.table.clone(),
        corrector: q.corrector,
        memory,
        notes,
    })
}

/// How requests come, at which rate, and at which in the end.
fn arrival(q: &Question) -> (&'static str, Option<f64>, Option<f64>) {
    match &q.load {
        Load::Closed { .. } => ("closed", None, None),
        Load::Recorded => ("trace", q.workload.recorded.as_ref().and_then(|r| r.rate_rps()), None),
        Load::Open(process) => match process.spec() {
            ArrivalSpec::Constant { rate_rps } => ("constant", Some(rate_rps), None),
            ArrivalSpec::Poisson { rate_rps } => ("poisson", Some(rate_rps), None),
            ArrivalSpec::Gamma { rate_rps, .. } => ("gamma", Some(rate_rps), None),
            ArrivalSpec::Ramp { from_rps, to_rps, .. } => ("ramp", Some(from_rps), Some(to_rps)),
        },
    }
}

/// A simulated request with the time of every token. Nanoseconds from the begin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SimulatedRequest {
    /// Prompt tokens.
    pub input: u32,
    /// Output tokens.
    pub output: u32,
    /// Prompt tokens that it found in the prefix cache.
    pub cached: u32,
    /// Number of its conversation, and which turn of it, from 0.
    pub turn: (u32, u32),
    /// When it was sent.
    pub sent: u64,
    /// When each token was at the client.
    pub tokens: Vec<u64>,
}

/// Ends of the 90 % intervals of steps with prompts and of steps without, relative to what is expected.
pub(crate) fn spread(
    q: &Question,
    model: &StepPredictor,
    regime: Regime,
) -> Result<[[f64; 2]; 2], PredictError> {
    if let Some(spreads) = &q.spreads {
        let factors = spreads.factors(regime);
        return Ok([factors.ttft, factors.tpot]);
    }
    let mut prompt = StepShape { admitted: 1, ..StepShape::default() };
    let tokens = q.workload.nominal_lengths().0.round() as u32;
    prompt.add(tokens.clamp(1, q.settings.max_num_batched_tokens), 0, true);
    let share = |t: StepTime| [t.lo / t.s, t.hi / t.s];
    Ok([share(model.explain(&prompt)?), share(model.explain(&decode_shape(1, mean_length(q)))?)])
}

/// The load several times over, with steps that are shorter or longer by what their interval allows, at equal shares of
/// its probability: of five trials one has the steps that are expected.
pub fn simulate_trials(q: &Question, trials: u32) -> Result<Vec<Vec<SimulatedRequest>>, PredictError> {
    let (scenario, _) = scenario(q)?;
    let model = StepPredictor::new(q.deployment.clone(), q.latency.clone(), &q.settings, q.corrector)?;
    let expected = simulate(&scenario, &model)?;
    let summary = Summary::of(&expected, 0).ok_or(PredictError::NoneLeft)?;
    let regime = Regime::of(&expected, summary.queue_s / summary.ttft.mean.max(f64::MIN_POSITIVE));
    let [prefill, decode] = spread(q, &model, regime)?;
    let after = (q.frontend.after_s * 1e9).round() as u64;
    (0..trials)
        .map(|trial| {
            // Half of the 90 % interval on either side is 1.645 deviations.
            let z = normal_quantile((f64::from(trial) + 0.5) / f64::from(trials)) / 1.644_853_6;
            let factor = |[lo, hi]: [f64; 2]| (1.0 + z * if z < 0.0 { 1.0 - lo } else { hi - 1.0 }).max(0.05);
            let scaled = Scaled { inner: &model, prefill: factor(prefill), decode: factor(decode) };
            let mut tokens: Vec<Vec<u64>> = Vec::new();
            let outcome = simulate_watched(&scenario, &scaled, &mut |step| {
                for id in step.emitted.iter().map(|&id| id as usize) {
                    tokens.resize_with(tokens.len().max(id + 1), Vec::new);
                    tokens[id].push(step.delivered + after);
                }
            })?;
            let requests = outcome.requests.iter().zip(tokens);
            Ok(requests
                .map(|(r, tokens)| SimulatedRequest {
                    input: r.input,
                    output: r.output,
                    cached: r.cached,
                    turn: (r.conversation, r.turn),
                    sent: r.sent,
                    tokens,
                })
                .collect())
        })
        .collect()
}

/// Blocks in the scheduler's sense, where a sequence takes one for each `block_size` tokens: as many as let equally many
/// sequences of mean length run.
fn scheduler_blocks(layout: &CacheLayout, memory: &MemoryDoc, settings: &EngineSettings, length: u32) -> u32 {
    let own = layout.sequence_blocks(length, settings.block_size, settings.max_num_batched_tokens);
    let plain = u64::from(length.div_ceil(settings.block_size));
    let blocks = u64::from(memory.kv_blocks) * plain / u64::from(own.max(1));
    // One sequence of full length fits, since the forecast says so.
    let least = u64::from(settings.max_model_len.div_ceil(settings.block_size)) + 1;
    blocks.max(least).min(stopwatt_serving::scheduler::SchedulerConfig::MOST_BLOCKS.into()) as u32
}

fn decode_shape(sequences: u32, context: u32) -> StepShape {
    StepShape {
        decode_seqs: sequences,
        decode_context_tokens: u64::from(sequences) * (u64::from(context) + 1),
        sampled: sequences,
        ..StepShape::default()
    }
}

fn step_doc(t: &StepTime, sequences: u32, context_tokens: u32, prompt_tokens: u32) -> StepDoc {
    let mut parts: Vec<PartDoc> = t
        .parts
        .iter()
        .map(|p| PartDoc {
            part: Some(p.part),
            calls: p.calls,
            time_s: p.s,
            share: p.s / t.s,
            tier: Some(p.tier),
        })
        .collect();
    parts.push(PartDoc { part: None, calls: 1, time_s: t.host_s, share: t.host_s / t.s, tier: None });
    parts.sort_by(|a, b| b.time_s.total_cmp(&a.time_s));
    StepDoc {
        sequences,
        context_tokens,
        prompt_tokens,
        time_s: t.s,
        interval90: [t.lo, t.hi],
        parts,
        tiers: t.tiers.clone(),
    }
}

fn notes(
    q: &Question,
    memory: &MemoryDoc,
    layout: &CacheLayout,
    decode: &StepTime,
    length: u32,
) -> Vec<String> {
    let mut notes = q.deployment.model.notes.clone();
    match &q.table {
        None => notes.push(format!(
            "there is no kernel table of {}: every operator falls to the roof of the data sheet, at utilisations \
             published for an H100 (--table RUN narrows the interval)",
            q.latency.gpu().name
        )),
        Some(table) => {
            if table.other_kernels > 0 {
                let instead = match table.imported {
                    Some(_) => "imported rows or published times",
                    None => "published times",
                };
                notes.push(format!(
                    "{} rows of attention were measured with a kernel that vLLM does not run; {instead} of \
                     FlashAttention stand for them",
                    table.other_kernels
                ));
            }
            if !table.flagged.is_empty() {
                notes.push(format!(
                    "{} rows of the kernel table cannot be right and are left out (--check-table lists them)",
                    table.flagged.len()
                ));
            }
            if let Some(imported) = &table.imported {
                notes.push(format!(
                    "{} rows were measured by somebody else, one sample each: they answer for kinds and formats without a \
                     measured row, in wider intervals ({} that cannot be right are left out)",
                    imported.rows, imported.flagged
                ));
            }
            if decode.tiers.contains_key(&Tier::Datasheet) && table.other_kernels == 0 {
                notes.push("operators without a row fall to the roof of the data sheet".to_owned());
            }
        }
    }
    if q.deployment.engine == Engine::Static {
        notes.push(format!(
            "static batches of {} requests at most, padded to the longest prompt, an idle engine waiting {:.1} ms for one to \
             fill; kernels, graphs, memory and host are those of vLLM, so that only the rules differ",
            q.settings.max_num_seqs,
            q.settings.batch_wait_s * 1e3
        ));
    }
    if q.corrector.steps == 0 && q.spreads.is_none() && q.deployment.engine == Engine::Vllm {
        notes.push(
            "what the host adds to a step is a published guess, not fitted to a live engine".to_owned(),
        );
    }
    if q.frontend == Frontend::GUESS {
        notes.push(
            "2.5 ms and 1 µs a prompt token outside the engine's steps are a guess (--frontend-ms)"
                .to_owned(),
        );
    }
    if !q.latency.gpu().usable_known {
        notes.push("memory that programs see is taken as 98 % of the nominal figure".to_owned());
    }
    if layout.window_groups.is_some() {
        notes.push(
            "layers with a window share the cache in groups; the scheduler here counts them by the mean length".to_owned(),
        );
    }
    if !q.settings.version.is_covered() {
        notes.push(format!(
            "rules of vLLM {} were not read; those of its neighbours are used",
            q.settings.version
        ));
    }
    if q.deployment.pp > 1 {
        notes.push(
            "pipeline stages run one after another here; overlapping of batches is not simulated".to_owned(),
        );
    }
    if let Forecast::Tight { missing_bytes } = memory.forecast {
        notes.push(format!(
            "memory is tight: at the unfavourable end of the estimates {:.2} GiB are missing",
            missing_bytes / GIB
        ));
    }
    if let (Load::Closed { concurrency }, Some(fits)) = (q.load, memory.concurrency.first())
        && f64::from(concurrency) > fits.sequences
    {
        notes.push(format!(
            "the cache holds {:.1} sequences of {length} tokens, fewer than the {concurrency} clients: requests wait",
            fits.sequences
        ));
    }
    notes
}

#[cfg(test)]
pub(crate) mod tests {
    use stopwatt_serving::workload::Length;

    use super::*;
    use crate::engine::EngineVersion;
    use crate::hardware::preset;
    use crate::model::builtin;
    use crate::precision::Precision;

    pub(crate) fn question(model: &str, gpu: &str, tp: u32, load: Load, requests: u32) -> Question {
        let gpu = preset(gpu).unwrap();
        let deployment =
            Deployment::new(builtin(model).unwrap(), Precision::parse("bf16").unwrap(), tp, 1).unwrap();
        Question {
            settings: EngineSettings::defaults(EngineVersion::NEWEST, &deployment.model, gpu),
            deployment,
            latency: Latency::of_datasheet(gpu.clone()),
            table: None,
            corrector: Corrector::default(),
            known: Known::default(),
            workload: Workload::new(Length::fixed(1024).unwrap(), Length::fixed(128).unwrap()),
            load,
            requests,
            duration_s: None,
            drop_first_wave: false,
            seed: 0,
            frontend: Frontend::GUESS,
            spreads: None,
        }
    }

    #[test]
    fn one_client_is_the_sum_of_its_steps() {
        let q = question("llama-3.1-8b", "h100", 1, Load::Closed { concurrency: 1 }, 3);
        let doc = predict(&q).unwrap();
        // The prompt's step, and 3.524 ms outside; decode steps of one sequence.
        let expected = doc.prefill_step.time_s + 2e-3 + 1.024e-3 + 0.5e-3;
        assert!((doc.ttft_s.mean - expected).abs() < 1e-6, "{} {expected}", doc.ttft_s.mean);
        let tpot = doc.tpot_s.unwrap();
        assert!((tpot.mean / doc.decode_step.time_s - 1.0).abs() < 1e-3);
        assert!((doc.output_tokens_per_s / (128.0 / doc.e2e_s.mean) - 1.0).abs() < 1e-6);
        assert!(tpot.interval90[0] < tpot.mean && tpot.mean < tpot.interval90[1]);
        let parts = doc.ttft_parts;
        assert!((parts.outside_s + parts.queue_s + parts.prefill_s - doc.ttft_s.mean).abs() < 1e-9);
        assert!(parts.queue_s < 1e-9 && (parts.prefill_s - doc.prefill_step.time_s).abs() < 1e-6);
        let shares: f64 = doc.decode_step.parts.iter().map(|p| p.share).sum();
        assert!((shares - 1.0).abs() < 1e-9);
    }

    #[test]
    fn trials_are_the_load_under_shorter_and_longer_steps() {
        let q = question("llama-3.1-8b", "h100", 1, Load::Closed { concurrency: 2 }, 4);
        let (trials, doc) = (simulate_trials(&q, 5).unwrap(), predict(&q).unwrap());
        let mean = |trial: &Vec<SimulatedRequest>| {
            let ttft = trial.iter().map(|r| (r.tokens[0] - r.sent) as f64 * 1e-9).sum::<f64>();
            ttft / trial.len() as f64
        };
        assert!(trials.iter().flatten().all(|r| r.tokens.len() == 128 && r.tokens.is_sorted()));
        assert!((mean(&trials[2]) / doc.ttft_s.mean - 1.0).abs() < 1e-6, "the middle one is as expected");
        assert!(trials.windows(2).all(|pair| mean(&pair[0]) < mean(&pair[1])));
        assert!(mean(&trials[0]) > doc.ttft_s.interval90[0] && mean(&trials[4]) < doc.ttft_s.interval90[1]);
    }

    #[test]
    fn more_clients_give_more_tokens_later() {
        let of = |concurrency| {
            let load = Load::Closed { concurrency };
            predict(&question("llama-3.1-8b", "h100", 1, load, 3 * concurrency)).unwrap()
        };
        let (few, many) = (of(4), of(64));
        assert!(many.output_tokens_per_s > 4.0 * few.output_tokens_per_s);
        assert!(many.tpot_s.unwrap().mean > few.tpot_s.unwrap().mean && many.ttft_s.mean > few.ttft_s.mean);
    }

    #[test]
    fn a_rate_beyond_capacity_queues() {
        let of = |rate| {
            let load = Load::Open(stopwatt_serving::arrival::ArrivalProcess::poisson(rate).unwrap());
            let mut q = question("llama-3.1-8b", "h100", 1, load, 300);
            q.settings.max_num_seqs = 32;
            predict(&q).unwrap()
        };
        let (calm, jammed) = (of(2.0), of(200.0));
        assert!(calm.ttft_parts.queue_s < 0.02 && jammed.ttft_parts.queue_s > 1.0);
        assert!(jammed.ttft_s.p99 > jammed.ttft_s.p50);
    }

    #[test]
    fn what_does_not_fit_is_an_error_with_a_way_out() {
        let load = Load::Closed { concurrency: 1 };
        let error = predict(&question("llama-3.1-70b", "h100", 1, load, 1)).unwrap_err();
        assert!(
            matches!(error, PredictError::DoesNotFit { .. }) && error.to_string().contains("int4"),
            "{error}"
        );
        let error = predict(&question("llama-3.1-8b", "rtx-4090", 1, load, 1)).unwrap_err();
        assert!(matches!(error, PredictError::ContextTooLong { max_model_len: 131_072, .. }));
        let mut q = question("llama-3.1-8b", "h100", 1, load, 1);
        q.drop_first_wave = true;
        assert_eq!(predict(&q).unwrap_err(), PredictError::NoneLeft);
    }
}

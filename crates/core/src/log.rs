//! The lines of `run.log`: one JSON object a line, in order of time.
//!
//! Analysis needs nothing but these lines, the locked configuration and the request rows, so a report can be
//! rebuilt from the record alone, also from one that was cut off.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ceiling::ClientCeiling;
use crate::clock::{Clock, Nanos};
use crate::cpu_counters::CpuTrial;
use crate::engine_run::{EngineLog, EngineRun};
use crate::fingerprint::Fingerprint;
use crate::gpu::GpuSetting;
use crate::import::Imported;
use crate::metrics_doc::{Capacity, RunStatus};
use crate::power::{GpuTrial, MissingSensor, SamplingCost, TrialEnergy};
use crate::quality::{Quality, QualityDelta};
use crate::search::{FindKind, SearchLook};
use crate::text::Lang;
use crate::verdict::Remark;

/// One line of `run.log`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LogEvent {
    /// Since `t0`.
    pub t_ns: Nanos,
    /// What happened.
    pub fact: Fact,
}

pub use crate::engine::EngineCounters;

/// What happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Fact {
    /// First line of every run.
    RunStarted {
        /// Identifier of the run.
        run_id: String,
        /// `MAJOR.MINOR` of the run format.
        format: String,
        /// Zero of all stamps.
        clock: Clock,
    },
    /// The environment.
    Fingerprint {
        /// What was found.
        fingerprint: Fingerprint,
    },
    /// An engine answered and was asked what it can do.
    EngineProbed {
        /// The model name used in requests.
        model: String,
        /// Feature (`token_ids`, `ignore_eos`, `stream_usage`, `metrics`, …) → `yes`, or what was done instead.
        features: BTreeMap<String, String>,
    },
    /// The points that will be measured, in order.
    Plan {
        /// One entry a point.
        points: Vec<PlannedPoint>,
        /// Trials at each point.
        trials: u32,
    },
    /// Capacity was measured, for load that is planned as a share of it.
    Capacity {
        /// What was found.
        capacity: Capacity,
    },
    /// A search over load began.
    SearchStarted {
        /// What is searched for.
        find: FindKind,
        /// What must hold.
        objectives: Vec<String>,
        /// Confidence of each bound.
        level: f64,
    },
    /// A load was judged.
    SearchLook {
        /// What was seen.
        look: SearchLook,
    },
    /// A search over load ended.
    SearchEnded {
        /// Why, when there was more to find out.
        stopped: Option<String>,
    },
    /// Warm-up of a point ended.
    WarmupEnded {
        /// Index of the point.
        point: u32,
        /// Requests spent.
        requests: u64,
        /// Whether a steady state was detected; `None` when warm-up was switched off.
        steady: Option<bool>,
        /// What the decision rests on.
        detail: String,
    },
    /// A trial began.
    TrialStarted {
        /// Index of the point.
        point: u32,
        /// Index of the trial.
        trial: u32,
    },
    /// A trial ended.
    TrialEnded {
        /// Index of the point.
        point: u32,
        /// Index of the trial.
        trial: u32,
        /// Begin of its measuring window.
        start_ns: Nanos,
        /// End of its measuring window.
        end_ns: Nanos,
        /// CPU time of the client in the window.
        client_cpu_s: Option<f64>,
        /// CPU time of the engine in the window, when it is ours.
        engine_cpu_s: Option<f64>,
        /// Peak resident memory of the engine up to now, when it is ours.
        engine_rss_bytes: Option<u64>,
        /// Requests that the schedule wanted to send in the window; `None` in a closed loop.
        planned: Option<u64>,
        /// The engine's counters at the begin.
        counters_before: EngineCounters,
        /// The engine's counters at the end.
        counters_after: EngineCounters,
        /// How the client's reads were stamped; `None` in records of before it was kept.
        #[serde(default)]
        reads: Option<ReadStamps>,
    },
    /// What the load client can do at most on this machine, known before measuring.
    ClientCeiling {
        /// The calibration.
        ceiling: ClientCeiling,
    },
    /// A reading of the engine's own counters while the run lasts.
    EngineReading {
        /// Middle of the exchange.
        at_ns: Nanos,
        /// How long it took.
        took_s: f64,
        /// The values; empty when there were none.
        counters: EngineCounters,
        /// Why there are none.
        problem: Option<String>,
    },
    /// What a prefix cache that knew none of a trial's prompts could have found in them at most.
    CacheExpected {
        /// Index of the point.
        point: u32,
        /// Index of the trial.
        trial: u32,
        /// Prompt tokens that repeat earlier ones of the trial.
        tokens: u64,
    },
    /// The run continues another one, whose finished points were copied.
    Resumed {
        /// Identifier of that run.
        run_id: String,
        /// Points that were finished.
        points: u64,
    },
    /// What was measured stands in a table of its own, not in request rows.
    Tabled {
        /// Name of the file in the run.
        file: String,
        /// Entries in it.
        entries: u64,
        /// Of these, taken over from an earlier run.
        resumed: u64,
        /// Entries that could not be measured, by reason.
        skipped: BTreeMap<String, u64>,
    },
    /// An engine that was started for the measurement is gone.
    EngineEnded {
        /// What became of it.
        engine: EngineRun,
    },
    /// The sensors beside the measurement.
    Sensors {
        /// Names of those that are there.
        found: Vec<String>,
        /// Those that are not.
        missing: Vec<MissingSensor>,
        /// Positions of the GPUs that are sampled; `None` in records of before they could be chosen.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        gpus: Option<Vec<u32>>,
    },
    /// How warm the GPUs were when a trial began.
    StartTemperature {
        /// Index of the point.
        point: u32,
        /// Index of the trial.
        trial: u32,
        /// The hottest of them, in °C.
        temperature_c: f64,
        /// How long it was waited for, in seconds.
        waited_s: f64,
    },
    /// Processes of others were on the GPUs while a trial lasted.
    ForeignGpuProcesses {
        /// Index of the point.
        point: u32,
        /// Index of the trial.
        trial: u32,
        /// Most at one time.
        count: u64,
        /// GPU memory that they held; `None` when the driver does not say.
        memory_bytes: Option<u64>,
    },
    /// What sensors said while a trial lasted.
    TrialPower {
        /// Index of the point.
        point: u32,
        /// Index of the trial.
        trial: u32,
        /// Energy of its window.
        energy: Option<TrialEnergy>,
        /// Why there is no energy.
        reason: Option<String>,
        /// What the GPUs did; `None` without any.
        gpu: Option<GpuTrial>,
    },
    /// The sampling ended.
    SensorsEnded {
        /// Power of the machine after the load, in watts.
        idle_w: Option<f64>,
        /// Why it is not known.
        idle_reason: Option<String>,
        /// What sampling cost.
        cost: SamplingCost,
        /// What went wrong with the trace, if anything.
        problem: Option<String>,
    },
    /// One run of the target under a profiler, which disturbs its times: only its counters count.
    CacheRun {
        /// Index of the point.
        point: u32,
        /// Number of the run, from 0.
        run: u32,
        /// L2 sectors found / looked up, over all kernels; `None` when the profiler did not say.
        l2_hit: Option<f64>,
        /// Bytes read from the GPU's memory.
        dram_read_bytes: Option<f64>,
        /// Bytes written to it.
        dram_write_bytes: Option<f64>,
        /// Iterations of the target in the run; `None` in records of before it was kept.
        #[serde(default)]
        iterations: Option<u64>,
    },
    /// Why there are no cache counters.
    CacheUnavailable {
        /// The reason.
        reason: String,
    },
    /// What the CPU's counters said of the target while a trial lasted.
    TrialCpu {
        /// Index of the point.
        point: u32,
        /// Index of the trial.
        trial: u32,
        /// The counts; `None` where there are none.
        counts: Option<CpuTrial>,
        /// Why there are none.
        reason: Option<String>,
    },
    /// A stage of the measurement procedure began.
    Stage {
        /// `fingerprint`, `stabilise`, `measure`, `outputs` or `instruments`.
        stage: String,
    },
    /// Values of the target's own in a trial.
    TargetMetrics {
        /// Index of the point.
        point: u32,
        /// Index of the trial.
        trial: u32,
        /// By name.
        means: BTreeMap<String, MeanOf>,
    },
    /// What the target made.
    Outputs {
        /// Index of the trial; `None` for all of the run.
        trial: Option<u32>,
        /// Its hash; `None` when the target does not tell.
        sha256: Option<String>,
    },
    /// The process of a target is gone.
    TargetEnded {
        /// Index of the trial; `None` for all of the run.
        trial: Option<u32>,
        /// How it ended; `None` when it was never started.
        exit: Option<String>,
        /// It did not end in the time allowed.
        killed: bool,
        /// What it wrote on standard error.
        log: EngineLog,
    },
    /// How good the outputs are. Follows the end of the run, like the two below.
    Quality {
        /// The scores.
        quality: Quality,
    },
    /// Why nothing is known of the outputs' quality, though it was asked for.
    QualityUnavailable {
        /// The reason.
        reason: String,
    },
    /// By how much the outputs are worse than a baseline's.
    QualityDelta {
        /// What was found.
        delta: QualityDelta,
    },
    /// What became of a change. Follows the end of the candidate's run.
    Decision {
        /// `accepted`, `rolled_back` or `kept`.
        decision: String,
        /// Why.
        detail: String,
    },
    /// Settings of GPUs that were in force while the run was measured. Follows its end.
    GpuSettings {
        /// In the order in which they were set.
        settings: Vec<GpuSetting>,
    },
    /// A sample of the engine process, while it is ours.
    EngineSample {
        /// Resident memory.
        rss_bytes: u64,
    },
    /// The run was measured by another tool and read from its file.
    Imported {
        /// Where it comes from, and what the file holds beside request rows.
        imported: Imported,
    },
    /// A recorded workload was read.
    WorkloadRead {
        /// Form of the file: `azure`, `mooncake`, `share-gpt`, ….
        format: String,
        /// Requests or conversations that can be sent.
        requests: u64,
        /// Rows left out, because they make no sense or do not fit the model.
        skipped_rows: u64,
        /// The first of them: its line and what is wrong with it.
        first_skipped: Option<String>,
        /// Where lengths come from: `stated`, `tokenizer`, `engine` or `estimated`.
        lengths: String,
    },
    /// The run sends one share of a load that several runs make together. Stands before the first trial.
    Shard {
        /// Which share, from 0.
        index: u32,
        /// How many shares there are.
        of: u32,
        /// Zero of the common schedule, in UNIX nanoseconds.
        start_unix_ns: Nanos,
        /// By how much this share was ready too late; 0 when it was in time.
        late_ns: Nanos,
        /// How well the two clocks of this run are known against each other.
        clock_error_ns: Nanos,
        /// Whether the system's clock is kept by a time service; `None` when it does not say.
        synchronised: Option<bool>,
        /// Equal for runs of one machine and boot, which share their monotonic clock; `None` when it is not known.
        boot: Option<String>,
    },
    /// The run was joined from the runs of shares.
    Merged {
        /// One entry a share, in order of their index.
        shards: Vec<JoinedShard>,
    },
    /// Something is worse than asked for.
    Warning {
        /// Stable name.
        code: String,
        /// Whether it makes the run invalid.
        fatal: bool,
        /// For people.
        detail: String,
        /// The figures of the sentence, see [`crate::verdict`].
        #[serde(default)]
        values: Vec<String>,
    },
    /// Last line of a run that came to an end of its own or by a signal.
    RunEnded {
        /// Whether everything planned was measured.
        status: RunStatus,
        /// Why not, when it was not.
        reason: Option<String>,
        /// Peak resident memory of the client.
        client_rss_bytes: Option<u64>,
        /// Wall clock against monotonic clock since `t0`.
        wall_drift_ns: Nanos,
    },
}

/// A mean over the iterations of a trial that told a value.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct MeanOf {
    /// The mean.
    pub mean: f64,
    /// How many iterations told one.
    pub n: u64,
}

/// How the reads of a load client were stamped, and how late the client itself was.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
pub struct ReadStamps {
    /// Reads that carry the kernel's stamp: when the bytes arrived at this machine.
    pub kernel: u64,
    /// Reads that carry the client's own stamp: when it had read them.
    pub user: u64,
    /// Pieces of answers (events, as a rule) in all of them.
    pub pieces: u64,
    /// Reads that held several pieces of an answer. All carry the stamp of the last one.
    pub joined: u64,
    /// From arrival to read, median, in seconds; `None` when no read has the kernel's stamp.
    pub lag_p50_s: Option<f64>,
    /// The same, 99th percentile.
    pub lag_p99_s: Option<f64>,
    /// The same, largest.
    pub lag_max_s: Option<f64>,
    /// How often the wall clock was set meanwhile, which makes kernel stamps unusable for a moment.
    pub clock_steps: u64,
}

impl ReadStamps {
    /// Both together. Counts add up; quantiles cannot be joined: the larger stands for both.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        let largest = |a: Option<f64>, b: Option<f64>| [a, b].into_iter().flatten().reduce(f64::max);
        Self {
            kernel: self.kernel + other.kernel,
            user: self.user + other.user,
            pieces: self.pieces + other.pieces,
            joined: self.joined + other.joined,
            lag_p50_s: largest(self.lag_p50_s, other.lag_p50_s),
            lag_p99_s: largest(self.lag_p99_s, other.lag_p99_s),
            lag_max_s: largest(self.lag_max_s, other.lag_max_s),
            clock_steps: self.clock_steps + other.clock_steps,
        }
    }
}

/// One share of a joined run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct JoinedShard {
    /// Which share, from 0.
    pub index: u32,
    /// Its own run.
    pub run_id: String,
    /// Request rows that it brought.
    pub requests: u64,
    /// Whether it came to its end.
    pub status: RunStatus,
    /// Added to its stamps to put them on the clock of the joined run.
    pub shift_ns: Nanos,
    /// What the shift rests on.
    pub clock: SharedClock,
    /// How far the shift may be wrong as far as this machine's readings tell; between machines the difference of their
    /// wall clocks comes on top.
    pub error_ns: Nanos,
    /// By how much it was ready too late.
    pub late_ns: Nanos,
}

/// By which clock the stamps of two runs were joined.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SharedClock {
    /// Both ran on one machine: the same CLOCK_MONOTONIC.
    Monotonic,
    /// Wall clocks.
    Unix,
}

impl Fact {
    /// A warning out of the catalogue.
    pub fn warning(remark: &Remark) -> Self {
        Self::weighted_warning(remark, remark.code.fatal())
    }

    /// The same, where the weight depends on more than the code.
    pub fn weighted_warning(remark: &Remark, fatal: bool) -> Self {
        Self::Warning {
            code: remark.code.name().to_owned(),
            fatal,
            detail: remark.sentence(Lang::En),
            values: remark.values.clone(),
        }
    }
}

/// One point of the plan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PlannedPoint {
    /// Name for people.
    pub label: String,
    /// Requests kept in flight; `None` in an open loop.
    pub concurrency: Option<u32>,
    /// Planned request rate; `None` in a closed loop.
    pub rate_rps: Option<f64>,
    /// Fixed input length of a sweep; `None` when lengths vary.
    pub input: Option<u32>,
    /// Fixed output length; `None` when lengths vary.
    pub output: Option<u32>,
    /// Settings of the engine, where it was started with several.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub engine_settings: BTreeMap<String, String>,
}

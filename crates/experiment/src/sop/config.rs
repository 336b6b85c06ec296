//! The settings of `stopwatt run` and `stopwatt pair`: the keys of the measurement procedure.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use stopwatt_analyse::Settings;
use stopwatt_analyse::compare::Gate;
use stopwatt_layout::CostParams;

use super::error::SopError;
use super::kernel::KernelConfig;
use super::layout::{GraphConfig, LayoutConfig, SolverConfig, TransformConfig};
use super::planned::CacheKeys;
use super::quality::QualityConfig;
use super::workload::WorkloadConfig;
use crate::bench::{AnalysisConfig, BenchConfig, RecordConfig};
use crate::fingerprint::InputConfig;

/// Everything that can be set.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SopConfig {
    /// Seed that the target gets, and of resampling.
    pub seed: u64,
    /// What is measured.
    pub target: TargetConfig,
    /// What its input is: part of the fingerprint.
    pub input: InputConfig,
    /// How it is measured.
    pub pipeline: PipelineConfig,
    /// What is read beside the time.
    pub measure: MeasureConfig,
    /// What a change must clear.
    pub gates: GatesConfig,
    /// How two sides are measured together.
    pub pair: PairConfig,
    /// What becomes of a change that does not clear its gates.
    pub rollback: RollbackConfig,
    /// What is written for people.
    pub report: ReportConfig,
    /// How intervals are made.
    pub analysis: AnalysisConfig,
    /// What is kept.
    pub record: RecordConfig,
    /// The shared-access graph, for `target.kind: layout`, as the three that follow.
    pub graph: GraphConfig,
    /// The solver of permutations.
    pub solver: SolverConfig,
    /// Weights of the cost function.
    pub cost: CostParams,
    /// What is done to the model.
    pub transform: TransformConfig,
    /// How quality is judged.
    pub quality: QualityConfig,
    /// What is kept between runs.
    pub cache: CacheKeys,
    /// Name of a benchmark task.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-unavailable" = true))]
    pub task: Option<Value>,
}

/// What is measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TargetConfig {
    /// `command`: any program; `bench`: an inference engine; `kernel`: an operator on a device; `layout`: a kernel on memory
    /// whose order is solved for.
    pub kind: TargetKind,
    /// Name in reports; `null` takes the program's.
    pub name: Option<String>,
    /// The program and its arguments, split into words as a shell does, without a shell. `{seed}`, `{iterations}`,
    /// `{mode}` and `{trial}` are replaced.
    pub command: Option<String>,
    /// How the program is timed.
    pub protocol: Protocol,
    /// Tokens that one iteration makes, for `protocol: wall`; `null` where there are none.
    pub tokens: Option<u32>,
    /// Longest time until the program is ready, in seconds.
    #[schemars(range(min = 0.001))]
    pub prepare_timeout_s: f64,
    /// Longest time of one iteration, in seconds.
    #[schemars(range(min = 0.001))]
    pub iterate_timeout_s: f64,
    /// Longest time for the hash of its outputs, in seconds.
    #[schemars(range(min = 0.001))]
    pub outputs_timeout_s: f64,
    /// Longest time that it may take to end, in seconds.
    #[schemars(range(min = 0.001))]
    pub end_timeout_s: f64,
    /// For `kind: bench`: the settings of `stopwatt bench`. Warm-up, trials, requests and seed come from `pipeline` and
    /// `seed`, unless `measure.requests` or `measure.duration_s` stands here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bench: Option<Box<BenchConfig>>,
    /// For `kind: kernel`: the operator, its shape and its device.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kernel: Option<Box<KernelConfig>>,
    /// For `kind: workload`: which pair; `pipeline.mode` says which side of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workload: Option<Box<WorkloadConfig>>,
    /// Each trial has inputs of its own, so that outputs of trials are not expected to be the same.
    pub outputs_vary: bool,
    /// For `kind: layout`: what is laid out, and the kernel that reads it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub layout: Option<Box<LayoutConfig>>,
}

impl Default for TargetConfig {
    fn default() -> Self {
        Self {
            kind: TargetKind::Command,
            name: None,
            command: None,
            protocol: Protocol::JsonLines,
            tokens: None,
            prepare_timeout_s: 300.0,
            iterate_timeout_s: 600.0,
            outputs_timeout_s: 60.0,
            end_timeout_s: 10.0,
            bench: None,
            kernel: None,
            workload: None,
            outputs_vary: false,
            layout: None,
        }
    }
}

/// Kinds of targets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum TargetKind {
    /// Any program.
    #[default]
    Command,
    /// An inference engine.
    Bench,
    /// One operator on one device.
    Kernel,
    /// A side of a workload pair.
    Workload,
    /// A kernel on memory whose order is solved for.
    Layout,
}

/// How a program is timed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Protocol {
    /// The program stays, and tells of each iteration in a line of JSON.
    #[default]
    JsonLines,
    /// One process an iteration, from its start to its exit.
    Wall,
}

impl Protocol {
    /// Name in files.
    pub const fn name(self) -> &'static str {
        match self {
            Self::JsonLines => "json-lines",
            Self::Wall => "wall",
        }
    }
}

/// How it is measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PipelineConfig {
    /// What is run, for instance `linear` or `iterative`; the target gets it as STOPWATT_MODE. For `kind: layout` one of
    /// `identity`, `random`, `linear`, `once` and `iterative`.
    pub mode: String,
    /// Iterations that are measured in all trials together.
    #[schemars(range(min = 1))]
    pub repeats: u64,
    /// Fewest iterations before anything is measured; more follow until the target is steady. 0 switches warm-up off and
    /// marks the run unstabilised.
    pub warmup_iter: u64,
    /// Longest warm-up, in seconds.
    #[schemars(range(min = 0))]
    pub warmup_max_s: f64,
    /// Trials: the unit of every interval.
    #[schemars(range(min = 3))]
    pub trials: u32,
    /// Whether you have fixed the clocks, for machines that do not show it; `null` says nothing.
    pub fixed_clock: Option<bool>,
    /// Prepare the target and write the record, without measuring.
    pub no_measure: bool,
    /// When the transform is made.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-unavailable" = true))]
    pub transform_stage: Option<Value>,
    /// When the layout is solved again.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-unavailable" = true))]
    pub post_transform_repermute: Option<Value>,
    /// The same, by its older name.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-unavailable" = true))]
    pub repermute_on_delta: Option<Value>,
    /// A Python function that runs the model; `target.command` starts any program instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-unavailable" = true))]
    pub runner: Option<Value>,
    /// Its arguments.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-unavailable" = true))]
    pub runner_context: Option<Value>,
    /// A permutation to take instead of solving, for `kind: layout`: a file such as `perm_after.json`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reuse_perm: Option<std::path::PathBuf>,
}

impl Default for PipelineConfig {
    fn default() -> Self {
        Self {
            mode: "linear".to_owned(),
            repeats: 1000,
            warmup_iter: 50,
            warmup_max_s: 120.0,
            trials: 5,
            fixed_clock: None,
            no_measure: false,
            transform_stage: None,
            post_transform_repermute: None,
            repermute_on_delta: None,
            runner: None,
            runner_context: None,
            reuse_perm: None,
        }
    }
}

/// What is read beside the time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct MeasureConfig {
    /// Whether power and the GPUs are sampled beside the trials, where the machine has sensors.
    pub power_enable: bool,
    /// Fixed readings of the sensors a second. `null` varies between 20 and 50 ms, which no periodic load can alias with;
    /// 10 is what the original procedure asks for, with the bias that docs/sensors.md shows.
    #[schemars(range(min = 0.1))]
    pub power_sample_hz: Option<f64>,
    /// Trace of an external power meter, a CSV file that begins with `t_s,power_w`, in the place of the machine's own
    /// sensors. Times are UNIX seconds, or seconds since the run began.
    pub power_csv: Option<std::path::PathBuf>,
    /// GPUs whose power, energy and processes are watched: `all`, or positions and UUIDs between commas. `null` takes
    /// those that the target sees (CUDA_VISIBLE_DEVICES), else all.
    pub gpus: Option<String>,
    /// Seconds over which temperature and clock of the GPUs must be flat before warm-up ends; 0 does not look.
    #[schemars(range(min = 0))]
    pub thermal_window_s: f64,
    /// Longest time that warm-up goes on for it, in seconds.
    #[schemars(range(min = 0))]
    pub thermal_max_s: f64,
    /// Whether trials wait until the GPUs are within 2 °C of where the first one began.
    pub equal_start_temperature: bool,
    /// Longest such wait before a trial, in seconds.
    #[schemars(range(min = 0))]
    pub cool_down_max_s: f64,
    /// Whether the CPU's cache counters are read beside the trials, where the machine has them.
    pub cpu_counters: bool,
    /// Whether cache counters of the GPU are read, in a run of their own.
    pub ncu_enable: bool,
    /// Which counters, by Stopwatt's names or NVIDIA's; empty takes all of the architecture.
    pub ncu_metrics: Vec<String>,
    /// Only kernels whose name matches this regular expression.
    pub ncu_kernel_regex: Option<String>,
    /// Only what the target runs between `cudaProfilerStart` and `cudaProfilerStop`.
    pub ncu_marked_only: bool,
    /// Kernel launches to let pass first.
    pub ncu_launch_skip: u64,
    /// Kernel launches to profile; `null` for all that follow.
    pub ncu_launch_count: Option<u64>,
    /// Iterations of each profiled run.
    pub ncu_iterations: u64,
    /// Timers of the original project's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-unavailable" = true))]
    pub builtin: Option<Value>,
    /// Marks for profilers.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-unavailable" = true))]
    pub nvtx_enable: Option<Value>,
}

impl Default for MeasureConfig {
    fn default() -> Self {
        Self {
            power_enable: true,
            power_sample_hz: None,
            power_csv: None,
            gpus: None,
            thermal_window_s: 10.0,
            thermal_max_s: 60.0,
            equal_start_temperature: false,
            cool_down_max_s: 120.0,
            cpu_counters: true,
            ncu_enable: false,
            ncu_metrics: Vec::new(),
            ncu_kernel_regex: None,
            ncu_marked_only: false,
            ncu_launch_skip: 0,
            ncu_launch_count: None,
            ncu_iterations: 1,
            builtin: None,
            nvtx_enable: None,
        }
    }
}

/// What a change must clear: each `METRIC [STATISTIC] <= LIMIT`; `null` drops one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct GatesConfig {
    /// Latency of an iteration.
    pub latency: Option<String>,
    /// L2 hit rate.
    pub l2_hit: Option<String>,
    /// Energy per token.
    pub ept: Option<String>,
    /// Loss of quality.
    pub quality: Option<String>,
    /// Further gates.
    pub more: Vec<String>,
    /// A factor of the original project.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-unavailable" = true))]
    pub iter_vs_linear_latency_factor: Option<Value>,
}

impl Default for GatesConfig {
    fn default() -> Self {
        let [latency, l2_hit, ept, quality] = PRD.map(|gate| Some(gate.to_owned()));
        Self { latency, l2_hit, ept, quality, more: Vec::new(), iter_vs_linear_latency_factor: None }
    }
}

/// The gates of the product requirements, as [`stopwatt_analyse::compare::prd`] has them.
const PRD: [&str; 4] = [
    "e2e mean <= -20%",
    "l2_hit_rate mean >= +10pp",
    "energy_per_token mean <= -15%",
    "quality_loss mean <= +0.1pp",
];

impl GatesConfig {
    /// Every gate in force.
    pub fn gates(&self) -> Result<Vec<Gate>, SopError> {
        let fixed = [
            ("gates.latency", &self.latency),
            ("gates.l2_hit", &self.l2_hit),
            ("gates.ept", &self.ept),
            ("gates.quality", &self.quality),
        ];
        let fixed = fixed.into_iter().filter_map(|(key, gate)| Some((key, gate.as_ref()?)));
        fixed
            .chain(self.more.iter().map(|gate| ("gates.more", gate)))
            .map(|(setting, gate)| {
                gate.parse().map_err(|e| SopError::Setting { setting, problem: format!("{e}") })
            })
            .collect()
    }
}

/// How two sides are measured together.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PairConfig {
    /// Baselines of the original project.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-unavailable" = true))]
    pub baseline_methods: Option<Value>,
}

/// What becomes of a change that does not clear its gates.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RollbackConfig {
    /// How often the measurement is repeated before the change is given up.
    pub retry_budget: u32,
    /// File that holds the configuration in use. Stopwatt owns it: it gets the candidate's when that is accepted, else
    /// the baseline's. `null`: advice is printed.
    pub active: Option<String>,
    /// Smallest gain of a round of `pipeline.mode: iterative`, relative to the objective; `null` takes 0.01.
    #[serde(rename = "epsilon_J", skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0))]
    pub epsilon_j: Option<f64>,
}

impl Default for RollbackConfig {
    fn default() -> Self {
        Self { retry_budget: 1, active: None, epsilon_j: None }
    }
}

/// What is written for people.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ReportConfig {
    /// Folder of the run, where `--out` is not given.
    pub out_dir: Option<String>,
    /// Reports to keep beside `metrics.json`.
    pub formats: Vec<ReportFormat>,
}

impl Default for ReportConfig {
    fn default() -> Self {
        Self { out_dir: None, formats: vec![ReportFormat::Html, ReportFormat::Csv] }
    }
}

/// A form of the report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ReportFormat {
    /// `report.html`.
    Html,
    /// `report.csv`.
    Csv,
}

impl ReportFormat {
    /// Every form with its file.
    pub const FILES: [(Self, &'static str); 2] = [(Self::Html, "report.html"), (Self::Csv, "report.csv")];
}

impl SopConfig {
    /// Iterations of one trial.
    pub fn iterations(&self) -> u64 {
        self.pipeline.repeats.div_ceil(u64::from(self.pipeline.trials))
    }

    /// Refuses settings that only a layout has, where something else is measured.
    ///
    /// # Errors
    /// One of them is set.
    pub fn only_of_layouts(&self) -> Result<(), SopError> {
        let default = Self::default();
        let set = [
            ("graph", self.graph != default.graph),
            ("solver", self.solver != default.solver),
            ("cost", self.cost != default.cost),
            ("transform", self.transform != default.transform),
            ("pipeline.reuse_perm", self.pipeline.reuse_perm.is_some()),
            ("rollback.epsilon_J", self.rollback.epsilon_j.is_some()),
            ("quality.text", self.quality.text.is_some()),
        ];
        match set.into_iter().find(|(_, is)| *is && self.target.kind != TargetKind::Layout) {
            None => Ok(()),
            Some((setting, _)) => {
                let problem = "only layouts have it: set target.kind=layout".to_owned();
                Err(SopError::Setting { setting, problem })
            }
        }
    }

    /// What analysis must know.
    pub fn analysis_settings(&self) -> Result<Settings, SopError> {
        if self.analysis.stall_s.is_nan() || self.analysis.stall_s <= 0.0 {
            let problem = "a stall must be longer than 0 s".to_owned();
            return Err(SopError::Setting { setting: "analysis.stall_s", problem });
        }
        Ok(Settings {
            mode: self.pipeline.mode.clone(),
            seed: self.seed,
            level: self.analysis.level,
            resamples: self.analysis.resamples,
            stall_s: self.analysis.stall_s,
            ..Settings::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gates_are_those_of_the_product_requirements_until_they_are_dropped() {
        let mut gates = GatesConfig::default();
        assert_eq!(gates.gates().unwrap(), stopwatt_analyse::compare::prd());
        gates.l2_hit = None;
        gates.more.push("e2e p50 <= -5%".to_owned());
        let names: Vec<String> = gates.gates().unwrap().iter().map(ToString::to_string).collect();
        assert_eq!((names.len(), names[3].as_str()), (4, "e2e p50 <= -5%"));
        gates.more.push("faster".to_owned());
        assert!(matches!(gates.gates(), Err(SopError::Setting { setting: "gates.more", .. })));
    }

    #[test]
    fn trials_share_the_repeats() {
        let mut config = SopConfig::default();
        assert_eq!(config.iterations(), 200);
        config.pipeline.repeats = 11;
        assert_eq!(config.iterations(), 3);
    }
}

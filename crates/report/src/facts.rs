//! What `run.log` says, gathered once: environment, plan, warm-up, trials, samples.

use stopwatt_core::engine::EngineCounters;
use stopwatt_core::fingerprint::Fingerprint;
use stopwatt_core::gpu::GpuSetting;
use stopwatt_core::log::{Fact, LogEvent, PlannedPoint};
use stopwatt_core::{Clock, Nanos};

/// The facts of one run. A run that was cut off lacks the later ones.
#[derive(Debug, Default)]
pub(crate) struct Facts<'a> {
    /// Zero of all stamps.
    pub(crate) clock: Option<Clock>,
    /// The environment.
    pub(crate) fingerprint: Option<&'a Fingerprint>,
    /// The model name used in requests.
    pub(crate) model: Option<&'a str>,
    /// What the engine can do, by feature.
    pub(crate) features: Vec<(&'a str, &'a str)>,
    /// The planned points.
    pub(crate) plan: &'a [PlannedPoint],
    /// Trials planned at each point.
    pub(crate) trials_planned: Option<u32>,
    /// Ends of warm-up.
    pub(crate) warmups: Vec<Warmup<'a>>,
    /// Finished trials.
    pub(crate) trials: Vec<Trial>,
    /// Readings of the engine's counters, in order of time.
    pub(crate) readings: Vec<(Nanos, &'a EngineCounters)>,
    /// Resident memory of the engine over time.
    pub(crate) memory: Vec<(Nanos, u64)>,
    /// What was set on the GPUs for the measurement.
    pub(crate) gpu_settings: &'a [GpuSetting],
}

/// The end of a point's warm-up.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Warmup<'a> {
    /// Index of the point.
    pub(crate) point: u32,
    /// Requests spent.
    pub(crate) requests: u64,
    /// Whether a steady state was detected; `None` when warm-up was off.
    pub(crate) steady: Option<bool>,
    /// What the decision rests on.
    pub(crate) detail: &'a str,
}

/// The measuring window of a trial.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Trial {
    /// Index of the point.
    pub(crate) point: u32,
    /// Index of the trial.
    pub(crate) trial: u32,
    /// Begin of the window.
    pub(crate) start_ns: Nanos,
    /// End of the window.
    pub(crate) end_ns: Nanos,
}

impl<'a> Facts<'a> {
    /// Reads the log in order; a later line of the same kind wins.
    pub(crate) fn read(log: &'a [LogEvent]) -> Self {
        let mut facts = Self::default();
        for event in log {
            facts.take(event);
        }
        facts
    }

    fn take(&mut self, event: &'a LogEvent) {
        match &event.fact {
            Fact::RunStarted { clock, .. } => self.clock = Some(*clock),
            Fact::Fingerprint { fingerprint } => self.fingerprint = Some(fingerprint),
            Fact::EngineProbed { model, features } => {
                self.model = Some(model);
                self.features = features.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
            }
            Fact::Plan { points, trials } => {
                self.plan = points;
                self.trials_planned = Some(*trials);
            }
            Fact::WarmupEnded { point, requests, steady, detail } => {
                self.warmups.push(Warmup { point: *point, requests: *requests, steady: *steady, detail });
            }
            Fact::TrialEnded { point, trial, start_ns, end_ns, .. } => {
                self.trials.push(Trial {
                    point: *point,
                    trial: *trial,
                    start_ns: *start_ns,
                    end_ns: *end_ns,
                });
            }
            Fact::GpuSettings { settings } => self.gpu_settings = settings,
            Fact::EngineSample { rss_bytes } => self.memory.push((event.t_ns, *rss_bytes)),
            Fact::EngineReading { at_ns, counters, .. } if !counters.is_empty() => {
                self.readings.push((*at_ns, counters));
            }
            // The summary holds it.
            Fact::Capacity { .. }
            | Fact::TargetMetrics { .. }
            | Fact::Resumed { .. }
            | Fact::Tabled { .. }
            | Fact::EngineEnded { .. }
            | Fact::TrialPower { .. }
            | Fact::TrialCpu { .. }
            | Fact::Quality { .. }
            | Fact::QualityUnavailable { .. }
            | Fact::QualityDelta { .. }
            | Fact::SensorsEnded { .. }
            | Fact::CacheRun { .. }
            | Fact::CacheUnavailable { .. }
            | Fact::SearchStarted { .. }
            | Fact::SearchLook { .. }
            | Fact::SearchEnded { .. } => {}
            // Warnings, the client's ceiling and the end reach the reader through the validity verdict; a trial
            // counts once it has ended.
            Fact::Warning { .. }
            | Fact::ClientCeiling { .. }
            | Fact::Sensors { .. }
            | Fact::ForeignGpuProcesses { .. }
            | Fact::StartTemperature { .. }
            | Fact::TrialStarted { .. }
            | Fact::Stage { .. }
            | Fact::Outputs { .. }
            | Fact::TargetEnded { .. }
            | Fact::Decision { .. }
            | Fact::RunEnded { .. }
            | Fact::EngineReading { .. }
            | Fact::CacheExpected { .. }
            | Fact::Imported { .. }
            | Fact::WorkloadRead { .. }
            | Fact::Shard { .. }
            | Fact::Merged { .. } => {}
        }
    }

    /// Name and version of the engine, as it called itself.
    pub(crate) fn engine(&self) -> Option<String> {
        let engine = &self.fingerprint?.engine;
        let name = engine.get("engine")?;
        Some(engine.get("engine_version").map_or_else(|| name.clone(), |version| format!("{name} {version}")))
    }
}

//! Scenarios: from settings to the points that will be measured.
//!
//! A point is one setting of the load; a scenario is a list of points chosen to answer one question. Planning is
//! pure: it reads settings and what the engine said of its limits, and writes nothing.
//!
//! | scenario | question | points |
//! |---|---|---|
//! | `single` | latency without queueing | one, concurrency 1 |
//! | `batch` | throughput and memory at a fixed number in flight | one for each concurrency |
//! | `sweep` | how both depend on load and length | concurrency × input |
//! | `stress` | where it saturates, and p99 there | open-loop rates from 25 % to 110 % of the measured capacity |
//! | `long-context` | TTFT and memory against length | 4K, 8K, … tokens up to the limit, concurrency 1 |
//! | `prefix-sharing` | what the prefix cache is worth | the same load with nothing shared, and with a shared prefix |
//! | `soak` | drift and leaks | one, for a long time |
//! | `guide` | the whole procedure | single, batches 1 to 64, inputs 512 to 8192, soak |

use std::time::Duration;

use stopwatt_core::log::PlannedPoint;
use stopwatt_core::verdict::{Code, Remark};
use stopwatt_serving::workload::{Length, PrefixShare, Profile, Workload};

use super::config::{ArrivalKind, BenchConfig, ScenarioKind};
use super::error::BenchError;
use super::material::{self, length};

/// What the engine said of its limits.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct EngineLimits {
    /// Longest input plus output, in tokens; `None` when it did not say.
    pub(crate) max_context: Option<u32>,
    /// Whether it is the built-in engine: the default sweeps are then small enough for two cores.
    pub(crate) built_in: bool,
}

impl EngineLimits {
    /// Requests in flight at which capacity is measured.
    pub(crate) fn saturating_concurrency(self) -> u32 {
        if self.built_in { 16 } else { 64 }
    }
}

/// One point, ready to be run.
#[derive(Debug, Clone)]
pub(crate) struct PointPlan {
    pub(crate) planned: PlannedPoint,
    pub(crate) load: LoadPlan,
    pub(crate) workload: Workload,
    pub(crate) extent: Extent,
    /// Further requests before those, that only fill the engine.
    pub(crate) settle: u64,
    pub(crate) trials: u32,
}

/// When requests are sent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum LoadPlan {
    /// The next request starts when one ends.
    Closed { concurrency: u32 },
    /// At planned times.
    Open { arrival: ArrivalKind, rate: f64 },
    /// At planned times; the rate is this share of the capacity that is measured first.
    ShareOfCapacity { arrival: ArrivalKind, share: f64 },
}

/// How long a trial is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Extent {
    Requests(u64),
    Time(Duration),
}

/// The points of a scenario, and what could not be done as asked.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) points: Vec<PointPlan>,
    pub(crate) warnings: Vec<Remark>,
    /// Requests in flight while capacity is measured; 0 when no point needs it.
    pub(crate) capacity_concurrency: u32,
}

/// Shares of the measured capacity at which `stress` sends.
const STRESS_SHARES: [f64; 6] = [0.25, 0.5, 0.75, 0.9, 1.0, 1.1];
/// Share of the prompt that `prefix-sharing` repeats when the profile shares less.
const PREFIX_SHARE: f64 = 0.7;

/// Plans a scenario.
pub(crate) fn plan(
    config: &BenchConfig,
    limits: EngineLimits,
    profile: &Profile,
) -> Result<Plan, BenchError> {
    let planner = Planner { config, limits, profile, warnings: Vec::new() };
    planner.check()?.plan()
}

struct Planner<'a> {
    config: &'a BenchConfig,
    limits: EngineLimits,
    profile: &'a Profile,
    warnings: Vec<Remark>,
}

impl Planner<'_> {
    /// Refuses what cannot be measured, whatever the scenario.
    fn check(self) -> Result<Self, BenchError> {
        let setting =
            |setting, problem: &str| Err(BenchError::Setting { setting, problem: problem.to_owned() });
        let (load, measure) = (&self.config.load, &self.config.measure);
        if measure.requests == Some(0) {
            return setting("measure.requests", "0 requests measure nothing; ask for at least 1");
        }
        if measure.repeats == 0 {
            return setting(
                "measure.repeats",
                "0 trials measure nothing; ask for at least 1 (2 for an interval)",
            );
        }
        if load.concurrency.contains(&0) {
            return setting("load.concurrency", "0 requests in flight send nothing; ask for at least 1");
        }
        if load.rate.iter().chain(&load.rate_end).any(|r| !(r.is_finite() && *r > 0.0)) {
            return setting("load.rate", "a rate must be a positive number of requests per second");
        }
        if load.burstiness.is_some_and(|b| !(b.is_finite() && b > 0.0)) {
            return setting("load.burstiness", "the shape must be a positive number");
        }
        for (name, seconds) in [
            ("measure.timeout_s", Some(measure.timeout_s)),
            ("measure.idle_timeout_s", Some(measure.idle_timeout_s)),
            ("measure.connect_timeout_s", Some(measure.connect_timeout_s)),
            ("measure.soak_s", Some(measure.soak_s)),
            ("measure.duration_s", measure.duration_s),
        ] {
            if seconds.is_some_and(|s| !(s > 0.0 && s < 1e7)) {
                return setting(name, "a time must be positive and below 10,000,000 seconds");
            }
        }
        if !(measure.scrape_s == 0.0 || (0.05..1e7).contains(&measure.scrape_s)) {
            return setting("measure.scrape_s", "write 0 for none, or at least 0.05 seconds");
        }
        match (load.arrival, load.rate.is_empty()) {
            (Some(ArrivalKind::Closed), false) => {
                return setting(
                    "load.arrival",
                    "a closed loop has no rate; leave out the rate or choose another arrival",
                );
            }
            (Some(ArrivalKind::Trace), _) if !self.is_timed() => {
                return setting(
                    "load.arrival",
                    "only a trace with times can be replayed; give one with --trace",
                );
            }
            (Some(ArrivalKind::Trace), _) => {}
            (Some(kind), true)
                if kind != ArrivalKind::Closed && self.config.scenario != ScenarioKind::Stress =>
            {
                return setting("load.rate", "this arrival process needs a rate in requests per second");
            }
            (Some(ArrivalKind::Ramp), false) if load.rate_end.is_none() => {
                return setting("load.rate_end", "a ramp needs the rate at its end");
            }
            _ => {}
        }
        Ok(self)
    }

    fn plan(mut self) -> Result<Plan, BenchError> {
        let config = self.config;
        let built_in = self.limits.built_in;
        let one = self.workload(None)?;
        let listed = |own: &[u32], default: &[u32]| {
            if own.is_empty() { default.to_vec() } else { own.to_vec() }
        };
        let level = vec![self.profile.concurrency()];
        let mut points = Vec::new();
        let mut capacity_concurrency = 0;
        match config.scenario {
            ScenarioKind::Single => {
                for workload in self.per_input(&[])? {
                    points.push(self.point(self.closed(1), workload, 10));
                }
            }
            ScenarioKind::Batch => {
                for workload in self.per_input(&[])? {
                    for load in self.loads(&level) {
                        points.push(self.point(load, workload.clone(), 20));
                    }
                }
            }
            ScenarioKind::Sweep => {
                let (concurrency, inputs): (&[u32], &[u32]) = if built_in {
                    (&[1, 4, 8], &[128, 512])
                } else {
                    (&[1, 4, 8, 16, 32], &[512, 1024, 2048, 4096])
                };
                let inputs =
                    self.that_fit(&listed(&config.workload.inputs, inputs), if built_in { 64 } else { 256 })?;
                for workload in inputs {
                    for load in self.loads(concurrency) {
                        points.push(self.point(load, workload.clone(), 8));
                    }
                }
            }
            ScenarioKind::Stress => {
                if config.load.rate.is_empty() && config.load.concurrency.is_empty() {
                    let arrival = config.load.arrival.unwrap_or(ArrivalKind::Poisson);
                    capacity_concurrency = self.limits.saturating_concurrency();
                    for share in STRESS_SHARES {
                        points.push(self.point(
                            LoadPlan::ShareOfCapacity { arrival, share },
                            one.clone(),
                            30,
                        ));
                    }
                } else {
                    for load in self.loads(&level) {
                        points.push(self.point(load, one.clone(), 30));
                    }
                }
            }
            ScenarioKind::LongContext => {
                let inputs = self.long_inputs();
                for workload in self.that_fit(&inputs, 64)? {
                    points.push(self.point(self.closed(1), workload, 3));
                }
            }
            ScenarioKind::PrefixSharing => {
                let share = config
                    .workload
                    .prefix_share
                    .unwrap_or_else(|| self.profile.prefix_share().ratio().max(PREFIX_SHARE));
                for ratio in [0.0, share] {
                    let mut workload = one.clone();
                    workload.prefix_share = share_of(ratio, self.profile)?;
                    for load in self.loads(&level) {
                        let mut point = self.point(load, workload.clone(), 16);
                        point.planned.label = format!("{} shared={:.0}%", point.planned.label, ratio * 100.0);
                        points.push(point);
                    }
                }
            }
            ScenarioKind::Soak => points.extend(self.soak(&one, &level)),
            ScenarioKind::Guide => {
                points.push(self.point(self.closed(1), one.clone(), 10));
                for concurrency in [1, 2, 4, 8, 16, 32, 64] {
                    points.push(self.point(self.closed(concurrency), one.clone(), 10));
                }
                let inputs = listed(&config.workload.inputs, &[512, 1024, 2048, 4096, 8192]);
                for workload in self.that_fit(&inputs, 128)? {
                    points.push(self.point(self.closed(1), workload, 5));
                }
                points.extend(self.soak(&one, &level));
            }
        }
        for point in &points {
            self.fits(&point.workload)?;
        }
        Ok(Plan { points, warnings: self.warnings, capacity_concurrency })
    }

    /// A soak is one load for the whole time, cut into trials so that drift between them shows.
    fn soak(&self, workload: &Workload, level: &[u32]) -> Vec<PointPlan> {
        let trials = self.config.measure.repeats.max(2);
        let each = Duration::from_secs_f64(self.config.measure.soak_s / f64::from(trials));
        self.loads(level)
            .into_iter()
            .map(|load| {
                let mut point = self.point(load, workload.clone(), 1);
                point.extent = Extent::Time(each);
                point.trials = trials;
                point.planned.label = format!("{} soak", point.planned.label);
                point
            })
            .collect()
    }

    fn closed(&self, concurrency: u32) -> LoadPlan {
        LoadPlan::Closed { concurrency }
    }

    /// The loads that the user asked for, else closed loops at `default`.
    fn loads(&self, default: &[u32]) -> Vec<LoadPlan> {
        let load = &self.config.load;
        let free = load.rate.is_empty() && load.concurrency.is_empty() && load.arrival.is_none();
        if load.arrival == Some(ArrivalKind::Trace) || (free && self.is_timed()) {
            let recorded = self.profile.workload().recorded;
            let rate = recorded.and_then(|r| r.rate_rps()).unwrap_or(1.0);
            return vec![LoadPlan::Open { arrival: ArrivalKind::Trace, rate }];
        }
        if !load.rate.is_empty() {
            let arrival = load.arrival.unwrap_or(ArrivalKind::Poisson);
            return load.rate.iter().map(|&rate| LoadPlan::Open { arrival, rate }).collect();
        }
        let list = if load.concurrency.is_empty() { default } else { &load.concurrency };
        list.iter().map(|&c| self.closed(c)).collect()
    }

    /// Whether the workload is a trace with times.
    fn is_timed(&self) -> bool {
        self.profile.workload().recorded.is_some_and(|r| r.is_timed())
    }

    fn point(&self, load: LoadPlan, workload: Workload, least: u64) -> PointPlan {
        let measure = &self.config.measure;
        let extent = match (measure.requests, measure.duration_s) {
            (Some(n), _) => Extent::Requests(n),
            (None, Some(s)) => Extent::Time(Duration::from_secs_f64(s)),
            // Twice the streams, so that the ramp at both ends does not dominate.
            (None, None) => Extent::Requests(match load {
                LoadPlan::Closed { concurrency } => least.max(2 * u64::from(concurrency)),
                LoadPlan::Open { arrival: ArrivalKind::Trace, .. } => {
                    workload.recorded.as_ref().map_or(least, |r| r.len())
                }
                LoadPlan::Open { .. } | LoadPlan::ShareOfCapacity { .. } => least.max(20),
            }),
        };
        let (input, output) = (workload.input.single(), workload.output.single());
        let (concurrency, rate_rps) = match load {
            LoadPlan::Closed { concurrency } => (Some(concurrency), None),
            LoadPlan::Open { rate, .. } => (None, Some(rate)),
            LoadPlan::ShareOfCapacity { .. } => (None, None),
        };
        let label = label(load, &workload, self.config.workload.speedup);
        PointPlan {
            planned: PlannedPoint {
                label,
                concurrency,
                rate_rps,
                input,
                output,
                engine_settings: Default::default(),
            },
            load,
            workload,
            extent,
            settle: 0,
            trials: measure.repeats,
        }
    }

    /// The workload with the user's lengths in place of the profile's.
    fn workload(&self, output: Option<u32>) -> Result<Workload, BenchError> {
        let own = &self.config.workload;
        let mut workload = self.profile.workload();
        if let Some(text) = &own.input {
            workload.input = length("workload.input", text)?;
        }
        match (&own.output, output) {
            (Some(text), _) => workload.output = length("workload.output", text)?,
            (None, Some(n)) => workload.output = fixed("workload.output", n)?,
            (None, None) => {}
        }
        if let Some(ratio) = own.prefix_share {
            workload.prefix_share = share_of(ratio, self.profile)?;
        }
        material::refine(own, &mut workload)?;
        Ok(workload)
    }

    /// One workload for each listed input, or the workload as it is when none is listed.
    fn per_input(&mut self, default: &[u32]) -> Result<Vec<Workload>, BenchError> {
        let inputs =
            if self.config.workload.inputs.is_empty() { default } else { &self.config.workload.inputs };
        if inputs.is_empty() {
            return Ok(vec![self.workload(None)?]);
        }
        inputs
            .iter()
            .map(|&n| {
                let mut workload = self.workload(None)?;
                workload.input = fixed("workload.inputs", n)?;
                Ok(workload)
            })
            .collect()
    }

    /// Fixed-input workloads; inputs beyond the model's limit are left out with a warning.
    fn that_fit(&mut self, inputs: &[u32], output: u32) -> Result<Vec<Workload>, BenchError> {
        let mut fitting = Vec::new();
        let mut left_out = Vec::new();
        for &input in inputs {
            let mut workload = self.workload(Some(output))?;
            workload.input = fixed("workload.inputs", input)?;
            match self.fits(&workload) {
                Ok(()) => fitting.push(workload),
                Err(_) => left_out.push(input.to_string()),
            }
        }
        if fitting.is_empty() {
            let mut workload = self.workload(Some(output))?;
            workload.input = fixed("workload.inputs", inputs.iter().copied().min().unwrap_or(1))?;
            self.fits(&workload)?;
        }
        if !left_out.is_empty() {
            self.warnings.push(Remark::new(Code::InputsLeftOut, [left_out.join(", ")]));
        }
        Ok(fitting)
    }

    fn fits(&self, workload: &Workload) -> Result<(), BenchError> {
        let (input, output) = (workload.input.bounds().1, workload.output.bounds().1);
        match self.limits.max_context {
            Some(limit) if u64::from(input) + u64::from(output) > u64::from(limit) => {
                Err(BenchError::TooLong { input, output, limit })
            }
            _ => Ok(()),
        }
    }

    /// 4K, 8K, … up to the limit. A model shorter than 4K gets an eighth, a quarter, a half and all of its context.
    fn long_inputs(&mut self) -> Vec<u32> {
        if !self.config.workload.inputs.is_empty() {
            return self.config.workload.inputs.clone();
        }
        const RESERVE: u32 = 64;
        let limit = self.limits.max_context.unwrap_or(131_072 + RESERVE);
        let usable = limit.saturating_sub(RESERVE);
        if usable < 4096 {
            self.warnings.push(Remark::new(Code::ShortContext, [limit.to_string()]));
            return [8, 4, 2, 1].map(|d| (usable / d).max(1)).to_vec();
        }
        let mut inputs: Vec<u32> = (12..=17).map(|p| 1 << p).filter(|&n| n <= usable).collect();
        // The limit itself is where memory is tightest.
        if inputs.last().is_some_and(|&last| usable < 131_072 && usable > last + last / 2) {
            inputs.push(usable);
        }
        inputs
    }
}

/// Name of a point for people. `speedup` is that of a replayed trace.
pub(crate) fn label(load: LoadPlan, workload: &Workload, speedup: f64) -> String {
    let load = match load {
        LoadPlan::Closed { concurrency } => format!("c={concurrency}"),
        LoadPlan::Open { arrival: ArrivalKind::Trace, .. } => format!("trace ×{speedup}"),
        LoadPlan::Open { rate, .. } => format!("rate={rate}/s"),
        LoadPlan::ShareOfCapacity { share, .. } => format!("load={:.0}%", share * 100.0),
    };
    let mut label = format!("{load} in={} out={}", workload.input.label(), workload.output.label());
    if let Some(dialogue) = &workload.dialogue {
        label.push_str(&format!(" turns={}", dialogue.turns.label()));
    }
    label
}

fn share_of(ratio: f64, profile: &Profile) -> Result<PrefixShare, BenchError> {
    PrefixShare::new(ratio, profile.prefix_share().groups())
        .map_err(|e| BenchError::Setting { setting: "workload.prefix_share", problem: e.to_string() })
}

fn fixed(setting: &'static str, tokens: u32) -> Result<Length, BenchError> {
    Length::fixed(tokens).map_err(|source| BenchError::Length { setting, source })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chat() -> Profile {
        Profile::built_in("chat").unwrap()
    }

    fn points(config: &BenchConfig, max_context: u32) -> Result<Plan, BenchError> {
        plan(config, EngineLimits { max_context: Some(max_context), built_in: false }, &chat())
    }

    fn with(scenario: ScenarioKind) -> BenchConfig {
        BenchConfig { scenario, ..BenchConfig::default() }
    }

    #[test]
    fn a_sweep_is_the_product_of_its_lists() {
        let mut config = with(ScenarioKind::Sweep);
        config.load.concurrency = vec![1, 4];
        config.workload.inputs = vec![128, 256, 512];
        config.workload.output = Some("32".to_owned());
        let plan = points(&config, 4096).unwrap();
        let got: Vec<_> =
            plan.points.iter().map(|p| (p.planned.input.unwrap(), p.planned.concurrency.unwrap())).collect();
        assert_eq!(got, [(128, 1), (128, 4), (256, 1), (256, 4), (512, 1), (512, 4)]);
        assert_eq!(plan.points[0].planned.label, "c=1 in=128 out=32");
    }

    #[test]
    fn long_context_ends_at_the_models_limit() {
        let inputs = |limit| -> Vec<u32> {
            points(&with(ScenarioKind::LongContext), limit)
                .unwrap()
                .points
                .iter()
                .map(|p| p.planned.input.unwrap())
                .collect()
        };
        assert_eq!(inputs(131_072 + 64), [4096, 8192, 16_384, 32_768, 65_536, 131_072]);
        assert_eq!(inputs(32_768), [4096, 8192, 16_384, 32_704]);
        assert_eq!(inputs(2048), [248, 496, 992, 1984]);
    }

    #[test]
    fn what_is_longer_than_the_context_is_refused() {
        assert!(matches!(
            points(&with(ScenarioKind::Batch), 512),
            Err(BenchError::TooLong { input: 200, output: 500, limit: 512 })
        ));
    }

    #[test]
    fn a_rate_makes_an_open_loop() {
        let mut config = with(ScenarioKind::Batch);
        config.load.rate = vec![2.0, 4.0];
        let plan = points(&config, 4096).unwrap();
        let loads: Vec<_> = plan.points.iter().map(|p| p.load).collect();
        let open = |rate| LoadPlan::Open { arrival: ArrivalKind::Poisson, rate };
        assert_eq!(loads, [open(2.0), open(4.0)]);
    }

    #[test]
    fn settings_that_measure_nothing_are_refused() {
        let refused = |change: &dyn Fn(&mut BenchConfig)| {
            let mut config = with(ScenarioKind::Batch);
            change(&mut config);
            matches!(points(&config, 4096), Err(BenchError::Setting { .. } | BenchError::Length { .. }))
        };
        assert!(refused(&|c| c.measure.requests = Some(0)));
        assert!(refused(&|c| c.measure.repeats = 0));
        assert!(refused(&|c| c.load.concurrency = vec![0]));
        assert!(refused(&|c| c.load.rate = vec![-1.0]));
        assert!(refused(&|c| c.load.arrival = Some(ArrivalKind::Poisson)));
        assert!(refused(&|c| c.workload.output = Some("0".to_owned())));
        assert!(refused(&|c| c.workload.prefix_share = Some(1.5)));
        assert!(!refused(&|_| ()));
    }

    #[test]
    fn the_guide_ends_with_a_soak() {
        let plan = points(&with(ScenarioKind::Guide), 16_384).unwrap();
        assert_eq!(plan.points.len(), 1 + 7 + 5 + 1);
        assert_eq!(plan.points.last().unwrap().extent, Extent::Time(Duration::from_secs(360)));
    }
}

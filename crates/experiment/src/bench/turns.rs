//! One of two engines that are measured in turns: each trial has an engine of its own, all trials one run.
//!
//! An engine that a command starts, or the built-in one, is started anew for each trial: nothing that an earlier trial
//! left in it counts. An engine that runs already goes on running.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use stopwatt_core::Clock;
use stopwatt_core::log::{Fact, PlannedPoint};
use stopwatt_load::{Client, Stop};
use stopwatt_record::run_dir::RunWriter;
use stopwatt_serving::workload::Profile;

use super::config::BenchConfig;
use super::error::BenchError;
use super::find::Find;
use super::material::{self, Material};
use super::probe;
use super::progress::Progress;
use super::prompts::Prompts;
use super::run::{Setup, built_in_context, close, create, load_profile, looked, target};
use super::scenario::{self, EngineLimits};
use super::serving::{Served, only_engine};
use super::session::{Ours, Session};
use super::sweep::{Sweep, commands};
use crate::fingerprint;
use crate::sensing::Sensing;

/// One side, from its first trial to its last.
pub(crate) struct Turns<'a> {
    setup: Setup,
    config: BenchConfig,
    sweep: Option<Sweep>,
    profile: Profile,
    writer: RunWriter,
    clock: Clock,
    stop: &'a Stop,
    salt: u64,
    next_id: u64,
    begun: bool,
    /// Read from the first trial to the last, also while the other side is measured.
    sensing: Option<Sensing>,
    /// What engines wrote, where that is kept.
    log: String,
}

impl<'a> Turns<'a> {
    /// Creates the run's folder. `salt` makes the content of the prompts, unless the settings have one.
    pub(crate) fn create(setup: Setup, salt: u64, stop: &'a Stop) -> Result<Self, BenchError> {
        let refuse =
            |setting, problem: &str| Err(BenchError::Setting { setting, problem: problem.to_owned() });
        let profile = load_profile(&setup.config.workload.profile)?;
        if setup.config.load.shard.is_some() {
            return refuse("load.shard", "a share of a load is measured in one go, not in turns");
        }
        if Find::of(&setup.config, Vec::new())?.is_some() {
            return refuse("find.load", "a search measures one engine; a pair measures two at the same load");
        }
        let sweep = only_engine(&setup.config)?;
        let config = sweep.as_ref().map_or_else(|| setup.config.clone(), |s| s.config.clone());
        let limits = EngineLimits::default();
        if scenario::plan(&config, limits, &profile)?.capacity_concurrency > 0 {
            return refuse(
                "scenario",
                "its loads depend on the capacity of the engine, so they differ between two",
            );
        }
        let clock = Clock::start();
        let writer = create(&setup, clock)?;
        let salt = config.workload.salt.unwrap_or(salt);
        Ok(Self {
            setup,
            config,
            sweep,
            profile,
            writer,
            clock,
            stop,
            salt,
            next_id: 0,
            begun: false,
            sensing: None,
            log: String::new(),
        })
    }

    /// Measures every point once on an engine of its own.
    pub(crate) fn trial(
        &mut self,
        trial: u32,
        watch: &mut (dyn FnMut(Progress<'_>) + Send),
    ) -> Result<(), BenchError> {
        let mut material = Material::load(&self.config, self.profile.clone())?;
        let config = material::with_endpoint(&self.config, &material)?;
        watch(Progress::EngineStarting);
        let context = built_in_context(&config).max(material.longest());
        let key = self.setup.api_key.clone();
        let served = Served::start(
            &config,
            self.sweep.as_ref(),
            &self.setup.program,
            key.as_deref(),
            context,
            self.stop,
        )?;
        let measured = self.measure(&config, &mut material, &served, trial, watch);
        let left = served.end(config.record.keep_engine_log);
        self.log.extend(left.log);
        if let Some(engine) = left.run {
            self.writer.log(Fact::EngineEnded { engine })?;
        }
        match left.died {
            Some(problem) => Err(BenchError::EngineStart { problem }),
            None => measured,
        }
    }

    fn measure(
        &mut self,
        config: &BenchConfig,
        material: &mut Material,
        served: &Served,
        trial: u32,
        watch: &mut (dyn FnMut(Progress<'_>) + Send),
    ) -> Result<(), BenchError> {
        let target = target(&served.url, config, self.setup.api_key.as_deref())?;
        let mut capabilities = probe::probe(&target, config)?;
        watch(Progress::EngineReady { model: capabilities.model.clone(), url: target.base_url() });
        let built_in = self.sweep.is_none() && config.target.url.is_none();
        let limits = EngineLimits { max_context: capabilities.max_context, built_in };
        material.settle(config, &target, &capabilities, self.setup.tokenizer.as_deref())?;
        let mut plan = scenario::plan(config, limits, &material.profile)?;
        plan.warnings.extend_from_slice(material.warnings());
        capabilities.features.insert("prompt_salt".to_owned(), self.salt.to_string());
        let prompts = Prompts::new(&target, &capabilities, config, self.setup.tokenizer.take(), self.salt)?;
        let begins = !std::mem::replace(&mut self.begun, true);
        let command = match built_in {
            true => Some(vec![self.setup.program.display().to_string(), "serve".to_owned()]),
            false => commands(config)?.into_iter().next(),
        };
        let looked = looked(config, command);
        let machine = begins.then(|| std::thread::spawn(move || fingerprint::look(&looked)));
        let session = Session {
            config,
            target: &target,
            capabilities: &capabilities,
            prompts: &prompts,
            writer: &self.writer,
            clock: self.clock,
            stop: self.stop,
            engine: served.pid().map(Ours::new),
            program: &self.setup.program,
            sensing: Mutex::new(self.sensing.take()),
            machine: Mutex::new(machine),
            failure: Mutex::new(None),
            sharding: None,
        };
        let next_id = &mut self.next_id;
        let outcome = session.with_fingerprint(served.facts(), || {
            let mut client = if begins {
                if let Some(fact) = material.fact() {
                    session.writer.log(fact)?;
                }
                let client = session.begin(&plan, watch)?;
                let points: Vec<PlannedPoint> = plan.points.iter().map(|p| p.planned.clone()).collect();
                session.writer.log(Fact::Plan { points, trials: config.measure.repeats })?;
                session.sense(None)?;
                client
            } else {
                Client::new(&target)?.with_kernel_stamps(session.kernel_stamps()?)
            };
            session.read_beside(|| {
                plan.points.iter().enumerate().try_for_each(|(index, point)| {
                    if session.stop.is_interrupted() || session.engine_is_gone() {
                        return Ok(());
                    }
                    let label = point.planned.label.clone();
                    watch(Progress::Point { index, of: plan.points.len(), label });
                    let index = index as u32;
                    session.warm_up(index, point, &mut client, next_id, watch)?;
                    match session.stop.is_interrupted() || session.engine_is_gone() {
                        true => Ok(()),
                        false => session.trial(index, point, trial, &mut client, next_id, watch, &mut |_| ()),
                    }
                })
            })?;
            session.take_failure()
        });
        self.sensing = session.sensing.into_inner().unwrap_or_else(PoisonError::into_inner);
        self.setup.tokenizer = prompts.into_tokenizer();
        outcome
    }

    /// Writes the last lines and closes the files; the run's folder, and what went wrong.
    pub(crate) fn close(mut self, outcome: Result<(), BenchError>) -> (PathBuf, Option<BenchError>) {
        let path = self.writer.path().to_owned();
        let told = match self.sensing.take() {
            Some(sensing) => sensing.finish(&self.writer, outcome.is_ok() && !self.stop.is_interrupted()),
            None => Ok(()),
        };
        let outcome = outcome.and(told.map_err(BenchError::from));
        let log = (!self.log.is_empty()).then_some(self.log);
        (path, close(self.writer, self.clock, self.stop, outcome, || log).err())
    }
}

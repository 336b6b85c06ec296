//! A benchmark from its settings to a finished run: start, probe, plan, measure, close.

use std::path::{Path, PathBuf};
use std::sync::Mutex;

use stopwatt_core::log::Fact;
use stopwatt_core::metrics_doc::RunStatus;
use stopwatt_core::verdict::BY_SIGNAL;
use stopwatt_core::{Clock, clock};
use stopwatt_load::{Stop, Target};
use stopwatt_record::run_dir::{Create, RunWriter};
use stopwatt_sensor::host;
use stopwatt_serving::workload::Profile;

use super::child::EngineChild;
use super::config::{BenchConfig, ScenarioKind, analysis_settings};
use super::error::BenchError;
use super::find::Find;
use super::material::{self, Material};
use super::probe;
use super::progress::Progress;
use super::prompts::{Prompts, TokenCounter};
use super::resume::Unfinished;
use super::scenario::{self, EngineLimits};
use super::session::{Ours, Session};
use super::shard::Sharding;
use super::sweep::{Sweep, Tools};
use crate::fingerprint::{self, Looked};

/// Context of the built-in engine unless a scenario or setting needs another: 8K of input and room for output.
const BUILT_IN_CONTEXT: u32 = 8192 + 1024;
/// Everything a benchmark needs.
pub struct Setup {
    /// The settings.
    pub config: BenchConfig,
    /// What `config.lock.json` will hold.
    pub config_lock: serde_json::Value,
    /// Where runs live.
    pub root: PathBuf,
    /// The run's own folder; `None` makes one under `root`.
    pub out: Option<PathBuf>,
    /// The API key, for the `Authorization` header only.
    pub api_key: Option<String>,
    /// Counts tokens where the engine does not.
    pub tokenizer: Option<Box<dyn TokenCounter>>,
    /// The program that is started as the built-in engine, and as the guard of others.
    pub program: PathBuf,
    /// An interrupted run to go on from.
    pub resume: Option<Unfinished>,
}

/// A benchmark that came to its end, by itself or by a signal.
#[derive(Debug)]
pub struct Finished {
    /// The run's folder.
    pub path: PathBuf,
}

/// Runs a benchmark. Whatever happens after measuring began leaves a readable run.
pub fn run(
    mut setup: Setup,
    stop: &Stop,
    watch: &mut (dyn FnMut(Progress) + Send),
) -> Result<Finished, BenchError> {
    let profile = load_profile(&setup.config.workload.profile)?;
    let objectives = analysis_settings(&setup.config)?.slos;
    let find = Find::of(&setup.config, objectives)?;
    let sharded = setup.config.load.shard.is_some();
    if sharded && (find.is_some() || setup.resume.is_some() || setup.config.serve.command.is_some()) {
        let problem =
            "a share of a load is measured in one go: no search, no sweep over engines, no resumption";
        return Err(BenchError::Setting { setting: "load.shard", problem: problem.to_owned() });
    }
    match Sweep::of(&setup.config)? {
        None => one_engine(&mut setup, &profile, find.as_ref(), stop, watch),
        Some(_) if find.is_some() => Err(BenchError::Setting {
            setting: "find.load",
            problem: "a search measures one engine; start it first and give its --url".to_owned(),
        }),
        Some(sweep) => every_engine(&mut setup, &sweep, &profile, stop, watch),
    }
}

/// What of an engine can be looked at on this machine; `command` starts it.
pub fn looked(config: &BenchConfig, command: Option<Vec<String>>) -> Looked {
    Looked {
        command: command.ok_or_else(|| "the engine was not started by Stopwatt".to_owned()),
        inputs: config.declared_input(),
    }
}

/// Measures an engine that runs, or the built-in one.
fn one_engine(
    setup: &mut Setup,
    profile: &Profile,
    find: Option<&Find>,
    stop: &Stop,
    watch: &mut (dyn FnMut(Progress) + Send),
) -> Result<Finished, BenchError> {
    let config = &setup.config;
    let mut material = Material::load(config, profile.clone())?;
    let mut sharding = Sharding::read(config)?;
    let config = &material::with_endpoint(config, &material)?;
    // Planning without an engine first, so that a wrong setting is told before anything is started.
    let built_in = config.target.url.is_none();
    let early = EngineLimits {
        max_context: built_in.then(|| built_in_context(config).max(material.longest())),
        built_in,
    };
    scenario::plan(config, early, &material.profile)?;

    // Gathered beside starting and probing the engine, so that the first request does not wait for it.
    let own = built_in.then(|| vec![setup.program.display().to_string(), "serve".to_owned()]);
    let looked = looked(config, own);
    let machine = std::thread::spawn(move || fingerprint::look(&looked));
    let child = match &config.target.url {
        Some(_) => None,
        None => {
            watch(Progress::EngineStarting);
            Some(EngineChild::start(
                &setup.program,
                &config.engine,
                built_in_context(config).max(material.longest()),
                config.record.keep_engine_log,
            )?)
        }
    };
    let url =
        child.as_ref().map_or_else(|| config.target.url.clone().unwrap_or_default(), |c| c.ready.url.clone());
    let target = target(&url, config, setup.api_key.as_deref())?;
    let mut capabilities = probe::probe(&target, config)?;
    watch(Progress::EngineReady { model: capabilities.model.clone(), url: target.base_url() });
    let limits = EngineLimits { max_context: capabilities.max_context, built_in };
    material.settle(config, &target, &capabilities, setup.tokenizer.as_deref())?;
    let mut plan = scenario::plan(config, limits, &material.profile)?;
    plan.warnings.extend_from_slice(material.warnings());
    let clock = setup.resume.as_ref().map_or_else(Clock::start, Unfinished::clock);
    if let Some(sharding) = &mut sharding {
        sharding.divide(&mut plan, config, clock)?;
    }
    // A run that goes on with the clock of another still has prompts of its own.
    let own = sharding.as_ref().map_or_else(|| clock::unix_now().unsigned_abs(), Sharding::salt);
    let salt = config.workload.salt.unwrap_or(own);
    capabilities.features.insert("prompt_salt".to_owned(), salt.to_string());
    let prompts = Prompts::new(&target, &capabilities, config, setup.tokenizer.take(), salt)?;
    let writer = create(setup, clock)?;
    let session = Session {
        config,
        target: &target,
        capabilities: &capabilities,
        prompts: &prompts,
        writer: &writer,
        clock,
        stop,
        engine: child.as_ref().map(|c| Ours::new(c.pid())),
        program: &setup.program,
        sensing: Mutex::new(None),
        machine: Mutex::new(Some(machine)),
        failure: Mutex::new(None),
        sharding: sharding.as_ref(),
    };
    if let Some(fact) = material.fact() {
        writer.log(fact)?;
    }
    let facts = child.as_ref().map(|c| &c.ready.facts);
    let outcome = session.with_fingerprint(facts, || match find {
        Some(find) => session.find(find, &plan, limits, watch),
        None => session.measure(&plan, setup.resume.as_ref(), watch),
    });
    let log = || child.and_then(EngineChild::into_log);
    close(writer, clock, stop, outcome, log)
}

/// Starts, measures and ends an engine for each of its settings.
fn every_engine(
    setup: &mut Setup,
    sweep: &Sweep,
    profile: &Profile,
    stop: &Stop,
    watch: &mut (dyn FnMut(Progress) + Send),
) -> Result<Finished, BenchError> {
    scenario::plan(&sweep.config, EngineLimits::default(), profile)?;
    let done = setup.resume.take();
    let clock = done.as_ref().map_or_else(Clock::start, Unfinished::clock);
    let writer = create(setup, clock)?;
    let mut tools = Tools { setup, profile, writer: &writer, clock, stop, done: done.as_ref() };
    let outcome = sweep.run(&mut tools, watch);
    close(writer, clock, stop, outcome, || None)
}

pub(super) fn create(setup: &Setup, clock: Clock) -> Result<RunWriter, BenchError> {
    let create = Create {
        root: setup.root.clone(),
        out: setup.out.clone(),
        name: "bench".to_owned(),
        clock,
        keep_chunks: setup.config.record.chunks,
    };
    Ok(RunWriter::create(create, &setup.config_lock)?)
}

/// Writes the last line and closes the files. The first failure is the one to tell; closing still does what it can.
pub(super) fn close(
    writer: RunWriter,
    clock: Clock,
    stop: &Stop,
    outcome: Result<(), BenchError>,
    engine_log: impl FnOnce() -> Option<String>,
) -> Result<Finished, BenchError> {
    let path = writer.path().to_owned();
    let (status, reason) = match &outcome {
        Ok(()) if stop.is_interrupted() => (RunStatus::Incomplete, Some(BY_SIGNAL.to_owned())),
        Ok(()) => (RunStatus::Complete, None),
        Err(error) => (RunStatus::Incomplete, Some(error.to_string())),
    };
    let ended = Fact::RunEnded {
        status,
        reason,
        client_rss_bytes: host::own_peak_rss_bytes(),
        wall_drift_ns: clock.wall_drift(),
    };
    let logged = writer.log(ended);
    if let Some(text) = engine_log() {
        writer.write_file("engine.log", text.as_bytes())?;
    }
    let finished = writer.finish();
    outcome?;
    logged?;
    finished?;
    Ok(Finished { path })
}

/// A built-in profile by name, or one from a file.
pub(super) fn load_profile(name: &str) -> Result<Profile, BenchError> {
    let path = Path::new(name);
    if path.extension().is_some() || path.exists() {
        return stopwatt_record::config::read_file(path)
            .map_err(|source| BenchError::WorkloadFile { source });
    }
    Profile::built_in(name).map_err(|source| BenchError::Profile { source })
}

/// Context to start the built-in engine with: what was asked for, else what the longest listed input needs.
pub(super) fn built_in_context(config: &BenchConfig) -> u32 {
    if let Some(tokens) = config.engine.max_context {
        return tokens;
    }
    let output = |text: &str| text.parse::<stopwatt_serving::workload::Length>().map_or(0, |l| l.bounds().1);
    let longest = config
        .workload
        .inputs
        .iter()
        .copied()
        .max()
        .unwrap_or(0)
        .max(config.workload.input.as_deref().map_or(0, output));
    let asked = longest.saturating_add(config.workload.output.as_deref().map_or(512, output));
    let guide = if config.scenario == ScenarioKind::Guide { 8192 + 512 } else { 0 };
    BUILT_IN_CONTEXT.max(asked).max(guide)
}

pub(crate) fn target(url: &str, config: &BenchConfig, key: Option<&str>) -> Result<Target, BenchError> {
    let mut target = Target::parse(url)?;
    for header in &config.target.headers {
        let (name, value) = header.split_once(':').ok_or_else(|| BenchError::Setting {
            setting: "target.headers",
            problem: "write each header as `Name: value`".to_owned(),
        })?;
        target = target.with_header(name.trim(), value)?;
    }
    if let Some(key) = key {
        target = target.with_api_key(key)?;
    }
    if let Some(file) = &config.target.ca_cert {
        let pem = std::fs::read(file).map_err(|e| BenchError::Setting {
            setting: "target.ca_cert",
            problem: format!("cannot read the file: {e}"),
        })?;
        target = target.with_ca_cert(&pem)?;
    }
    Ok(target)
}

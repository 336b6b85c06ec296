//! An engine for a while: one that runs elsewhere, the built-in one, or one that a command starts behind its guard.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

use stopwatt_core::Nanos;
use stopwatt_core::clock::monotonic_raw;
use stopwatt_core::engine_run::{EngineCause, EngineOutcome, EngineRun};
use stopwatt_load::Stop;

use super::child::EngineChild;
use super::config::BenchConfig;
use super::error::BenchError;
use super::launch::{Engine, PORT, free_port};
use super::probe;
use super::run::{built_in_context, target};
use super::stretch::nanos;
use super::sweep::Sweep;

/// How often a starting engine is asked.
const ASK_EVERY: Duration = Duration::from_millis(200);

/// An engine that answers.
#[derive(Debug)]
pub(super) struct Served {
    /// Its address.
    pub(super) url: String,
    running: Running,
    /// Seconds from its start to its first token; `None` where it ran already.
    ready_s: Option<f64>,
}

#[derive(Debug)]
enum Running {
    Elsewhere,
    BuiltIn(EngineChild),
    Started(Engine),
}

/// What is left of an engine that was ended.
#[derive(Debug, Default)]
pub(super) struct Left {
    /// What became of it, where a command started it.
    pub(super) run: Option<EngineRun>,
    /// The end of its log, where that is kept.
    pub(super) log: Option<String>,
    /// It ended by itself.
    pub(super) died: Option<String>,
}

/// The one engine that the settings name; more than one is a sweep.
///
/// # Errors
/// Settings that make no sense, or that name several engines.
pub(super) fn only_engine(config: &BenchConfig) -> Result<Option<Sweep>, BenchError> {
    match Sweep::of(config)? {
        Some(sweep) if sweep.engines.len() != 1 => {
            let problem = format!("{} engines are named where one is measured", sweep.engines.len());
            Err(BenchError::Setting { setting: "serve.sweep", problem })
        }
        other => Ok(other),
    }
}

impl Served {
    /// Starts it, when it does not run already, and waits for its first token.
    pub(super) fn start(
        config: &BenchConfig,
        sweep: Option<&Sweep>,
        program: &Path,
        api_key: Option<&str>,
        context: u32,
        stop: &Stop,
    ) -> Result<Self, BenchError> {
        if let Some(sweep) = sweep {
            return Self::of_command(config, sweep, program, api_key, stop);
        }
        if let Some(url) = &config.target.url {
            return Ok(Self { url: url.clone(), running: Running::Elsewhere, ready_s: None });
        }
        let child = EngineChild::start(program, &config.engine, context, config.record.keep_engine_log)?;
        Ok(Self { url: child.ready.url.clone(), running: Running::BuiltIn(child), ready_s: None })
    }

    fn of_command(
        config: &BenchConfig,
        sweep: &Sweep,
        program: &Path,
        api_key: Option<&str>,
        stop: &Stop,
    ) -> Result<Self, BenchError> {
        let port = free_port()?;
        let mut settings = sweep.engines[0].clone();
        settings.insert(PORT.to_owned(), port.to_string());
        let started = monotonic_raw();
        let mut engine = Engine::start(program, &sweep.command.fill(&settings))?;
        let url = format!("http://{}:{port}", Ipv4Addr::LOCALHOST);
        match ready(&mut engine, &url, config, api_key, stop, started) {
            Ok(()) => {
                let ready_s = Some((monotonic_raw() - started) as f64 * 1e-9);
                Ok(Self { url, running: Running::Started(engine), ready_s })
            }
            Err(outcome) => {
                let exit = engine.ended().map(|e| format!(" ({e})")).unwrap_or_default();
                let problem = match (outcome, engine.end().cause()) {
                    (EngineOutcome::Interrupted, _) => "interrupted by a signal".to_owned(),
                    (EngineOutcome::NotReady, _) => {
                        format!("it gave no token within {} s", config.serve.ready_s)
                    }
                    (_, EngineCause::Other) => format!("it ended before it answered{exit}"),
                    (_, cause) => format!("it ended before it answered{exit}: {}", word(cause)),
                };
                Err(BenchError::EngineStart { problem })
            }
        }
    }

    /// Its process, when it is ours.
    pub(super) fn pid(&self) -> Option<u32> {
        match &self.running {
            Running::Elsewhere => None,
            Running::BuiltIn(child) => Some(child.pid()),
            Running::Started(engine) => Some(engine.pid()),
        }
    }

    /// What it says of itself.
    pub(super) fn facts(&self) -> Option<&BTreeMap<String, String>> {
        match &self.running {
            Running::BuiltIn(child) => Some(&child.ready.facts),
            Running::Elsewhere | Running::Started(_) => None,
        }
    }

    /// Ends it, when it is ours.
    pub(super) fn end(self, keep_log: bool) -> Left {
        match self.running {
            Running::Elsewhere => Left::default(),
            Running::BuiltIn(child) => Left { log: child.into_log(), ..Left::default() },
            Running::Started(mut engine) => {
                // What an engine did by itself, it did before it is asked to end.
                let exit = engine.ended();
                let log = engine.end();
                let run = EngineRun {
                    settings: BTreeMap::new(),
                    outcome: if exit.is_some() { EngineOutcome::Died } else { EngineOutcome::Measured },
                    ready_s: self.ready_s,
                    exit: exit.map(|e| e.to_string()),
                    cause: exit.map(|_| log.cause()),
                    detail: None,
                    log: log.stored(keep_log),
                };
                let died =
                    exit.map(|e| format!("it ended while it was measured ({e}): {}", word(log.cause())));
                Left { run: Some(run), log: keep_log.then(|| log.text()), died }
            }
        }
    }
}

const fn word(cause: EngineCause) -> &'static str {
    match cause {
        EngineCause::Oom => "out of memory",
        EngineCause::Port => "its port was taken",
        EngineCause::Model => "the model cannot be read",
        EngineCause::Arguments => "it does not take an argument",
        EngineCause::Other => "its log may say why (--keep-engine-log)",
    }
}

/// Waits for health and a first token of an engine that was started.
pub(super) fn ready(
    engine: &mut Engine,
    url: &str,
    config: &BenchConfig,
    api_key: Option<&str>,
    stop: &Stop,
    started: Nanos,
) -> Result<(), EngineOutcome> {
    let until = started + nanos(config.serve.ready_s);
    let target = target(url, config, api_key).map_err(|_| EngineOutcome::NotReady)?;
    loop {
        if engine.ended().is_some() {
            return Err(EngineOutcome::Died);
        }
        if stop.is_interrupted() {
            return Err(EngineOutcome::Interrupted);
        }
        if probe::gives_a_token(&target, config) {
            return Ok(());
        }
        if monotonic_raw() >= until {
            return Err(EngineOutcome::NotReady);
        }
        std::thread::sleep(ASK_EVERY);
    }
}

/// Does `work` with the address of an engine, which is started before and ended after it unless it runs already.
///
/// # Errors
/// The engine cannot be started.
pub(crate) fn with_engine<T>(
    config: &BenchConfig,
    program: &Path,
    api_key: Option<&str>,
    stop: &Stop,
    work: impl FnOnce(&str) -> T,
) -> Result<T, BenchError> {
    let sweep = only_engine(config)?;
    let served = Served::start(config, sweep.as_ref(), program, api_key, built_in_context(config), stop)?;
    let done = work(&served.url);
    served.end(false);
    Ok(done)
}

//! A sweep over settings of the engine itself: it is started, measured and ended once for each of them.
//!
//! Engines come in random order, so that a machine that warms up or is shared does not favour the last; the points of
//! one engine come in random order too, and all of them before it is ended. One seed gives one order. An engine that
//! dies is a result: it stands in the record with how it ended.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Mutex;

use stopwatt_core::Clock;
use stopwatt_core::clock::monotonic_raw;
use stopwatt_core::engine_run::{EngineCause, EngineLog, EngineOutcome, EngineRun};
use stopwatt_core::log::{Fact, PlannedPoint};
use stopwatt_load::Stop;
use stopwatt_record::run_dir::RunWriter;
use stopwatt_serving::workload::Profile;

use super::config::BenchConfig;
use super::error::BenchError;
use super::launch::{CommandTemplate, Engine, Log, PORT, free_port};
use super::material::Material;
use super::probe;
use super::progress::Progress;
use super::prompts::Prompts;
use super::resume::Unfinished;
use super::run::{Setup, looked, target};
use super::scenario::{self, EngineLimits, PointPlan};
use super::serving::ready;
use super::session::{Ours, Session};

/// Settings that the client varies, on an engine that goes on running.
const OF_CLIENT: [&str; 3] = ["concurrency", "rate", "input"];

/// What to start, with which settings.
#[derive(Debug)]
pub(super) struct Sweep {
    pub(super) command: CommandTemplate,
    /// Settings of the engine in random order.
    pub(super) engines: Vec<BTreeMap<String, String>>,
    /// The settings with what the client varies in its place.
    pub(super) config: BenchConfig,
}

/// What a sweep works with.
pub(super) struct Tools<'a> {
    pub(super) setup: &'a mut Setup,
    pub(super) profile: &'a Profile,
    pub(super) writer: &'a RunWriter,
    pub(super) clock: Clock,
    pub(super) stop: &'a Stop,
    pub(super) done: Option<&'a Unfinished>,
}

/// The commands that a sweep would start, in order, with `PORT` in place of the port; empty when there is no command.
///
/// # Errors
/// A command or a setting that makes no sense.
pub fn commands(config: &BenchConfig) -> Result<Vec<Vec<String>>, BenchError> {
    let Some(sweep) = Sweep::of(config)? else { return Ok(Vec::new()) };
    let port = (PORT.to_owned(), "PORT".to_owned());
    let fill = |engine: &BTreeMap<String, String>| {
        sweep.command.fill(&engine.clone().into_iter().chain([port.clone()]).collect())
    };
    Ok(sweep.engines.iter().map(fill).collect())
}

impl Sweep {
    /// The sweep that is asked for; `None` when no engine is to be started.
    pub(super) fn of(config: &BenchConfig) -> Result<Option<Self>, BenchError> {
        let refuse = |problem: String| Err(BenchError::Setting { setting: "serve.sweep", problem });
        let serve = &config.serve;
        let Some(command) = &serve.command else {
            return match serve.sweep.is_empty() {
                true => Ok(None),
                false => refuse("settings of an engine need its command (--serve-cmd)".to_owned()),
            };
        };
        let command = CommandTemplate::parse(command)?;
        if config.target.url.is_some() {
            let problem = "an engine that is started here has no --url; leave one of them out".to_owned();
            return Err(BenchError::Setting { setting: "serve.command", problem });
        }
        if !(serve.ready_s > 0.0 && serve.ready_s < 1e7) {
            let problem = "a time must be positive and below 10,000,000 seconds".to_owned();
            return Err(BenchError::Setting { setting: "serve.ready_s", problem });
        }
        let mut config = config.clone();
        let mut axes: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let mut seen: Vec<String> = Vec::new();
        for text in &serve.sweep {
            let (name, values) = match axis(text) {
                Ok(axis) => axis,
                Err(problem) => return refuse(problem),
            };
            if seen.contains(&name) {
                return refuse(format!("`{name}` is swept twice"));
            }
            seen.push(name.clone());
            let in_command = command.names().contains(&name) && name != PORT;
            match OF_CLIENT.contains(&name.as_str()) {
                false if in_command => drop(axes.insert(name, values)),
                true if !in_command => client_axis(&mut config, &name, &values)?,
                true => {
                    return refuse(format!(
                        "`{name}` is a setting of the client; rename the place in the command"
                    ));
                }
                false => {
                    let places = OF_CLIENT.join(", ");
                    return refuse(format!("`{name}` is no place in the command, and none of {places}"));
                }
            }
        }
        if let Some(empty) = command.names().into_iter().find(|n| n != PORT && !axes.contains_key(n)) {
            return refuse(format!(
                "the place `{{{empty}}}` of the command has no value; add --sweep {empty}=…"
            ));
        }
        let mut engines = vec![BTreeMap::new()];
        for (name, values) in &axes {
            engines = engines
                .iter()
                .flat_map(|engine: &BTreeMap<String, String>| {
                    values.iter().map(|value| {
                        let mut engine = engine.clone();
                        engine.insert(name.clone(), value.clone());
                        engine
                    })
                })
                .collect();
        }
        shuffle(&mut engines, config.seed);
        Ok(Some(Self { command, engines, config }))
    }

    /// Starts, measures and ends every engine.
    pub(super) fn run(
        &self,
        tools: &mut Tools<'_>,
        watch: &mut (dyn FnMut(Progress) + Send),
    ) -> Result<(), BenchError> {
        let mut points = tools.done.map_or_else(Vec::new, |done| done.plan().to_vec());
        let mut next_id = match tools.done {
            Some(done) => done.copy(tools.writer)?,
            None => 0,
        };
        for (place, settings) in self.engines.iter().enumerate() {
            if tools.stop.is_interrupted() {
                return Ok(());
            }
            if tools.done.is_some_and(|done| done.engine_is_done(settings)) {
                continue;
            }
            let label = name_of(settings);
            watch(Progress::Engine { index: place, of: self.engines.len(), label });
            let engine = self.one(tools, settings, &mut points, &mut next_id, watch)?;
            watch(Progress::EngineEnded(engine.clone()));
            tools.writer.log(Fact::EngineEnded { engine })?;
        }
        Ok(())
    }

    /// One engine, from its start to its end.
    fn one(
        &self,
        tools: &mut Tools<'_>,
        settings: &BTreeMap<String, String>,
        points: &mut Vec<PlannedPoint>,
        next_id: &mut u64,
        watch: &mut (dyn FnMut(Progress) + Send),
    ) -> Result<EngineRun, BenchError> {
        let keep = self.config.record.keep_engine_log;
        let mut result = EngineRun {
            settings: settings.clone(),
            outcome: EngineOutcome::Died,
            ready_s: None,
            exit: None,
            cause: None,
            detail: None,
            log: EngineLog::default(),
        };
        let port = free_port()?;
        let mut filled = settings.clone();
        filled.insert(PORT.to_owned(), port.to_string());
        let started = monotonic_raw();
        let mut engine = match Engine::start(&tools.setup.program, &self.command.fill(&filled)) {
            Ok(engine) => engine,
            Err(error) => {
                result.detail = Some(error.to_string());
                return Ok(result);
            }
        };
        let url = format!("http://{}:{port}", Ipv4Addr::LOCALHOST);
        let key = tools.setup.api_key.as_deref();
        let outcome = match ready(&mut engine, &url, &self.config, key, tools.stop, started) {
            Ok(()) => {
                result.ready_s = Some((monotonic_raw() - started) as f64 * 1e-9);
                self.measure(tools, &engine, &url, settings, points, next_id, watch)
            }
            Err(outcome) => Ok(outcome),
        };
        // What an engine did by itself, it did before it is asked to end.
        let exit = engine.ended();
        let log = engine.end();
        if let Some(exit) = exit {
            result.exit = Some(exit.to_string());
            result.cause = Some(log.cause());
        }
        self.keep(tools, settings, &log, keep)?;
        result.log = log.stored(keep);
        match outcome {
            _ if exit.is_some() => result.outcome = EngineOutcome::Died,
            Ok(outcome) => result.outcome = outcome,
            // The record itself is at risk: nothing more can be measured.
            Err(error @ (BenchError::Record { .. } | BenchError::Load { .. })) => return Err(error),
            Err(error) => (result.outcome, result.detail) = (EngineOutcome::Refused, Some(error.to_string())),
        }
        if result.outcome == EngineOutcome::NotReady && log.cause() != EngineCause::Other {
            result.cause = Some(log.cause());
        }
        Ok(result)
    }

    /// Measures every point on an engine that answers.
    fn measure(
        &self,
        tools: &mut Tools<'_>,
        engine: &Engine,
        url: &str,
        settings: &BTreeMap<String, String>,
        points: &mut Vec<PlannedPoint>,
        next_id: &mut u64,
        watch: &mut (dyn FnMut(Progress) + Send),
    ) -> Result<EngineOutcome, BenchError> {
        let config = &self.config;
        let target = target(url, config, tools.setup.api_key.as_deref())?;
        let mut capabilities = probe::probe(&target, config)?;
        watch(Progress::EngineReady { model: capabilities.model.clone(), url: target.base_url() });
        let limits = EngineLimits { max_context: capabilities.max_context, built_in: false };
        let mut material = Material::load(config, tools.profile.clone())?;
        material.settle(config, &target, &capabilities, tools.setup.tokenizer.as_deref())?;
        let mut plan = scenario::plan(config, limits, &material.profile)?;
        plan.warnings.extend_from_slice(material.warnings());
        // One seed for each engine, so that no two measure in the same order.
        let seed = settings.iter().flat_map(|(k, v)| [k, v]).fold(config.seed, |seed, text| mix(seed, text));
        shuffle(&mut plan.points, seed);
        let salt = config.workload.salt.unwrap_or_else(|| stopwatt_core::clock::unix_now().unsigned_abs());
        capabilities.features.insert("prompt_salt".to_owned(), salt.to_string());
        let program = tools.setup.program.clone();
        let prompts = Prompts::new(&target, &capabilities, config, tools.setup.tokenizer.take(), salt)?;
        let command = commands(config).ok().and_then(|all| all.into_iter().next());
        let looked = looked(config, command);
        let session = Session {
            config,
            target: &target,
            capabilities: &capabilities,
            prompts: &prompts,
            writer: tools.writer,
            clock: tools.clock,
            stop: tools.stop,
            engine: Some(Ours::new(engine.pid())),
            program: &program,
            sensing: Mutex::new(None),
            machine: Mutex::new(Some(std::thread::spawn(move || crate::fingerprint::look(&looked)))),
            failure: Mutex::new(None),
            sharding: None,
        };
        if let Some(fact) = material.fact() {
            tools.writer.log(fact)?;
        }
        let mut client = session.begin(&plan, watch)?;
        let placed: Vec<(usize, PointPlan)> = plan
            .points
            .into_iter()
            .map(|mut point| {
                point.planned.engine_settings.clone_from(settings);
                if !settings.is_empty() {
                    point.planned.label = format!("{} {}", name_of(settings), point.planned.label);
                }
                let known = points.iter().position(|p| *p == point.planned);
                let index = known.unwrap_or_else(|| {
                    points.push(point.planned.clone());
                    points.len() - 1
                });
                (index, point)
            })
            .collect();
        tools.writer.log(Fact::Plan { points: points.clone(), trials: config.measure.repeats })?;
        session.with_fingerprint(None, || {
            session.watched(|| {
                placed.iter().enumerate().try_for_each(|(place, (index, point))| {
                    let finished = tools.done.is_some_and(|d| d.finished(*index as u32, &point.planned));
                    if tools.stop.is_interrupted() || session.engine_is_gone() || finished {
                        return Ok(());
                    }
                    watch(Progress::Point {
                        index: place,
                        of: placed.len(),
                        label: point.planned.label.clone(),
                    });
                    session.point(*index as u32, point, &mut client, next_id, watch)
                })
            })
        })?;
        session.take_failure()?;
        tools.setup.tokenizer = prompts.into_tokenizer();
        Ok(if tools.stop.is_interrupted() { EngineOutcome::Interrupted } else { EngineOutcome::Measured })
    }

    /// Leaves the end of the log in the run, when that was asked for.
    fn keep(
        &self,
        tools: &Tools<'_>,
        settings: &BTreeMap<String, String>,
        log: &Log,
        keep: bool,
    ) -> Result<(), BenchError> {
        if !keep {
            return Ok(());
        }
        let plain = |c: char| if c.is_ascii_alphanumeric() || "=.-_".contains(c) { c } else { '_' };
        let name: String = name_of(settings).chars().map(plain).take(100).collect();
        let name = if name.is_empty() { "engine.log".to_owned() } else { format!("engine-{name}.log") };
        Ok(tools.writer.write_file(&name, log.text().as_bytes())?)
    }
}

/// `util=0.7 seqs=8`.
fn name_of(settings: &BTreeMap<String, String>) -> String {
    settings.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" ")
}

/// `util=0.7,0.8` as a name and its values.
fn axis(text: &str) -> Result<(String, Vec<String>), String> {
    let shape = || format!("`{text}` is not of the form NAME=VALUE,VALUE…");
    let (name, values) = text.split_once('=').ok_or_else(shape)?;
    let values: Vec<String> = values.split(',').map(|v| v.trim().to_owned()).collect();
    if name.trim().is_empty() || values.iter().any(String::is_empty) {
        return Err(shape());
    }
    let twice = values.iter().enumerate().find(|(i, v)| values[..*i].contains(v));
    match twice {
        Some((_, value)) => Err(format!("`{}` has the value `{value}` twice", name.trim())),
        None => Ok((name.trim().to_owned(), values)),
    }
}

/// Puts what the client varies where the scenarios look for it.
fn client_axis(config: &mut BenchConfig, name: &str, values: &[String]) -> Result<(), BenchError> {
    fn numbers<T: std::str::FromStr>(name: &str, values: &[String]) -> Result<Vec<T>, BenchError> {
        let number = |v: &String| {
            v.parse().map_err(|_| BenchError::Setting {
                setting: "serve.sweep",
                problem: format!("`{name}={v}`: `{v}` is not a number that fits"),
            })
        };
        values.iter().map(number).collect()
    }
    let (taken, flag) = match name {
        "concurrency" => (!config.load.concurrency.is_empty(), "--concurrency"),
        "rate" => (!config.load.rate.is_empty(), "--rate"),
        _ => (!config.workload.inputs.is_empty() || config.workload.input.is_some(), "--input"),
    };
    if taken {
        let problem = format!("`{name}` is given by {flag} too; keep one of them");
        return Err(BenchError::Setting { setting: "serve.sweep", problem });
    }
    match name {
        "concurrency" => config.load.concurrency = numbers(name, values)?,
        "rate" => config.load.rate = numbers(name, values)?,
        _ => config.workload.inputs = numbers(name, values)?,
    }
    Ok(())
}

/// Fisher and Yates with SplitMix64: one seed gives one order on every platform.
fn shuffle<T>(items: &mut [T], seed: u64) {
    let mut state = seed;
    for i in (1..items.len()).rev() {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let j = (scramble(state) % (i as u64 + 1)) as usize;
        items.swap(i, j);
    }
}

fn scramble(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn mix(seed: u64, text: &str) -> u64 {
    text.bytes().fold(seed, |seed, byte| scramble(seed ^ u64::from(byte).wrapping_add(0x9e37_79b9_7f4a_7c15)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sweep(command: &str, axes: &[&str]) -> Result<Option<Sweep>, BenchError> {
        let mut config = BenchConfig::default();
        config.serve.command = Some(command.to_owned());
        config.serve.sweep = axes.iter().map(|a| (*a).to_owned()).collect();
        Sweep::of(&config)
    }

    const COMMAND: &str = "serve --port {port} --util {util} --seqs {seqs}";

    #[test]
    fn engines_are_the_product_of_their_settings_in_seeded_order() {
        let of = || {
            sweep(COMMAND, &["util=0.7,0.8,0.9", "seqs=1,2", "concurrency=1,4", "input=64,128"])
                .unwrap()
                .unwrap()
        };
        let sweep = of();
        assert_eq!(sweep.engines.len(), 6);
        assert_eq!(sweep.engines.iter().collect::<std::collections::BTreeSet<_>>().len(), 6);
        assert_eq!(of().engines, sweep.engines);
        let mut config = sweep.config.clone();
        assert_eq!((config.load.concurrency.len(), config.workload.inputs.len()), (2, 2));
        let orders: std::collections::BTreeSet<Vec<Vec<String>>> = (0..8)
            .map(|seed| {
                config = BenchConfig { seed, serve: sweep.config.serve.clone(), ..BenchConfig::default() };
                commands(&config).unwrap()
            })
            .collect();
        assert!(orders.len() > 4, "seeds hardly change the order");
        assert!(orders.iter().flatten().all(|c| c[..3] == ["serve", "--port", "PORT"] && c.len() == 7));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let refused =
            |command: &str, axes: &[&str]| matches!(sweep(command, axes), Err(BenchError::Setting { .. }));
        assert!(!refused(COMMAND, &["util=0.7", "seqs=1"]));
        assert!(refused(COMMAND, &["util=0.7"]), "a place without a value");
        assert!(refused(COMMAND, &["util=0.7", "seqs=1", "seqs=2"]), "twice");
        assert!(refused(COMMAND, &["util=0.7,0.7", "seqs=1"]), "the same value twice");
        assert!(refused(COMMAND, &["util=0.7", "seqs=1", "heads=3"]), "no such place");
        assert!(refused(COMMAND, &["util=0.7", "seqs=1", "port=1"]), "the port is ours");
        assert!(refused(COMMAND, &["util=0.7", "seqs="]) && refused(COMMAND, &["util", "seqs=1"]));
        assert!(refused(COMMAND, &["util=0.7", "seqs=1", "concurrency=many"]));
        assert!(refused("serve", &[]), "no port");
        assert!(refused("serve {port} {input}", &["input=1"]), "a name of the client");
        let mut config = BenchConfig::default();
        config.serve.sweep = vec!["util=1".to_owned()];
        assert!(matches!(Sweep::of(&config), Err(BenchError::Setting { .. })));
        assert!(Sweep::of(&BenchConfig::default()).unwrap().is_none());
    }
}

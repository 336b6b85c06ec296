//! `stopwatt reproduce`: a run measured again from its locked settings, and whether it came out again.

use std::io::{IsTerminal as _, Write};
use std::path::PathBuf;

use anyhow::anyhow;
use clap::Args;
use serde_json::{Value, json};
use stopwatt_analyse::compare::{Facts, Options, Side};
use stopwatt_analyse::reproduction::{self, Told};
use stopwatt_core::fingerprint::Fingerprint;
use stopwatt_core::log::Fact;
use stopwatt_core::metrics_doc::RunStatus;
use stopwatt_core::reproduction::{Reproduced, ReproductionDoc};
use stopwatt_experiment::bench::{self as benchmark, BenchConfig, Stop};
use stopwatt_experiment::fingerprint::{self, Looked};
use stopwatt_experiment::sop::{self, SopConfig, TargetKind};
use stopwatt_record::catalogue;
use stopwatt_record::config::{Locked, Resolved, environment};
use stopwatt_record::run_dir::Run;
use stopwatt_report::{ANALYSIS_KEY, Analysed};

use super::compare::{parse_level, parse_percent};
use super::gpu_settings::GpuFlags;
use super::pair::PRIMARY;
use super::procedure::{self, program};
use super::run::What;
use super::{Failure, Format, Language, bench, run as runs};
use crate::exit::Outcome;
use crate::progress::Progress;

/// Name of the result in the new run.
const REPRODUCTION: &str = "reproduction.json";

/// Measure a run again from its locked settings, and say whether it came out again
///
/// Takes every setting from config.lock.json of the run and nothing from elsewhere, measures as `run`, `pair` or `bench`
/// did, and compares: reproduced when the change is within the margin with confidence, not reproduced when it is as a
/// whole beyond. Says in which fields of the environment the two runs differ. Commands are printed, and run only with
/// --allow-commands; secrets that the lock does not hold come from the environment. Exit codes: 0 reproduced,
/// 10 not reproduced, 11 inconclusive.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  stopwatt reproduce latest --dry-run
  stopwatt reproduce ./runs/linear --allow-commands --out again
  stopwatt reproduce 20261122-061530 --url http://127.0.0.1:8000 --margin 2%")]
pub(crate) struct ReproduceArgs {
    /// Run to repeat: an id, the begin of one, a tag, a path, or `latest`
    #[arg(value_name = "RUN")]
    run: String,
    /// Run the commands that stand in the run
    #[arg(long)]
    allow_commands: bool,
    /// Address of the engine, where it is another one now
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// Print what would be measured, what must be given, and how this machine differs, and stop
    #[arg(long)]
    dry_run: bool,
    /// Change that counts as the same, for instance 5%
    #[arg(long, value_name = "PERCENT", value_parser = parse_percent, default_value = "5%")]
    margin: f64,
    /// Confidence level of the intervals
    #[arg(long, value_name = "LEVEL", value_parser = parse_level, default_value = "0.95")]
    level: f64,
    /// Folder of the new run, also as file:///DIR; it must not exist or be empty [default: stopwatt-runs/ID]
    #[arg(long, value_name = "DIR", value_parser = super::place::folder)]
    out: Option<PathBuf>,
    /// How to print the result
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// Language of the result
    #[arg(long, value_enum, default_value_t)]
    lang: Language,
    /// No progress on stderr
    #[arg(long, short)]
    quiet: bool,
}

/// Runs the command.
pub(crate) fn run(args: &ReproduceArgs, out: &mut dyn Write) -> anyhow::Result<Outcome> {
    let original = Original::open(&args.run)?;
    let work = original.work(args.url.as_deref())?;
    let missing = original.missing(&work);
    let commands = work.commands()?;
    if args.dry_run {
        write!(out, "{}", work.dry_run())?;
        for command in &commands {
            writeln!(out, "command: {command}")?;
        }
        for name in &missing {
            writeln!(out, "needs the environment variable {name}")?;
        }
        let here = fingerprint::look(&work.looked()?);
        for d in reproduction::fingerprints(original.machine().as_ref(), Some(&here)) {
            let side = |v: Option<String>| v.unwrap_or_else(|| "-".to_owned());
            writeln!(out, "differs: {}: {} → {}", d.field, side(d.original), side(d.now))?;
        }
        return Ok(Outcome::Done);
    }
    if !missing.is_empty() {
        let problem = anyhow!("the run was made with secrets that it does not hold: {}", missing.join(", "));
        return Err(Failure::new(Outcome::Configuration, problem)
            .hint(
                "export these variables with the whole value of the setting; several headers as a JSON list",
            )
            .into());
    }
    for command in &commands {
        eprintln!("command: {command}");
    }
    if !commands.is_empty() && !args.allow_commands {
        let problem = anyhow!("the run starts a command");
        return Err(Failure::new(Outcome::Configuration, problem)
            .hint("look at the command above; add --allow-commands to run it")
            .into());
    }
    let (new, signal) = work.measure(&original, args)?;
    if let Some(outcome) = signal {
        return Ok(outcome);
    }
    let doc = judge(&original, &new, work.primary(), args)?;
    let mut text = serde_json::to_vec_pretty(&doc)?;
    text.push(b'\n');
    Run::open(&new)?.write_file(REPRODUCTION, &text)?;
    print(&doc, args, out)?;
    Ok(match doc.verdict {
        Reproduced::Reproduced => Outcome::Done,
        Reproduced::NotReproduced => Outcome::GateFailed,
        Reproduced::Inconclusive => Outcome::Inconclusive,
    })
}

/// The run that is repeated.
struct Original {
    run: Run,
    config: Value,
    locked: Locked,
}

impl Original {
    /// Opens a run and refuses what cannot be measured again.
    fn open(name: &str) -> anyhow::Result<Self> {
        let run = Run::open(&catalogue::resolve(&super::runs_root(), name)?)?;
        let refuse = |problem: &str, hint| {
            let problem = anyhow!("run {} cannot be reproduced: {problem}", run.id());
            Failure::new(Outcome::Configuration, problem).hint(hint)
        };
        let has = |found: fn(&Fact) -> bool| run.log().iter().any(|e| found(&e.fact));
        if has(|f| matches!(f, Fact::Imported { .. })) {
            let problem = "another tool measured it, and how is not in its record";
            return Err(refuse(problem, "measure with `stopwatt bench`, then compare the two runs").into());
        }
        if has(|f| matches!(f, Fact::Merged { .. } | Fact::Shard { .. })) {
            let problem = "it is made of shares that several machines sent together";
            return Err(refuse(problem, "start every share again, then merge and compare the runs").into());
        }
        if run.status() == RunStatus::Incomplete {
            let hint = "finish it with `stopwatt bench --resume`, or measure it anew";
            return Err(refuse("it is incomplete", hint).into());
        }
        let config = run.config()?;
        let locked = Locked::read(&config).ok_or_else(|| {
            refuse(
                "its config.lock.json does not hold settings",
                "reproduce it with the version that wrote it",
            )
        })?;
        if !locked.is_intact() {
            let hint = "take the run as it was written; to measure something else, use `run` or `bench`";
            return Err(refuse("the settings in its config.lock.json were changed afterwards", hint).into());
        }
        Ok(Self { run, config, locked })
    }

    /// What is measured, from the settings alone.
    fn work(&self, url: Option<&str>) -> anyhow::Result<Work> {
        let environment = environment::settings();
        let instead: Vec<(&str, &str, Value)> =
            url.iter().map(|url| ("target.url", "--url", json!(url))).collect();
        let other: Vec<&str> = instead.iter().map(|(key, ..)| *key).collect();
        let changed = |key: Option<String>| match key {
            None => Ok(()),
            Some(key) => Err(Failure::new(
                Outcome::Configuration,
                anyhow!("setting `{key}` of the run cannot be put in force as it was"),
            )
            .hint("reproduce it with the version of Stopwatt that stands in its config.lock.json")),
        };
        if self.locked.get("pipeline.mode").is_some() {
            let known = |log: &[_]| {
                log.iter().any(|e: &stopwatt_core::log::LogEvent| {
                    matches!(e.fact, Fact::TargetEnded { trial: Some(_), .. })
                })
            };
            if url.is_some() {
                let problem = anyhow!("the run measured a program, which has no address");
                return Err(Failure::new(Outcome::Usage, problem).hint("leave out --url").into());
            }
            let resolved = self.locked.resolve::<SopConfig>(&environment, &instead)?;
            changed(self.locked.changed(&resolved, &other))?;
            if resolved.value.pipeline.no_measure {
                let problem = anyhow!("run {} measured nothing (pipeline.no_measure)", self.run.id());
                return Err(Failure::new(Outcome::Configuration, problem).into());
            }
            let each_trial_anew = known(self.run.log());
            return Ok(Work::Program { resolved: Box::new(resolved), each_trial_anew });
        }
        let resolved = self.locked.resolve::<BenchConfig>(&environment, &instead)?;
        changed(self.locked.changed(&resolved, &other))?;
        Ok(Work::Engine { resolved: Box::new(resolved), procedure: self.config.get("procedure").cloned() })
    }

    /// Variables that must be set and are not.
    fn missing(&self, work: &Work) -> Vec<String> {
        let secrets = self.locked.secrets().into_iter().map(|(_, variable)| variable);
        secrets.chain(work.key_variable()).filter(|name| environment::var(name).is_none()).collect()
    }

    /// What the run says of its machine, without what its engine said.
    fn machine(&self) -> Option<Fingerprint> {
        self.run.log().iter().find_map(|e| match &e.fact {
            Fact::Fingerprint { fingerprint } => {
                Some(Fingerprint { engine: std::collections::BTreeMap::new(), ..fingerprint.clone() })
            }
            _ => None,
        })
    }
}

/// What is measured again.
enum Work {
    /// A program: `run`, or a side of `pair`.
    Program { resolved: Box<Resolved<SopConfig>>, each_trial_anew: bool },
    /// An engine: `bench`, or `run` with an engine.
    Engine { resolved: Box<Resolved<BenchConfig>>, procedure: Option<Value> },
}

impl Work {
    fn dry_run(&self) -> String {
        match self {
            Self::Program { resolved, .. } => resolved.dry_run(),
            Self::Engine { resolved, .. } => resolved.dry_run(),
        }
    }

    /// Commands that measuring runs, one a line.
    fn commands(&self) -> anyhow::Result<Vec<String>> {
        let line = |words: &Vec<String>| words.iter().map(|w| format!("{w:?}")).collect::<Vec<_>>().join(" ");
        Ok(self.words()?.iter().map(line).collect())
    }

    fn words(&self) -> anyhow::Result<Vec<Vec<String>>> {
        Ok(match self {
            // A kernel is measured by this very program.
            Self::Program { resolved, .. }
                if matches!(
                    resolved.value.target.kind,
                    TargetKind::Kernel | TargetKind::Workload | TargetKind::Layout
                ) =>
            {
                Vec::new()
            }
            Self::Program { resolved, .. } => {
                let config = &resolved.value;
                let occasion = sop::Occasion {
                    seed: config.seed,
                    mode: config.pipeline.mode.clone(),
                    trial: None,
                    iterations: config.iterations(),
                };
                vec![program(resolved, &Stop::new())?.words(&occasion)]
            }
            Self::Engine { resolved, .. } => benchmark::commands(&resolved.value)?,
        })
    }

    /// What of it can be looked at on this machine without measuring.
    fn looked(&self) -> anyhow::Result<Looked> {
        let commands = self.words()?;
        let command = commands.into_iter().next();
        Ok(match self {
            Self::Program { resolved, .. } => Looked {
                command: command.ok_or_else(|| "the run has no command".to_owned()),
                inputs: resolved.value.input.clone(),
            },
            Self::Engine { resolved, .. } => {
                let built_in = resolved.value.target.url.is_none();
                let own = || Some(vec![std::env::current_exe().ok()?.display().to_string()]);
                let command = command.or_else(|| built_in.then(own).flatten());
                benchmark::looked(&resolved.value, command)
            }
        })
    }

    /// The variable with the engine's key.
    fn key_variable(&self) -> Option<String> {
        match self {
            Self::Program { .. } => None,
            Self::Engine { resolved, .. } => resolved.value.target.api_key_env.clone(),
        }
    }

    /// What is judged.
    fn primary(&self) -> Vec<(String, String)> {
        match self {
            Self::Program { .. } => PRIMARY.map(|(m, s)| (m.to_owned(), s.to_owned())).to_vec(),
            Self::Engine { .. } => Options::default().primary,
        }
    }

    /// Measures; the new run's folder, and the outcome of a signal.
    fn measure(
        &self,
        original: &Original,
        args: &ReproduceArgs,
    ) -> anyhow::Result<(PathBuf, Option<Outcome>)> {
        match self {
            Self::Program { resolved, each_trial_anew } => {
                let lock = linked(procedure::lock(resolved)?, original);
                let what = What {
                    lock,
                    folder: args.out.clone(),
                    each_trial_anew: *each_trial_anew,
                    // Scores are of outputs; what is repeated is the measurement.
                    judged: false,
                    lang: args.lang,
                    gpu: GpuFlags::default(),
                };
                let progress = Progress::new(!args.quiet && std::io::stderr().is_terminal());
                let measured = runs::program_run(resolved, what, progress)?;
                match (measured.signal, measured.failure) {
                    (None, Some(failure)) => Err(failure.into()),
                    (signal, _) => Ok((measured.written.path, signal)),
                }
            }
            Self::Engine { resolved, procedure } => {
                let mut lock = linked(bench::config_lock(resolved)?, original);
                if let (Some(lock), Some(procedure)) = (lock.as_object_mut(), procedure) {
                    lock.insert("procedure".to_owned(), procedure.clone());
                }
                let shown = bench::Shown {
                    out: None,
                    format: args.format,
                    lang: args.lang,
                    dialect: None,
                    strict: false,
                    quiet: args.quiet,
                    gpu: GpuFlags::default(),
                };
                let (written, signal) =
                    bench::measure_only(resolved, lock, None, &shown, args.out.clone(), &mut |_, _| Ok(()))?;
                Ok((written.path, signal))
            }
        }
    }
}

/// A lock that names the run it repeats, for the record and for its reports.
fn linked(mut lock: Value, original: &Original) -> Value {
    let id = json!(original.run.id().as_str());
    if let Some(analysis) = lock.get_mut(ANALYSIS_KEY).and_then(Value::as_object_mut) {
        analysis.insert("reproduces".to_owned(), id);
    }
    lock
}

/// Compares the new run with the original, both read with today's definitions.
fn judge(
    original: &Original,
    new: &std::path::Path,
    primary: Vec<(String, String)>,
    args: &ReproduceArgs,
) -> anyhow::Result<ReproductionDoc> {
    let before = Analysed::read(&original.run, None)?;
    let after = Analysed::read(&Run::open(new)?, None)?;
    let side =
        |name: &str, run: &Analysed| Side::of_run(name, &run.doc, Facts::of_run(&run.log, &run.config));
    let (a, b) = (side("original", &before), side("repeated", &after));
    let options = Options { level: args.level, margin: args.margin, primary, ..Options::default() };
    Ok(reproduction::judge(
        Told { side: &a, log: &before.log, config: &before.config },
        Told { side: &b, log: &after.log, config: &after.config },
        &options,
    ))
}

fn print(doc: &ReproductionDoc, args: &ReproduceArgs, out: &mut dyn Write) -> anyhow::Result<()> {
    match args.format {
        Format::Json => writeln!(out, "{}", serde_json::to_string_pretty(doc)?)?,
        Format::Csv => write!(out, "{}", stopwatt_report::reproduction_csv(doc))?,
        Format::Table => {
            let style = super::terminal_style(None);
            write!(out, "{}", stopwatt_report::reproduction(doc, args.lang.into(), style))?;
        }
    }
    Ok(())
}

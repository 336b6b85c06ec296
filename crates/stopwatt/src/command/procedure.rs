//! What `run` and `pair` share: the flags of the measurement procedure, its settings, whose commands may be run.

use std::io::{IsTerminal as _, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use clap::{Args, ValueEnum};
use stopwatt_experiment::bench::{BenchConfig, Stop, commands};
use stopwatt_experiment::sop::{
    self, FirstStart, Instruments, Program, ReportFormat, SopConfig, TargetKind, Watcher,
};
use stopwatt_record::config::{self, Layers, Origin, Resolved, environment};

use super::gpu_settings::GpuFlags;
use super::report::Written;
use super::{Failure, Format, Language, bench, report};
use crate::exit::Outcome;
use crate::progress::Progress;

/// Flags of the procedure.
#[derive(Debug, Args)]
pub(super) struct ProcedureArgs {
    /// Settings file, YAML or TOML by extension
    #[arg(long, short, value_name = "FILE", help_heading = "Settings")]
    pub(super) config: Option<PathBuf>,
    /// One setting, as `pipeline.mode=iterative` (repeatable)
    #[arg(long = "override", value_name = "KEY=VALUE", help_heading = "Settings")]
    pub(super) overrides: Vec<String>,
    /// Program to measure, split into words without a shell; `{seed}`, `{iterations}`, `{mode}` and `{trial}` are replaced
    #[arg(long, value_name = "COMMAND", help_heading = "Target")]
    command: Option<String>,
    /// How the program is timed
    #[arg(long, value_enum, help_heading = "Target")]
    protocol: Option<Protocol>,
    /// Run a command that stands in a settings file
    #[arg(long, help_heading = "Target")]
    pub(super) allow_commands: bool,
    /// Keep what the program writes on standard error, as engine.log
    #[arg(long, help_heading = "Target")]
    keep_engine_log: bool,
    /// Iterations measured, in all trials together [default: 1000]
    #[arg(long, value_name = "N", help_heading = "Measurement")]
    repeats: Option<u64>,
    /// Trials, at least 3: the unit of every interval [default: 5]
    #[arg(long, value_name = "N", help_heading = "Measurement")]
    trials: Option<u32>,
    /// Fewest warm-up iterations; more follow until times are steady [default: 50]
    #[arg(long, value_name = "N", help_heading = "Measurement")]
    warmup: Option<u64>,
    /// GPUs to watch: all, or positions and UUIDs between commas [default: those that the target sees, else all]
    #[arg(long, value_name = "GPUS", help_heading = "Measurement")]
    gpus: Option<String>,
    /// Seed that the program gets [default: 0]
    #[arg(long, value_name = "N", help_heading = "Measurement")]
    seed: Option<u64>,
    #[command(flatten)]
    pub(super) gpu: GpuFlags,
    /// How to print the result
    #[arg(long, value_enum, default_value_t, help_heading = "Result")]
    pub(super) format: Format,
    /// Language of the report
    #[arg(long, value_enum, default_value_t, help_heading = "Result")]
    pub(super) lang: Language,
    /// No progress on stderr
    #[arg(long, short, help_heading = "Result")]
    pub(super) quiet: bool,
    /// Print every setting with its origin and stop
    #[arg(long, help_heading = "Settings")]
    dry_run: bool,
    /// Print the JSON schema of the settings and stop
    #[arg(long, help_heading = "Settings")]
    print_schema: bool,
}

/// How a program is timed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Protocol {
    /// The program stays and tells of each iteration in a line of JSON
    JsonLines,
    /// One process an iteration, from start to exit
    Wall,
}

impl From<Protocol> for sop::Protocol {
    fn from(protocol: Protocol) -> Self {
        match protocol {
            Protocol::JsonLines => Self::JsonLines,
            Protocol::Wall => Self::Wall,
        }
    }
}

/// The settings that hold a program: that is measured, that is an engine, that judges outputs.
const COMMANDS: [&str; 3] = ["target.command", "target.bench.serve.command", "quality.command"];

/// A setting, the flag that sets it, and its value.
pub(super) type OwnFlag<'a> = (&'a str, &'a str, serde_json::Value);

impl ProcedureArgs {
    /// The settings in force. `more` lies over the file and the overrides, and what it sets is not set by a flag; `own`
    /// are flags of the command's own, as setting, flag and value.
    pub(super) fn resolve(
        &self,
        file: Option<&Path>,
        more: &[String],
        own: &[OwnFlag<'_>],
    ) -> anyhow::Result<Resolved<SopConfig>> {
        let mut layers = Layers::<SopConfig>::new();
        for file in self.config.as_deref().into_iter().chain(file) {
            layers = layers.file(file);
        }
        layers = layers.environment(environment::settings()).overrides(&self.overrides).overrides(more);
        let set = |key: &str| more.iter().any(|pair| pair.split('=').next().is_some_and(|k| k.trim() == key));
        let mut flags: Vec<(&str, &str, Option<serde_json::Value>)> = vec![
            ("target.command", "--command", self.command.clone().map(Into::into)),
            ("pipeline.repeats", "--repeats", self.repeats.map(Into::into)),
            ("pipeline.trials", "--trials", self.trials.map(Into::into)),
            ("pipeline.warmup_iter", "--warmup", self.warmup.map(Into::into)),
            ("seed", "--seed", self.seed.map(Into::into)),
            ("measure.gpus", "--gpus", self.gpus.clone().map(Into::into)),
            ("record.keep_engine_log", "--keep-engine-log", self.keep_engine_log.then_some(true.into())),
        ];
        let protocol = self.protocol.map(|p| sop::Protocol::from(p).name().into());
        flags.push(("target.protocol", "--protocol", protocol));
        for (key, flag, value) in flags {
            layers = layers.flag(key, flag, value.filter(|_| !set(key)));
        }
        for (key, flag, value) in own {
            layers = layers.flag(key, flag, Some(value.clone()));
        }
        let resolved = layers.resolve()?;
        Ok(resolved)
    }

    /// Prints the schema or the settings, when that is asked for.
    pub(super) fn shown(
        &self,
        resolved: &[&Resolved<SopConfig>],
        out: &mut dyn Write,
    ) -> anyhow::Result<bool> {
        if !self.dry_run {
            return Ok(false);
        }
        for (i, resolved) in resolved.iter().enumerate() {
            if i > 0 {
                writeln!(out, "\n# candidate")?;
            }
            write!(out, "{}", resolved.dry_run())?;
            if resolved.value.target.kind == TargetKind::Command {
                let program = program(resolved, &Stop::new())?;
                let words = program.words(&sop::Occasion {
                    seed: resolved.value.seed,
                    mode: resolved.value.pipeline.mode.clone(),
                    trial: None,
                    iterations: resolved.value.iterations(),
                });
                let words: Vec<String> = words.iter().map(|w| format!("{w:?}")).collect();
                writeln!(out, "command: {}", words.join(" "))?;
            } else if resolved.value.target.kind == TargetKind::Bench {
                for words in commands(&sop::bench_config(&resolved.value)?)? {
                    let words: Vec<String> = words.iter().map(|w| format!("{w:?}")).collect();
                    writeln!(out, "command: {}", words.join(" "))?;
                }
            }
        }
        Ok(true)
    }

    /// Prints the schema, when that is asked for.
    pub(super) fn schema(&self, out: &mut dyn Write) -> anyhow::Result<bool> {
        if self.print_schema {
            writeln!(out, "{}", config::print_schema::<SopConfig>())?;
        }
        Ok(self.print_schema)
    }

    /// Refuses a command that was not given on the command line, unless that is allowed.
    pub(super) fn refuse_foreign_command(&self, resolved: &Resolved<SopConfig>) -> anyhow::Result<()> {
        let foreign = |key: &&str| {
            let origin = resolved.origins.get(*key);
            !matches!(origin, None | Some(Origin::Default | Origin::Override | Origin::Flag { .. }))
        };
        let set = |key: &&str| match *key {
            "target.command" => resolved.value.target.command.is_some(),
            "quality.command" => resolved.value.quality.command.is_some(),
            _ => resolved.value.target.bench.as_ref().is_some_and(|b| b.serve.command.is_some()),
        };
        match COMMANDS.iter().find(|key| !self.allow_commands && foreign(key) && set(key)) {
            None => Ok(()),
            Some(key) => Err(Failure::new(
                Outcome::Configuration,
                anyhow!("the command in `{key}` comes from a file or the environment"),
            )
            .hint("look at it with --dry-run, then add --allow-commands, or give it with --command")
            .into()),
        }
    }

    /// The line that shows where the measurement is.
    pub(super) fn progress(&self) -> Progress {
        Progress::new(!self.quiet && std::io::stderr().is_terminal())
    }
}

/// What starts the target that the settings name.
pub(super) fn launcher(resolved: &Resolved<SopConfig>, stop: &Stop) -> anyhow::Result<Box<dyn sop::Launch>> {
    resolved.value.only_of_layouts()?;
    Ok(match resolved.value.target.kind {
        TargetKind::Layout => Box::new(sop::Layouts::of(&resolved.value, stop)?),
        TargetKind::Workload => Box::new(sop::Workloads::of(&resolved.value, stop)?),
        TargetKind::Kernel => {
            Box::new(sop::Kernels::of(&resolved.value.target, stopwatt_experiment::cuda::folders(&[]), stop)?)
        }
        _ => Box::new(program(resolved, stop)?),
    })
}

/// The program that is measured.
pub(super) fn program(resolved: &Resolved<SopConfig>, stop: &Stop) -> anyhow::Result<Program> {
    let config = &resolved.value;
    Ok(Program::of(&config.target, config.record.keep_engine_log, stop)?)
}

/// The instruments that the settings ask for.
pub(super) fn watcher(config: &SopConfig, first_start: &FirstStart, stop: &Stop) -> Box<dyn Watcher> {
    let search = environment::var("PATH").map(std::ffi::OsString::from);
    Box::new(Instruments::of(config, search, first_start, stop))
}

/// The settings of the benchmark that a target of kind `bench` is, and what is locked of it.
pub(super) fn benchmark(
    resolved: &Resolved<SopConfig>,
) -> anyhow::Result<(Resolved<BenchConfig>, serde_json::Value)> {
    let config = sop::bench_config(&resolved.value)?;
    let settings = serde_json::to_value(&config)?;
    let defaults = serde_json::to_value(BenchConfig::default())?;
    let mut layers = Layers::<BenchConfig>::new();
    for (key, value) in settings.as_object().into_iter().flatten() {
        layers = layers.flag(key, "target.bench", Some(value).filter(|v| defaults.get(key) != Some(v)));
    }
    let benchmark = layers.resolve()?;
    let mut lock = bench::config_lock(&benchmark)?;
    if let (Some(lock), Some(settings)) = (lock.as_object_mut(), resolved.lock().get("settings")) {
        lock.insert("procedure".to_owned(), settings.clone());
    }
    Ok((benchmark, lock))
}

/// A side whose outputs are judged: this program, and the key of its engine.
pub(super) struct Judging {
    program: PathBuf,
    api_key: Option<String>,
}

impl Judging {
    pub(super) fn of(config: &SopConfig) -> anyhow::Result<Self> {
        let mut engine = config.target.bench.as_deref().cloned().unwrap_or_default();
        if config.target.kind == TargetKind::Command {
            engine.target.api_key_env.clone_from(&config.quality.api_key_env);
        }
        let program = std::env::current_exe().context("failed to find this program's own file")?;
        Ok(Self { program, api_key: bench::api_key(&engine)? })
    }

    pub(super) fn side<'a>(&'a self, config: &'a SopConfig, stop: &'a Stop) -> sop::Judged<'a> {
        sop::Judged { config, program: &self.program, api_key: self.api_key.as_deref(), stop }
    }
}

/// What is locked: every setting with its origin, and what analysis needs.
pub(super) fn lock(resolved: &Resolved<SopConfig>) -> anyhow::Result<serde_json::Value> {
    let mut lock = resolved.lock();
    let analysis = resolved.value.analysis_settings()?;
    if let Some(lock) = lock.as_object_mut() {
        lock.insert(stopwatt_report::ANALYSIS_KEY.to_owned(), serde_json::to_value(analysis)?);
    }
    Ok(lock)
}

/// Writes the reports of a run, those forms that its settings ask for.
pub(super) fn write_reports(path: &Path, config: &SopConfig, lang: Language) -> anyhow::Result<Written> {
    let written = report::write(path, lang.into())?;
    for (format, file) in ReportFormat::FILES {
        if !config.report.formats.contains(&format) {
            std::fs::remove_file(path.join(file))?;
        }
    }
    Ok(written)
}

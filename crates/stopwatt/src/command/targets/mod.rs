//! `stopwatt targets`: workload pairs, baseline against optimised, verified.
//!
//! ```text
//! words ──► chosen ──► measure: verify ─► trials in turns ─► checks ──► PairResult ──► table, targets.json
//!                                                                          │
//!                                                             judge: expectations, an earlier visit
//! ```

mod chosen;
mod judge;
mod measure;
mod print;

use std::io::{IsTerminal as _, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use clap::{Args, Subcommand, ValueEnum};
use serde_json::json;
use stopwatt_core::clock::unix_now;
use stopwatt_core::comparison::GateState;
use stopwatt_core::expectations::hardware_key;
use stopwatt_core::workload_pairs::{PairState, PairsDoc};
use stopwatt_core::{FORMAT_MAJOR, FORMAT_MINOR};
use stopwatt_experiment::bench::Stop;
use stopwatt_experiment::fingerprint::{self, Looked};
use stopwatt_experiment::targets::{CHAPTER, Form, PAIRS, Pair};
use stopwatt_record::run_dir::write_atomically;

use super::compare::{parse_level, parse_percent};
use super::{Failure, Format};
use crate::exit::Outcome;
use crate::stop::Signals;

/// Name of the result in the folder of a visit.
const TARGETS_JSON: &str = "targets.json";

/// Measure what serving optimisations are worth on this machine: pairs of baseline and optimised, with verified outputs
///
/// A pair does the same work in two ways, which differ in one thing. Both sides get the same fresh inputs, and their
/// outputs are held against each other before and during the measurement; times are taken in turns, trial by trial.
#[derive(Debug, Args)]
pub(crate) struct TargetsArgs {
    #[command(subcommand)]
    command: TargetsCommand,
}

#[derive(Debug, Subcommand)]
enum TargetsCommand {
    List(ListArgs),
    Explain(ExplainArgs),
    Run(Box<RunArgs>),
    Compare(CompareArgs),
}

/// List every pair, and how it runs here
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  stopwatt targets list\n  stopwatt targets list --chapter ch16 --format json"
)]
pub(crate) struct ListArgs {
    /// Only the pairs of this chapter
    #[arg(long, value_name = "CHAPTER")]
    chapter: Option<String>,
    /// How to print the list
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// Say what a pair shows, when the optimisation helps, when not, and the formula behind it
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  stopwatt targets explain flash_sdp\n  stopwatt targets explain ch16:moe"
)]
pub(crate) struct ExplainArgs {
    /// Pair: a name or an identifier
    #[arg(value_name = "NAME")]
    name: String,
}

/// Measure pairs: outputs verified, sides in turns, a speed-up with its interval
///
/// Times are never taken from a profiled pass: a profile is measured after the trials, in processes of its own. Exit
/// codes: 0 every pair was verified or skipped; 10 outputs or another check failed, or a speed-up is worse than expected;
/// 11 the trials do not tell that; 3 nothing could be measured here; 4 a side failed.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  stopwatt targets run ch16
  stopwatt targets run ch16:flash_sdp moe --device cpu --trials 8 --out pairs
  stopwatt targets run ch16 --device cuda --profile minimal
  stopwatt targets run ch16 --file-dir expectations --update-expectations
  stopwatt targets run ch16 --file-dir expectations
  stopwatt targets run --external my_pair.yaml --allow-commands

A file for --external:
  name: my_pair
  command: python3 my_pair.py --device {device}   # speaks JSON lines, docs/targets.md
  modes: [eager, compiled]
  variable: whether blocks are compiled
  tolerance: 0.02")]
pub(crate) struct RunArgs {
    /// Pairs: names, identifiers as ch16:NAME, or a whole chapter
    #[arg(value_name = "TARGET", required_unless_present_any = ["external", "also"])]
    targets: Vec<String>,
    /// The same, between commas
    #[arg(long = "targets", value_name = "TARGET,…", value_delimiter = ',', hide = true)]
    also: Vec<String>,
    /// What to profile after the trials
    #[arg(long, value_enum, default_value_t)]
    profile: Profile,
    /// Where to run: cpu, cuda or cuda:N [default: a GPU where there is one and the pair runs on it, else the CPU]
    #[arg(long, value_name = "DEVICE")]
    device: Option<String>,
    /// Threads on a CPU [default: all]
    #[arg(long, value_name = "N")]
    threads: Option<u32>,
    /// Measured iterations of each trial
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..))]
    iterations: u64,
    /// Fewest warm-up iterations of each trial; more follow until times are steady
    #[arg(long, value_name = "N", default_value_t = 5)]
    warmup: u64,
    /// Trials of each side, at least 3: the unit of every interval
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(3..))]
    trials: u32,
    /// Seed of the inputs
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Weights of a real model, for pairs that need them: a GGUF file or a folder with safetensors
    #[arg(long, value_name = "PATH")]
    weights: Option<PathBuf>,
    /// Small sizes: a look at whether everything works here, no measure of its worth
    #[arg(long)]
    small: bool,
    /// Python for pairs that are programs
    #[arg(long, value_name = "PROGRAM", default_value = "python3")]
    python: String,
    /// A pair of your own, described in a YAML or TOML file (repeatable)
    #[arg(long, value_name = "FILE")]
    external: Vec<PathBuf>,
    /// Run the commands that stand in --external files
    #[arg(long)]
    allow_commands: bool,
    /// Keep what programs write on standard error, as engine.log of their runs
    #[arg(long)]
    keep_engine_log: bool,
    /// Folder of the visit: targets.json and two runs for each pair; it must not exist or be empty
    /// [default: stopwatt-runs/targets-TIME]
    #[arg(long, value_name = "DIR", value_parser = super::place::folder)]
    out: Option<PathBuf>,
    /// Folder of the files `expectations_{hardware_key}.json` to judge by
    #[arg(long, value_name = "DIR")]
    file_dir: Option<PathBuf>,
    /// Store what was measured as what is expected from now on, instead of judging it
    #[arg(long, requires = "file_dir")]
    update_expectations: bool,
    /// How much worse a speed-up may be than expected, and how small one does not matter
    #[arg(long, value_name = "PERCENT", value_parser = parse_percent, default_value = "5%")]
    margin: f64,
    /// Confidence level of the intervals
    #[arg(long, value_name = "LEVEL", value_parser = parse_level, default_value = "0.95")]
    level: f64,
    /// How to print the result
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// No progress on stderr
    #[arg(long, short)]
    quiet: bool,
}

/// Compare two visits: did a speed-up change?
///
/// Exit code 0 when the interval of every change contains zero, 10 when one does not, 11 when an interval is missing.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  stopwatt targets compare monday tuesday\n  stopwatt targets compare monday/targets.json tuesday --format json"
)]
pub(crate) struct CompareArgs {
    /// Folder of the earlier visit, or its targets.json
    #[arg(value_name = "BEFORE")]
    before: PathBuf,
    /// Folder of the later visit, or its targets.json
    #[arg(value_name = "AFTER")]
    after: PathBuf,
    /// Confidence level of the intervals
    #[arg(long, value_name = "LEVEL", value_parser = parse_level, default_value = "0.95")]
    level: f64,
    /// How to print the result
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// What is profiled after the trials.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(super) enum Profile {
    /// Nothing
    #[default]
    None,
    /// A few counters of the GPU, and a trace by nsys where it is installed
    Minimal,
    /// Every counter that Stopwatt knows
    DeepDive,
    /// Bytes that DRAM moves; operations are not counted
    Roofline,
}

impl Profile {
    const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Minimal => "minimal",
            Self::DeepDive => "deep-dive",
            Self::Roofline => "roofline",
        }
    }
}

/// Runs the command.
pub(crate) fn run(args: &TargetsArgs, out: &mut dyn Write) -> anyhow::Result<Outcome> {
    match &args.command {
        TargetsCommand::List(args) => list(args, out),
        TargetsCommand::Explain(args) => explain(args, out),
        TargetsCommand::Run(args) => run_pairs(args, out),
        TargetsCommand::Compare(args) => judge::compare(args, out),
    }
}

/// Prints the list.
pub(crate) fn list(args: &ListArgs, out: &mut dyn Write) -> anyhow::Result<Outcome> {
    if let Some(chapter) = args.chapter.as_deref().filter(|c| *c != CHAPTER) {
        let problem = anyhow!("there is no chapter `{chapter}`");
        return Err(Failure::new(Outcome::Configuration, problem).hint("pairs stand in ch16").into());
    }
    let form = |form: &Form| match form {
        Form::BuiltIn { .. } => "built in".to_owned(),
        Form::Program { gpus: 0 | 1, .. } => "PyTorch".to_owned(),
        Form::Program { gpus, .. } => format!("PyTorch, {gpus} GPUs"),
        Form::Own { .. } => "bench".to_owned(),
        Form::Missing(_) | _ => "-".to_owned(),
    };
    match args.format {
        Format::Json => {
            let row = |p: &Pair| {
                json!({"target": p.id(), "title": p.title, "modes": p.modes, "variable": p.variable,
                       "cpu": form(&p.cpu), "cuda": form(&p.cuda)})
            };
            let rows: Vec<_> = PAIRS.iter().map(row).collect();
            writeln!(out, "{}", serde_json::to_string_pretty(&rows)?)?;
        }
        Format::Csv => {
            writeln!(out, "target,title,cpu,cuda")?;
            for p in PAIRS {
                let (title, cpu, cuda) = (super::csv_field(p.title), form(&p.cpu), form(&p.cuda));
                let fields = [cpu, cuda].map(|f| super::csv_field(&f));
                writeln!(out, "{},{title},{},{}", p.id(), fields[0], fields[1])?;
            }
        }
        Format::Table => {
            let rows: Vec<_> =
                PAIRS.iter().map(|p| [p.id(), form(&p.cpu), form(&p.cuda), p.title.to_owned()]).collect();
            write!(out, "{}", super::columns::table(["target", "CPU", "CUDA", "what is compared"], &rows))?;
        }
    }
    Ok(Outcome::Done)
}

fn explain(args: &ExplainArgs, out: &mut dyn Write) -> anyhow::Result<Outcome> {
    for (i, pair) in chosen::find(&args.name)?.into_iter().enumerate() {
        let line = if i > 0 { "\n" } else { "" };
        writeln!(out, "{line}{}: {}\n", pair.id(), pair.title)?;
        let missing = |device: &str, form: &Form| match form {
            Form::Missing(why) => format!("Not on {device}: {why}."),
            _ => String::new(),
        };
        for (label, text) in [
            ("Differs", format!("Only {}; `{}` against `{}`.", pair.variable, pair.modes[0], pair.modes[1])),
            ("Shows", pair.shows.to_owned()),
            ("Helps", pair.helps.to_owned()),
            ("Does not", pair.fails.to_owned()),
            ("Formula", pair.formula.to_owned()),
            ("Source", format!("{}.", pair.source)),
            ("", missing("a CPU", &pair.cpu)),
            ("", missing("CUDA", &pair.cuda)),
        ] {
            if !text.is_empty() {
                write!(out, "{}", print::paragraph(label, &text))?;
            }
        }
    }
    Ok(Outcome::Done)
}

/// Measures pairs.
pub(crate) fn run_pairs(args: &RunArgs, out: &mut dyn Write) -> anyhow::Result<Outcome> {
    let chosen = chosen::chosen(args)?;
    let began = unix_now();
    let folder = args
        .out
        .clone()
        .unwrap_or_else(|| super::runs_root().join(format!("targets-{}", began / 1_000_000_000)));
    if folder.read_dir().is_ok_and(|mut entries| entries.next().is_some()) {
        let problem = anyhow!("{} is not empty", folder.display());
        return Err(Failure::new(Outcome::Usage, problem).hint("choose a new directory with --out").into());
    }
    std::fs::create_dir_all(&folder).with_context(|| format!("failed to create {}", folder.display()))?;
    let stop = Stop::new();
    let on_signal = stop.clone();
    let signals = Signals::install(move || on_signal.interrupt())?;
    let here = fingerprint::look(&Looked {
        command: Err("several are measured".to_owned()),
        inputs: stopwatt_experiment::fingerprint::InputConfig::default(),
    });
    let mut doc = PairsDoc {
        format: format!("{FORMAT_MAJOR}.{FORMAT_MINOR}"),
        stopwatt: env!("CARGO_PKG_VERSION").to_owned(),
        measured_unix_ns: began,
        hardware_key: hardware_key(&here),
        profile: args.profile.name().to_owned(),
        pairs: Vec::new(),
    };
    let visible = !args.quiet && std::io::stderr().is_terminal();
    let (of, mut crashed) = (chosen.len(), false);
    for (i, pair) in chosen.iter().enumerate() {
        if !args.quiet {
            eprintln!("{}/{of} {} on {}", i + 1, pair.id, pair.device);
        }
        let measured = measure::measure(pair, args, &folder, visible, &stop)?;
        crashed |= measured.crashed;
        let mut result = measured.result;
        if !stop.is_interrupted() {
            result.expected = judge::expected(&result, measured.expectation, &doc.hardware_key, args)?;
        }
        doc.pairs.push(result);
        // What was measured is kept, whatever happens to the next pair.
        write(&folder, &doc)?;
        if stop.is_interrupted() {
            break;
        }
    }
    print::results(&doc, args.format, &folder, out)?;
    if let Some(outcome) = signals.outcome() {
        return Ok(outcome);
    }
    Ok(outcome(&doc, crashed))
}

fn outcome(doc: &PairsDoc, crashed: bool) -> Outcome {
    let state = |state| doc.pairs.iter().any(|p| p.state == state);
    let judged = |state| doc.pairs.iter().any(|p| p.expected.as_ref().is_some_and(|e| e.state == state));
    if (state(PairState::Failed) && !crashed) || judged(GateState::Failed) {
        Outcome::GateFailed
    } else if crashed {
        Outcome::MeasurementFailed
    } else if !state(PairState::Verified) {
        Outcome::MissingResource
    } else if judged(GateState::Inconclusive) {
        Outcome::Inconclusive
    } else {
        Outcome::Done
    }
}

fn write(folder: &Path, doc: &PairsDoc) -> anyhow::Result<()> {
    let mut text = serde_json::to_vec_pretty(doc)?;
    text.push(b'\n');
    Ok(write_atomically(&folder.join(TARGETS_JSON), &text)?)
}

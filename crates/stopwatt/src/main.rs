//! `stopwatt`: parse, wire, exit code.

mod build_facts;
mod command;
#[cfg(all(test, feature = "ops"))]
mod documentation;
mod exit;
mod progress;
mod stop;

use std::io::Write;
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};

use crate::exit::Outcome;

/// How fast, how costly and how good an LLM service is, with an interval on every number
#[derive(Debug, Parser)]
#[command(
    name = "stopwatt",
    version,
    long_version = build_facts::LONG_VERSION,
    after_help = exit::TABLE,
    max_term_width = 100
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Bench(Box<command::bench::BenchArgs>),
    Run(Box<command::run::RunArgs>),
    Pair(Box<command::pair::PairArgs>),
    Targets(Box<command::targets::TargetsArgs>),
    Profile(Box<command::profile::ProfileArgs>),
    Roofline(Box<command::roofline::RooflineArgs>),
    Serve(Box<command::serve::ServeArgs>),
    Report(command::report::ReportArgs),
    Explain(command::explain::ExplainArgs),
    Import(command::import::ImportArgs),
    Export(command::export::ExportArgs),
    Compare(command::compare::CompareArgs),
    Expect(command::expect::ExpectArgs),
    Reproduce(command::reproduce::ReproduceArgs),
    Runs(command::runs::RunsArgs),
    Merge(command::merge::MergeArgs),
    Doctor(command::doctor::DoctorArgs),
    Predict(Box<command::predict::PredictArgs>),
    Plan(Box<command::plan::PlanArgs>),
    Ocr(Box<command::ocr::OcrArgs>),
    #[cfg(feature = "ops")]
    Watch(Box<command::watch::WatchArgs>),
    #[cfg(not(feature = "ops"))]
    Watch(command::not_built_in::NotBuiltIn),
    #[cfg(feature = "ops")]
    Chaos(Box<command::chaos::ChaosArgs>),
    #[cfg(not(feature = "ops"))]
    Chaos(command::not_built_in::NotBuiltIn),
    Completions(command::completions::CompletionsArgs),
    Man(command::man::ManArgs),
    #[command(hide = true)]
    Guard(command::guard::GuardArgs),
    #[command(hide = true)]
    CudaCheck(command::cuda_check::CudaCheckArgs),
}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let wrong = error.use_stderr();
            // A closed pipe while printing help is nobody's problem.
            let _ = error.print();
            return if wrong { Outcome::Usage } else { Outcome::Done }.into();
        }
    };
    let mut out = std::io::stdout().lock();
    let result = match &cli.command {
        Command::Bench(args) => command::bench::run(args, &mut out),
        Command::Run(args) => command::run::run(args, &mut out),
        Command::Pair(args) => command::pair::run(args, &mut out),
        Command::Targets(args) => command::targets::run(args, &mut out),
        Command::Profile(args) => command::profile::run(args, &mut out),
        Command::Roofline(args) => command::roofline::run(args, &mut out),
        Command::Serve(args) => command::serve::run(args, &mut out),
        Command::Report(args) => command::report::run(args, &mut out),
        Command::Explain(args) => command::explain::run(args, &mut out),
        Command::Import(args) => command::import::run(args, &mut out),
        Command::Export(args) => command::export::run(args, &mut out),
        Command::Compare(args) => command::compare::run(args, &mut out),
        Command::Expect(args) => command::expect::run(args, &mut out),
        Command::Reproduce(args) => command::reproduce::run(args, &mut out),
        Command::Runs(args) => command::runs::run(args, &mut out),
        Command::Merge(args) => command::merge::run(args, &mut out),
        Command::Doctor(args) => command::doctor::run(args, &mut out),
        Command::Predict(args) => command::predict::run(args, &mut out),
        Command::Plan(args) => command::plan::run(args, &mut out),
        Command::Ocr(args) => command::ocr::run(args, &mut out),
        #[cfg(feature = "ops")]
        Command::Watch(args) => command::watch::run(args, &mut out),
        #[cfg(not(feature = "ops"))]
        Command::Watch(_) => command::not_built_in::run("watch", "ops"),
        #[cfg(feature = "ops")]
        Command::Chaos(args) => command::chaos::run(args, &mut out),
        #[cfg(not(feature = "ops"))]
        Command::Chaos(_) => command::not_built_in::run("chaos", "ops"),
        Command::Completions(args) => command::completions::run(args, &Cli::command(), &mut out),
        Command::Man(args) => command::man::run(args, Cli::command(), &mut out),
        Command::Guard(args) => command::guard::run(args, &mut out),
        Command::CudaCheck(args) => command::cuda_check::run(args, &mut out),
    };
    let flushed = out.flush();
    match result {
        Ok(outcome) => match flushed {
            Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
                complain(&anyhow::Error::new(error).context("failed to write the result"));
                Outcome::Usage.into()
            }
            _ => outcome.into(),
        },
        Err(error) if is_closed_pipe(&error) => Outcome::Done.into(),
        Err(error) => {
            complain(&error);
            command::outcome_of(&error).into()
        }
    }
}

fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|e| e.downcast_ref::<std::io::Error>())
        .any(|e| e.kind() == std::io::ErrorKind::BrokenPipe)
}

/// Prints an error with its causes, and what to try.
fn complain(error: &anyhow::Error) {
    eprintln!("error: {}", command::complaint(error));
    if let Some(hint) = command::hint_of(error) {
        eprintln!("hint: {hint}");
    }
}

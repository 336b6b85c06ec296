//! `stopwatt guard`: between a benchmark and an engine that it started. Not for people.

use std::io::Write;

use anyhow::Context as _;
use clap::Args;
use stopwatt_experiment::bench;

use crate::exit::Outcome;

/// Run a command until standard input closes, then end it and everything it started
#[derive(Debug, Args)]
pub(crate) struct GuardArgs {
    /// The command and its arguments
    #[arg(value_name = "WORD", required = true, last = true)]
    words: Vec<String>,
}

/// Runs the command.
pub(crate) fn run(args: &GuardArgs, out: &mut dyn Write) -> anyhow::Result<Outcome> {
    bench::guard(&args.words, out).context("failed to guard the command")?;
    Ok(Outcome::Done)
}

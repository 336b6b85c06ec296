//! `stopwatt ocr`: do documents come out right, and in time?

mod compare;
mod generate;
mod page;
mod recording;
pub(super) mod report;
mod resources;
pub(super) mod run;
mod score;
mod table;
mod verify;

use std::io::Write;

use clap::{Args, Subcommand};

use crate::exit::Outcome;

/// Benchmark the reading of documents: right, and in time?
///
/// Scores count characters, syllables taken apart (jamo) and words, and say for each field whether its value is right,
/// with the dangerous mistakes apart. docs/ocr.md defines every figure.
#[derive(Debug, Args)]
pub(crate) struct OcrArgs {
    #[command(subcommand)]
    command: OcrCommand,
}

#[derive(Debug, Subcommand)]
enum OcrCommand {
    Compare(compare::CompareArgs),
    Gen(generate::GenArgs),
    Run(Box<run::RunArgs>),
    Score(score::ScoreArgs),
    Verify(verify::VerifyArgs),
}

/// Runs the command.
pub(crate) fn run(args: &OcrArgs, out: &mut dyn Write) -> anyhow::Result<Outcome> {
    match &args.command {
        OcrCommand::Compare(args) => compare::run(args, out),
        OcrCommand::Gen(args) => generate::run(args, out),
        OcrCommand::Run(args) => run::run(args, out),
        OcrCommand::Score(args) => score::run(args, out),
        OcrCommand::Verify(args) => verify::run(args, out),
    }
}

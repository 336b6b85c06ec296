//! `stopwatt completions`: the script that completes commands and flags in a shell.

use std::io::Write;

use clap::Args;
use clap_complete::Shell;

use crate::exit::Outcome;

/// Print the script that completes commands and flags in a shell
///
/// The script is made from the very commands of this build. It is read when a shell starts: put it where your shell looks for completions, or source it.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  stopwatt completions bash > ~/.local/share/bash-completion/completions/stopwatt\n  stopwatt completions zsh > ~/.zfunc/_stopwatt\n  stopwatt completions fish > ~/.config/fish/completions/stopwatt.fish"
)]
pub(crate) struct CompletionsArgs {
    /// Which shell
    #[arg(value_enum)]
    shell: Shell,
}

/// Runs the command on the tree of all commands.
pub(crate) fn run(
    args: &CompletionsArgs,
    tree: &clap::Command,
    out: &mut dyn Write,
) -> anyhow::Result<Outcome> {
    // The generator does not ask whether a command is hidden.
    let shown = tree.get_subcommands().filter(|c| !c.is_hide_set()).cloned();
    let mut shown = clap::Command::new("stopwatt")
        .version(env!("CARGO_PKG_VERSION"))
        .args(tree.get_arguments().cloned())
        .subcommands(shown);
    // Into memory first: the generator panics on a closed pipe.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut shown, "stopwatt", &mut script);
    out.write_all(&script)?;
    Ok(Outcome::Done)
}

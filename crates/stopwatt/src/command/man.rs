//! `stopwatt man`: the manual pages of all commands.

use std::io::Write;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use stopwatt_record::run_dir::write_atomically;

use crate::exit::Outcome;

/// Write the manual pages of all commands into a folder
///
/// One page a command, `stopwatt.1`, `stopwatt-bench.1` and so on, made from the very commands of this build.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  stopwatt man ~/.local/share/man/man1 && man stopwatt-bench")]
pub(crate) struct ManArgs {
    /// Folder to write to; it is made where it is missing
    #[arg(value_name = "DIR")]
    folder: PathBuf,
}

/// Runs the command on the tree of all commands.
pub(crate) fn run(args: &ManArgs, mut tree: clap::Command, out: &mut dyn Write) -> anyhow::Result<Outcome> {
    let failed = || format!("failed to write to {}", args.folder.display());
    std::fs::create_dir_all(&args.folder).with_context(failed)?;
    tree = tree.disable_help_subcommand(true);
    tree.build();
    let mut written = 0;
    pages(&tree, &mut |name, page| {
        written += 1;
        write_atomically(&args.folder.join(format!("{name}.1")), page).with_context(failed)
    })?;
    writeln!(out, "{written} pages in {}", args.folder.display())?;
    Ok(Outcome::Done)
}

/// Tells each command's page, the deepest commands last.
fn pages(
    command: &clap::Command,
    tell: &mut dyn FnMut(&str, &[u8]) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    // `build` gives commands below the first their full name, with spaces for the usage and hyphens for files.
    let name = command.get_display_name().unwrap_or_else(|| command.get_name()).to_owned();
    let mut page = Vec::new();
    clap_mangen::Man::new(command.clone()).render(&mut page)?;
    tell(&name, &page)?;
    for below in command.get_subcommands().filter(|c| !c.is_hide_set()) {
        pages(below, tell)?;
    }
    Ok(())
}

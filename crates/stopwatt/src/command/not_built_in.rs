//! A command that this build does not have names its feature.

use clap::Args;

use super::Failure;
use crate::exit::Outcome;

/// Not in this build
#[derive(Debug, Args)]
pub(crate) struct NotBuiltIn {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    _args: Vec<String>,
}

/// Says so.
pub(crate) fn run(command: &str, feature: &str) -> anyhow::Result<Outcome> {
    let problem =
        anyhow::anyhow!("`{command}` is not in this build, which was made without the feature `{feature}`");
    Err(Failure::new(Outcome::MissingResource, problem).hint("build with the default features").into())
}

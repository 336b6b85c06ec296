//! Where a value came from.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "from", rename_all = "snake_case")]
pub enum Origin {
    /// Built in.
    Default,
    /// A configuration file.
    File {
        /// File name without its folder.
        name: String,
        /// Line, from 1.
        line: u32,
    },
    /// An environment variable.
    Environment {
        /// Name of the variable.
        name: String,
    },
    /// `--override`.
    Override,
    /// A flag.
    Flag {
        /// Name of the flag, for instance `--concurrency`.
        name: String,
    },
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { name, line } => write!(f, "{name}:{line}"),
            Self::Environment { name } | Self::Flag { name } => f.write_str(name),
            Self::Override => f.write_str("--override"),
        }
    }
}

//! Why a run could not be copied to an object store or from it.

use super::FEATURE;
use crate::run_dir::RunError;

/// Why a run could not be copied to an object store or from it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RemoteError {
    /// This build has no client for object stores.
    #[error("{address} cannot be reached: this build is without the feature `{FEATURE}`")]
    NotBuiltIn {
        /// The address.
        address: String,
    },
    /// The text begins like an address and is not one.
    #[error("the {scheme} address is not valid: {problem}")]
    Address {
        /// What it begins with.
        scheme: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The address names a whole bucket.
    #[error("{address} is a whole bucket, not the place of one run")]
    WholeBucket {
        /// The address.
        address: String,
    },
    /// Something is there already.
    #[error("{address} is not empty")]
    NotEmpty {
        /// The address.
        address: String,
    },
    /// There is no run.
    #[error("there is no run at {address}")]
    NoRun {
        /// The address.
        address: String,
    },
    /// The run is measured or copied still, or its copying was cut off.
    #[error("the run at {address} is not whole: `run.log` is not there yet")]
    NotWhole {
        /// The address.
        address: String,
    },
    /// An object has a name that no file of a run has.
    #[error("an object at {address} has a name that no file of a run has")]
    ObjectName {
        /// The address.
        address: String,
    },
    /// The store refused, or cannot be reached.
    #[error("failed to {action} {address}: {problem}")]
    Store {
        /// What was tried.
        action: &'static str,
        /// On what.
        address: String,
        /// What the store said, without credentials.
        problem: String,
    },
    /// The folder on this machine failed.
    #[error(transparent)]
    Run(#[from] RunError),
}

impl RemoteError {
    /// What to try next.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::NotBuiltIn { .. } => Some("build with `cargo build --release --features object-store`"),
            Self::Address { .. } => {
                Some("write s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or az://CONTAINER/PREFIX")
            }
            Self::WholeBucket { .. } => {
                Some("add a prefix of the run's own, for instance s3://BUCKET/runs/a")
            }
            Self::NotEmpty { .. } => Some(
                "choose another address; a run that was copied there in part is completed by `stopwatt runs push`",
            ),
            Self::NotWhole { .. } => Some(
                "wait until it has ended; if copying was cut off, `stopwatt runs push` on the machine that measured it",
            ),
            Self::Store { .. } => Some(
                "credentials and endpoint come from the environment (AWS_…, GOOGLE_…, AZURE_…), see docs/workloads.md",
            ),
            Self::Run(error) => error.hint(),
            Self::NoRun { .. } | Self::ObjectName { .. } => None,
        }
    }
}

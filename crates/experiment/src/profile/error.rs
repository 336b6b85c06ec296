//! Why a profile could not be made. What goes wrong with single kernels stands in their rows.

use stopwatt_record::kernel_table::KernelTableError;
use stopwatt_record::run_dir::RunError;

/// Why a profile could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProfileError {
    /// Nothing that was asked for exists.
    #[error("there is nothing to measure: {reason}")]
    Nothing {
        /// What was left out, and why.
        reason: String,
    },
    /// The device cannot be used.
    #[error("device {device} cannot be used: {reason}")]
    NoDevice {
        /// Its name.
        device: String,
        /// Why.
        reason: String,
    },
    /// A shape does not belong to its operator.
    #[error("the shape of {op} is not complete")]
    Shape {
        /// Which operator.
        op: &'static str,
        /// What is missing or unknown.
        #[source]
        source: serde_json::Error,
    },
    /// A run to resume has no table.
    #[error("{} holds no kernel table", path.display())]
    NoTable {
        /// Which run.
        path: std::path::PathBuf,
    },
    /// The table could not be read or written.
    #[error(transparent)]
    Table(#[from] KernelTableError),
    /// The run could not be written.
    #[error(transparent)]
    Run(#[from] RunError),
    /// Something could not be written as JSON.
    #[error("failed to write roofline.json")]
    Json(#[from] serde_json::Error),
    /// The device cannot be used any more.
    #[error("the device is lost: {reason}")]
    Lost {
        /// What it said.
        reason: String,
    },
}

impl ProfileError {
    /// What to try next.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Nothing { .. } => Some("`stopwatt profile --help` lists families and their shapes"),
            Self::NoDevice { .. } => {
                Some("`stopwatt doctor` shows what is missing; --device cpu always works")
            }
            Self::Shape { .. } => Some("write every size, for instance --shape m=16,n=4096,k=4096"),
            Self::NoTable { .. } => Some("--resume takes a run that `stopwatt profile` wrote"),
            Self::Lost { .. } => Some("what was measured is kept; start again with --resume"),
            Self::Run(error) => error.hint(),
            Self::Table(_) | Self::Json(_) => None,
        }
    }
}

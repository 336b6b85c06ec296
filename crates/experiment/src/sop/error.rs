//! Why a procedure could not be carried out. What goes wrong with the target while it is measured is data: it stands in
//! the run.

use stopwatt_record::run_dir::RunError;

use super::target::TargetError;
use crate::bench::BenchError;

/// Why a procedure could not be carried out.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SopError {
    /// A setting makes no sense.
    #[error("setting `{setting}`: {problem}")]
    Setting {
        /// Its key.
        setting: &'static str,
        /// What is wrong and what to write.
        problem: String,
    },
    /// The target could not be started.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// The engine could not be measured.
    #[error(transparent)]
    Bench(#[from] BenchError),
    /// The record could not be written.
    #[error(transparent)]
    Record(#[from] RunError),
}

impl SopError {
    /// What to try next.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Setting { .. } => None,
            Self::Target(error) => error.hint(),
            Self::Bench(error) => error.hint(),
            Self::Record(error) => error.hint(),
        }
    }
}

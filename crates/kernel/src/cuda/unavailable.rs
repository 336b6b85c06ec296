//! Why there is no CUDA device to measure on.

use crate::case::CaseError;

/// Why a CUDA device or library cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unavailable {
    /// A library is not there.
    #[error(transparent)]
    Library(#[from] stopwatt_nvlib::Missing),
    /// A library lacks a function.
    #[error("{library} has no function {symbol}: it is too old")]
    Symbol {
        /// File that was opened.
        library: String,
        /// The function.
        symbol: &'static str,
    },
    /// No such device.
    #[error("there is no CUDA device {index}: {}", found(*count))]
    NoDevice {
        /// Number that was asked for.
        index: u32,
        /// Devices that are there.
        count: u32,
    },
    /// A first call failed.
    #[error("the device cannot be used: {0}")]
    Unusable(#[source] CaseError),
}

fn found(count: u32) -> String {
    match count {
        0 => "the driver sees none".to_owned(),
        1 => "the only one is 0".to_owned(),
        n => format!("they are 0 to {}", n - 1),
    }
}

impl Unavailable {
    /// What would help, when anything does.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::Library(missing) if missing.library == "libcuda" => {
                "install the NVIDIA driver; in a container pass the GPU through (--gpus all)"
            }
            Self::Library(_) => {
                "install CUDA 12.1 or newer, or PyTorch into the python3 on PATH, or name the folder of the libraries"
            }
            Self::Symbol { .. } => "update the NVIDIA driver or the CUDA libraries to 12.1 or newer",
            Self::NoDevice { .. } => "see `nvidia-smi -L`; CUDA_VISIBLE_DEVICES hides devices",
            Self::Unusable(_) => return None,
        })
    }
}

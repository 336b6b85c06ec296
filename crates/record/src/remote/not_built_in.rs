//! What stands in for the client in a build without it: every call names the feature.

use std::path::{Path, PathBuf};

use super::{Address, RemoteError};

/// An address that is kept for one run; there is none in this build.
#[derive(Debug)]
pub enum Reserved {}

impl Reserved {
    /// Keeps the address for a run that is about to be measured.
    pub fn new(address: &Address) -> Result<Self, RemoteError> {
        Err(absent(address))
    }

    /// Copies the run to the address.
    pub fn push(&self, _run: &Path) -> Result<(), RemoteError> {
        match *self {}
    }

    /// Gives the address back.
    pub fn release(self) -> Result<(), RemoteError> {
        match self {}
    }
}

/// Copies a run to an address.
pub fn push(_run: &Path, to: &Address) -> Result<(), RemoteError> {
    Err(absent(to))
}

/// Copies the run at an address into the cache folder.
pub fn copy(from: &Address) -> Result<PathBuf, RemoteError> {
    Err(absent(from))
}

/// Copies the run at an address into `out`, or into a folder of its id under `root`.
pub fn copy_here(from: &Address, _root: &Path, _out: Option<&Path>) -> Result<PathBuf, RemoteError> {
    Err(absent(from))
}

/// The runs at an address: itself, or those one level below.
pub fn runs(at: &Address) -> Result<Vec<Address>, RemoteError> {
    Err(absent(at))
}

fn absent(address: &Address) -> RemoteError {
    RemoteError::NotBuiltIn { address: address.to_string() }
}

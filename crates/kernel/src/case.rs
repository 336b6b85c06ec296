//! What a device has to offer so that its kernels can be profiled.
//!
//! ```text
//! Op ──► Device::prepare ──► Case ──► check (is it right?) ──► sample, sample, … (how long?)
//! ```
//!
//! The method (how many samples, when to stop, what to discard) is the same for every device and lives in
//! `timing`; a device only sets an operator up, checks it, and times a batch of calls.

use stopwatt_core::kernel_table::{CacheState, Launch, Op};

/// A device whose kernels can be profiled.
pub trait Device {
    /// Sets `op` up with fresh random operands. Memory, libraries' searches and first-touch costs belong here or in
    /// [`Case::check`], never in [`Case::sample`].
    ///
    /// # Errors
    ///
    /// See [`CaseError`].
    fn prepare(
        &mut self,
        op: &Op,
        launch: Launch,
        cache: CacheState,
    ) -> Result<Box<dyn Case + '_>, CaseError>;
}

/// One operator on one shape, ready to run.
pub trait Case {
    /// Which kernel runs; asked after [`Case::check`].
    fn identity(&self) -> Identity;

    /// Runs once on fresh random operands, with the result poisoned before, and holds the result against the same
    /// computation in double precision. Large results may be checked on a random part of their elements.
    ///
    /// Returns the largest deviation as a multiple of what the number format allows; above 1 the kernel is wrong.
    ///
    /// # Errors
    ///
    /// See [`CaseError`].
    fn check(&mut self, seed: u64) -> Result<f64, CaseError>;

    /// Time of `calls` consecutive calls, in seconds, all together, by the device's own clock.
    ///
    /// # Errors
    ///
    /// See [`CaseError`].
    fn sample(&mut self, calls: u32) -> Result<f64, CaseError>;
}

/// Which kernel runs. `None` where the library does not tell.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Identity {
    /// Name of the kernel or algorithm.
    pub kernel: Option<String>,
    /// Blocks of the launch.
    pub grid: Option<u32>,
    /// Threads a block; threads in all on a CPU.
    pub block: Option<u32>,
}

/// Why an operator could not be run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CaseError {
    /// The device or its libraries cannot do this operator, shape or format.
    #[error("not supported: {reason}")]
    Unsupported {
        /// What is missing.
        reason: String,
    },
    /// The operands do not fit.
    #[error("out of memory: {bytes} bytes were asked for")]
    OutOfMemory {
        /// Bytes of all operands.
        bytes: u64,
    },
    /// A call failed; the device can go on with others.
    #[error("failed: {reason}")]
    Failed {
        /// What the library said.
        reason: String,
    },
    /// The device cannot be used any more in this process.
    #[error("the device is lost: {reason}")]
    Lost {
        /// What the library said.
        reason: String,
    },
}

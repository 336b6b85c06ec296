//! What a device has to offer so that its kernels can be profiled.
//!
//! ```text
//! Op ──► Device::prepare ──► Case ──► check (is it right?) ──► sample, sample, … (how long?)
//! ```
//!
//! The method (how many samples, when to stop, what to discard) is the same for every device and lives in
//! [`crate::timing`]; a device only sets an operator up, checks it, and times a batch of calls.

use stopwatt_core::kernel_table::{CacheState, Clocks, Dtype, Dtypes, Launch, Op, OpKind, Provider};
use stopwatt_core::roofline::{Axis, Roofline};

/// What a device is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct About {
    /// `cpu` or `cuda`.
    pub kind: &'static str,
    /// Name that it gives itself.
    pub name: String,
    /// Cores in use, or streaming multiprocessors.
    pub units: u32,
    /// Instruction set, or compute capability.
    pub instructions: String,
    /// Driver and libraries with their versions, for the record.
    pub libraries: Vec<(String, String)>,
}

/// A device whose kernels can be profiled.
pub trait Device {
    /// What it is.
    fn about(&self) -> About;

    /// Whose code computes on it.
    fn provider(&self) -> Provider {
        Provider::Native
    }

    /// Formats in which this device keeps the operands of `kind` when a model is in `dtype`. A CPU widens activations.
    fn formats(&self, _kind: OpKind, dtype: Dtype) -> Dtypes {
        Dtypes::all(dtype)
    }

    /// Shortest sample that its clock can time well, in seconds.
    fn sample_s(&self) -> f64 {
        200e-6
    }

    /// Why times taken now are not this program's alone, for instance that another process computes on the device;
    /// `None` when they are.
    fn shared(&mut self) -> Option<String> {
        None
    }

    /// From now on operands are other random ones, at other places, as far as the device can see to that.
    fn vary(&mut self, _seed: u64) {}

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

/// How long a roofline may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effort {
    /// Few sizes: under a minute.
    Quick,
    /// Fine sizes: minutes.
    Full,
}

/// A device whose peaks and memory levels can be measured.
pub trait Levels: Device {
    /// Adds peaks, levels and curves to `roofline`, and what could not be measured. Before each part `go_on` is told its
    /// name and gets what is there so far; when it answers `false`, measuring ends.
    ///
    /// # Errors
    /// The device fails as a whole; a part that it cannot do is named in the roofline instead.
    fn levels(
        &mut self,
        effort: Effort,
        roofline: &mut Roofline,
        go_on: &mut dyn FnMut(&str, &Roofline) -> bool,
    ) -> Result<(), CaseError>;

    /// Products whose time over finely stepped sizes shows the tiles of this device.
    fn stairs(&self, effort: Effort) -> Vec<Stairs>;
}

/// A product of which one size is stepped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stairs {
    /// The product.
    pub op: Op,
    /// Which size.
    pub axis: Axis,
    /// Its values, evenly spaced.
    pub sizes: Vec<u32>,
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

    /// The device was throttled, or its clock was low, during the last sample.
    fn throttled(&mut self) -> bool {
        false
    }

    /// The power limit holds the clock down now.
    fn limited(&mut self) -> bool {
        false
    }

    /// Clocks and power now, for the record; asked once, after sampling.
    fn clocks(&mut self) -> Clocks {
        Clocks::default()
    }
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

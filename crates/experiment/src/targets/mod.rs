//! Workload pairs: the same work done in two ways, on the same inputs, with outputs that are held against each other.
//!
//! ```text
//! draw(nonce) ──► input ──► Variant::work ──► output        inputs and checks are outside the time
//!    not told to set-up        timed           NaN before
//! ```
//!
//! A variant is set up before it is known which inputs come, so that no answer can be made ready during set-up; inputs
//! change with every iteration, so that none can be kept; and every number of the output is NaN when work begins, so that
//! what is not written is seen.

mod flash_sdp;

use stopwatt_serving::random::{Draws, Purpose};

pub use flash_sdp::FlashSdp;

/// What a variant says of one iteration.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Done {
    /// Tokens that were computed; `None` where there are none.
    pub tokens: Option<u32>,
    /// Values of the workload's own, by name.
    pub metrics: Vec<(&'static str, f64)>,
}

/// One way to do the work.
pub trait Variant<I>: Send {
    /// Does it once and fills `output`.
    ///
    /// # Errors
    /// It cannot, or its own books do not balance.
    fn work(&mut self, input: &I, output: &mut [f32]) -> Result<Done, String>;

    /// Bytes of the buffers that it holds beside input and output.
    fn held_bytes(&self) -> usize;
}

/// Work that is done in two ways.
pub trait Workload {
    /// What an iteration works on.
    type Input: Default;

    /// Name on the command line and in files.
    const NAME: &'static str;
    /// Largest difference between the outputs of both variants, relative to the largest number of the baseline's.
    const TOLERANCE: f64;

    /// Numbers of an output.
    fn output_len(&self) -> usize;

    /// Makes an input, in memory that is reused.
    fn draw(&self, draws: &mut Draws, into: &mut Self::Input);

    /// The plain way.
    ///
    /// # Errors
    /// It cannot be set up here.
    fn baseline(&self, threads: usize) -> Result<Box<dyn Variant<Self::Input>>, String>;

    /// The way whose worth is asked for.
    ///
    /// # Errors
    /// It cannot be set up here.
    fn optimised(&self, threads: usize) -> Result<Box<dyn Variant<Self::Input>>, String>;
}

/// A variant with its input and output.
pub struct Bound<'a, W: Workload> {
    workload: &'a W,
    variant: Box<dyn Variant<W::Input>>,
    input: W::Input,
    output: Vec<f32>,
}

impl<W: Workload> std::fmt::Debug for Bound<'_, W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bound").field("workload", &W::NAME).finish_non_exhaustive()
    }
}

impl<'a, W: Workload> Bound<'a, W> {
    /// A variant of a workload.
    pub fn new(workload: &'a W, variant: Box<dyn Variant<W::Input>>) -> Self {
        Self { workload, variant, input: W::Input::default(), output: vec![0.0; workload.output_len()] }
    }

    /// Makes the input of `nonce` and forgets the last output. Not part of the time.
    pub fn draw(&mut self, nonce: [u64; 2]) {
        let mut draws = Draws::new(Purpose::Workload, [nonce[0], nonce[1], 0, 0]);
        self.workload.draw(&mut draws, &mut self.input);
        self.output.fill(f32::NAN);
    }

    /// Does the work once, on the input that was drawn: this is what is timed.
    ///
    /// # Errors
    /// The variant could not.
    pub fn work(&mut self) -> Result<Done, String> {
        self.variant.work(&self.input, &mut self.output)
    }

    /// What the last work made.
    pub fn output(&self) -> &[f32] {
        &self.output
    }

    /// Bytes of the buffers that the variant holds beside input and output.
    pub fn held_bytes(&self) -> usize {
        self.variant.held_bytes()
    }
}

/// What holding both variants against each other showed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Verified {
    /// Inputs that both were given.
    pub inputs: u64,
    /// Largest difference, relative to the largest number of the baseline's output.
    pub largest: f64,
}

/// Why a pair says nothing.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Unverified {
    /// A variant could not do the work.
    #[error("{side} of `{workload}` failed: {reason}")]
    Failed {
        /// Which pair.
        workload: &'static str,
        /// Which variant.
        side: &'static str,
        /// What it said.
        reason: String,
    },
    /// Numbers are missing or not finite.
    #[error("{side} of `{workload}` left {numbers} numbers of its output unwritten or not finite")]
    NotFinite {
        /// Which pair.
        workload: &'static str,
        /// Which variant.
        side: &'static str,
        /// How many.
        numbers: usize,
    },
    /// The outputs are not the same.
    #[error("outputs of `{workload}` differ by {largest:.1e} of their size; {tolerance:.1e} is allowed")]
    Differs {
        /// Which pair.
        workload: &'static str,
        /// Largest difference, relative.
        largest: f64,
        /// What is allowed.
        tolerance: f64,
    },
    /// Another input gives the same output.
    #[error("the output of `{workload}` does not depend on its input")]
    Constant {
        /// Which pair.
        workload: &'static str,
    },
}

/// Gives both variants the same `inputs` inputs, drawn under `nonce`, and holds their outputs against each other. `nonce`
/// must be chosen after both were set up.
///
/// # Errors
/// A variant fails, or its output is unfinished, different or constant.
pub fn verify<'a, W: Workload>(
    baseline: &mut Bound<'a, W>,
    optimised: &mut Bound<'a, W>,
    nonce: u64,
    inputs: u64,
) -> Result<Verified, Unverified> {
    let workload = W::NAME;
    let mut largest = 0.0f64;
    let mut before: Option<Vec<f32>> = None;
    for i in 0..inputs {
        for (side, bound) in [("the baseline", &mut *baseline), ("the optimised variant", &mut *optimised)] {
            bound.draw([nonce, i]);
            bound.work().map_err(|reason| Unverified::Failed { workload, side, reason })?;
            let numbers = bound.output().iter().filter(|v| !v.is_finite()).count();
            if numbers > 0 {
                return Err(Unverified::NotFinite { workload, side, numbers });
            }
        }
        let size = baseline.output().iter().fold(0.0f64, |m, v| m.max(f64::from(v.abs())));
        let pairs = baseline.output().iter().zip(optimised.output());
        let difference = pairs.map(|(a, b)| (f64::from(*a) - f64::from(*b)).abs()).fold(0.0, f64::max);
        largest = largest.max(difference / size.max(f64::MIN_POSITIVE));
        if largest > W::TOLERANCE {
            return Err(Unverified::Differs { workload, largest, tolerance: W::TOLERANCE });
        }
        if before.replace(baseline.output().to_vec()).as_deref() == Some(baseline.output()) {
            return Err(Unverified::Constant { workload });
        }
    }
    Ok(Verified { inputs, largest })
}

#[cfg(test)]
mod tests;

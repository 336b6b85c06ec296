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
//!
//! | module | what |
//! |---|---|
//! | `catalogue` | every pair: its name, its forms on CPU and CUDA, what it explains |
//! | `verify` | outputs of both sides held against each other |
//! | `witness` | outputs of iterations that were timed |
//! | `programs` | the pairs that are programs in Python |
//! | `flash_sdp`, `moe`, … | a pair each, on a CPU |

mod catalogue;
mod flash_sdp;
mod moe;
mod paged_attention;
mod perplexity;
mod prefixes;
mod programs;
mod scheduler;
mod verify;
mod witness;

use stopwatt_serving::random::{Draws, Purpose};

pub use catalogue::{CHAPTER, Form, PAIRS, Pair, SetUp, find};
pub use flash_sdp::FlashSdp;
pub use moe::Moe;
pub use paged_attention::PagedAttention;
pub use perplexity::Perplexity;
pub use prefixes::Prefixes;
pub use programs::write_programs;
pub use scheduler::Batching;
pub use verify::{Answer, Unverified, Verified, verify};
pub use witness::{Apart, Witness};

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
pub trait Workload: Send + 'static {
    /// What an iteration works on.
    type Input: Default + Send;

    /// Its sizes, for people.
    fn shape(&self) -> String;

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

/// Why a side cannot be set up.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotSetUp {
    /// This machine, or the command line, lacks something.
    #[error("{0}")]
    Lacks(String),
    /// It failed.
    #[error("{0}")]
    Failed(String),
}

impl From<String> for NotSetUp {
    fn from(reason: String) -> Self {
        Self::Failed(reason)
    }
}

/// How a side is set up.
#[derive(Debug, Clone)]
pub struct Setting {
    /// Which side.
    pub way: Way,
    /// Threads.
    pub threads: usize,
    /// Small sizes.
    pub small: bool,
    /// Weights of a real model, for pairs that need them.
    pub weights: Option<std::path::PathBuf>,
}

/// Which of the two ways.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// The plain one.
    Baseline,
    /// The one whose worth is asked for.
    Optimised,
}

/// A variant that is ready, whatever its workload is.
pub trait Worker: Send {
    /// Makes the input of `nonce` and forgets the last output. Not part of the time.
    fn draw(&mut self, nonce: [u64; 3]);

    /// Does the work once, on the input that was drawn: this is what is timed.
    ///
    /// # Errors
    /// The variant could not.
    fn work(&mut self) -> Result<Done, String>;

    /// What the last work made; NaN where it wrote nothing.
    fn output(&self) -> &[f32];

    /// Bytes of the buffers that the variant holds beside input and output.
    fn held_bytes(&self) -> usize;

    /// Sizes of the workload, for people.
    fn shape(&self) -> String;
}

/// A variant with its input and output.
pub struct Bound<W: Workload> {
    workload: W,
    variant: Box<dyn Variant<W::Input>>,
    input: W::Input,
    output: Vec<f32>,
}

impl<W: Workload> std::fmt::Debug for Bound<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bound").field("shape", &self.workload.shape()).finish_non_exhaustive()
    }
}

impl<W: Workload> Bound<W> {
    /// A variant of a workload.
    pub fn new(workload: W, variant: Box<dyn Variant<W::Input>>) -> Self {
        let output = vec![0.0; workload.output_len()];
        Self { workload, variant, input: W::Input::default(), output }
    }

    /// One way to do the work of `workload`, set up.
    ///
    /// # Errors
    /// It cannot be set up here.
    pub fn set_up(workload: W, way: Way, threads: usize) -> Result<Self, String> {
        let variant = match way {
            Way::Baseline => workload.baseline(threads)?,
            Way::Optimised => workload.optimised(threads)?,
        };
        Ok(Self::new(workload, variant))
    }
}

impl<W: Workload> Worker for Bound<W> {
    fn draw(&mut self, nonce: [u64; 3]) {
        let mut draws = Draws::new(Purpose::Workload, [nonce[0], nonce[1], nonce[2], 0]);
        self.workload.draw(&mut draws, &mut self.input);
        self.output.fill(f32::NAN);
    }

    fn work(&mut self) -> Result<Done, String> {
        self.variant.work(&self.input, &mut self.output)
    }

    fn output(&self) -> &[f32] {
        &self.output
    }

    fn held_bytes(&self) -> usize {
        self.variant.held_bytes()
    }

    fn shape(&self) -> String {
        self.workload.shape()
    }
}

#[cfg(test)]
mod tests;

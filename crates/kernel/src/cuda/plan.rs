//! What to launch for an operator: sources, grids, operands, and what must come out.
//!
//! A plan says nothing about addresses or streams: the device allocates the operands, fills them, launches the steps
//! in order on one stream, and holds results against [`Plan::expected`].

/// CUDA C++ source without includes, compiled at run time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Source {
    /// Name in messages and in the cache of compiled code.
    pub name: &'static str,
    /// Text.
    pub text: &'static str,
}

/// Number format of an operand in device memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Element {
    /// 32-bit floating point.
    F32,
    /// IEEE half precision.
    F16,
    /// bfloat16.
    Bf16,
    /// 8-bit floating point, 4 exponent and 3 mantissa bits.
    F8E4m3,
    /// 8-bit signed integer.
    I8,
    /// 32-bit signed integer.
    I32,
}

impl Element {
    /// Bytes of one element.
    #[must_use]
    pub const fn bytes(self) -> usize {
        match self {
            Element::F32 | Element::I32 => 4,
            Element::F16 | Element::Bf16 => 2,
            Element::F8E4m3 | Element::I8 => 1,
        }
    }
}

/// What stands in an operand before a call.
#[derive(Debug, Clone, PartialEq)]
pub enum Fill {
    /// Uniform random values in `[-scale, scale]`, rounded to the format.
    Uniform {
        /// Largest magnitude.
        scale: f32,
    },
    /// These integers, for instance block tables and lengths.
    Integers(Vec<i32>),
    /// Nothing that may survive: every byte 0xff (NaN in floating formats). Results and scratch memory.
    Poison,
    /// Zero bytes: counters that a kernel increments.
    Zero,
}

/// One buffer.
#[derive(Debug, Clone, PartialEq)]
pub struct Operand {
    /// Format of its elements.
    pub element: Element,
    /// How many.
    pub len: usize,
    /// Content before a call.
    pub fill: Fill,
    /// Gets a copy of its own for each rotation when caches shall be cold. Tables and scratch need none.
    pub rotates: bool,
    /// Holds a result that [`Plan::expected`] is about.
    pub result: bool,
}

/// An argument of a kernel.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Argument {
    /// Address of the operand at this position of [`Plan::operands`].
    Operand(usize),
    /// A 32-bit integer.
    I32(i32),
    /// A 32-bit floating-point number.
    F32(f32),
}

/// One kernel launch.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// Where the kernel stands.
    pub source: Source,
    /// Its `extern "C"` name.
    pub entry: &'static str,
    /// Macros given to the compiler, in this order.
    pub defines: Vec<(&'static str, String)>,
    /// Blocks.
    pub grid: [u32; 3],
    /// Threads of a block.
    pub block: [u32; 3],
    /// Dynamic shared memory a block, in bytes; above 48 KiB the device raises the kernel's limit.
    pub shared_bytes: u32,
    /// Arguments.
    pub arguments: Vec<Argument>,
}

/// The operands' contents as numbers, one slice an operand; results are what the device computed.
pub struct Contents<'a> {
    /// One an operand of the plan, widened to double precision.
    pub operands: &'a [Vec<f64>],
}

/// What an element of a result should be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Expectation {
    /// Value in double precision.
    pub value: f64,
    /// Deviation that the formats and the length of sums allow, absolute.
    pub tolerance: f64,
}

/// Tells what an element should be: contents, position of the operand, index of the element.
pub type Expected = dyn Fn(&Contents<'_>, usize, usize) -> Expectation + Send + Sync;

/// Everything needed to run an operator with kernels of our own.
pub struct Plan {
    /// Buffers.
    pub operands: Vec<Operand>,
    /// Launches, in order.
    pub steps: Vec<Step>,
    /// What element `index` of result operand `operand` should be, from the inputs.
    pub expected: Box<Expected>,
}

/// What a plan needs to know of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target {
    /// Streaming multiprocessors.
    pub sm_count: u32,
    /// Compute capability, for instance `(9, 0)`.
    pub capability: (u32, u32),
    /// Shared memory that a block may have at most, in bytes.
    pub shared_bytes_per_block: u32,
    /// Second-level cache, in bytes.
    pub l2_bytes: u64,
}

//! What to launch for an operator: sources, grids, operands, and what must come out.
//!
//! A plan says nothing about addresses or streams: the device allocates the operands, fills them, launches the steps
//! in order on one stream, and holds results against [`Plan::expected`].

pub use super::contents::{Column, Contents};

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
    /// These numbers, rounded to the format.
    Numbers(Vec<f32>),
    /// Uniform random integers in `0 .. limit`, fresh ones in each copy of a rotation: row numbers, token numbers.
    Below {
        /// First integer that does not occur.
        limit: u32,
    },
    /// Nothing that may survive: every byte 0xff (NaN in floating formats). Results and scratch memory.
    Poison,
    /// Zero bytes: counters that a kernel increments.
    Zero,
}

impl Fill {
    /// Uniform random values in `[-1, 1]`.
    pub const UNIT: Fill = Fill::Uniform { scale: 1.0 };
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
    /// Gets a copy of its own for each rotation when caches shall be cold. Tables and scratch need none. How many
    /// copies are enough follows from the bytes that a call touches, not from lengths: a call may read few rows of a
    /// large table.
    pub rotates: bool,
    /// Holds a result that [`Plan::expected`] is about. A result that is filled with something else than poison is
    /// also an input.
    pub result: bool,
}

impl Operand {
    /// Rotating operand that a call reads.
    #[must_use]
    pub const fn input(element: Element, len: usize, fill: Fill) -> Self {
        Self { element, len, fill, rotates: true, result: false }
    }

    /// The same for all rotations.
    #[must_use]
    pub const fn table(element: Element, len: usize, fill: Fill) -> Self {
        Self { element, len, fill, rotates: false, result: false }
    }

    /// Rotating operand that a call writes, poisoned before.
    #[must_use]
    pub const fn result(element: Element, len: usize) -> Self {
        Self { element, len, fill: Fill::Poison, rotates: true, result: true }
    }

    /// Operand that a call reads and replaces.
    #[must_use]
    pub const fn updated(element: Element, len: usize, fill: Fill) -> Self {
        Self { element, len, fill, rotates: true, result: true }
    }

    /// Memory between steps.
    #[must_use]
    pub const fn scratch(element: Element, len: usize) -> Self {
        Self { element, len, fill: Fill::Poison, rotates: false, result: false }
    }

    /// Zero before a call, and left zero by it.
    #[must_use]
    pub const fn counters(len: usize) -> Self {
        Self { element: Element::I32, len, fill: Fill::Zero, rotates: false, result: false }
    }
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

/// One of several ways to compute something.
#[derive(Debug, Clone, PartialEq)]
pub struct Way {
    /// What tells it from others, for people.
    pub name: String,
    /// Launches, in order.
    pub steps: Vec<Step>,
}

/// What an element of a result should be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Expectation {
    /// Value in double precision.
    pub value: f64,
    /// Deviation that the formats and the length of sums allow, absolute.
    pub tolerance: f64,
}

/// Tells what an element should be: contents, position of the operand, index of the element, and what was found there.
///
/// Only choices among equals (a drawn token whose threshold rounding may move) look at what was found, and only to
/// tell whether it is one of the right answers.
pub type Expected = dyn Fn(&Contents<'_>, usize, usize, f64) -> Expectation + Send + Sync;

/// Everything needed to run an operator with kernels of our own.
pub struct Plan {
    /// Buffers.
    pub operands: Vec<Operand>,
    /// Launches, in order.
    pub steps: Vec<Step>,
    /// Several launches that compute the same from the same operands, the first of them `steps`: the fastest on the
    /// device at hand is run. Empty when there is one way only.
    pub ways: Vec<Way>,
    /// What an element of a result should be, from the inputs.
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

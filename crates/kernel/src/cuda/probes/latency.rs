//! Time of dependent loads, empty launches, and a launch that holds a stream.

use super::{Level, Measures, Probe};
use crate::case::CaseError;
use crate::cuda::plan::{Argument, Element, Expectation, Operand, Plan, Step};
use crate::cuda::source;

/// Multiplier and increment of the chain's generator: one cycle over any power of two, in an order that no
/// prefetcher follows (Knuth, vol. 2, 3.2.1.2: c odd, a ≡ 1 mod 4).
const MULTIPLIER: u32 = 1_664_525;
const INCREMENT: u32 = 1_013_904_223;

/// One thread follows a chain through `bytes` of memory (rounded down to a power of two of lines), one load a line
/// of `line` bytes, `steps` times. Where the chain fits in a cache, a lap before brings it there.
///
/// The chain is written in a first launch; the time of a step is measured inside the second.
///
/// # Errors
///
/// [`CaseError::Unsupported`] for sizes that it cannot do.
pub fn chase(level: Level, bytes: u64, line: u32, steps: u32) -> Result<Probe, CaseError> {
    let unsupported = |reason: &str| CaseError::Unsupported { reason: reason.to_owned() };
    if !line.is_multiple_of(4) || line == 0 || bytes / u64::from(line.max(1)) < 2 || bytes > 16 << 30 {
        return Err(unsupported("chases take two lines to 16 GiB, lines of whole words"));
    }
    let words = line / 4;
    let lines = 1u32 << (bytes / u64::from(line)).ilog2().min(31);
    if u64::from(lines) * u64::from(words) >= 1 << 32 {
        return Err(unsupported("chases take two lines to 16 GiB, lines of whole words"));
    }
    let length = lines * words;
    let (number, shared_bytes) = match level {
        Level::Shared if length > 12 << 10 => {
            return Err(unsupported("a chase in shared memory takes at most 48 KiB"));
        }
        Level::Shared => (0, length * 4),
        Level::First => (1, 0),
        Level::Second | Level::Memory => (2, 0),
    };
    let warm = if level == Level::Memory { 0 } else { lines };
    let step = |entry, grid, threads, shared_bytes, arguments| Step {
        source: source::LATENCY,
        entry,
        defines: vec![("LEVEL", i32::to_string(&number))],
        grid: [grid, 1, 1],
        block: [threads, 1, 1],
        shared_bytes,
        arguments,
    };
    let word = |value: u32| Argument::I32(value as i32);
    Ok(Probe {
        measures: Measures::StepTime { operand: 2 },
        plan: Plan {
            operands: vec![
                Operand::scratch(Element::I32, length as usize),
                Operand { rotates: false, ..Operand::result(Element::I32, 1) },
                Operand::scratch(Element::F32, 2),
            ],
            steps: vec![
                step(
                    "chase_fill",
                    lines.div_ceil(256).min(4096),
                    256,
                    0,
                    vec![Argument::Operand(0), word(lines), word(words), word(MULTIPLIER), word(INCREMENT)],
                ),
                step(
                    "chase",
                    1,
                    1,
                    shared_bytes,
                    vec![
                        Argument::Operand(0),
                        Argument::Operand(1),
                        Argument::Operand(2),
                        word(length),
                        word(warm),
                        word(steps),
                    ],
                ),
            ],
            ways: Vec::new(),
            expected: Box::new(move |_, _, _, _| {
                let last = (0..u64::from(warm) + u64::from(steps))
                    .fold(0u32, |at, _| at.wrapping_mul(MULTIPLIER).wrapping_add(INCREMENT) & (lines - 1));
                Expectation { value: f64::from((last * words) as i32), tolerance: 0.0 }
            }),
        },
    })
}

/// A kernel that does nothing, for the cost of launching.
#[must_use]
pub fn empty() -> Step {
    Step {
        source: source::LATENCY,
        entry: "empty",
        defines: vec![("LEVEL", "1".to_owned())],
        grid: [1, 1, 1],
        block: [32, 1, 1],
        shared_bytes: 0,
        arguments: Vec::new(),
    }
}

/// A kernel that holds its stream until the host writes a non-zero word, so that calls queued behind it run without
/// gaps; it gives up after `limit_ms`.
///
/// Operand 0 is the word, in memory that the host and the device share; operand 1 is an integer that becomes 1 when
/// it gave up. The device allocates both; the step belongs to no plan.
#[must_use]
pub fn hold(limit_ms: u32) -> Step {
    Step {
        entry: "hold",
        block: [1, 1, 1],
        arguments: vec![Argument::Operand(0), Argument::Operand(1), Argument::I32(limit_ms as i32)],
        ..empty()
    }
}

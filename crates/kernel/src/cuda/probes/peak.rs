//! Peaks of arithmetic: independent chains of one instruction on every multiprocessor.

use stopwatt_core::kernel_table::Dtype;

use super::{Measures, Probe};
use crate::case::CaseError;
use crate::cuda::plan::{Argument, Contents, Element, Expectation, Fill, Operand, Plan, Step, Target};
use crate::cuda::source;

/// Chains of a thread, as in the source.
const CHAINS: usize = 8;

/// Which unit computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// The ordinary cores: fused multiply-add of `F32`, or of two `F16` or `Bf16` an instruction.
    Cores(Dtype),
    /// The ordinary cores: multiply-add of 32-bit integers.
    Integers,
    /// The matrix units through `mma.sync`. On devices of capability 9.0 and above, other instructions reach more.
    Matrix(Dtype),
    /// The matrix units of capability 9.0 through `wgmma`, operands in shared memory.
    Warpgroup(Dtype),
}

/// `iterations` rounds of every chain, with four blocks a multiprocessor.
///
/// # Errors
///
/// [`CaseError::Unsupported`] for formats that the unit or the device does not have.
pub fn peak(unit: Unit, iterations: u32, target: &Target) -> Result<Probe, CaseError> {
    let unsupported = |reason: &str| CaseError::Unsupported { reason: reason.to_owned() };
    let rounds = i32::try_from(iterations).map_err(|_| unsupported("more than 2^31 rounds"))?;
    match unit {
        Unit::Integers => Ok(integers(rounds, target)),
        Unit::Cores(dtype) => {
            let kind = match dtype {
                Dtype::F32 => 0,
                Dtype::F16 => 1,
                Dtype::Bf16 => 2,
                _ => return Err(unsupported("the cores compute in f32, f16 and bf16")),
            };
            Ok(cores(kind, rounds, target))
        }
        Unit::Warpgroup(_) if target.capability != (9, 0) => {
            Err(unsupported("`wgmma` exists on capability 9.0 alone"))
        }
        Unit::Warpgroup(dtype) => {
            let fragments = match dtype {
                Dtype::F16 => Fragments { kind: 0, element: Element::F16, scale: 1.0 },
                Dtype::Bf16 => Fragments { kind: 1, element: Element::Bf16, scale: 1.0 },
                Dtype::F8E4m3 => Fragments { kind: 4, element: Element::F8E4m3, scale: 1.0 },
                _ => return Err(unsupported("the peak of `wgmma` is there for f16, bf16 and f8e4m3")),
            };
            Ok(warpgroup(fragments, rounds, target))
        }
        Unit::Matrix(dtype) => {
            let fragments = match dtype {
                Dtype::F16 => Fragments { kind: 0, element: Element::F16, scale: 1.0 },
                Dtype::Bf16 => Fragments { kind: 1, element: Element::Bf16, scale: 1.0 },
                Dtype::Tf32 => Fragments { kind: 2, element: Element::F32, scale: 1.0 },
                Dtype::I8 => Fragments { kind: 3, element: Element::I8, scale: 8.0 },
                Dtype::F8E4m3 if target.capability >= (8, 9) => {
                    Fragments { kind: 4, element: Element::F8E4m3, scale: 1.0 }
                }
                Dtype::F8E4m3 => return Err(unsupported("8-bit floating point needs capability 8.9")),
                _ => return Err(unsupported("the matrix units do not have this format")),
            };
            Ok(matrix(fragments, rounds, target))
        }
    }
}

const THREADS: u32 = 256;

/// Blocks that are resident at once with the registers these kernels take.
const RESIDENT: u32 = 4;

fn step(
    entry: &'static str,
    kind: u32,
    target: &Target,
    rounds: i32,
    more: impl IntoIterator<Item = Argument>,
) -> Step {
    let mut arguments = vec![Argument::Operand(0), Argument::Operand(1), Argument::I32(rounds)];
    arguments.extend(more);
    Step {
        source: source::PEAK,
        entry,
        defines: vec![("KIND", kind.to_string()), ("THREADS", THREADS.to_string())],
        grid: [RESIDENT * target.sm_count, 1, 1],
        block: [THREADS, 1, 1],
        shared_bytes: 0,
        arguments,
    }
}

/// Operations of one call: chains of all threads, each of `operations` a round.
fn operations(target: &Target, rounds: i32, operations: f64) -> Measures {
    let threads = f64::from(RESIDENT * target.sm_count * THREADS);
    Measures::Operations { count: threads * CHAINS as f64 * f64::from(rounds) * operations }
}

fn cores(kind: u32, rounds: i32, target: &Target) -> Probe {
    let threads = THREADS as usize;
    let len = threads * (RESIDENT * target.sm_count) as usize;
    let unit = [2f64.powi(-24), 2f64.powi(-11), 2f64.powi(-8)][kind as usize];
    Probe {
        measures: operations(target, rounds, if kind == 0 { 2.0 } else { 4.0 }),
        plan: Plan {
            operands: vec![
                Operand::table(Element::F32, 2 * threads, Fill::UNIT),
                Operand { rotates: false, ..Operand::result(Element::F32, len) },
            ],
            steps: vec![step("peak_fma", kind, target, rounds, [Argument::F32(0.5)])],
            ways: Vec::new(),
            expected: Box::new(move |contents, _, index, _| {
                let thread = index % threads;
                let (start, limit) =
                    (contents.number(0, 2 * thread), 2.0 * contents.number(0, 2 * thread + 1));
                let left = 0.5f64.powi(rounds);
                // Over the chains, what was added to the start is 0 + 1 + … + 7 in single precision; the two
                // numbers of a word add and subtract it.
                let added = if kind == 0 { 28.0 } else { 0.0 };
                let value = CHAINS as f64 * (limit + (start - limit) * left) + added * left;
                // Each rounding of a chain is halved by the next step; sums of chains are in single precision.
                let rounded = unit * (3.0 * limit.abs() + 16.0 * left + 1e-3) + 2f64.powi(-22) * value.abs();
                Expectation { value, tolerance: CHAINS as f64 * rounded }
            }),
        },
    }
}

fn integers(rounds: i32, target: &Target) -> Probe {
    const A: i32 = 1_664_525;
    const B: i32 = 1_013_904_223;
    let threads = THREADS as usize;
    let len = threads * (RESIDENT * target.sm_count) as usize;
    Probe {
        measures: operations(target, rounds, 2.0),
        plan: Plan {
            operands: vec![
                Operand::table(Element::I32, threads, Fill::Below { limit: 1 << 31 }),
                Operand { rotates: false, ..Operand::result(Element::I32, len) },
            ],
            steps: vec![step("peak_mad", 0, target, rounds, [Argument::I32(A), Argument::I32(B)])],
            ways: Vec::new(),
            expected: Box::new(move |contents, _, index, _| {
                // The step done `rounds` times is one step: powers of x ↦ a·x + b by squaring.
                let (mut a, mut b) = (1i32, 0i32);
                let (mut power_a, mut power_b) = (A, B);
                let mut left = rounds;
                while left > 0 {
                    if left % 2 == 1 {
                        (a, b) = (power_a.wrapping_mul(a), power_a.wrapping_mul(b).wrapping_add(power_b));
                    }
                    (power_a, power_b) =
                        (power_a.wrapping_mul(power_a), power_a.wrapping_mul(power_b).wrapping_add(power_b));
                    left /= 2;
                }
                let start = contents.number(0, index % threads) as i32;
                let all = (0..CHAINS as i32)
                    .fold(0, |all, chain| all ^ start.wrapping_add(chain).wrapping_mul(a).wrapping_add(b));
                Expectation { value: f64::from(all), tolerance: 0.0 }
            }),
        },
    }
}

/// Operands of a matrix instruction.
#[derive(Debug, Clone, Copy)]
struct Fragments {
    kind: u32,
    element: Element,
    scale: f32,
}

impl Fragments {
    /// Elements of a 32-bit word; the sum of one instruction has eight times as many terms.
    fn word(self) -> usize {
        4 / self.element.bytes()
    }

    /// What `rounds` times the same product adds up to; `size` is the sum of its magnitudes.
    fn expect(self, rounds: f64, product: f64, size: f64) -> Expectation {
        // The matrix units cut sums instead of rounding them, at some 13 bits for 8-bit formats; TF32 keeps ten bits
        // of a number's fraction.
        let cut = if self.kind == 2 { 2f64.powi(-9) } else { 0.0 };
        let step = if self.element == Element::F8E4m3 { 2f64.powi(-13) } else { 2f64.powi(-23) };
        let tolerance = rounds * size * (cut + (rounds + 64.0) * step) + 1e-6;
        Expectation { value: rounds * product, tolerance }
    }

    /// Entry (row, column) of one round over all chains, and the sum of the magnitudes in it. Layout of fragments:
    /// PTX manual, "Matrix Fragments for mma.m16n8k16" and its like.
    fn product(self, contents: &Contents<'_>, row: usize, column: usize) -> (f64, f64) {
        let word = self.word();
        let lane_len = 16 * word;
        let numbers = contents.operands[0].all();
        let (mut sum, mut size) = (0.0, 0.0);
        for k in 0..8 * word {
            let (half, thread, element) = (k / (4 * word), k % (4 * word) / word, k % word);
            let left_lane = row % 8 * 4 + thread;
            let right_lane = column * 4 + thread;
            for a in 0..2 {
                let left = numbers[left_lane * lane_len + (4 * a + 2 * half + row / 8) * word + element];
                for b in 0..4 {
                    let right = numbers[right_lane * lane_len + (8 + 2 * b + half) * word + element];
                    sum += left * right;
                    size += (left * right).abs();
                }
            }
        }
        (sum, size)
    }
}

fn matrix(fragments: Fragments, rounds: i32, target: &Target) -> Probe {
    let len = 4 * (THREADS * RESIDENT * target.sm_count) as usize;
    // A warp does 2·16·8·k operations an instruction.
    let a_thread = 2.0 * 16.0 * 8.0 * 8.0 * fragments.word() as f64 / 32.0;
    Probe {
        measures: operations(target, rounds, a_thread),
        plan: Plan {
            operands: vec![
                Operand::table(
                    fragments.element,
                    32 * 16 * fragments.word(),
                    Fill::Uniform { scale: fragments.scale },
                ),
                Operand { rotates: false, ..Operand::result(Element::F32, len) },
            ],
            steps: vec![step("peak_mma", fragments.kind, target, rounds, [])],
            ways: Vec::new(),
            expected: Box::new(move |contents, _, index, _| {
                let (lane, i) = (index / 4 % 32, index % 4);
                let (product, size) =
                    fragments.product(contents, lane / 4 + 8 * (i / 2), lane % 4 * 2 + i % 2);
                fragments.expect(f64::from(rounds), product, size)
            }),
        },
    }
}

fn warpgroup(fragments: Fragments, rounds: i32, target: &Target) -> Probe {
    const THREADS: u32 = 128;
    /// Groups of four warps that one multiprocessor holds with 64·256 sums each.
    const RESIDENT: u32 = 2;
    /// Products of a round, as in the source.
    const PRODUCTS: f64 = 4.0;
    let row = 4 * fragments.word();
    let grid = RESIDENT * target.sm_count;
    let count = 2.0 * 64.0 * 256.0 * 2.0 * row as f64 * PRODUCTS * f64::from(rounds) * f64::from(grid);
    Probe {
        measures: Measures::Operations { count },
        plan: Plan {
            operands: vec![
                Operand::table(fragments.element, 16 * row, Fill::Uniform { scale: fragments.scale }),
                Operand { rotates: false, ..Operand::result(Element::F32, (4 * THREADS * grid) as usize) },
            ],
            steps: vec![Step {
                source: source::WARPGROUP,
                entry: "warpgroup",
                defines: vec![("KIND", fragments.kind.to_string()), ("THREADS", THREADS.to_string())],
                grid: [grid, 1, 1],
                block: [THREADS, 1, 1],
                shared_bytes: 0,
                arguments: vec![Argument::Operand(0), Argument::Operand(1), Argument::I32(rounds)],
            }],
            ways: Vec::new(),
            expected: Box::new(move |contents, _, index, _| {
                let (lane, i) = (index / 4 % 32, index % 4);
                let left = contents.row(0, lane / 4 * row, row);
                let right = contents.row(0, (8 + lane % 4 * 2 + i % 2) * row, row);
                let product: f64 = left.iter().zip(&right).map(|(l, r)| l * r).sum();
                let size: f64 = left.iter().zip(&right).map(|(l, r)| (l * r).abs()).sum();
                // Two core matrices lie along the sum.
                fragments.expect(PRODUCTS * f64::from(rounds), 2.0 * product, 2.0 * size)
            }),
        },
    }
}

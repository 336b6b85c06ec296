//! Softmax over rows: short rows stay in registers, long ones are read twice.

use stopwatt_core::kernel_table::{Op, Shape};

use super::{Format, count, length, unsupported};
use crate::case::CaseError;
use crate::cuda::plan::{Argument, Fill, Operand, Plan, Step};
use crate::cuda::source;

/// Elements that a thread holds in registers at most.
const HELD: u32 = 32;

/// Accesses that a thread has under way at most.
const ACCESSES: u32 = 8;

pub(super) fn plan(op: &Op) -> Result<Plan, CaseError> {
    let Shape::Rows { rows, cols } = op.shape else { return Err(unsupported("a shape that is not rows")) };
    let format = Format::of(op)?;
    let len = length(&[rows, cols])?;
    let lanes = format.lanes(cols);
    let vectors = cols / lanes;
    let threads = vectors.div_ceil(2).next_power_of_two().clamp(32, 1024);
    let each = vectors.div_ceil(threads);
    let held = each * lanes <= HELD && each <= ACCESSES;
    let step = Step {
        source: source::SOFTMAX,
        entry: "softmax",
        defines: vec![
            ("ELEMENT", format.name.to_owned()),
            ("LANES", lanes.to_string()),
            ("THREADS", threads.to_string()),
            ("VECTORS", if held { each } else { 0 }.to_string()),
        ],
        grid: [rows, 1, 1],
        block: [threads, 1, 1],
        shared_bytes: 0,
        arguments: vec![Argument::Operand(0), Argument::Operand(1), Argument::I32(count(vectors as usize)?)],
    };
    let cols = cols as usize;
    Ok(Plan {
        operands: vec![
            Operand::input(format.element, len, Fill::Uniform { scale: 8.0 }),
            Operand::result(format.element, len),
        ],
        steps: vec![step],
        ways: Vec::new(),
        expected: Box::new(move |contents, _, index, _| {
            let row = contents.row(0, index / cols * cols, cols);
            let max = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let value = (row[index % cols] - max).exp() / row.iter().map(|v| (v - max).exp()).sum::<f64>();
            // A thread adds up to cols / 32 terms in a row.
            format.expect(value, (1e-5 + 1e-7 * (cols / 1024) as f64) * value)
        }),
    })
}

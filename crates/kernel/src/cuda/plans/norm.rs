//! Layer and root-mean-square normalisation: a block a row, or a warp a row where rows are short.

use stopwatt_core::kernel_table::{Op, OpKind, Shape};

use super::{Format, count, length, unsupported};
use crate::case::CaseError;
use crate::cuda::plan::{Argument, Contents, Expectation, Fill, Operand, Plan, Step, Target};
use crate::cuda::source;

const EPSILON: f32 = 1e-5;

/// Elements that a thread holds in registers at most.
const HELD: u32 = 64;

pub(super) fn plan(op: &Op, target: &Target) -> Result<Plan, CaseError> {
    let Shape::Rows { rows, cols } = op.shape else { return Err(unsupported("a shape that is not rows")) };
    let format = Format::of(op)?;
    let len = length(&[rows, cols])?;
    let lanes = format.lanes(cols);
    let vectors = cols / lanes;
    // Many rows fill the device anyway: fewer threads with more under way each. Few rows want all threads.
    let share = if rows >= 4 * target.sm_count { 4 } else { 1 };
    let threads = vectors.div_ceil(share).next_power_of_two().clamp(32, 1024);
    let each = vectors.div_ceil(threads);
    if each * lanes > HELD {
        return Err(unsupported(format!("rows of {cols} elements do not fit in the registers of a block")));
    }
    let rows_a_block = if threads == 32 { 4 } else { 1 };

    let element = format.element;
    let (entry, operands) = match op.kind {
        OpKind::RmsNorm => (
            "rms_norm",
            vec![
                Operand::input(element, len, Fill::UNIT),
                Operand::table(element, cols as usize, Fill::UNIT),
                Operand::result(element, len),
            ],
        ),
        OpKind::AddRmsNorm => (
            "add_rms_norm",
            vec![
                Operand::input(element, len, Fill::UNIT),
                Operand::updated(element, len, Fill::UNIT),
                Operand::table(element, cols as usize, Fill::UNIT),
                Operand::result(element, len),
            ],
        ),
        _ => (
            "layer_norm",
            vec![
                Operand::input(element, len, Fill::UNIT),
                Operand::table(element, cols as usize, Fill::UNIT),
                Operand::table(element, cols as usize, Fill::UNIT),
                Operand::result(element, len),
            ],
        ),
    };
    let mut arguments: Vec<Argument> = (0..operands.len()).map(Argument::Operand).collect();
    arguments.extend([
        Argument::I32(count(rows as usize)?),
        Argument::I32(count(vectors as usize)?),
        Argument::F32(EPSILON),
    ]);
    let step = Step {
        source: source::NORM,
        entry,
        defines: vec![
            ("ELEMENT", format.name.to_owned()),
            ("LANES", lanes.to_string()),
            ("VECTORS", each.to_string()),
            ("THREADS", threads.to_string()),
            ("ROWS", rows_a_block.to_string()),
        ],
        grid: [rows.div_ceil(rows_a_block), 1, 1],
        block: [threads * rows_a_block, 1, 1],
        shared_bytes: 0,
        arguments,
    };
    let (kind, cols) = (op.kind, cols as usize);
    Ok(Plan {
        operands,
        steps: vec![step],
        ways: Vec::new(),
        expected: Box::new(move |contents, operand, index, _| {
            expected(kind, format, cols, contents, operand, index)
        }),
    })
}

fn expected(
    kind: OpKind,
    format: Format,
    cols: usize,
    contents: &Contents<'_>,
    operand: usize,
    index: usize,
) -> Expectation {
    let begin = index / cols * cols;
    let x = contents.row(0, begin, cols);
    let column = index % cols;
    let root = |squares: f64| 1.0 / (squares / cols as f64 + f64::from(EPSILON)).sqrt();
    match kind {
        OpKind::LayerNorm => {
            let (weight, bias) = (contents.number(1, column), contents.number(2, column));
            let mean = x.iter().sum::<f64>() / cols as f64;
            let size = x.iter().map(|v| v.abs()).sum::<f64>() / cols as f64;
            let factor = root(x.iter().map(|v| (v - mean).powi(2)).sum()) * weight;
            let centred = x[column] - mean;
            format
                .expect(centred * factor + bias, 4e-6 * ((centred.abs() + size) * factor.abs() + bias.abs()))
        }
        OpKind::RmsNorm => {
            let value = x[column] * root(x.iter().map(|v| v * v).sum()) * contents.number(1, column);
            format.expect(value, 4e-6 * value.abs())
        }
        _ => {
            let residual = contents.row(1, begin, cols);
            if operand == 1 {
                return format.expect(x[column] + residual[column], 0.0);
            }
            let sum = |i: usize| format.round(x[i] + residual[i]);
            let value =
                sum(column) * root((0..cols).map(|i| sum(i).powi(2)).sum()) * contents.number(2, column);
            format.expect(value, 4e-6 * value.abs())
        }
    }
}

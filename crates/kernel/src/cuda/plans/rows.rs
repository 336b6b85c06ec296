//! Rotary position embedding and gather of embedding rows.

use stopwatt_core::kernel_table::{Op, Shape};

use super::{Format, count, length, scattered, unsupported};
use crate::case::CaseError;
use crate::cuda::plan::{Argument, Element, Expectation, Fill, Operand, Plan, Step};
use crate::cuda::source;

const THREADS: u32 = 256;

/// Positions that the table of angles covers.
const POSITIONS: u32 = 4096;

pub(super) fn rope(op: &Op) -> Result<Plan, CaseError> {
    let Shape::Heads { tokens, heads, kv_heads, head_dim } = op.shape else {
        return Err(unsupported("a shape without heads"));
    };
    let format = Format::of(op)?;
    if !head_dim.is_multiple_of(2) {
        return Err(unsupported("heads of odd width have no pairs to rotate"));
    }
    let all = heads + kv_heads;
    let len = length(&[tokens, all, head_dim])?;
    let half = head_dim / 2;
    let lanes = format.lanes(half);
    let vectors = len / 2 / lanes as usize;
    let step = Step {
        source: source::ROWS,
        entry: "rope",
        defines: vec![("ELEMENT", format.name.to_owned()), ("LANES", lanes.to_string())],
        grid: [count(vectors.div_ceil(THREADS as usize))? as u32, 1, 1],
        block: [THREADS, 1, 1],
        shared_bytes: 0,
        arguments: vec![
            Argument::Operand(0),
            Argument::Operand(1),
            Argument::Operand(2),
            Argument::I32(count(vectors)?),
            Argument::I32(count(all as usize)?),
            Argument::I32(count((half / lanes) as usize)?),
        ],
    };
    let positions = scattered(POSITIONS, tokens as usize, 1);
    let (all, head_dim, half) = (all as usize, head_dim as usize, half as usize);
    Ok(Plan {
        operands: vec![
            Operand::updated(format.element, len, Fill::UNIT),
            Operand::table(Element::I32, positions.len(), Fill::Integers(positions)),
            Operand::table(Element::F32, POSITIONS as usize * head_dim, Fill::Numbers(angles(half))),
        ],
        steps: vec![step],
        ways: Vec::new(),
        expected: Box::new(move |contents, _, index, _| {
            let [x, positions, angles] = [0, 1, 2].map(|o| move |i| contents.number(o, i));
            let (head, within) = (index / head_dim, index % head_dim);
            let pair = within % half;
            let row = positions(head / all) as usize * head_dim;
            let (cosine, sine) = (angles(row + pair), angles(row + half + pair));
            let (low, high) = (x(head * head_dim + pair), x(head * head_dim + half + pair));
            let (kept, crossed) =
                if within < half { (low * cosine, -high * sine) } else { (high * cosine, low * sine) };
            format.expect(kept + crossed, 2e-7 * (kept.abs() + crossed.abs()))
        }),
    })
}

/// A row a position: the cosines of all pairs, then their sines. Frequencies fall from 1 to nearly 1/10000 (Su et al.
/// 2021).
fn angles(half: usize) -> Vec<f32> {
    let mut table = Vec::with_capacity(POSITIONS as usize * 2 * half);
    for position in 0..POSITIONS {
        let angle = |pair: usize| f64::from(position) * 10_000f64.powf(-(pair as f64) / half as f64);
        table.extend((0..half).map(|pair| angle(pair).cos() as f32));
        table.extend((0..half).map(|pair| angle(pair).sin() as f32));
    }
    table
}

pub(super) fn embedding(op: &Op) -> Result<Plan, CaseError> {
    let Shape::Lookup { tokens, vocab, hidden } = op.shape else {
        return Err(unsupported("a shape without a table"));
    };
    let format = Format::of(op)?;
    let len = length(&[tokens, hidden])?;
    let table = length(&[vocab, hidden])?;
    let lanes = format.lanes(hidden);
    let vectors = len / lanes as usize;
    let step = Step {
        source: source::ROWS,
        entry: "embedding",
        defines: vec![("ELEMENT", format.name.to_owned()), ("LANES", lanes.to_string())],
        grid: [count(vectors.div_ceil(THREADS as usize))? as u32, 1, 1],
        block: [THREADS, 1, 1],
        shared_bytes: 0,
        arguments: vec![
            Argument::Operand(0),
            Argument::Operand(1),
            Argument::Operand(2),
            Argument::I32(count(vectors)?),
            Argument::I32(count((hidden / lanes) as usize)?),
        ],
    };
    let hidden = hidden as usize;
    Ok(Plan {
        operands: vec![
            Operand::input(Element::I32, tokens as usize, Fill::Below { limit: vocab }),
            Operand::table(format.element, table, Fill::UNIT),
            Operand::result(format.element, len),
        ],
        steps: vec![step],
        ways: Vec::new(),
        expected: Box::new(move |contents, _, index, _| {
            let token = contents.number(0, index / hidden) as usize;
            Expectation { value: contents.number(1, token * hidden + index % hidden), tolerance: 0.0 }
        }),
    })
}

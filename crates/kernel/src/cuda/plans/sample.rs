//! Choice of a token: the largest logit, or a draw after top-k and top-p.

use stopwatt_core::kernel_table::{Op, Shape};

use super::{Format, count, length, unsupported};
use crate::case::CaseError;
use crate::cuda::plan::{Argument, Element, Expectation, Fill, Operand, Plan, Step, Target};
use crate::cuda::source;

/// Candidates that the draw keeps in shared memory.
const CAPACITY: u32 = 8192;

/// Bins of the draw's histogram, as in the source.
const BINS: u32 = 8192;

/// Numbers kept by the first cut of the draw, common in engines' defaults and benchmarks.
const TOP_K: u32 = 50;

/// Probability kept by the second.
const TOP_P: f32 = 0.9;

/// Decides which tokens are drawn.
const SEED: u32 = 0x5eed;

/// Largest magnitude of the logits.
const SCALE: f32 = 10.0;

pub(super) fn argmax(op: &Op, target: &Target) -> Result<Plan, CaseError> {
    const THREADS: u32 = 512;
    let Shape::Rows { rows, cols } = op.shape else { return Err(unsupported("a shape that is not rows")) };
    let format = logits(op)?;
    let len = length(&[rows, cols])?;
    if rows > 65_535 {
        return Err(unsupported("more than 65535 rows of logits"));
    }
    let lanes = format.lanes(cols);
    let vectors = cols / lanes;
    // As many blocks as fit at once, each with at least four accesses a thread.
    let splits = (4 * target.sm_count / rows).clamp(1, vectors.div_ceil(4 * THREADS));
    let step = Step {
        source: source::SAMPLE,
        entry: "argmax",
        defines: defines(format, lanes, THREADS),
        grid: [splits, rows, 1],
        block: [THREADS, 1, 1],
        shared_bytes: 0,
        arguments: vec![
            Argument::Operand(0),
            Argument::Operand(1),
            Argument::Operand(2),
            Argument::Operand(3),
            Argument::I32(count(vectors as usize)?),
        ],
    };
    let (rows, cols) = (rows as usize, cols as usize);
    Ok(Plan {
        operands: vec![
            Operand::input(format.element, len, Fill::Uniform { scale: SCALE }),
            Operand::counters(2 * rows),
            Operand::counters(rows),
            Operand::result(Element::I32, rows),
        ],
        steps: vec![step],
        ways: Vec::new(),
        expected: Box::new(move |contents, _, index, _| {
            let row = contents.row(0, index * cols, cols);
            // The first of the largest.
            let best = (1..cols).fold(0, |best, i| if row[i] > row[best] { i } else { best });
            Expectation { value: best as f64, tolerance: 0.0 }
        }),
    })
}

pub(super) fn top_k_top_p(op: &Op, target: &Target) -> Result<Plan, CaseError> {
    const THREADS: u32 = 1024;
    let Shape::Rows { rows, cols } = op.shape else { return Err(unsupported("a shape that is not rows")) };
    let format = logits(op)?;
    let len = length(&[rows, cols])?;
    let lanes = format.lanes(cols);
    let k = TOP_K.min(cols);
    let shared_bytes = 4 * BINS + 8 * CAPACITY;
    if shared_bytes > target.shared_bytes_per_block {
        return Err(unsupported(format!("{shared_bytes} bytes of shared memory a block are needed")));
    }
    let step = Step {
        source: source::SAMPLE,
        entry: "top_k_top_p",
        defines: defines(format, lanes, THREADS),
        grid: [rows, 1, 1],
        block: [THREADS, 1, 1],
        shared_bytes,
        arguments: vec![
            Argument::Operand(0),
            Argument::Operand(1),
            Argument::I32(count((cols / lanes) as usize)?),
            Argument::I32(k as i32),
            Argument::F32(TOP_P),
            Argument::I32(SEED as i32),
        ],
    };
    let (rows, cols) = (rows as usize, cols as usize);
    Ok(Plan {
        operands: vec![
            Operand::input(format.element, len, Fill::Uniform { scale: SCALE }),
            Operand::result(Element::I32, rows),
        ],
        steps: vec![step],
        ways: Vec::new(),
        expected: Box::new(move |contents, _, index, found| {
            let row = contents.row(0, index * cols, cols);
            let (best, near) = draw(&row, k as usize, index as u32);
            // Rounding may move the second threshold and the order of nearly equal scores.
            let value = if near.iter().any(|&i| i as f64 == found) { found } else { best as f64 };
            Expectation { value, tolerance: 0.0 }
        }),
    })
}

/// The token that the kernel should draw, and those that it may draw where its thresholds and scores round otherwise.
fn draw(row: &[f64], k: usize, number: u32) -> (usize, Vec<usize>) {
    let mut order: Vec<usize> = (0..row.len()).collect();
    order.sort_by(|&a, &b| row[b].total_cmp(&row[a]));
    let kth = row[order[k - 1]];
    let max = row[order[0]];
    order.retain(|&i| row[i] >= kth);
    let mass: f64 = order.iter().map(|&i| (row[i] - max).exp()).sum();
    let (slack, needed) = (1e-5, f64::from(TOP_P));
    let score = |i: usize| (row[i] - max).exp() / -f64::from(noise(number, i as u32)).ln();
    let choose = |needed: f64| {
        let mut sum = 0.0;
        let mut last = f64::INFINITY;
        let kept: Vec<usize> = order
            .iter()
            .copied()
            .take_while(|&i| {
                // Equal numbers are kept together.
                let keep = row[i] == last || sum < needed * mass;
                sum += (row[i] - max).exp();
                last = row[i];
                keep
            })
            .collect();
        let best = kept.iter().copied().max_by(|&a, &b| score(a).total_cmp(&score(b))).unwrap_or(order[0]);
        let near: Vec<usize> = kept.into_iter().filter(|&i| score(i) >= (1.0 - 1e-4) * score(best)).collect();
        (best, near)
    };
    let (best, mut near) = choose(needed);
    near.extend(choose(needed - slack).1);
    near.extend(choose(needed + slack).1);
    (best, near)
}

/// The kernel's uniform number of a position.
fn noise(row: u32, index: u32) -> f32 {
    let mut h = index.wrapping_mul(0x9e37_79b9) ^ row.wrapping_mul(0x85eb_ca6b).wrapping_add(SEED);
    h = (h ^ (h >> 16)).wrapping_mul(0x85eb_ca6b);
    h = (h ^ (h >> 13)).wrapping_mul(0xc2b2_ae35);
    h ^= h >> 16;
    ((h >> 9) as f32 + 0.5) / 8_388_608.0
}

/// Format of the logits; the token is always an integer, so the output's format says nothing.
fn logits(op: &Op) -> Result<Format, CaseError> {
    let mut alike = *op;
    alike.dtypes.weight = op.dtypes.input;
    alike.dtypes.output = op.dtypes.input;
    Format::of(&alike)
}

fn defines(format: Format, lanes: u32, threads: u32) -> Vec<(&'static str, String)> {
    vec![
        ("ELEMENT", format.name.to_owned()),
        ("LANES", lanes.to_string()),
        ("THREADS", threads.to_string()),
        ("CAPACITY", CAPACITY.to_string()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_draw_keeps_to_the_cuts() {
        // Probabilities 0.5, 0.3, 0.15, 0.05: top-p 0.9 keeps three, top-k 2 keeps two.
        let row: Vec<f64> = [0.5f64, 0.3, 0.15, 0.05].iter().map(|p| p.ln()).collect();
        let mut seen = [0u32; 4];
        for number in 0..4000 {
            seen[draw(&row, 4, number).0] += 1;
            assert!(draw(&row, 2, number).0 < 2);
        }
        assert_eq!(seen[3], 0);
        // Among the three, in proportion: 0.526, 0.316, 0.158; four standard deviations.
        for (seen, p) in seen.iter().zip([0.5 / 0.95, 0.3 / 0.95, 0.15 / 0.95]) {
            let deviation = (f64::from(*seen) - 4000.0 * p).abs() / (4000.0 * p * (1.0 - p)).sqrt();
            assert!(deviation < 4.0, "{seen} of 4000 where {p} is the share");
        }
    }
}

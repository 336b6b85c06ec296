//! The kernel of a layout: reads, step after step, the blocks that the transform selected, in memory laid out as the arm
//! has it.
//!
//! The operand lies there as many times as the working set needs; an iteration is one step on each copy, in turn, so that
//! a copy has left the cache when it is read again, unless the working set is small.

use sha2::{Digest as _, Sha256};
use stopwatt_core::clock::monotonic_raw;
use stopwatt_kernel::cpu::{Buffer, Cpu, Pages, gather_linear, page_attention};
use stopwatt_layout::Permutation;
use stopwatt_layout::matrix::relative_error;
use stopwatt_stats::Ci;
use stopwatt_stats::interval::quantile_order;
use stopwatt_stats::quantile::{median, sorted};

use super::super::target::Iteration;
use super::arms::{Problem, quantised};
use super::material::{Material, Operand};

/// Pairs of timings of the control.
const CONTROL_PAIRS: usize = 31;
/// Rows of the control's matrix.
const CONTROL_ROWS: usize = 512;
/// Steps whose output is held against that of the whole operand.
const CHECKED: usize = 64;

/// Memory and steps, ready to be read.
pub(super) struct Work {
    cpu: Cpu,
    block: usize,
    copies: Vec<Copy>,
    steps: Vec<Step>,
    next: usize,
    /// The input of the step that is computed.
    input: Buffer,
    scores: Vec<f32>,
    /// Bytes of one block in all copies.
    block_bytes: f64,
    scale: f32,
    out: Vec<f32>,
}

/// The operand, laid out.
enum Copy {
    Columns(Buffer),
    Tokens { keys: Buffer, values: Buffer },
}

struct Step {
    /// What the kernel is given, in the order of the layout.
    input: Vec<f32>,
    /// Blocks that hold anything wanted.
    blocks: Vec<u32>,
    /// Tokens that count, by place.
    live: Vec<bool>,
}

/// What a layout's outputs differ from those of the model as it is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Checked {
    /// Mean relative error of the outputs with the transform.
    pub(super) error: f64,
    /// Largest relative error of the whole operand laid out, against as it was: rounding.
    pub(super) exact: f64,
}

impl Work {
    /// Lays the operand out and selects what each held-out step reads.
    pub(super) fn new(
        material: &Material,
        problem: &Problem<'_>,
        pi: &Permutation,
        copies: usize,
        threads: usize,
    ) -> Result<(Self, Checked), String> {
        let (d, block) = (pi.len(), problem.block);
        let first = material.importances.len() - problem.test.len();
        let live = problem.live_units()?;
        let mut steps = Vec::with_capacity(problem.test.len());
        for t in 0..problem.test.len() {
            let units = problem.selected(problem.test.step(t), pi, live.as_deref());
            let mut wanted = vec![false; d];
            units.iter().for_each(|&u| wanted[pi.position()[u as usize] as usize] = true);
            let blocks = wanted.chunks(block).zip(0..).filter(|(b, _)| b.contains(&true)).map(|b| b.1);
            let blocks: Vec<u32> = blocks.collect();
            let given = material.inputs.row(first + t);
            let input = match material.operand {
                Operand::Columns(_) => {
                    pi.apply(given).into_iter().zip(&wanted).map(|(x, w)| if *w { x } else { 0.0 }).collect()
                }
                Operand::Tokens { .. } => given.to_vec(),
            };
            steps.push(Step { input, blocks, live: wanted });
        }
        let (operand, width, scale) = match &material.operand {
            Operand::Columns(down) => {
                let rounded = match &problem.transform.quant {
                    Some(quant) => quantised(down, pi, quant)?.0,
                    None => down.clone(),
                };
                let laid = rounded.with_columns(pi.order());
                (Copy::Columns(aligned(&laid.data)?), down.rows, 0.0)
            }
            Operand::Tokens { keys, values, scale } => (
                Copy::Tokens {
                    keys: aligned(&keys.with_rows(pi.order()).data)?,
                    values: aligned(&values.with_rows(pi.order()).data)?,
                },
                keys.cols,
                *scale,
            ),
        };
        let operand_bytes = operand.bytes();
        let copies = (0..copies).map(|_| operand.again()).collect::<Result<Vec<_>, _>>()?;
        let mut work = Self {
            cpu: Cpu::new(threads),
            block,
            block_bytes: (operand_bytes * copies.len()) as f64 * block as f64 / d as f64,
            copies,
            input: aligned(&steps[0].input)?,
            steps,
            next: 0,
            scores: Vec::new(),
            scale,
            out: vec![0.0; width],
        };
        let checked = work.check(material, problem, pi, first);
        Ok((work, checked))
    }

    /// Bytes that the kernel goes through.
    pub(super) fn bytes(&self) -> usize {
        self.copies.iter().map(Copy::bytes).sum()
    }

    /// One step on every copy.
    pub(super) fn iterate(&mut self) -> Iteration {
        let index = self.next;
        self.next = (index + 1) % self.steps.len();
        self.input.copy_from_slice(&self.steps[index].input);
        let start_ns = monotonic_raw();
        for copy in 0..self.copies.len() {
            self.step(index, copy);
        }
        let end_ns = monotonic_raw();
        let blocks = self.steps[index].blocks.len() as f64;
        let metrics = [("blocks_read", blocks), ("bytes_asked_for", blocks * self.block_bytes)];
        Iteration {
            start_ns,
            end_ns,
            tokens: Some(1),
            metrics: metrics.map(|(name, value)| (name.to_owned(), value)).into(),
            ..Iteration::default()
        }
    }

    fn step(&mut self, index: usize, copy: usize) {
        let step = &self.steps[index];
        match &self.copies[copy] {
            Copy::Columns(w) => {
                gather_linear(&self.cpu, &self.input, w, &step.blocks, self.block, &mut self.out);
            }
            Copy::Tokens { keys, values } => {
                let cache = Pages { keys, values, live: &step.live, dim: self.input.len(), page: self.block };
                page_attention(
                    &self.cpu,
                    &self.input,
                    &cache,
                    &step.blocks,
                    self.scale,
                    &mut self.scores,
                    &mut self.out,
                );
            }
        }
    }

    /// Hash of what every step gives, on the first copy.
    pub(super) fn outputs(&mut self) -> String {
        let mut hash = Sha256::new();
        for index in 0..self.steps.len() {
            self.input.copy_from_slice(&self.steps[index].input);
            self.step(index, 0);
            self.out.iter().for_each(|v| hash.update(v.to_le_bytes()));
        }
        format!("{:x}", hash.finalize())
    }

    /// Holds outputs against those of the operand as the model has it, computed in double precision.
    fn check(
        &mut self,
        material: &Material,
        problem: &Problem<'_>,
        pi: &Permutation,
        first: usize,
    ) -> Checked {
        let n = problem.test.len().min(CHECKED);
        let (mut error, mut exact) = (0.0, 0.0f64);
        for t in 0..n {
            let given = material.inputs.row(first + t);
            let (reference, laid) = match &material.operand {
                Operand::Columns(down) => {
                    (down.times(given), down.with_columns(pi.order()).times(&pi.apply(given)))
                }
                Operand::Tokens { keys, values, scale } => {
                    let of = |keys: &stopwatt_layout::Dense, values: &stopwatt_layout::Dense| {
                        stopwatt_layout::carrier::Attention { keys: keys.clone(), values: values.clone() }
                            .forward(given, *scale)
                    };
                    (of(keys, values), of(&keys.with_rows(pi.order()), &values.with_rows(pi.order())))
                }
            };
            self.input.copy_from_slice(&self.steps[t].input);
            self.step(t, 0);
            error += relative_error(&reference, &self.out) / n as f64;
            exact = exact.max(relative_error(&reference, &laid));
        }
        Checked { error, exact }
    }
}

impl Copy {
    fn bytes(&self) -> usize {
        4 * match self {
            Self::Columns(w) => w.len(),
            Self::Tokens { keys, values } => keys.len() + values.len(),
        }
    }

    fn again(&self) -> Result<Self, String> {
        Ok(match self {
            Self::Columns(w) => Self::Columns(aligned(w)?),
            Self::Tokens { keys, values } => Self::Tokens { keys: aligned(keys)?, values: aligned(values)? },
        })
    }
}

/// The same numbers, where vectors are read without crossing cache lines: two layouts must not differ by where an allocator
/// puts them.
fn aligned(numbers: &[f32]) -> Result<Buffer, String> {
    let mut buffer =
        Buffer::zeroed(numbers.len()).map_err(|e| format!("no memory for the working set: {e}"))?;
    buffer.copy_from_slice(numbers);
    Ok(buffer)
}

/// The control: a dense product whose reduction axis lies in two orders, timed in turns.
#[derive(Debug, Clone, Copy)]
pub(super) struct Control {
    /// Median of the times in this layout over those in the model's own, pair by pair.
    pub(super) ratio: f64,
    /// Its 95 % interval.
    pub(super) ci: Ci,
}

/// Times the control in a layout against the model's own order.
pub(super) fn control(pi: &Permutation, block: usize, threads: usize) -> Result<Control, String> {
    let cpu = Cpu::new(threads);
    let d = pi.len();
    let number = |i: usize| ((i.wrapping_mul(2_654_435_761)) % 1024) as f32 / 512.0 - 1.0;
    let weights = stopwatt_layout::Dense::new(CONTROL_ROWS, d, (0..CONTROL_ROWS * d).map(number).collect());
    let x: Vec<f32> = (0..d).map(number).collect();
    let blocks: Vec<u32> = (0..(d / block) as u32).collect();
    let laid = weights.with_columns(pi.order());
    let sides = [(weights.data, x.clone()), (laid.data, pi.apply(&x))];
    // Both lie in the same memory in turn: two allocations of the same numbers differ by some per cent.
    let (mut w, mut x) = (aligned(&sides[0].0)?, aligned(&x)?);
    let mut y = vec![0.0; CONTROL_ROWS];
    let mut time = |side: usize| {
        w.copy_from_slice(&sides[side].0);
        x.copy_from_slice(&sides[side].1);
        let begin = monotonic_raw();
        gather_linear(&cpu, &x, &w, &blocks, block, &mut y);
        (monotonic_raw() - begin) as f64
    };
    // Warm, and each pair the other way round than the one before.
    (0..8).for_each(|i| {
        time(i % 2);
    });
    let ratios: Vec<f64> = (0..CONTROL_PAIRS)
        .map(|pair| {
            // The best of three: what else the machine does makes times longer, never shorter.
            let mut best = [f64::INFINITY; 2];
            for turn in 0..6 {
                let side = (turn + pair) % 2;
                best[side] = best[side].min(time(side));
            }
            best[1] / best[0].max(1.0)
        })
        .collect();
    let ordered = sorted(&ratios);
    let ci = quantile_order(&ordered, 0.5, 0.95).map_err(|e| e.to_string())?;
    Ok(Control { ratio: median(&ordered), ci })
}

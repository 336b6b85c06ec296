//! Operators on rows: norms, activations, softmax, choice of tokens.

use stopwatt_core::kernel_table::OpKind;

use super::{Operation, Setup, f32_bytes, multiple, sizes, unsupported};
use crate::case::CaseError;
use crate::cpu::random::Random;
use crate::cpu::{
    Buffer, ChoiceScratch, Cpu, add_rms_norm, argmax_rows, gelu, layer_norm, rms_norm, silu_mul,
    softmax_rows, top_k_top_p,
};

/// Rows that are computed again in double precision.
const CHECKED_ROWS: usize = 8;
/// Of the norms.
const EPS: f32 = 1e-5;
/// What the sampler keeps: as many as engines do by default, and the usual mass.
const TOP_K: usize = 50;
const TOP_P: f32 = 0.9;

pub(super) struct Rows {
    kind: OpKind,
    cols: usize,
    scratch: ChoiceScratch,
    /// The running sum before the last check.
    before: Vec<f32>,
    sets: Vec<Set>,
}

struct Set {
    x: Buffer,
    y: Buffer,
    /// Residual of [`OpKind::AddRmsNorm`].
    sum: Buffer,
    weight: Vec<f32>,
    bias: Vec<f32>,
    draws: Vec<f32>,
    chosen: Vec<u32>,
}

impl Rows {
    pub(super) fn new(kind: OpKind, rows: usize, cols: usize, setup: &mut Setup) -> Result<Self, CaseError> {
        sizes([rows as u32, cols as u32])?;
        let chooses = matches!(kind, OpKind::Argmax | OpKind::TopKTopP);
        if chooses && u32::try_from(cols).is_err() {
            return unsupported("a row has more numbers than an index can name");
        }
        let input = if kind == OpKind::SiluMul { 2 * rows * cols } else { rows * cols };
        let output = if chooses { 0 } else { rows * cols };
        let residual = if kind == OpKind::AddRmsNorm { rows * cols } else { 0 };
        let draws = if chooses { rows } else { 0 };
        let sets = (0..setup.copies(f32_bytes(input + output + residual))?)
            .map(|_| {
                Ok(Set {
                    x: setup.buffer(input)?,
                    y: setup.buffer(output)?,
                    sum: setup.buffer(residual)?,
                    weight: setup.random.numbers(cols),
                    bias: setup.random.numbers(cols),
                    draws: (0..draws).map(|_| setup.random.share() as f32).collect(),
                    chosen: vec![0; draws],
                })
            })
            .collect::<Result<_, CaseError>>()?;
        Ok(Self { kind, cols, scratch: ChoiceScratch::default(), before: Vec::new(), sets })
    }

    /// Deviation of one row of the first set.
    fn row(&self, row: usize) -> f64 {
        let (set, cols) = (&self.sets[0], self.cols);
        let wide = |v: &[f32]| -> Vec<f64> { v.iter().map(|v| f64::from(*v)).collect() };
        let of = |v: &[f32]| wide(&v[row * cols..][..cols]);
        let (mut exact, allowed): (Vec<f64>, f64) = match self.kind {
            OpKind::LayerNorm => {
                let x = of(&set.x);
                let mean = x.iter().sum::<f64>() / cols as f64;
                let variance = x.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>() / cols as f64;
                let scale = 1.0 / (variance + f64::from(EPS)).sqrt();
                let y = |(i, v): (usize, &f64)| {
                    (v - mean) * scale * f64::from(set.weight[i]) + f64::from(set.bias[i])
                };
                (x.iter().enumerate().map(y).collect(), 1e-5)
            }
            OpKind::RmsNorm => (normed(&of(&set.x), &set.weight), 1e-5),
            OpKind::AddRmsNorm => {
                let sum: Vec<f64> = of(&set.x).iter().zip(of(&self.before)).map(|(a, b)| a + b).collect();
                let found = &set.sum[row * cols..][..cols];
                let off = found.iter().zip(&sum).map(|(f, e)| multiple(*f, *e, 1e-6)).fold(0.0, f64::max);
                if off > 1.0 {
                    return off;
                }
                (normed(&sum, &set.weight), 1e-5)
            }
            OpKind::Gelu => {
                let y = |v: &f64| v / 2.0 * libm::erfc(-v * std::f64::consts::FRAC_1_SQRT_2);
                (of(&set.x).iter().map(y).collect(), 1e-6)
            }
            OpKind::SiluMul => {
                let both = wide(&set.x[2 * row * cols..][..2 * cols]);
                let y = |i: usize| both[i] / (1.0 + (-both[i]).exp()) * both[cols + i];
                ((0..cols).map(y).collect(), 2e-6)
            }
            OpKind::Softmax => (softmax(&of(&set.x)), 4e-6),
            OpKind::Argmax => {
                let x = &set.x[row * cols..][..cols];
                let largest = x.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                let first = x.iter().position(|v| *v == largest);
                let right = first.is_some_and(|i| i == set.chosen[row] as usize);
                return if right { 0.0 } else { f64::INFINITY };
            }
            _ => return self.chosen(row),
        };
        if self.kind == OpKind::Softmax {
            // Relative to the largest probability: the row sums to 1.
            let largest = exact.iter().copied().fold(0.0, f64::max);
            exact.iter_mut().for_each(|v| *v /= largest);
            let found = set.y[row * cols..][..cols].iter().map(|v| f64::from(*v) / largest);
            return found.zip(&exact).map(|(f, e)| multiple(f as f32, *e, allowed)).fold(0.0, f64::max);
        }
        let found = &set.y[row * cols..][..cols];
        found
            .iter()
            .zip(&exact)
            .map(|(f, e)| multiple(*f, *e, allowed * e.abs().max(1.0)))
            .fold(0.0, f64::max)
    }

    /// Whether the drawn number falls into the slice of the chosen token, as a multiple of what the sums may be off.
    fn chosen(&self, row: usize) -> f64 {
        let (set, cols) = (&self.sets[0], self.cols);
        let x = &set.x[row * cols..][..cols];
        let mut order: Vec<usize> = (0..cols).collect();
        order.sort_by(|a, b| x[*b].total_cmp(&x[*a]).then(a.cmp(b)));
        order.truncate(TOP_K);
        let kept: Vec<f64> = order.iter().map(|&i| f64::from(x[i])).collect();
        let shares = softmax(&kept);
        let mut mass = 0.0;
        let mut ends = Vec::new();
        for share in &shares {
            mass += share;
            ends.push(mass);
            if mass >= f64::from(TOP_P) {
                break;
            }
        }
        let Some(place) = order[..ends.len()].iter().position(|&i| i == set.chosen[row] as usize) else {
            return f64::INFINITY;
        };
        let begin = if place == 0 { 0.0 } else { ends[place - 1] };
        let aim = f64::from(set.draws[row]) * mass;
        let outside = (begin - aim).max(aim - ends[place]).max(0.0);
        outside / 1e-5
    }
}

fn normed(x: &[f64], weight: &[f32]) -> Vec<f64> {
    let square = x.iter().map(|v| v * v).sum::<f64>() / x.len() as f64;
    let scale = 1.0 / (square + f64::from(EPS)).sqrt();
    x.iter().zip(weight).map(|(v, w)| v * scale * f64::from(*w)).collect()
}

fn softmax(x: &[f64]) -> Vec<f64> {
    let largest = x.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let sum: f64 = x.iter().map(|v| (v - largest).exp()).sum();
    x.iter().map(|v| (v - largest).exp() / sum).collect()
}

impl Operation for Rows {
    fn kernel(&self) -> &'static str {
        match self.kind {
            OpKind::LayerNorm => "layer_norm",
            OpKind::RmsNorm => "rms_norm",
            OpKind::AddRmsNorm => "add_rms_norm",
            OpKind::Gelu => "gelu",
            OpKind::SiluMul => "silu_mul",
            OpKind::Softmax => "softmax_rows",
            OpKind::Argmax => "argmax_rows",
            _ => "top_k_top_p (k 50, p 0.9)",
        }
    }

    fn copies(&self) -> usize {
        self.sets.len()
    }

    fn refill(&mut self, random: &mut Random) {
        let set = &mut self.sets[0];
        random.fill(&mut set.x);
        random.fill(&mut set.sum);
        random.fill(&mut set.weight);
        set.draws.iter_mut().for_each(|v| *v = random.share() as f32);
        self.before = set.sum.to_vec();
        set.y.fill(f32::NAN);
        set.chosen.fill(u32::MAX);
    }

    fn call(&mut self, cpu: &Cpu, copy: usize) {
        let (cols, scratch) = (self.cols, &mut self.scratch);
        let Set { x, y, sum, weight, bias, draws, chosen } = &mut self.sets[copy];
        match self.kind {
            OpKind::LayerNorm => layer_norm(cpu, x, weight, bias, EPS, y),
            OpKind::RmsNorm => rms_norm(cpu, x, weight, EPS, y),
            OpKind::AddRmsNorm => add_rms_norm(cpu, x, sum, weight, EPS, y),
            OpKind::Gelu => gelu(cpu, x, y),
            OpKind::SiluMul => silu_mul(cpu, x, cols, y),
            OpKind::Softmax => softmax_rows(cpu, x, cols, y),
            OpKind::Argmax => argmax_rows(cpu, x, cols, chosen),
            _ => top_k_top_p(cpu, x, cols, (TOP_K, TOP_P), draws, scratch, chosen),
        }
    }

    fn deviation(&self, random: &mut Random) -> f64 {
        let set = &self.sets[0];
        if set.y.iter().any(|v| v.is_nan()) {
            return f64::INFINITY;
        }
        let rows = set.chosen.len().max(set.y.len() / self.cols);
        (0..CHECKED_ROWS).map(|_| self.row(random.below(rows))).fold(0.0, f64::max)
    }
}

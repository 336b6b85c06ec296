//! LSTM and GRU layers.

use stopwatt_core::kernel_table::{Op, OpKind, Shape};

use super::{Operation, Setup, f32_bytes, fill_matrix, multiple, sizes, unsupported};
use crate::case::CaseError;
use crate::cpu::random::Random;
use crate::cpu::{Buffer, Cpu, RecurrentLayer, RecurrentScratch, gru, lstm};

/// Steps that are computed again in double precision.
const CHECKED_STEPS: usize = 6;
/// Deviation of a state, which is below 1, that the exponentials and sums of these steps may add up to.
const TOLERANCE: f64 = 5e-5;

pub(super) struct Recurrent {
    lstm: bool,
    batch: usize,
    hidden: usize,
    scratch: RecurrentScratch,
    sets: Vec<(Buffer, Vec<RecurrentLayer>, Buffer)>,
}

impl Recurrent {
    pub(super) fn new(op: &Op, setup: &mut Setup) -> Result<Self, CaseError> {
        let Shape::Sequence { batch, steps, input, hidden, layers } = op.shape else {
            return unsupported("not the shape of a recurrent layer");
        };
        let [batch, steps, input, hidden, layers] = sizes([batch, steps, input, hidden, layers])?;
        let lstm = op.kind == OpKind::Lstm;
        let gates = if lstm { 4 } else { 3 };
        let scratch = f32_bytes(batch * steps * gates * hidden);
        setup.room(scratch)?;
        let weights = gates * hidden * (input + layers * hidden + (layers - 1) * hidden);
        let bytes = f32_bytes(batch * steps * (input + hidden)) + (weights * setup.precision.bytes()) as u64;
        // Gates neither closed nor wide open, whatever the width.
        let scale = |width: usize| 1.0 / (width as f32).sqrt();
        let sets = (0..setup.copies(bytes)?)
            .map(|_| {
                let x = setup.buffer(batch * steps * input)?;
                let layers = (0..layers)
                    .map(|layer| {
                        let width = if layer == 0 { input } else { hidden };
                        Ok(RecurrentLayer {
                            input: setup.matrix(gates * hidden, width, scale(width))?,
                            state: setup.matrix(gates * hidden, hidden, scale(hidden))?,
                            input_bias: setup.random.numbers(gates * hidden),
                            state_bias: setup.random.numbers(gates * hidden),
                        })
                    })
                    .collect::<Result<_, CaseError>>()?;
                Ok((x, layers, setup.buffer(batch * steps * hidden)?))
            })
            .collect::<Result<_, CaseError>>()?;
        Ok(Self { lstm, batch, hidden, scratch: RecurrentScratch::default(), sets })
    }

    /// States of one sequence over the first steps, by the formulas.
    fn exact(&self, sequence: usize, steps: usize) -> Vec<Vec<f64>> {
        let (x, layers, _) = &self.sets[0];
        let (hidden, batch) = (self.hidden, self.batch);
        let width = layers[0].input.cols();
        let mut series: Vec<Vec<f64>> = (0..steps)
            .map(|t| x[(t * batch + sequence) * width..][..width].iter().map(|v| f64::from(*v)).collect())
            .collect();
        let sigmoid = |v: f64| 1.0 / (1.0 + (-v).exp());
        for layer in layers {
            let (mut h, mut c) = (vec![0.0; hidden], vec![0.0; hidden]);
            for step in &mut series {
                let part = |w: &crate::cpu::Matrix, v: &[f64], bias: &[f32]| -> Vec<f64> {
                    (0..w.rows())
                        .map(|row| {
                            let sum: f64 = w.row(row).iter().zip(v).map(|(w, v)| f64::from(*w) * v).sum();
                            sum + f64::from(bias[row])
                        })
                        .collect()
                };
                let (a, b) =
                    (part(&layer.input, step, &layer.input_bias), part(&layer.state, &h, &layer.state_bias));
                for i in 0..hidden {
                    let gate = |g: usize| a[g * hidden + i] + b[g * hidden + i];
                    h[i] = if self.lstm {
                        c[i] = sigmoid(gate(1)) * c[i] + sigmoid(gate(0)) * gate(2).tanh();
                        sigmoid(gate(3)) * f64::tanh(c[i])
                    } else {
                        let at = 2 * hidden + i;
                        let new = (a[at] + sigmoid(gate(0)) * b[at]).tanh();
                        let update = sigmoid(gate(1));
                        (1.0 - update) * new + update * h[i]
                    };
                }
                step.clone_from(&h);
            }
        }
        series
    }
}

impl Operation for Recurrent {
    fn kernel(&self) -> &'static str {
        if self.lstm { "lstm" } else { "gru" }
    }

    fn copies(&self) -> usize {
        self.sets.len()
    }

    fn refill(&mut self, random: &mut Random) {
        let (x, layers, y) = &mut self.sets[0];
        random.fill(x);
        for layer in layers {
            for matrix in [&mut layer.input, &mut layer.state] {
                let scale = 1.0 / (matrix.cols() as f32).sqrt();
                fill_matrix(matrix, scale, random);
            }
        }
        y.fill(f32::NAN);
    }

    fn call(&mut self, cpu: &Cpu, copy: usize) {
        let (x, layers, y) = &mut self.sets[copy];
        let run = if self.lstm { lstm } else { gru };
        run(cpu, layers, self.batch, x, &mut self.scratch, y);
    }

    fn deviation(&self, random: &mut Random) -> f64 {
        let (_, _, y) = &self.sets[0];
        let steps = y.len() / (self.batch * self.hidden);
        let sequence = random.below(self.batch);
        let exact = self.exact(sequence, steps.min(CHECKED_STEPS));
        if y.iter().any(|v| v.is_nan()) {
            return f64::INFINITY;
        }
        let mut worst: f64 = 0.0;
        for (t, exact) in exact.iter().enumerate() {
            let found = &y[(t * self.batch + sequence) * self.hidden..][..self.hidden];
            for (found, exact) in found.iter().zip(exact) {
                worst = worst.max(multiple(*found, *exact, TOLERANCE));
            }
        }
        worst
    }
}
